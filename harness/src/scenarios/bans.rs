//! Ten failed first tries ban a webhook for 30 minutes. Attempts that are due during the ban are lost (B1–B7).

use std::sync::Arc;

use jiff::SignedDuration;

use super::scene::{AROUND, BAN, MILLISECOND, Scene, count};
use crate::client::NewWebhook;
use crate::reply::{Answer, Reply, Script};
use crate::scenario::{Need, Scenario, holds, same};
use crate::wire::{Behaviour, Fault, ReleaseSignal};

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
                    scene.expect_health("after one failed first try", "ACTIVE", 1).await
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
                    scene.expect_health("after a delivery has failed", "ACTIVE", 1).await
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
            "Successes leave the ban counter as it is, however many and however long.",
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
                    scene.expect_health("after the tenth failure, days later", "BANNED", 10).await
                })
            },
        ),
        Scenario::new(
            "after-a-ban-the-counter-is-zero",
            "After a ban it takes ten further failures until the next.",
            &["B3"],
            |world| {
                Box::pin(async move {
                    let (scene, _receiver) = Scene::new(world, 500).await?;
                    scene.deliver_times(10).await?;
                    world.advance("PT30M").await;
                    scene.expect_health("when the ban is over", "ACTIVE", 0).await?;
                    scene.deliver_times(9).await?;
                    scene.expect_health("after nine failures more", "ACTIVE", 9).await?;
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
                        (delivery.status.as_str(), delivery.reason.as_deref(), delivery.finished_at),
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
            "a-late-success-does-not-lift-the-ban",
            "The success of an attempt in flight counts and closes the window, but does not end the ban.",
            &["B5"],
            |world| Box::pin(late(world, 200)),
        ),
        Scenario::new(
            "a-late-failure-does-not-prolong-the-ban",
            "The failure of an attempt in flight does not raise the counter above ten, and does not move the ban's end.",
            &["B5"],
            |world| Box::pin(late(world, 500)),
        ),
        Scenario::new(
            "a-hundred-failures-at-once-make-one-ban",
            "A burst of failures in the same instant makes one ban of thirty minutes.",
            &["B5", "B6"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 500).await?;
                    scene.company().publish_many(100).await?;
                    world.settle().await;
                    let health = scene.health().await?;
                    same(
                        "state, counter and end",
                        (health.state.as_str(), health.ban_counter, health.banned_until),
                        ("BANNED", 10, Some(world.now() + BAN)),
                    )?;
                    let sent = receiver.journal().len();
                    let lost = count(&scene.deliveries().await?, "LOST");
                    same("first tries sent and events lost", sent + lost, 100)?;
                    holds("first tries sent", "at least the ten", sent >= 10, &sent)?;
                    world.advance("PT30M").await;
                    scene.expect_health("after that ban", "ACTIVE", 0).await
                })
            },
        ),
        Scenario::new(
            "each-webhook-has-its-own-counter",
            "One webhook's ban does not touch another of the same user.",
            &["B1", "B2"],
            |world| {
                Box::pin(async move {
                    let (scene, _failing) = Scene::new(world, 500).await?;
                    let healthy = world.receiver(200).await;
                    let other = scene.user.create_webhook(NewWebhook::to(&healthy.url())).await?.webhook;
                    scene.deliver_times(11).await?;
                    scene.expect_health("of the failing one", "BANNED", 10).await?;
                    let health = scene.user.health(&other.id).await?;
                    same("the other's", (health.state.as_str(), health.ban_counter), ("ACTIVE", 0))?;
                    same("requests to the other", healthy.journal().len(), 11)
                })
            },
        ),
        Scenario::new(
            "timeouts-ban-too",
            "Ten first tries that time out make a ban as ten refusals do.",
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
            "Ten refused connections make a ban.",
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
        Scenario::new(
            "two-servers-make-one-ban",
            "Failures in one instant on two servers make one ban that both know; one server takes over the deliveries of the other.",
            &["B6", "D6"],
            |world| {
                Box::pin(async move {
                    let signal = ReleaseSignal::default();
                    let receiver = world.wire(Behaviour::ReplyOnRelease(signal.clone(), 500.into())).await;
                    let user = world.company(1).user(7);
                    let webhook = user.create_webhook(NewWebhook::to(&receiver.url())).await?.webhook;
                    for server in [0, 1] {
                        for _ in 0..6 {
                            world.company(1).at(server).publish().await?;
                        }
                    }
                    receiver.journal().wait_for(12).await;
                    signal.release();
                    world.settle().await;
                    for server in [0, 1] {
                        let health = world.company(1).at(server).user(7).health(&webhook.id).await?;
                        same(
                            format!("state, counter and end at server {server}"),
                            (health.state.as_str(), health.ban_counter, health.banned_until),
                            ("BANNED", 10, Some(world.now() + BAN)),
                        )?;
                    }
                    for server in [0, 1] {
                        world.company(1).at(server).publish().await?;
                    }
                    world.settle().await;
                    same("requests when both have published in the ban", receiver.journal().len(), 12)?;
                    world.stop(0).await;
                    world.advance("PT30M").await;
                    receiver.behave(500);
                    world.company(1).publish().await?;
                    world.settle().await;
                    receiver.behave(200);
                    world.advance("PT3S").await;
                    let last = world.company(1).user(7).last_delivery(&webhook.id).await?;
                    same("a retry at the server that is left", last.status.as_str(), "SUCCEEDED")
                })
            },
        )
        .in_world(|builder| builder.servers(2)),
        Scenario::new(
            "a-crash-forgets-nothing",
            "Counter, ban, window and open deliveries are what they were after a crash and a restart.",
            &["B6", "D6", "E3", "R1"],
            |world| {
                Box::pin(async move {
                    let receiver = world.receiver(500).await;
                    let user = world.company(1).user(7);
                    let webhook = user.create_webhook(NewWebhook::to(&receiver.url())).await?.webhook;
                    let since = world.now();
                    world.company(1).publish_many(9).await?;
                    world.settle().await;
                    world.restart().await?;
                    let recovering = world
                        .receiver(Script::new(|arrival, _| {
                            Answer::Reply(Reply::status(if arrival.attempt() == 1 { 500 } else { 200 }))
                        }))
                        .await;
                    let other = world.company(1).user(7).create_webhook(NewWebhook::to(&recovering.url())).await?.webhook;
                    world.company(1).publish().await?;
                    world.settle().await;
                    let before = world.company(1).user(7).health(&webhook.id).await?;
                    same("state and counter", (before.state.as_str(), before.ban_counter), ("BANNED", 10))?;
                    same("failingSince", before.failing_since, Some(since))?;
                    world.restart().await?;
                    world.advance("PT29M59S").await;
                    let user = world.company(1).user(7);
                    same("bannedUntil", user.health(&webhook.id).await?.banned_until, before.banned_until)?;
                    same("lost of ten", count(&user.deliveries(&webhook.id).await?, "LOST"), 10)?;
                    world.advance("PT1S").await;
                    same("the state when the ban is over", user.health(&webhook.id).await?.state.as_str(), "ACTIVE")?;
                    same("requests", receiver.journal().len(), 10)?;
                    let last = world.operator().last_delivery(&other.id).await?;
                    same("the retry that was ahead", last.status.as_str(), "SUCCEEDED")?;
                    same("its requests", recovering.journal().len(), 2)
                })
            },
        )
        .needing(Need::Restart),
        Scenario::new(
            "a-ban-ends-while-no-server-runs",
            "A ban that ends while no server runs has ended when one starts; deliveries that were due in it stay lost.",
            &["B7", "B4", "D6"],
            |world| {
                Box::pin(async move {
                    let receiver = world.receiver(500).await;
                    let user = world.company(1).user(7);
                    let id = user.create_webhook(NewWebhook::to(&receiver.url())).await?.webhook.id;
                    for _ in 0..10 {
                        world.company(1).publish().await?;
                        world.settle().await;
                    }
                    world.stop(0).await;
                    world.advance(BAN).await;
                    world.launch().await;
                    world.settle().await;
                    let user = world.company(1).user(7);
                    let health = user.health(&id).await?;
                    same(
                        "state and counter after the restart",
                        (health.state.as_str(), health.ban_counter),
                        ("ACTIVE", 0),
                    )?;
                    same("lost of ten", count(&user.deliveries(&id).await?, "LOST"), 10)?;
                    world.company(1).publish().await?;
                    world.settle().await;
                    same("requests, one of them after the ban", receiver.journal().len(), 11)
                })
            },
        )
        .needing(Need::OwnServers),
    ];
    all.extend([9, 10, 11].map(failures));
    all.extend(AROUND.map(|(word, offset)| ban_end(word, offset)));
    all
}

