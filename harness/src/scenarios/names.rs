//! Host names instead of addresses: silent name servers do not count as a failure of the receiver (D13), and one
//! address family is enough (D2).

use std::net::Ipv4Addr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::scene::{MILLISECOND, Scene, USER};
use crate::client::{Delivery, NewWebhook};
use crate::dns_server::Answer;
use crate::model::{Numbers, postponed_until};
use crate::receiver::Receiver;
use crate::reply::{Reply, Script};
use crate::scenario::{Failure, Need, Play, Scenario, holds, same};
use crate::signature::Keyring;
use crate::timekeeper::RealTime;
use crate::wire::WireReceiver;
use crate::world::World;

/// The receiver's host name. `.example` is reserved (RFC 2606).
const HOST: &str = "receiver.names.example";
/// A second host name.
const OTHER: &str = "other.names.example";
/// How much later than D13's limit the server may judge an attempt: one attempt and one wait.
const GIVE_UP_LATE: SignedDuration = SignedDuration::from_secs(40);
/// D2: the time-out of an attempt.
const TIME_OUT: SignedDuration = SignedDuration::from_secs(10);
/// Events published during a silence. With their second attempts they are more than a ban needs.
const EVENTS: usize = 6;

/// Deliveries to a name with an address of only one family. Each one uses its own connection.
const DELIVERIES: usize = 2;
/// Most DNS questions per delivery: one for IPv4, which is answered at once, and the IPv6 questions that fit into the
/// second that D2 allows. A resolver repeats a question after a third of a second at the earliest: at 0, 333 and 667
/// ms.
///
/// A server that waits until the resolver gives up sends the questions again with each try, and exceeds this number
/// with the second.
const QUESTIONS: usize = 1 + 3;

pub(super) fn scenarios() -> Vec<Scenario> {
    let all = vec![
        silent_name_servers(),
        silent_about_one_name(),
        silent_too_long(),
        test_delivery().needing(Need::Replay),
        last_address("of-eight-addresses-the-last-one-is-found", 8),
        last_address("of-twelve-addresses-the-last-one-is-found", 12),
        silent_about_ipv6(),
    ];
    all.into_iter().map(Scenario::in_world_with_names).collect()
}

/// A receiver with a host name that responds with 200, and a webhook to it. The last lookup of the name is more than
/// ten seconds ago.
struct Named<'w> {
    scene: Scene<'w>,
    receiver: Receiver,
    target: String,
}

impl<'w> Named<'w> {
    async fn new(world: &'w World) -> Result<Self, Failure> {
        world.names().set(HOST, Answer::read("127.0.0.1"));
        let receiver = world.receiver(200).await;
        let target = format!("{HOST}:{}", receiver.address().port());
        let scene = Scene::leading_to(world, &format!("http://{target}/hook")).await?;
        world.advance("PT11S").await;
        Ok(Self {
            scene,
            receiver,
            target,
        })
    }

    /// Publishes this many events while no name server responds, and waits until the server looks their names up.
    async fn publish_in_silence(&self, events: usize) -> Play {
        let world = self.scene.world;
        world.stall(&self.target);
        world.names().fall_silent(true);
        let asked = world.names().questions();
        self.scene.company().publish_many(events).await?;
        world.settle().await;
        world.names().until_asked_again(asked).await;
        Ok(())
    }

    /// Checks that attempts start at `at` and not before. Waits until they look the name up, and lets them time out.
    async fn attempt_in_silence(&self, at: Timestamp) -> Play {
        let world = self.scene.world;
        let asked = world.names().questions();
        world.advance_to(at - MILLISECOND).await;
        same(
            "queries for names a millisecond before the next attempt",
            world.names().questions(),
            asked,
        )?;
        world.advance_to(at).await;
        world.names().until_asked_again(asked).await;
        world.advance(TIME_OUT).await;
        Ok(())
    }

    /// Checks that nothing was counted, and that every delivery is pending with its next attempt at `again`.
    async fn expect_postponed(&self, when: &str, again: Timestamp) -> Play {
        self.scene.expect_health(when, "ACTIVE", 0).await?;
        self.scene.expect_window(when, None).await?;
        let deliveries = self.scene.deliveries().await?;
        let shown = |delivery: &Delivery| {
            let next = delivery.next_attempt_at;
            (delivery.status.clone(), delivery.attempts.len(), next)
        };
        same(
            format!("status, attempts and nextAttemptAt of each delivery {when}"),
            deliveries.iter().map(shown).collect::<Vec<_>>(),
            vec![("PENDING".to_owned(), 0, Some(again)); EVENTS],
        )
    }
}

