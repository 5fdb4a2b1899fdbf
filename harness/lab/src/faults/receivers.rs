//! The webhooks of one round and their receivers. Their company is new, and stays in the database afterwards.
//!
//! Each part has a new webhook and a new journal, so that everything that a round did can be read at its end.

use std::net::SocketAddr;
use std::sync::Arc;

use serde::Serialize;

use tenterhook_harness::client::{Client, NewWebhook, Webhook};
use tenterhook_harness::journal::Journal;
use tenterhook_harness::receiver::Receiver;
use tenterhook_harness::refusal::{self, MARK};
use tenterhook_harness::reply::{Answer, Reply, Script};
use tenterhook_harness::rng::Rng;
use tenterhook_harness::timekeeper::RealTime;
use tenterhook_harness::token::Claims;
use tenterhook_harness::wire::{Behaviour, Behaviours, Fault, Listen, WireReceiver};

use super::dns_server;
use super::fleet::Callers;
use super::kind::Kind;
use super::plan::Round;

/// First company id of campaigns: different from those of worlds, load tests and people, and below 2^53.
const FIRST_COMPANY: u64 = 4_000_000_000_000;
/// Statuses of a receiver that fails sometimes.
const FAILURES: [u16; 6] = [500, 503, 404, 410, 429, 302];

/// The behaviour of a webhook's receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Responds with 200 on connections that stay open.
    Steady,
    /// Fails one attempt in ten, first tries and retries alike: too few for a ban.
    Flaky,
    /// Has a fault on one connection in four.
    Hostile,
    /// Always fails, and is banned.
    Failing,
    /// Steady. Its webhook is deleted in the middle of the round.
    Doomed,
    /// Steady, under a host name.
    Named,
    /// Steady, under a host name with two addresses. Packets to the first get no response; the receiver listens on the
    /// second.
    Twofold,
    /// Sends one response in eight that Postgres refuses to store.
    Poisonous,
}

impl Part {
    /// Whether its receiver responds with success to every request that arrives.
    pub fn always_succeeds(self) -> bool {
        matches!(self, Self::Steady | Self::Named | Self::Twofold)
    }
}

/// A webhook and its receiver.
pub struct Member {
    /// The behaviour of the receiver.
    pub part: Part,
    /// The webhook as it was created.
    pub webhook: Webhook,
    listener: Listener,
}

enum Listener {
    Web(Receiver),
    Wire(WireReceiver),
    /// A web server, and a socket that blocks the same port of another address.
    Twofold {
        living: Receiver,
        _dead: WireReceiver,
    },
}

impl Member {
    /// The requests that arrived.
    pub fn journal(&self) -> &Journal {
        match &self.listener {
            Listener::Web(receiver) | Listener::Twofold { living: receiver, .. } => receiver.journal(),
            Listener::Wire(receiver) => receiver.journal(),
        }
    }
}

/// The company, webhooks and receivers of a round.
pub struct Receivers {
    /// The id of the company, which only this round uses.
    pub company: u64,
    /// The webhooks with their receivers.
    pub members: Vec<Member>,
}

impl Receivers {
    /// Creates the company of a round, while all servers run.
    pub async fn gather(round: &Round, callers: &Callers, named: bool) -> anyhow::Result<Self> {
        let company = FIRST_COMPANY + u64::from(round.number);
        let owner = callers.of(round.number as usize, &owner_of(company));
        let mut parts = vec![
            Part::Steady,
            Part::Flaky,
            Part::Hostile,
            Part::Failing,
            Part::Doomed,
        ];
        if named {
            parts.push(Part::Named);
        }
        if round.faults.contains(&Kind::DeadAddress) {
            parts.push(Part::Twofold);
        }
        if round.faults.contains(&Kind::PoisonedAnswer) {
            parts.push(Part::Poisonous);
        }
        let mut members = Vec::new();
        for part in parts {
            members.push(member(part, round.seed, callers, &owner).await?);
        }
        Ok(Self { company, members })
    }

    /// Claims of the company's only user.
    pub fn owner(&self) -> Claims {
        owner_of(self.company)
    }

    /// The webhook that is deleted during the round.
    pub fn doomed(&self) -> Option<&Member> {
        self.members.iter().find(|member| member.part == Part::Doomed)
    }
}

fn owner_of(company: u64) -> Claims {
    Claims::user(company, 1, "admin")
}

async fn member(part: Part, seed: u64, callers: &Callers, owner: &Client) -> anyhow::Result<Member> {
    let (time, keyring) = (Arc::new(RealTime), callers.keyring().clone());
    let (listener, url) = match part {
        Part::Hostile => {
            let receiver = WireReceiver::start(Listen::default(), time, keyring, hostile(seed)).await?;
            let url = receiver.url();
            (Listener::Wire(receiver), url)
        }
        Part::Twofold => {
            let receiver = Receiver::start(time.clone(), keyring.clone(), script(part, seed)).await;
            let dead = SocketAddr::from((dns_server::DEAD, receiver.address().port()));
            let dead = WireReceiver::deaf_at(dead, time, keyring).await?;
            let url = receiver.url();
            (
                Listener::Twofold {
                    living: receiver,
                    _dead: dead,
                },
                url,
            )
        }
        _ => {
            let receiver = Receiver::start(time, keyring, script(part, seed)).await;
            let url = receiver.url();
            (Listener::Web(receiver), url)
        }
    };
    let url = match part {
        Part::Named => url.replace("127.0.0.1", dns_server::NAME),
        Part::Twofold => url.replace("127.0.0.1", dns_server::TWOFOLD),
        _ => url,
    };
    let webhook = owner.create_webhook(NewWebhook::to(&url)).await?.webhook;
    Ok(Member {
        part,
        webhook,
        listener,
    })
}

fn script(part: Part, seed: u64) -> Script {
    match part {
        Part::Failing => Script::always(503),
        Part::Flaky => Script::new(move |arrival, place| -> Answer {
            let mut rng = Rng::new(seed ^ place as u64 ^ u64::from(arrival.attempt()));
            match rng.below(10) {
                0 => FAILURES[rng.below(FAILURES.len())].into(),
                _ => 200.into(),
            }
        }),
        // Closes the connection, so that each request needs a new lookup and a new connection.
        Part::Named | Part::Twofold => Script::always(Reply::status(200).header("connection", "close")),
        Part::Poisonous => {
            Script::new(
                move |arrival, _| match refusal::of(arrival.event(), arrival.attempt()) {
                    Some((state, status)) => Reply::status(status).body(format!("{MARK}{state}")).into(),
                    None => Reply::status(200).body(refusal::PLAIN).into(),
                },
            )
        }
        _ => Script::always(200),
    }
}

fn hostile(seed: u64) -> Behaviours {
    Arc::new(move |connection| {
        let mut rng = Rng::new(seed.wrapping_add(connection as u64));
        match rng.below(4) {
            0 => Behaviour::Fault(Fault::all()[rng.below(Fault::all().len())]),
            _ => Behaviour::ok(),
        }
    })
}
