//! Bans during which something else happens: attempts in flight, several servers, crashes and restarts (B4–B7).

use std::sync::Arc;

use super::scene::{BAN, Scene, count};
use crate::client::NewWebhook;
use crate::reply::{Answer, Reply, Script};
use crate::scenario::{Need, Play, Scenario, holds, same};
use crate::wire::{Behaviour, Fault, ReleaseSignal};
use crate::world::World;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "a-late-success-does-not-lift-the-ban",
            "The success of an attempt in flight counts and closes the window, but does not end the ban.",
            &["B5"],
            |world| Box::pin(late(world, Some(200))),
        ),
        Scenario::new(
            "a-late-failure-does-not-prolong-the-ban",
            "The failure of an attempt in flight does not raise the counter above ten, and does not move the ban's end.",
            &["B5"],
            |world| Box::pin(late(world, Some(500))),
        ),
        Scenario::new(
            "a-late-time-out-does-not-prolong-the-ban",
            "The time-out of an attempt in flight does not raise the counter above ten, and does not move the ban's end.",
            &["B5"],
            |world| Box::pin(late(world, None)),
        ),
        Scenario::new(
            "a-hundred-failures-at-once-make-one-ban",
            "A burst of failures at the same instant starts one ban of thirty minutes.",
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
            "two-servers-make-one-ban",
            "Failures at one instant on two servers start one ban that both keep; one server takes over the deliveries of \
             the other.",
            &["B6", "D6"],
            |world| {
                Box::pin(async move {
                    let signal = ReleaseSignal::default();
                    let receiver = world.wire(Behaviour::ReplyOnRelease(signal.clone(), 500.into())).await;
                    let user = world.company(1).owner(7).await?;
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
                        let health = world.company(1).at(server).owner(7).await?.health(&webhook.id).await?;
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
                    let last = world.company(1).owner(7).await?.last_delivery(&webhook.id).await?;
                    same("a retry at the server that is left", last.status.as_str(), "SUCCEEDED")
                })
            },
        )
        .in_world(|builder| builder.servers(2)),
        Scenario::new(
            "a-crash-forgets-nothing",
            "After a crash and a restart, counter, ban, window and open deliveries are unchanged.",
            &["B6", "D6", "E3", "R1"],
            |world| {
                Box::pin(async move {
                    let receiver = world.receiver(500).await;
                    let user = world.company(1).owner(7).await?;
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
                    let other = world.company(1).owner(7).await?.create_webhook(NewWebhook::to(&recovering.url())).await?.webhook;
                    world.company(1).publish().await?;
                    world.settle().await;
                    let before = world.company(1).owner(7).await?.health(&webhook.id).await?;
                    same("state and counter", (before.state.as_str(), before.ban_counter), ("BANNED", 10))?;
                    same("failingSince", before.failing_since, Some(since))?;
                    world.restart().await?;
                    world.advance("PT29M59S").await;
                    let user = world.company(1).owner(7).await?;
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
                    let user = world.company(1).owner(7).await?;
                    let id = user.create_webhook(NewWebhook::to(&receiver.url())).await?.webhook.id;
                    for _ in 0..10 {
                        world.company(1).publish().await?;
                        world.settle().await;
                    }
                    world.stop(0).await;
                    world.advance(BAN).await;
                    world.launch().await;
                    world.settle().await;
                    let user = world.company(1).owner(7).await?;
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
    ]
}

/// Lets ten first tries fail while one more attempt is in flight. That one then ends with `status`, or with a time-out if
/// there is none.
async fn late(world: &World, status: Option<u16>) -> Play {
    let signal = ReleaseSignal::default();
    let held = match status {
        Some(status) => Behaviour::ReplyOnRelease(signal.clone(), status.into()),
        None => Fault::HangBeforeHeaders.into(),
    };
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
    // D2: an attempt that is never released times out.
    world
        .advance(if status.is_some() { "PT0S" } else { "PT5S" })
        .await;
    scene
        .expect_health("after the late one has ended", "BANNED", 10)
        .await?;
    let health = scene.health().await?;
    same("bannedUntil", health.banned_until, Some(until))?;
    let first = scene.deliveries().await?.remove(0);
    same(
        "the late one's status",
        first.attempts.first().map(|attempt| attempt.http_status),
        Some(status),
    )?;
    if status == Some(200) {
        same("the late one", first.status.as_str(), "SUCCEEDED")?;
        same("lastSuccessAt", health.last_success_at, Some(world.now()))?;
        same("failingSince", health.failing_since, None)?;
    }
    world.advance_to(until).await;
    same("requests until the ban's end", receiver.journal().len(), 11)?;
    scene.expect_health("at the ban's end", "ACTIVE", 0).await
}
