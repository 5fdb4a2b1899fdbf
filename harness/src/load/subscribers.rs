//! The webhooks of a load: whose they are, where they lead and how they are answered.
//!
//! Promises that what a webhook is follows from its number alone: no table is kept of them.

use anyhow::Context;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::plan::Plan;
use super::receiver::{DatingReceiver, Kind};
use crate::client::{Client, NewWebhook};
use crate::realtime;
use crate::signature::Keyring;
use crate::token::{Claims, TokenKey};

/// A user may have 40 webhooks of a type (W3), so that one user owns so many of a company's.
const WEBHOOKS_OF_A_USER: u64 = 40;
/// Companies that are set up at once.
const AT_ONCE: usize = 16;
/// Company ids of loads begin here, apart from those of worlds and of people, and are below 2^53.
const FIRST_COMPANY: u64 = 3_000_000_000_000;
/// Ids that a millisecond has: a load with more companies takes longer to set up than until their ids come.
const COMPANIES_OF_A_MILLISECOND: u64 = 1_000;

/// The webhooks of a load.
pub struct Subscribers {
    first_company: u64,
    companies: u64,
    fan_out: u64,
    hosts: u64,
    failing: u64,
    hanging: u64,
}

/// How many webhooks get an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recipients {
    /// Those that answer, well or not.
    pub answering: u64,
    /// Those that do not.
    pub hanging: u64,
}

impl Subscribers {
    /// Those of a plan, for companies that no other load has.
    pub fn new(plan: &Plan) -> Self {
        let milliseconds = u64::try_from(realtime::now().as_millisecond()).unwrap_or(0);
        Self {
            first_company: FIRST_COMPANY + milliseconds * COMPANIES_OF_A_MILLISECOND,
            companies: plan.companies.into(),
            fan_out: plan.fan_out.into(),
            hosts: plan.hosts.into(),
            failing: plan.failing.into(),
            hanging: plan.hanging.into(),
        }
    }

    /// The companies' ids.
    pub fn companies(&self) -> impl Iterator<Item = u64> + use<> {
        self.first_company..self.first_company + self.companies
    }

    /// Who gets the event with this place in the whole load.
    pub fn of_event(&self, number: u64) -> Recipients {
        let company = number % self.companies;
        Recipients {
            answering: self.fan_out,
            hanging: self.hanging_of(company),
        }
    }

    /// How the receiver of a webhook that answers does so: the failing ones are spread evenly.
    fn kind(&self, webhook: u64) -> Kind {
        let failing_before = |webhooks: u64| webhooks * self.failing / 100;
        match failing_before(webhook + 1) > failing_before(webhook) {
            true => Kind::Failing,
            false => Kind::Healthy,
        }
    }

    /// Behind which host a webhook's receiver is. Where there are several, those that hang have as many of their own.
    fn host(&self, webhook: u64, kind: Kind) -> u32 {
        let others = match kind {
            Kind::Hanging if self.hosts > 1 => self.hosts,
            _ => 0,
        };
        (others + webhook % self.hosts) as u32
    }

    /// Hanging ones take turns over the companies.
    fn hanging_of(&self, company: u64) -> u64 {
        self.hanging / self.companies + u64::from(company < self.hanging % self.companies)
    }

    /// Every webhook of a company: its number and kind.
    fn webhooks(&self, company: u64) -> impl Iterator<Item = (u64, Kind)> {
        let answering =
            (company * self.fan_out..(company + 1) * self.fan_out).map(|number| (number, self.kind(number)));
        let first_hanging = self.companies * self.fan_out + company;
        let hanging = (0..self.hanging_of(company)).map(move |turn| first_hanging + turn * self.companies);
        answering.chain(hanging.map(|number| (number, Kind::Hanging)))
    }

    fn users(&self, company: u64) -> impl Iterator<Item = u64> + use<> {
        1..=(self.fan_out + self.hanging_of(company)).div_ceil(WEBHOOKS_OF_A_USER)
    }

    /// Creates all of them.
    ///
    /// # Errors
    ///
    /// When the server refuses one.
    pub async fn create(
        &self,
        server: &str,
        key: &TokenKey,
        receiver: &DatingReceiver,
    ) -> anyhow::Result<()> {
        let (caller, platform) = callers(server, key)?;
        let create = |company: u64| {
            let (caller, platform) = (&caller, &platform);
            async move {
                let id = self.first_company + company;
                for user in self.users(company) {
                    platform.upsert_user(id, user, "ADMIN").await?;
                }
                for (place, (webhook, kind)) in (0..).zip(self.webhooks(company)) {
                    let user = place / WEBHOOKS_OF_A_USER + 1;
                    let token = key.sign(&Claims::user(id, user, "admin"), realtime::now());
                    let owner = caller.with_token(Some(token));
                    let url = receiver.url(self.host(webhook, kind), kind, webhook as u32);
                    let created = owner.create_webhook(NewWebhook::to(&url)).await;
                    created.context(
                        "a webhook to this machine cannot be made; the server must allow loopback",
                    )?;
                }
                anyhow::Ok(())
            }
        };
        stream::iter((0..self.companies).map(create))
            .buffer_unordered(AT_ONCE)
            .try_for_each(|()| async { Ok(()) })
            .await
    }

    /// Removes all of them with their users.
    ///
    /// # Errors
    ///
    /// When the server refuses to.
    pub async fn remove(&self, server: &str, key: &TokenKey) -> anyhow::Result<()> {
        let (_, platform) = callers(server, key)?;
        let remove = |company: u64| {
            let platform = &platform;
            async move {
                for user in self.users(company) {
                    platform.remove_user(self.first_company + company, user).await?;
                }
                anyhow::Ok(())
            }
        };
        stream::iter((0..self.companies).map(remove))
            .buffer_unordered(AT_ONCE)
            .try_for_each(|()| async { Ok(()) })
            .await
    }
}

/// Somebody without a token, and the platform.
fn callers(server: &str, key: &TokenKey) -> anyhow::Result<(Client, Client)> {
    let caller = Client::new(server, None, Keyring::default())?;
    let platform = caller.with_token(Some(platform_token(key)));
    Ok((caller, platform))
}

/// The token of who publishes.
pub fn platform_token(key: &TokenKey) -> String {
    key.sign(&Claims::of_scope("platform"), realtime::now())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_webhook_has_a_number_of_its_own_and_the_kinds_are_as_many_as_asked_for() {
        let plan = Plan {
            fan_out: 3,
            companies: 50,
            failing: 10,
            hanging: 120,
            ..Plan::default()
        };
        let subscribers = Subscribers::new(&plan);
        let all: Vec<(u64, Kind)> = (0..50)
            .flat_map(|company| subscribers.webhooks(company))
            .collect();
        let numbers: BTreeSet<u64> = all.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, (0..270).collect());
        let count = |kind| all.iter().filter(|(_, of)| *of == kind).count();
        assert_eq!(
            (count(Kind::Healthy), count(Kind::Failing), count(Kind::Hanging)),
            (135, 15, 120)
        );
        for number in [0, 19, 20, 49, 50] {
            let webhooks: Vec<_> = subscribers.webhooks(number % 50).collect();
            let hanging = webhooks.iter().filter(|(_, kind)| *kind == Kind::Hanging).count() as u64;
            let answering = webhooks.len() as u64 - hanging;
            assert_eq!(
                subscribers.of_event(number),
                Recipients { answering, hanging },
                "{number}"
            );
        }
    }
}