fn silent_name_servers() -> Scenario {
    Scenario::new(
        "silent-name-servers-are-no-failure",
        "While no name server responds, nothing is counted and no webhook is banned: deliveries wait 5 s, then 30 s, and \
         are attempted once name servers respond.",
        &["D13"],
        |world| {
            Box::pin(async move {
                let named = Named::new(world).await?;
                named.publish_in_silence(EVENTS).await?;
                world.advance(TIME_OUT).await;
                let numbers = Numbers::default();
                let again = postponed_until(0, world.now(), &numbers);
                named
                    .expect_postponed("after ten seconds of silence", again)
                    .await?;
                named.attempt_in_silence(again).await?;
                let again = postponed_until(1, world.now(), &numbers);
                named.expect_postponed("after the second time", again).await?;

                world.names().fall_silent(false);
                world.resume(&named.target);
                world.advance_to(again).await;
                let deliveries = named.scene.deliveries().await?;
                let shown = |delivery: &Delivery| {
                    let numbers = delivery.attempts.iter().map(|attempt| attempt.number);
                    (delivery.status.clone(), numbers.collect::<Vec<_>>())
                };
                same(
                    "status and attempts of each delivery, once names are known again",
                    deliveries.iter().map(shown).collect::<Vec<_>>(),
                    vec![("SUCCEEDED".to_owned(), vec![1]); EVENTS],
                )?;
                same("requests", named.receiver.journal().len(), EVENTS)?;
                named.scene.expect_health("at the end", "ACTIVE", 0).await
            })
        },
    )
}

fn silent_about_one_name() -> Scenario {
    Scenario::new(
        "a-name-server-that-is-silent-about-one-name",
        "If name servers respond for other names, a name for which they do not respond is a failure of its receiver.",
        &["D13", "D1"],
        |world| {
            Box::pin(async move {
                let named = Named::new(world).await?;
                world.names().set(OTHER, Answer::read("127.0.0.1"));
                let other = world.receiver(200).await;
                let url = other.url().replace("127.0.0.1", OTHER);
                let neighbour = world.company(2).owner(USER).await?;
                neighbour.create_webhook(NewWebhook::to(&url)).await?;

                world.names().set(HOST, Answer::Silence);
                world.stall(&named.target);
                let asked = world.names().questions();
                named.scene.company().publish().await?;
                world.settle().await;
                world.names().until_asked_again(asked).await;
                world.advance("PT1S").await;
                world.company(2).publish().await?;
                world.settle().await;
                same("requests of the other receiver", other.journal().len(), 1)?;
                world.advance("PT9S").await;
                expect_judged(&named.scene.last_delivery().await?, 1)?;
                named.scene.expect_health("after it", "ACTIVE", 1).await
            })
        },
    )
}

fn silent_too_long() -> Scenario {
    Scenario::new(
        "fifteen-minutes-without-a-name-server",
        "A name that cannot be looked up for fifteen minutes is then judged as a failure, and not before.",
        &["D13", "D1"],
        |world| {
            Box::pin(async move {
                let named = Named::new(world).await?;
                let began = world.now();
                named.publish_in_silence(1).await?;
                world.advance(TIME_OUT).await;
                let numbers = Numbers::default();
                let latest = began + numbers.dns_give_up + GIVE_UP_LATE;
                let mut before = 0;
                let delivery = loop {
                    let delivery = named.scene.last_delivery().await?;
                    if !delivery.attempts.is_empty() || world.now() > latest {
                        break delivery;
                    }
                    let again = postponed_until(before, world.now(), &numbers);
                    named.attempt_in_silence(again).await?;
                    before += 1;
                };
                // The silence may begin as early as the last response of a name server.
                let earliest = began + numbers.dns_give_up - TIME_OUT - SignedDuration::from_secs(2);
                let ended = delivery.attempts.first().map(|attempt| attempt.ended_at);
                holds(
                    "the end of the first attempt that is judged",
                    &format!("from {earliest} to {latest}"),
                    ended.is_some_and(|at| (earliest..=latest).contains(&at)),
                    &ended,
                )?;
                expect_judged(&delivery, 1)?;
                named.scene.expect_health("after it", "ACTIVE", 1).await
            })
        },
    )
}

