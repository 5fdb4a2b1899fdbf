//! A user pauses a webhook: due attempts are lost and the failure window closes. Counter and ban continue (W13).

use jiff::SignedDuration;

use super::scene::{BAN, MILLISECOND, Scene, WINDOW};
use crate::scenario::{Failure, Need, Play, Scenario, refused, same};
use crate::world::World;

pub(super) fn scenarios() -> Vec<Scenario> {
    let all = [
        Scenario::new(
            "published-in-a-pause-is-lost",
            "An event for a paused webhook is lost for that reason and never sent; after resuming, events arrive.",
            &["W13", "D7"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 200).await?;
                    let paused = scene.user.pause(&scene.webhook.id).await?;
                    same("the state answered", paused.health.state.as_str(), "PAUSED")?;
                    scene.deliver().await?;
                    expect_last(&scene, "LOST", Some("PAUSED")).await?;
                    world.advance("PT1H").await;
                    let resumed = scene.user.resume(&scene.webhook.id).await?;
                    same("the state answered", resumed.health.state.as_str(), "ACTIVE")?;
                    world.advance("PT1H").await;
                    same("requests for what was lost", receiver.journal().len(), 0)?;
                    scene.deliver().await?;
                    expect_last(&scene, "SUCCEEDED", None).await?;
                    same("requests after resuming", receiver.journal().len(), 1)
                })
            },
        ),
        Scenario::new(
            "a-retry-due-in-a-pause-is-lost",
            "A retry that is due during a pause is lost for that reason, and never sent.",
            &["W13"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 500).await?;
                    scene.deliver().await?;
                    scene.user.pause(&scene.webhook.id).await?;
                    world.advance("PT3S").await;
                    expect_last(&scene, "LOST", Some("PAUSED")).await?;
                    scene.user.resume(&scene.webhook.id).await?;
                    world.advance("PT1H").await;
                    same("requests", receiver.journal().len(), 1)
                })
            },
        ),
        Scenario::new(
            "due-in-a-pause-and-reached-after-it",
            "A retry that is due in a pause is lost even if no worker reaches it before the webhook is resumed; one that is due \
             before the pause is sent.",
            &["W13"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 500).await?;
                    for (pause_after, status, reason, requests) in [
                        ("PT1S", "LOST", Some("PAUSED"), 1),
                        ("PT4S", "SUCCEEDED", None, 3),
                    ] {
                        receiver.answer_with(500);
                        scene.deliver().await?;
                        let retry = world.now() + SignedDuration::from_secs(3);
                        same(
                            "when the retry is due",
                            scene.last_delivery().await?.next_attempt_at,
                            Some(retry),
                        )?;
                        keep_from_workers_for_a_minute(world).await?;
                        world.advance(pause_after).await;
                        scene.user.pause(&scene.webhook.id).await?;
                        world.advance("PT10S").await;
                        scene.user.resume(&scene.webhook.id).await?;
                        receiver.answer_with(200);
                        expect_last(&scene, "PENDING", None).await?;
                        world.advance("PT2M").await;
                        expect_last(&scene, status, reason).await?;
                        same("requests", receiver.journal().len(), requests)?;
                    }
                    Ok(())
                })
            },
        )
        .in_world(|builder| builder),
        Scenario::new(
            "a-pause-closes-the-window",
            "A pause closes an open window: the webhook is not removed during the pause or after it, and the next failure \
             opens a new window.",
            &["W13", "R1"],
            |world| {
                Box::pin(async move {
                    let (scene, _receiver) = Scene::new(world, 500).await?;
                    scene.deliver().await?;
                    world.advance(WINDOW - MILLISECOND).await;
                    scene.user.pause(&scene.webhook.id).await?;
                    scene.expect_window("in a pause", None).await?;
                    world.advance("P4D").await;
                    scene.expect_health("four days later", "PAUSED", 1).await?;
                    scene.user.resume(&scene.webhook.id).await?;
                    scene.expect_window("after resuming", None).await?;
                    let since = world.now();
                    scene.deliver().await?;
                    scene.expect_window("after the next failure", Some(since)).await?;
                    scene.expect_health("after the next failure", "ACTIVE", 2).await
                })
            },
        ),
        Scenario::new(
            "a-ban-ends-in-a-pause",
            "A ban continues during a pause; if it ends there, the webhook resumes active with counter zero.",
            &["W13", "B3", "B7"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 500).await?;
                    scene.deliver_times(10).await?;
                    scene.user.pause(&scene.webhook.id).await?;
                    scene.expect_health("paused in a ban", "PAUSED", 10).await?;
                    world.advance(BAN).await;
                    scene
                        .expect_health("as the ban ends in the pause", "PAUSED", 0)
                        .await?;
                    scene.user.resume(&scene.webhook.id).await?;
                    scene.expect_health("after resuming", "ACTIVE", 0).await?;
                    scene.deliver().await?;
                    same("requests", receiver.journal().len(), 11)
                })
            },
        ),
        Scenario::new(
            "resuming-does-not-lift-a-ban",
            "A webhook that is paused and resumed in a ban is still banned, until the same moment as before.",
            &["W13", "B2", "B4"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 500).await?;
                    scene.deliver_times(10).await?;
                    let until = world.now() + BAN;
                    world.advance("PT10M").await;
                    scene.user.pause(&scene.webhook.id).await?;
                    scene.deliver().await?;
                    expect_last(&scene, "LOST", Some("PAUSED")).await?;
                    scene.user.resume(&scene.webhook.id).await?;
                    scene.expect_health("resumed in a ban", "BANNED", 10).await?;
                    same("bannedUntil", scene.health().await?.banned_until, Some(until))?;
                    scene.deliver().await?;
                    expect_last(&scene, "LOST", Some("BANNED")).await?;
                    world.advance("PT20M").await;
                    scene.expect_health("at the ban's end", "ACTIVE", 0).await?;
                    same("requests", receiver.journal().len(), 10)
                })
            },
        ),
        Scenario::new(
            "removed-goes-before-paused",
            "A paused webhook that is deleted is removed, and cannot be paused or resumed.",
            &["W13"],
            |world| {
                Box::pin(async move {
                    let (scene, _receiver) = Scene::new(world, 200).await?;
                    let id = &scene.webhook.id;
                    scene.user.pause(id).await?;
                    scene.user.delete_webhook(id).await?;
                    scene.expect_health("after the deletion", "REMOVED", 0).await?;
                    refused("pausing it", scene.user.pause(id).await, "INVALID_STATE")?;
                    refused("resuming it", scene.user.resume(id).await, "INVALID_STATE")
                })
            },
        ),
        Scenario::new(
            "pausing-twice-is-refused",
            "An active webhook cannot be resumed, and a paused one cannot be paused.",
            &["W13"],
            |world| {
                Box::pin(async move {
                    let (scene, _receiver) = Scene::new(world, 200).await?;
                    let id = &scene.webhook.id;
                    refused(
                        "resuming an active one",
                        scene.user.resume(id).await,
                        "INVALID_STATE",
                    )?;
                    scene.user.pause(id).await?;
                    refused(
                        "pausing a paused one",
                        scene.user.pause(id).await,
                        "INVALID_STATE",
                    )?;
                    scene.expect_health("after both refusals", "PAUSED", 0).await
                })
            },
        ),
        Scenario::new(
            "a-paused-webhook-takes-a-place",
            "A paused webhook counts against the limit like any other.",
            &["W13", "W3"],
            |world| {
                Box::pin(async move {
                    let (scene, _receiver) = Scene::new(world, 200).await?;
                    scene.user.pause(&scene.webhook.id).await?;
                    same("places used", scene.places_used().await?, 1)
                })
            },
        ),
        Scenario::new(
            "failures-before-a-pause-count-after-it",
            "A pause does not change the counter: nine failures before it and one after it start a ban.",
            &["W13", "B1", "B2"],
            |world| {
                Box::pin(async move {
                    let (scene, _receiver) = Scene::new(world, 500).await?;
                    scene.deliver_times(9).await?;
                    scene.user.pause(&scene.webhook.id).await?;
                    world.advance(SignedDuration::from_hours(24)).await;
                    scene.expect_health("a day into the pause", "PAUSED", 9).await?;
                    scene.user.resume(&scene.webhook.id).await?;
                    scene.deliver().await?;
                    scene.expect_health("after the tenth", "BANNED", 10).await
                })
            },
        ),
    ];
    all.map(|scenario| scenario.needing(Need::Pause)).into()
}

/// Lets no worker take the waiting deliveries for a minute, as if a process held them that has just crashed. Their due time
/// stays.
async fn keep_from_workers_for_a_minute(world: &World) -> Play {
    let database = world.database();
    let database = database.ok_or_else(|| Failure::CouldNotRun("the servers are not ours".to_owned()))?;
    Ok(database
        .execute("update deliveries set vis_at = vis_at + interval '1 minute'")
        .await?)
}

/// Checks the status and the reason of the latest delivery.
async fn expect_last(scene: &Scene<'_>, status: &str, reason: Option<&str>) -> Play {
    let last = scene.last_delivery().await?;
    same(
        "the latest delivery's status and reason",
        (last.status.as_str(), last.reason.as_deref()),
        (status, reason),
    )
}
