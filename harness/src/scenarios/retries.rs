//! A failed first try has three retries. They start 3, 30 and 150 seconds after the end of the previous attempt (D4,
//! D5).

use jiff::{SignedDuration, Timestamp};

use super::scene::{AROUND, MILLISECOND, Scene};
use crate::client::NewWebhook;
use crate::reply::{Reply, Script};
use crate::scenario::{Need, Scenario, same};
use crate::wire::Fault;

/// D4's delays, in seconds.
const DELAYS: [i64; 3] = [3, 30, 150];

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = vec![
        Scenario::new(
            "four-attempts-then-failed",
            "All four attempts failed: the delivery is FAILED as EXHAUSTED, and nothing more is sent.",
            &["D4", "D7"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 500).await?;
                    let start = world.now();
                    scene.deliver().await?;
                    world.advance("P1D").await;
                    let numbers: Vec<u8> = receiver
                        .journal()
                        .all()
                        .iter()
                        .map(|arrival| arrival.attempt())
                        .collect();
                    same("attempt numbers on the wire", numbers, vec![1, 2, 3, 4])?;
                    let delivery = scene.last_delivery().await?;
                    same(
                        "status, reason and end",
                        (
                            delivery.status.as_str(),
                            delivery.reason.as_deref(),
                            delivery.finished_at,
                        ),
                        (
                            "FAILED",
                            Some("EXHAUSTED"),
                            Some(start + SignedDuration::from_secs(183)),
                        ),
                    )?;
                    same("nextAttemptAt", delivery.next_attempt_at, None)?;
                    let numbers: Vec<u8> = delivery.attempts.iter().map(|attempt| attempt.number).collect();
                    same("attempt numbers on record", numbers, vec![1, 2, 3, 4])
                })
            },
        ),
        Scenario::new(
            "retries-count-from-the-end-of-the-attempt",
            "A retry is due 3 s after the end of an attempt that took its full ten seconds.",
            &["D4", "D2"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::on_wire(world, Fault::HangBeforeHeaders).await?;
                    let start = world.now();
                    scene.deliver().await?;
                    world.advance("PT10S").await;
                    let due = start + SignedDuration::from_secs(13);
                    same(
                        "nextAttemptAt",
                        scene.last_delivery().await?.next_attempt_at,
                        Some(due),
                    )?;
                    receiver.behave(200);
                    world.advance("PT2.999S").await;
                    same("requests before it is due", receiver.journal().len(), 1)?;
                    world.advance(MILLISECOND).await;
                    same("requests when it is due", receiver.journal().len(), 2)?;
                    same(
                        "the delivery",
                        scene.last_delivery().await?.status.as_str(),
                        "SUCCEEDED",
                    )
                })
            },
        ),
        Scenario::new(
            "retry-after-changes-nothing",
            "A Retry-After header does not change the time of a retry.",
            &["D4"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) =
                        Scene::new(world, Reply::status(503).header("retry-after", "3600")).await?;
                    scene.deliver().await?;
                    world.advance("PT3S").await;
                    same("requests after 3 s", receiver.journal().len(), 2)
                })
            },
        ),
        Scenario::new(
            "gone-changes-nothing",
            "410 Gone is a failure like any other: it is retried, and the webhook stays.",
            &["D4"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 410).await?;
                    scene.deliver().await?;
                    world.advance("PT183S").await;
                    same("requests", receiver.journal().len(), 4)?;
                    scene.expect_health("after four times 410", "ACTIVE", 1).await
                })
            },
        ),
        Scenario::new(
            "client-errors-are-retried",
            "4xx responses are retried like 5xx responses.",
            &["D1", "D4"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) =
                        Scene::new(world, Script::by_attempt([400, 404, 422], 200)).await?;
                    scene.deliver().await?;
                    world.advance("PT183S").await;
                    same("requests", receiver.journal().len(), 4)?;
                    same(
                        "the delivery",
                        scene.last_delivery().await?.status.as_str(),
                        "SUCCEEDED",
                    )
                })
            },
        ),
        Scenario::new(
            "a-reset-is-one-request",
            "A receiver that resets the connection gets one request per attempt; the HTTP client does not repeat it.",
            &["D5"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::on_wire(world, Fault::ResetAfterRequest).await?;
                    scene.deliver().await?;
                    same("requests of the first attempt", receiver.journal().len(), 1)?;
                    world.advance("PT183S").await;
                    let numbers: Vec<u8> = receiver
                        .journal()
                        .all()
                        .iter()
                        .map(|arrival| arrival.attempt())
                        .collect();
                    same("attempt numbers on the wire", numbers, vec![1, 2, 3, 4])
                })
            },
        ),
        Scenario::new(
            "a-closed-idle-connection-is-nobodys-failure",
            "Deliveries minutes apart succeed on their first try although the receiver closes idle connections.",
            &["D5"],
            |world| {
                Box::pin(async move {
                    let (scene, _receiver) = Scene::new(world, 200).await?;
                    for _ in 0..5 {
                        scene.deliver().await?;
                        world.advance("PT5M").await;
                    }
                    scene.expect_health("after five successes", "ACTIVE", 0).await
                })
            },
        ),
        Scenario::new(
            "retries-work-in-seconds",
            "After a failed first try the retry comes between 2 and 5 seconds later; the margin allows for real time.",
            &["D4", "B1", "E7"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, Script::by_attempt([500], 200)).await?;
                    scene.deliver().await?;
                    same("requests at first", receiver.journal().len(), 1)?;
                    world.advance("PT2S").await;
                    same("requests after 2 s", receiver.journal().len(), 1)?;
                    world.advance("PT3S").await;
                    world.settle().await;
                    same("requests after 5 s", receiver.journal().len(), 2)?;
                    same(
                        "the delivery",
                        scene.last_delivery().await?.status.as_str(),
                        "SUCCEEDED",
                    )?;
                    scene.expect_health("after a failed first try", "ACTIVE", 1).await
                })
            },
        )
        .also_in_real_time(),
        Scenario::new(
            "a-retry-due-while-no-server-ran",
            "A retry that was due while no server ran is made when one starts, under its own number.",
            &["D6", "D4"],
            |world| {
                Box::pin(async move {
                    let receiver = world.receiver(Script::by_attempt([500], 200)).await;
                    let user = world.company(1).owner(7).await?;
                    let id = user
                        .create_webhook(NewWebhook::to(&receiver.url()))
                        .await?
                        .webhook
                        .id;
                    world.company(1).publish().await?;
                    world.settle().await;
                    world.stop(0).await;
                    world.advance("PT1H").await;
                    world.launch().await;
                    world.settle().await;
                    let arrivals = receiver.journal().all();
                    let seen: Vec<_> = arrivals
                        .iter()
                        .map(|arrival| (arrival.attempt(), arrival.at))
                        .collect();
                    same(
                        "attempts and times after the first",
                        seen.get(1..),
                        Some(&[(2, world.now())][..]),
                    )?;
                    let last = world.company(1).owner(7).await?.last_delivery(&id).await?;
                    same("the delivery", last.status.as_str(), "SUCCEEDED")
                })
            },
        )
        .needing(Need::OwnServers),
    ];
    all.extend((2..=4).map(succeeds_at));
    for retry in 1..=3 {
        all.extend(AROUND.map(|(word, offset)| retry_due(retry, word, offset)));
    }
    all
}

