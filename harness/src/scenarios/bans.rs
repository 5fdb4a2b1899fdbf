//! Ten failed first tries ban a webhook for 30 minutes. Attempts that are due during the ban are lost (B1–B7).

use jiff::SignedDuration;

use super::scene::{AROUND, BAN, MILLISECOND, Scene, count};
use crate::client::NewWebhook;
use crate::reply::{Answer, Script};
use crate::scenario::{Scenario, same};
use crate::wire::Fault;

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = vec![
        Scenario::new(
            "first-try-counts-one",
            "A failed first try adds one to the ban counter.",
            &["B1"],
            |world| {
                Box::pin(async move {
                    let (scene, _receiver) = Scene::new(world, 500).await?;
                    scene.deliver().await?;
                    scene
                        .expect_health("after one failed first try", "ACTIVE", 1)
                        .await
                })
            },
        ),
        Scenario::new(
            "retries-never-count",
            "Four failed attempts of one delivery count once.",
            &["B1"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 500).await?;
                    scene.deliver().await?;
                    world.advance("PT183S").await;
                    same("requests", receiver.journal().len(), 4)?;
                    scene
                        .expect_health("after a delivery has failed", "ACTIVE", 1)
                        .await
                })
            },
        ),
        Scenario::new(
            "ban-counts-from-the-end-of-the-tenth",
            "When the tenth first try times out, the ban counts from the time-out.",
            &["B2", "D2"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::on_wire(world, 500).await?;
                    scene.deliver_times(9).await?;
                    receiver.behave(Fault::HangBeforeHeaders);
                    scene.deliver().await?;
                    scene.expect_health("while the tenth hangs", "ACTIVE", 9).await?;
                    world.advance("PT10S").await;
                    let health = scene.health().await?;
                    same("bannedUntil", health.banned_until, Some(world.now() + BAN))
                })
            },
        ),
        Scenario::new(
            "success-does-not-reset-the-counter",
            "Successes do not change the ban counter, however many there are.",
            &["B3"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 500).await?;
                    scene.deliver_times(9).await?;
                    receiver.answer_with(200);
                    scene.deliver_times(3).await?;
                    world.advance("P2D").await;
                    scene.deliver().await?;
                    scene.expect_health("after successes", "ACTIVE", 9).await?;
                    receiver.answer_with(500);
                    scene.deliver().await?;
                    scene
                        .expect_health("after the tenth failure, days later", "BANNED", 10)
                        .await
                })
            },
        ),
        Scenario::new(
            "after-a-ban-the-counter-is-zero",
            "After a ban, ten further failures start the next ban.",
            &["B3"],
            |world| {
                Box::pin(async move {
                    let (scene, _receiver) = Scene::new(world, 500).await?;
                    scene.deliver_times(10).await?;
                    world.advance("PT30M").await;
                    scene.expect_health("when the ban is over", "ACTIVE", 0).await?;
                    scene.deliver_times(9).await?;
                    scene
                        .expect_health("after nine further failures", "ACTIVE", 9)
                        .await?;
                    scene.deliver().await?;
                    scene.expect_health("after the tenth", "BANNED", 10).await
                })
            },
        ),
        Scenario::new(
            "events-in-a-ban-are-lost",
            "An event that is published during a ban is recorded as lost, and never sent.",
            &["B4", "D7"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 500).await?;
                    scene.deliver_times(10).await?;
                    world.advance("PT10M").await;
                    receiver.answer_with(200);
                    let published = scene.deliver().await?;
                    same("deliveryCount in a ban", published.delivery_count, 1)?;
                    let delivery = scene.last_delivery().await?;
                    same(
                        "status, reason and end of what was published in the ban",
                        (
                            delivery.status.as_str(),
                            delivery.reason.as_deref(),
                            delivery.finished_at,
                        ),
                        ("LOST", Some("BANNED"), Some(world.now())),
                    )?;
                    world.advance("P1D").await;
                    same("requests a day later", receiver.journal().len(), 10)
                })
            },
        ),
        Scenario::new(
            "retries-due-in-a-ban-are-lost",
            "A retry that is due during a ban is lost at that moment, and never sent.",
            &["B4", "D4"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 500).await?;
                    scene.deliver_times(10).await?;
                    let due = world.now() + SignedDuration::from_secs(3);
                    world.advance("P1D").await;
                    same("requests", receiver.journal().len(), 10)?;
                    let deliveries = scene.deliveries().await?;
                    same("lost deliveries", count(&deliveries, "LOST"), 10)?;
                    for delivery in &deliveries {
                        same("when a due retry was lost", delivery.finished_at, Some(due))?;
                        same("attempts of it", delivery.attempts.len(), 1)?;
                    }
                    Ok(())
                })
            },
        ),
        Scenario::new(
            "losses-are-counted",
            "The health has the number of deliveries that were lost in the current or last ban.",
            &["B4", "R5"],
            |world| {
                Box::pin(async move {
                    let (scene, _receiver) = Scene::new(world, 500).await?;
                    scene.deliver_times(10).await?;
                    scene.company().publish_many(5).await?;
                    world.settle().await;
                    same("lostCount in the ban", scene.health().await?.lost_count, 5)?;
                    world.advance("PT40M").await;
                    same("lostCount after it", scene.health().await?.lost_count, 15)
                })
            },
        ),
        Scenario::new(
            "each-webhook-has-its-own-counter",
            "One webhook's ban does not affect another webhook of the same user.",
            &["B1", "B2"],
            |world| {
                Box::pin(async move {
                    let (scene, _failing) = Scene::new(world, 500).await?;
                    let healthy = world.receiver(200).await;
                    let other = scene
                        .user
                        .create_webhook(NewWebhook::to(&healthy.url()))
                        .await?
                        .webhook;
                    scene.deliver_times(11).await?;
                    scene.expect_health("of the failing one", "BANNED", 10).await?;
                    let health = scene.user.health(&other.id).await?;
                    same(
                        "the other's",
                        (health.state.as_str(), health.ban_counter),
                        ("ACTIVE", 0),
                    )?;
                    same("requests to the other", healthy.journal().len(), 11)
                })
            },
        ),
        Scenario::new(
            "timeouts-ban-too",
            "Ten first tries that time out start a ban, as ten refused connections do.",
            &["B1", "B2", "D2"],
            |world| {
                Box::pin(async move {
                    let script = Script::by_attempt([Answer::Hang], 200);
                    let (scene, _receiver) = Scene::new(world, script).await?;
                    for _ in 0..10 {
                        scene.deliver().await?;
                        world.advance("PT10S").await;
                    }
                    scene.expect_health("after ten time-outs", "BANNED", 10).await
                })
            },
        ),
        Scenario::new(
            "refused-connections-ban-too",
            "Ten refused connections start a ban.",
            &["B1", "B2", "D1"],
            |world| {
                Box::pin(async move {
                    let receiver = world.refusing();
                    let scene = Scene::leading_to(world, &receiver.url()).await?;
                    scene.deliver_times(10).await?;
                    scene.expect_health("after ten refusals", "BANNED", 10).await
                })
            },
        ),
        Scenario::new(
            "a-ban-ends-without-a-request",
            "A ban ends by time alone, without any request; the next transition says when.",
            &["B7", "R5", "T2"],
            |world| {
                Box::pin(async move {
                    let (scene, _receiver) = Scene::new(world, 500).await?;
                    scene.deliver_times(10).await?;
                    let until = world.now() + BAN;
                    let next = scene.health().await?.next_transition;
                    same(
                        "the next transition",
                        next.map(|next| (next.at, next.to)),
                        Some((until, "ACTIVE".to_owned())),
                    )?;
                    world.advance(BAN).await;
                    scene.expect_health("when time has passed", "ACTIVE", 0).await
                })
            },
        ),
    ];
    all.extend([9, 10, 11].map(failures));
    all.extend(AROUND.map(|(word, offset)| ban_end(word, offset)));
    all
}