/// A scenario with nine, ten or eleven failed first tries.
fn failures(times: usize) -> Scenario {
    let sentence = match times {
        9 => "Nine failed first tries make no ban.",
        10 => "Ten failed first tries make a ban.",
        _ => "The eleventh event meets the ban that the tenth has made, and is lost.",
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
            "What is published {word} thirty minutes is {}.",
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

/// Lets ten first tries fail while one more attempt is in flight. That one then ends with `status`.
async fn late(world: &crate::world::World, status: u16) -> crate::scenario::Play {
    let signal = ReleaseSignal::default();
    let held = Behaviour::ReplyOnRelease(signal.clone(), status.into());
    let receiver = world
        .wire_by_connection(Arc::new(move |connection| match connection {
            0 => held.clone(),
            _ => 500.into(),
        }))
        .await;
    let scene = Scene::leading_to(world, &receiver.url()).await?;
    scene.company().publish().await?;
    receiver.journal().wait_for(1).await;
    scene.deliver_times(10).await?;
    let until = world.now() + BAN;
    scene.expect_health("after ten failures", "BANNED", 10).await?;
    world.advance("PT5S").await;
    signal.release();
    world.settle().await;
    scene
        .expect_health("after the late one has ended", "BANNED", 10)
        .await?;
    let health = scene.health().await?;
    same("bannedUntil", health.banned_until, Some(until))?;
    let first = scene.deliveries().await?.remove(0);
    same(
        "the late one's status",
        first.attempts.first().and_then(|attempt| attempt.http_status),
        Some(status),
    )?;
    if status == 200 {
        same("the late one", first.status.as_str(), "SUCCEEDED")?;
        same("lastSuccessAt", health.last_success_at, Some(world.now()))?;
        same("failingSince", health.failing_since, None)?;
    }
    world.advance_to(until).await;
    same("requests until the ban's end", receiver.journal().len(), 11)?;
    scene.expect_health("at the ban's end", "ACTIVE", 0).await
}
