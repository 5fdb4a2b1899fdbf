//! Anyone who may create a webhook can restore it in time after the policy removed it (W12).

use super::callers::silent;
use super::scene::{Scene, WINDOW};
use crate::client::WebhookList;
use crate::scenario::{Failure, Need, Scenario, refused, same};
use crate::world::World;

pub(super) fn scenarios() -> Vec<Scenario> {
    let all = [
        Scenario::new(
            "a-restored-webhook-starts-afresh",
            "Restored after the policy removed it, a webhook is listed, has counter 0 and no window, and gets events again.",
            &["W12", "R1", "B1"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = removed(world).await?;
                    world.advance("P29D").await;
                    let restored = scene.user.restore(&scene.webhook.id).await?;
                    same(
                        "removedAt and removeReason",
                        (restored.removed_at, restored.remove_reason),
                        (None, None),
                    )?;
                    scene.expect_health("after the restoration", "ACTIVE", 0).await?;
                    scene.expect_window("after the restoration", None).await?;
                    let listed = scene.user.webhooks(WebhookList::default()).await?.len();
                    same("webhooks listed", listed, 1)?;
                    receiver.answer_with(200);
                    let before = receiver.journal().len();
                    scene.deliver().await?;
                    same("requests since", receiver.journal().len() - before, 1)
                })
            },
        ),
        Scenario::new(
            "a-restored-webhook-can-fail-again",
            "A failure after the restoration opens a window of 72 hours of its own.",
            &["W12", "R1"],
            |world| {
                Box::pin(async move {
                    let (scene, _receiver) = removed(world).await?;
                    world.advance("P1D").await;
                    scene.user.restore(&scene.webhook.id).await?;
                    world.advance("PT1H").await;
                    let since = world.now();
                    scene.deliver().await?;
                    scene.expect_window("after the next failure", Some(since)).await?;
                    world.advance(WINDOW).await;
                    same(
                        "the state 72 hours later",
                        scene.health().await?.state.as_str(),
                        "REMOVED",
                    )
                })
            },
        ),
        Scenario::new(
            "what-its-user-deleted-is-not-restored",
            "Only a removal by the policy can be undone: a deleted webhook stays deleted, and an active one is refused.",
            &["W12"],
            |world| {
                Box::pin(async move {
                    let (scene, _receiver) = Scene::new(world, 200).await?;
                    let id = &scene.webhook.id;
                    refused(
                        "restoring an active one",
                        scene.user.restore(id).await,
                        "INVALID_STATE",
                    )?;
                    scene.user.delete_webhook(id).await?;
                    refused(
                        "restoring a deleted one",
                        scene.user.restore(id).await,
                        "INVALID_STATE",
                    )
                })
            },
        ),
        Scenario::new(
            "a-restoration-needs-a-place",
            "At the limit a removed webhook can be restored only after a place becomes free.",
            &["W12", "W3"],
            |world| {
                Box::pin(async move {
                    let (scene, _receiver) = removed(world).await?;
                    let mut others = Vec::new();
                    for _ in 0..40 {
                        others.push(scene.user.create_webhook(silent()).await?.webhook.id);
                    }
                    let id = &scene.webhook.id;
                    refused("with forty others", scene.user.restore(id).await, "LIMIT_REACHED")?;
                    scene.user.delete_webhook(&others[0]).await?;
                    scene.user.restore(id).await?;
                    same("places used", scene.places_used().await?, 40)
                })
            },
        ),
    ];
    all.map(|scenario| scenario.needing(Need::Restore)).into()
}

/// A scene whose webhook failed for 72 hours and was removed by the policy.
async fn removed(world: &World) -> Result<(Scene<'_>, crate::receiver::Receiver), Failure> {
    let (scene, receiver) = Scene::new(world, 500).await?;
    scene.deliver().await?;
    world.advance(WINDOW).await;
    same(
        "the state after 72 hours",
        scene.health().await?.state.as_str(),
        "REMOVED",
    )?;
    Ok((scene, receiver))
}