/// A scenario in which attempt `number` succeeds.
fn succeeds_at(number: u8) -> Scenario {
    Scenario::new(
        format!("success-at-attempt-{number}"),
        format!(
            "Attempt {number} succeeds: the delivery has succeeded, with {number} attempts, and the counter is one."
        ),
        &["D4", "B1"],
        move |world| {
            Box::pin(async move {
                let failures = vec![500; usize::from(number) - 1];
                let (scene, receiver) = Scene::new(world, Script::by_attempt(failures, 200)).await?;
                scene.deliver().await?;
                world.advance("PT1H").await;
                let delivery = scene.last_delivery().await?;
                same(
                    "status and attempts",
                    (
                        delivery.status.as_str(),
                        delivery.attempts.len(),
                        receiver.journal().len(),
                    ),
                    ("SUCCEEDED", usize::from(number), usize::from(number)),
                )?;
                scene.expect_health("after it", "ACTIVE", 1).await
            })
        },
    )
}

/// A scenario that looks for a retry at `offset` from its due time.
fn retry_due(retry: usize, word: &str, offset: SignedDuration) -> Scenario {
    let delay = DELAYS[retry - 1];
    let sent = offset >= SignedDuration::ZERO;
    Scenario::new(
        format!("retry-{retry}-{word}"),
        format!(
            "Retry {retry} is {} {word} {delay} s after the attempt before.",
            if sent { "sent" } else { "not yet sent" }
        ),
        &["D4", "T2"],
        move |world| {
            Box::pin(async move {
                let (scene, receiver) = Scene::new(world, 500).await?;
                scene.deliver().await?;
                let before: i64 = DELAYS[..retry - 1].iter().sum();
                world.advance(SignedDuration::from_secs(before)).await;
                let previous: Timestamp = world.now();
                same(
                    "requests when the attempt before has ended",
                    receiver.journal().len(),
                    retry,
                )?;
                let due = previous + SignedDuration::from_secs(delay);
                same(
                    "nextAttemptAt",
                    scene.last_delivery().await?.next_attempt_at,
                    Some(due),
                )?;
                world.advance_to(due + offset).await;
                same(
                    "requests at that moment",
                    receiver.journal().len(),
                    retry + usize::from(sent),
                )?;
                if sent {
                    let last = receiver.journal().all().pop();
                    same("when it was sent", last.map(|arrival| arrival.at), Some(due))?;
                }
                Ok(())
            })
        },
    )
}
