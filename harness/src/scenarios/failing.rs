//! However an attempt fails, the same follows: retries, a ban, warnings and removal, for both types (P1).
//!
//! One scenario for each error class. What is specific to a class, such as the faults that belong to it, is in
//! the scenarios about outcomes and faults.

use jiff::{SignedDuration, Timestamp};

use super::scene::{BAN, MILLISECOND, Scene, USER, WINDOW, count};
use crate::client::{Delivery, NewWebhook};
use crate::dns_server::Answer;
use crate::scenario::{Failure, Need, Play, Scenario, same};
use crate::wire::{Fault, WireReceiver};
use crate::world::World;

/// The error classes of D10.
const CLASSES: [&str; 8] = [
    "STATUS",
    "TIMEOUT",
    "DNS",
    "CONNECT",
    "TLS",
    "RESET",
    "PROTOCOL",
    "BLOCKED_ADDRESS",
];
/// The host for the classes DNS and BLOCKED_ADDRESS. No name server knows it unless a scenario adds it.
const HOST: &str = "receiver.failing.example";
/// D4's delays.
const DELAYS: [SignedDuration; 3] = [
    SignedDuration::from_secs(3),
    SignedDuration::from_secs(30),
    SignedDuration::from_secs(150),
];
/// D2's time-out.
const TIME_OUT: SignedDuration = SignedDuration::from_secs(10);
const SECOND: SignedDuration = SignedDuration::from_secs(1);

pub(super) fn scenarios() -> Vec<Scenario> {
    CLASSES.into_iter().map(failing).collect()
}

fn failing(class: &'static str) -> Scenario {
    let word = class.to_lowercase().replace('_', "-");
    let rules: &'static [&'static str] = match class {
        "TIMEOUT" => &[
            "P1", "D1", "D2", "D4", "D7", "D10", "B1", "B2", "B3", "B4", "B7", "R1", "R2", "R3", "R4", "R5",
        ],
        _ => &[
            "P1", "D1", "D4", "D7", "D10", "B1", "B2", "B3", "B4", "B7", "R1", "R2", "R3", "R4", "R5",
        ],
    };
    let scenario = Scenario::new(
        format!("failing-with-{word}"),
        format!(
            "If every attempt fails with class {class}, the webhook is retried, banned, warned about and removed."
        ),
        rules,
        move |world| {
            Box::pin(async move {
                let failing = Failing::new(world, class).await?;
                failing.one_delivery().await?;
                let banned = failing.ten_failures().await?;
                failing.three_days(banned).await
            })
        },
    );
    let scenario = scenario
        .needing(Need::Wire)
        .needing(Need::AttemptLog)
        .needing(Need::Notices);
    match class {
        "TLS" => scenario.needing(Need::Tls),
        "DNS" | "BLOCKED_ADDRESS" => scenario.in_world_with_names(),
        _ => scenario,
    }
}

/// A webhook whose attempts all fail with one class.
struct Failing<'w> {
    scene: Scene<'w>,
    class: &'static str,
    /// How long an attempt takes.
    takes: SignedDuration,
    /// When its first attempt ends.
    since: Timestamp,
    _receiver: Option<WireReceiver>,
}

impl<'w> Failing<'w> {
    async fn new(world: &'w World, class: &'static str) -> Result<Self, Failure> {
        let company = world.company(1);
        let user = company.owner(USER).await?;
        let receiver = match class {
            "STATUS" => Some(world.wire(500).await),
            "TIMEOUT" => Some(world.wire(Fault::HangBeforeHeaders).await),
            "CONNECT" => Some(world.refusing()),
            "TLS" => Some(world.wire_tls(200).await),
            "RESET" => Some(world.wire(Fault::ResetAfterRequest).await),
            "PROTOCOL" => Some(world.wire(Fault::Garbage).await),
            _ => None,
        };
        let url = receiver
            .as_ref()
            .map_or_else(|| format!("http://{HOST}:9/hook"), WireReceiver::url);
        if class == "BLOCKED_ADDRESS" {
            world.names().set(HOST, Answer::read("127.0.0.1"));
        }
        let webhook = user.create_webhook(NewWebhook::to(&url)).await?.webhook;
        if class == "BLOCKED_ADDRESS" {
            // Every attempt looks the name up again.
            world.names().set(HOST, Answer::read("10.0.0.1"));
        }
        same("the type", webhook.kind.as_str(), world.webhook_type().word())?;
        let takes = if class == "TIMEOUT" {
            TIME_OUT
        } else {
            SignedDuration::ZERO
        };
        Ok(Self {
            scene: Scene { world, user, webhook },
            class,
            takes,
            since: world.now() + takes,
            _receiver: receiver,
        })
    }

    /// Publishes an event, waits until its first try has ended, and returns when it did. If a receiver hangs, few
    /// requests to it may run at once (D8), so that a first try may have to wait until a retry has ended.
    async fn fail(&self) -> Result<Timestamp, Failure> {
        self.scene.deliver().await?;
        for _ in 0..5 {
            self.scene.world.advance(self.takes).await;
            if let Some(first) = self.scene.last_delivery().await?.attempts.first() {
                return Ok(first.ended_at);
            }
        }
        Err(Failure::CouldNotRun(
            "a first try has not ended after five time-outs".to_owned(),
        ))
    }