fn test_delivery() -> Scenario {
    Scenario::new(
        "a-test-delivery-says-that-name-servers-are-silent",
        "A test delivery is not postponed: it ends with class DNS and says that no name server responded.",
        &["D13", "D12"],
        |world| {
            Box::pin(async move {
                let named = Named::new(world).await?;
                world.stall(&named.target);
                world.names().fall_silent(true);
                let asked = world.names().questions();
                let time_out = async {
                    world.names().until_asked_again(asked).await;
                    world.advance(TIME_OUT).await;
                };
                let (attempt, ()) = tokio::join!(named.scene.user.test(&named.scene.webhook.id), time_out);
                let attempt = attempt?;
                same(
                    "status and class",
                    (attempt.http_status, attempt.error_class.as_deref()),
                    (None, Some("DNS")),
                )?;
                let message = attempt.error_message.unwrap_or_default().to_ascii_lowercase();
                holds(
                    "the message",
                    "names the name servers",
                    message.contains("name server") || message.contains("dns server"),
                    &message,
                )?;
                named.scene.expect_health("after it", "ACTIVE", 0).await
            })
        },
    )
}

/// A name with this number of addresses. Only the last one responds.
fn last_address(name: &str, addresses: u8) -> Scenario {
    Scenario::new(
        name,
        format!(
            "If {} of a name's {addresses} addresses do not respond and the last one does, the attempt succeeds.",
            addresses - 1
        ),
        &["D2"],
        move |world| {
            Box::pin(async move {
                let receiver = world.receiver(200).await;
                let port = receiver.address().port();
                let mut dead = Vec::new();
                let mut found = Vec::new();
                for last in 2..=addresses {
                    let address = Ipv4Addr::new(127, 0, 0, last);
                    // Real time, so that other calls to the working address are not stalled.
                    let (time, at) = (Arc::new(RealTime), (address, port).into());
                    let deaf = WireReceiver::deaf_at(at, time, Keyring::default()).await;
                    dead.push(deaf.map_err(|error| Failure::CouldNotRun(format!("{address}: {error}")))?);
                    found.push(address.into());
                }
                found.push(Ipv4Addr::LOCALHOST.into());
                world.names().set(HOST, Answer::Addresses(found));
                let scene = Scene::leading_to(world, &format!("http://{HOST}:{port}/hook")).await?;
                scene.deliver().await?;
                expect_successes(&scene, &receiver, 1).await
            })
        },
    )
}

fn silent_about_ipv6() -> Scenario {
    Scenario::new(
        "a-name-server-that-is-silent-about-ipv6",
        "A name server responds for IPv4 and never for IPv6: the attempt succeeds, and waits at most a second for the \
         missing response.",
        &["D2"],
        |world| {
            Box::pin(async move {
                let reply = Reply::status(200).header("connection", "close");
                let receiver = world.receiver(Script::always(reply)).await;
                let port = receiver.address().port();
                let addresses = vec![[127, 0, 0, 1].into()];
                world.names().set(HOST, Answer::SilentAboutIpv6(addresses));
                let scene = Scene::leading_to(world, &format!("http://{HOST}:{port}/hook")).await?;
                let before = world.names().asked(HOST);
                scene.deliver_times(DELIVERIES).await?;
                expect_successes(&scene, &receiver, DELIVERIES).await?;
                let asked = world.names().asked(HOST) - before;
                holds(
                    "queries for the name",
                    "for each delivery at least one, and no more than are sent within a second",
                    (DELIVERIES..=QUESTIONS * DELIVERIES).contains(&asked),
                    &asked,
                )
            })
        },
    )
}

/// Checks that every delivery took one attempt of at most one second of the world's time.
async fn expect_successes(scene: &Scene<'_>, receiver: &Receiver, count: usize) -> Play {
    let deliveries = scene.deliveries().await?;
    let shown = |delivery: &Delivery| (delivery.status.clone(), delivery.attempts.len());
    same(
        "status and attempts of each delivery",
        deliveries.iter().map(shown).collect::<Vec<_>>(),
        vec![("SUCCEEDED".to_owned(), 1); count],
    )?;
    let longest = deliveries
        .iter()
        .flat_map(|delivery| &delivery.attempts)
        .map(|attempt| attempt.ended_at.duration_since(attempt.started_at))
        .max();
    holds(
        "the longest attempt",
        "no more than a second",
        longest.is_some_and(|longest| longest <= SignedDuration::from_secs(1)),
        &longest,
    )?;
    same("requests", receiver.journal().len(), count)
}

/// Checks that the first of `attempts` attempts is logged as a failed lookup that took too long.
fn expect_judged(delivery: &Delivery, attempts: usize) -> Play {
    let seen: Vec<_> = delivery
        .attempts
        .iter()
        .map(|attempt| {
            (
                attempt.number,
                attempt.http_status,
                attempt.error_class.as_deref(),
            )
        })
        .collect();
    holds(
        "number, status and class of each attempt",
        "one failure of class DNS or TIMEOUT",
        seen.len() == attempts && matches!(seen[..], [(1, None, Some("DNS" | "TIMEOUT"))]),
        &seen,
    )
}