/// A scenario with nine, ten or eleven failed first tries.
fn failures(times: usize) -> Scenario {
    let sentence = match times {
        9 => "Nine failed first tries do not start a ban.",
        10 => "Ten failed first tries start a ban.",
        _ => "The eleventh event is published during the ban that the tenth failure started, and is lost.",
    };
    Scenario::new(
        format!("failures-{times}"),
        sentence,
        &["B1", "B2"],
        move |world| {
            Box::pin(async move {
                let (scene, receiver) = Scene::new(world, 500).await?;
                scene.deliver_times(times).await?;
                let (state, counter) = if times < 10 { ("ACTIVE", 9) } else { ("BANNED", 10) };
                scene.expect_health("after them", state, counter).await?;
                same("banThreshold", scene.health().await?.ban_threshold, 10)?;
                same("requests", receiver.journal().len(), times.min(10))?;
                same(
                    "lost",
                    count(&scene.deliveries().await?, "LOST"),
                    times.saturating_sub(10),
                )
            })
        },
    )
}

/// A scenario about the end of a ban, seen at `offset` from it.
fn ban_end(word: &str, offset: SignedDuration) -> Scenario {
    Scenario::new(
        format!("ban-end-{word}"),
        format!(
            "An event published {} the end of the thirty minutes is {}.",
            word.replace('-', " "),
            if offset < SignedDuration::ZERO {
                "lost"
            } else {
                "sent"
            }
        ),
        &["B2", "B3", "B7", "T2"],
        move |world| {
            Box::pin(async move {
                let (scene, receiver) = Scene::new(world, 500).await?;
                world.advance("PT1.234S").await;
                scene.deliver_times(10).await?;
                world.advance(BAN + offset).await;
                receiver.answer_with(200);
                scene.deliver().await?;
                let (state, counter, status) = if offset < SignedDuration::ZERO {
                    ("BANNED", 10, "LOST")
                } else {
                    ("ACTIVE", 0, "SUCCEEDED")
                };
                scene.expect_health("at that moment", state, counter).await?;
                same(
                    "the delivery",
                    scene.last_delivery().await?.status.as_str(),
                    status,
                )?;
                world.advance(MILLISECOND).await;
                scene.expect_health("a millisecond later", "ACTIVE", 0).await
            })
        },
    )
}