    /// One delivery fails with all its retries (D1, D4, D7, D10, B1), and opens the window (R1).
    async fn one_delivery(&self) -> Play {
        self.fail().await?;
        let delivery = self.scene.last_delivery().await?;
        same(
            "number and class of the first attempt",
            results(&delivery),
            vec![(1, Some(self.class))],
        )?;
        same(
            "nextAttemptAt",
            delivery.next_attempt_at,
            Some(self.since + DELAYS[0]),
        )?;
        self.scene
            .expect_health("after a failed first try", "ACTIVE", 1)
            .await?;
        self.scene
            .expect_window("after a failed first try", Some(self.since))
            .await?;
        self.scene.world.advance("PT1H").await;
        let delivery = self.scene.last_delivery().await?;
        let all = (1..=4).map(|number| (number, Some(self.class))).collect();
        same("number and class of all attempts", results(&delivery), all)?;
        let attempts = delivery.attempts.iter();
        let waits = attempts
            .zip(delivery.attempts.iter().skip(1))
            .map(|(one, next)| next.started_at.duration_since(one.ended_at));
        same("waits before the retries", waits.collect(), DELAYS.to_vec())?;
        same(
            "status and reason",
            (delivery.status.as_str(), delivery.reason.as_deref()),
            ("FAILED", Some("EXHAUSTED")),
        )?;
        self.scene.expect_health("after the retries", "ACTIVE", 1).await
    }

    /// Nine more failed first tries make a ban (B2, B4), which ends on time (B3, B7). Returns its start.
    async fn ten_failures(&self) -> Result<Timestamp, Failure> {
        let world = self.scene.world;
        for _ in 0..8 {
            self.fail().await?;
        }
        self.scene.expect_health("after nine", "ACTIVE", 9).await?;
        let start = self.fail().await?;
        self.scene.expect_health("after ten", "BANNED", 10).await?;
        same(
            "bannedUntil",
            self.scene.health().await?.banned_until,
            Some(start + BAN),
        )?;
        self.scene.deliver().await?;
        let lost = self.scene.last_delivery().await?;
        same(
            "status and reason of what was published in the ban",
            (lost.status.as_str(), lost.reason.as_deref(), lost.attempts.len()),
            ("LOST", Some("BANNED"), 0),
        )?;
        world.advance_to(start + BAN - MILLISECOND).await;
        self.scene
            .expect_health("a millisecond before the ban ends", "BANNED", 10)
            .await?;
        world.advance(MILLISECOND).await;
        self.scene.expect_health("when it ends", "ACTIVE", 0).await?;
        // The event that was published in the ban, and the retries of the nine before.
        let deliveries = self.scene.deliveries().await?;
        same("lost deliveries", count(&deliveries, "LOST"), 10)?;
        Ok(start)
    }

    /// Three days without a success remove the webhook, after warnings (R1–R4).
    async fn three_days(&self, banned: Timestamp) -> Play {
        let (scene, world) = (&self.scene, self.scene.world);
        let due = self.since + WINDOW;
        world.advance_to(due - SECOND - self.takes).await;
        self.fail().await?;
        let last = scene.last_delivery().await?;
        same("the last delivery", last.status.as_str(), "PENDING")?;
        world.advance_to(due - MILLISECOND).await;
        scene
            .expect_health("a millisecond before the removal", "ACTIVE", 1)
            .await?;
        scene
            .expect_window("a millisecond before the removal", Some(self.since))
            .await?;
        world.advance(MILLISECOND).await;
        let removed = scene.user.webhook(&scene.webhook.id).await?;
        same(
            "removedAt and removeReason",
            removed.map(|webhook| (webhook.removed_at, webhook.remove_reason)),
            Some((Some(due), Some("NO_SUCCESSFUL_DELIVERY".to_owned()))),
        )?;
        let last = scene.last_delivery().await?;
        same(
            "the last delivery",
            (last.status.as_str(), last.reason.as_deref()),
            ("CANCELLED", Some("WEBHOOK_REMOVED")),
        )?;
        let after = |hours| self.since + SignedDuration::from_hours(hours);
        let expected = [
            ("BANNED", banned),
            ("BAN_ENDED", banned + BAN),
            ("FAILING_24H", after(24)),
            ("FAILING_48H", after(48)),
            ("FAILING_71H", after(71)),
            ("REMOVED", due),
        ];
        let notices = scene.user.notices(&scene.webhook.id).await?;
        let seen: Vec<_> = notices
            .iter()
            .map(|notice| (notice.kind.as_str(), notice.at))
            .collect();
        same("notices", seen, expected.to_vec())
    }
}

/// Number and error class of each attempt.
fn results(delivery: &Delivery) -> Vec<(u8, Option<&str>)> {
    let attempts = delivery.attempts.iter();
    attempts
        .map(|attempt| (attempt.number, attempt.error_class.as_deref()))
        .collect()
}
