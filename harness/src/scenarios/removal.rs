//! Three days without a successful delivery remove a webhook, after warnings (R1–R5, T3).

use jiff::SignedDuration;

use super::scene::{AROUND, Scene, WINDOW, count};
use crate::client::{NewWebhook, WebhookList};
use crate::reply::Script;
use crate::scenario::{Need, Scenario, same};
use crate::wire::Behaviour;

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = vec![
        Scenario::new(
            "the-window-opens-with-the-first-failure",
            "The window counts from the first failed attempt, not from the webhook's creation.",
            &["R1", "R2"],
            |world| {
                Box::pin(async move {
                    let (scene, _receiver) = Scene::new(world, 500).await?;
                    world.advance("P1D").await;
                    scene.expect_window("before any event", None).await?;
                    let since = world.now();
                    scene.deliver().await?;
                    scene.expect_window("after a failure", Some(since)).await?;
                    world.advance("PT1H").await;
                    scene.deliver().await?;
                    scene.expect_window("after further failures", Some(since)).await
                })
            },
        ),
        Scenario::new(
            "a-success-ends-the-window",
            "Any successful delivery ends the window; the next failure opens a new one.",
            &["R1"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 500).await?;
                    scene.deliver().await?;
                    world.advance("PT71H59M59.999S").await;
                    receiver.answer_with(200);
                    scene.deliver().await?;
                    scene.expect_window("after a success", None).await?;
                    world.advance("PT1H").await;
                    receiver.answer_with(500);
                    let since = world.now();
                    scene.deliver().await?;
                    scene.expect_window("after the next failure", Some(since)).await
                })
            },
        ),
        Scenario::new(
            "a-retry-that-succeeds-ends-the-window",
            "A success by a retry ends the window as any other.",
            &["R1"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 500).await?;
                    let since = world.now();
                    scene.deliver().await?;
                    world.advance("PT30S").await;
                    scene.expect_window("after failed retries", Some(since)).await?;
                    receiver.answer_with(200);
                    world.advance("PT3S").await;
                    scene.expect_window("after a retry that succeeded", None).await?;
                    world.advance("P30D").await;
                    scene.expect_health("thirty days later", "ACTIVE", 1).await
                })
            },
        ),
        Scenario::new(
            "a-failed-retry-opens-a-window",
            "Any failed attempt since the last success opens the window, a retry too.",
            &["R1"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 500).await?;
                    scene.deliver().await?;
                    world.advance("PT1S").await;
                    receiver.answer_with(200);
                    scene.deliver().await?;
                    scene
                        .expect_window("after the other event's success", None)
                        .await?;
                    receiver.answer_with(500);
                    world.advance("PT2S").await;
                    scene
                        .expect_window("after the first event's retry has failed", Some(world.now()))
                        .await
                })
            },
        ),
        Scenario::new(
            "silence-opens-no-window",
            "A webhook without events is not failing, neither from its beginning nor after a success.",
            &["R2"],
            |world| {
                Box::pin(async move {
                    let (scene, _receiver) = Scene::new(world, 200).await?;
                    world.advance("P5D").await;
                    scene.expect_window("after five silent days", None).await?;
                    scene.deliver().await?;
                    world.advance("P5D").await;
                    scene
                        .expect_health("five silent days after a success", "ACTIVE", 0)
                        .await?;
                    same("the next transition", scene.health().await?.next_transition, None)
                })
            },
        ),
        Scenario::new(
            "losses-open-no-window",
            "A lost delivery opens no window: after a success during the ban the webhook stays.",
            &["R2", "B4", "B5"],
            |world| {
                Box::pin(async move {
                    let signal = crate::wire::ReleaseSignal::default();
                    let held = Behaviour::ReplyOnRelease(signal.clone(), 200.into());
                    let behaviours = move |connection| if connection == 0 { held.clone() } else { 500.into() };
                    let receiver = world.wire_by_connection(std::sync::Arc::new(behaviours)).await;
                    let scene = Scene::leading_to(world, &receiver.url()).await?;
                    scene.company().publish().await?;
                    receiver.journal().wait_for(1).await;
                    scene.deliver_times(10).await?;
                    signal.release();
                    world.settle().await;
                    scene.expect_window("after a late success", None).await?;
                    world.advance("PT1M").await;
                    scene.deliver_times(3).await?;
                    same(
                        "lost in the ban",
                        count(&scene.deliveries().await?, "LOST") >= 3,
                        true,
                    )?;
                    scene.expect_window("after losses", None).await?;
                    world.advance("P4D").await;
                    scene.expect_health("four days later", "ACTIVE", 0).await
                })
            },
        ),
        Scenario::new(
            "a-ban-does-not-move-the-window",
            "A ban neither closes nor restarts the window: the webhook is removed 72 hours after the first failure, also \
             during a ban.",
            &["R1", "R2"],
            |world| {
                Box::pin(async move {
                    let (scene, _receiver) = Scene::new(world, 500).await?;
                    let since = world.now();
                    scene.deliver_times(10).await?;
                    scene.expect_window("as a ban begins", Some(since)).await?;
                    world.advance("PT30M").await;
                    scene.expect_window("as it ends", Some(since)).await?;
                    world.advance("PT71H20M").await;
                    scene.deliver_times(10).await?;
                    scene.expect_health("near the window's end", "BANNED", 10).await?;
                    world.advance("PT10M").await;
                    same(
                        "the state at 72 hours, in a ban",
                        scene.health().await?.state.as_str(),
                        "REMOVED",
                    )
                })
            },
        ),
        Scenario::new(
            "removal-cancels-and-frees",
            "Removal cancels what is pending, frees the place and sends nothing more; the webhook stays readable.",
            &["R3", "W3", "W12", "D7"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 500).await?;
                    let due = world.now() + WINDOW;
                    scene.deliver().await?;
                    world.advance(WINDOW - SignedDuration::from_secs(1)).await;
                    scene.deliver().await?;
                    same(
                        "its retry",
                        scene.last_delivery().await?.status.as_str(),
                        "PENDING",
                    )?;
                    same("places used", scene.places_used().await?, 1)?;
                    let sent = receiver.journal().len();
                    world.advance("PT1H").await;
                    let webhook = scene.user.webhook(&scene.webhook.id).await?;
                    same(
                        "removedAt and removeReason",
                        webhook.map(|webhook| (webhook.removed_at, webhook.remove_reason)),
                        Some((Some(due), Some("NO_SUCCESSFUL_DELIVERY".to_owned()))),
                    )?;
                    let last = scene.last_delivery().await?;
                    same(
                        "what was pending",
                        (last.status.as_str(), last.reason.as_deref()),
                        ("CANCELLED", Some("WEBHOOK_REMOVED")),
                    )?;
                    same("places used", scene.places_used().await?, 0)?;
                    same(
                        "its place in lists",
                        scene.user.webhooks(WebhookList::default()).await?,
                        Vec::new(),
                    )?;
                    same(
                        "deliveries of an event after that",
                        scene.deliver().await?.delivery_count,
                        0,
                    )?;
                    same("requests since the removal", receiver.journal().len(), sent)
                })
            },
        ),
        Scenario::new(
            "the-health-says-what-comes-next",
            "failingSince, removalDueAt, last attempt, last status and the next transition are readable before it happens.",
            &["R5"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 204).await?;
                    scene.deliver().await?;
                    let success = world.now();
                    world.advance("PT1M").await;
                    receiver.answer_with(503);
                    scene.deliver().await?;
                    let health = scene.health().await?;
                    same(
                        "last success, last attempt, last status and last class",
                        (
                            health.last_success_at,
                            health.last_attempt_at,
                            health.last_http_status,
                            health.last_error_class.as_deref(),
                        ),
                        (Some(success), Some(world.now()), Some(503), Some("STATUS")),
                    )?;
                    same(
                        "the next transition",
                        health.next_transition.map(|next| (next.at, next.to)),
                        Some((world.now() + WINDOW, "REMOVED".to_owned())),
                    )
                })
            },
        ),
        Scenario::new(
            "three-days-of-failure-in-one-story",
            "A webhook whose receiver never succeeds is banned several times, and removed after exactly 72 hours.",
            &["R1", "B2", "B3", "T1", "T3"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, Script::always(500)).await?;
                    let since = world.now();
                    for _ in 0..6 {
                        scene.deliver_times(10).await?;
                        scene.expect_health("after ten failures", "BANNED", 10).await?;
                        scene.expect_window("all the while", Some(since)).await?;
                        world.advance("PT12H").await;
                    }
                    same(
                        "the state after 72 hours",
                        scene.health().await?.state.as_str(),
                        "REMOVED",
                    )?;
                    same("requests", receiver.journal().len(), 60)
                })
            },
        ),
        Scenario::new(
            "removal-while-no-server-runs",
            "A window that ends while no server runs removes the webhook at its end; nothing that was due is sent.",
            &["R1", "R3", "D6", "T3"],
            |world| {
                Box::pin(async move {
                    let receiver = world.receiver(500).await;
                    let user = world.company(1).owner(7).await?;
                    let id = user.create_webhook(NewWebhook::to(&receiver.url())).await?.webhook.id;
                    let due = world.now() + WINDOW;
                    world.company(1).publish().await?;
                    world.settle().await;
                    world.stop(0).await;
                    world.advance("P4D").await;
                    world.launch().await;
                    world.settle().await;
                    let user = world.company(1).owner(7).await?;
                    same(
                        "removedAt and removeReason",
                        user.webhook(&id).await?.map(|webhook| (webhook.removed_at, webhook.remove_reason)),
                        Some((Some(due), Some("NO_SUCCESSFUL_DELIVERY".to_owned()))),
                    )?;
                    let last = user.last_delivery(&id).await?;
                    same("the delivery", last.status.as_str(), "CANCELLED")?;
                    same("requests", receiver.journal().len(), 1)
                })
            },
        )
        .needing(Need::OwnServers),
    ];
    all.extend(AROUND.map(|(word, offset)| window_end(word, offset)));
    all.extend(AROUND.map(|(word, offset)| success_near_the_end(word, offset)));
    all
}

/// A scenario about the end of the window, seen at `offset` from it.
fn window_end(word: &str, offset: SignedDuration) -> Scenario {
    let lives = offset < SignedDuration::ZERO;
    Scenario::new(
        format!("window-end-{word}"),
        format!(
            "{} 72 hours after the first failure the webhook is {}.",
            capital(word),
            if lives { "still there" } else { "removed" }
        ),
        &["R1", "R3", "T2"],
        move |world| {
            Box::pin(async move {
                let (scene, _receiver) = Scene::new(world, 500).await?;
                let since = world.now();
                scene.deliver().await?;
                world.advance(WINDOW + offset).await;
                let webhook = scene.user.webhook(&scene.webhook.id).await?;
                let state = webhook.map(|webhook| (webhook.health.state, webhook.removed_at));
                let expected = if lives {
                    ("ACTIVE", None)
                } else {
                    ("REMOVED", Some(since + WINDOW))
                };
                same(
                    "state and removedAt",
                    state,
                    Some((expected.0.to_owned(), expected.1)),
                )
            })
        },
    )
}

/// A scenario with a success near the end of the window. The attempt began five seconds before that end.
fn success_near_the_end(word: &str, offset: SignedDuration) -> Scenario {
    let rescued = offset < SignedDuration::ZERO;
    Scenario::new(
        format!("success-{word}-the-window-end"),
        format!(
            "A success that ends {} the window's end {}.",
            word.replace('-', " "),
            if rescued {
                "prevents the removal"
            } else {
                "comes too late"
            }
        ),
        &["R1", "T2", "T3"],
        move |world| {
            Box::pin(async move {
                let (scene, receiver) = Scene::on_wire(world, 500).await?;
                scene.deliver().await?;
                world.advance(WINDOW - SignedDuration::from_secs(5)).await;
                receiver.behave(Behaviour::ReplyAfter(
                    SignedDuration::from_secs(5) + offset,
                    200.into(),
                ));
                scene.deliver().await?;
                world.advance("PT1H").await;
                let state = scene.health().await?.state;
                same(
                    "the state an hour later",
                    state.as_str(),
                    if rescued { "ACTIVE" } else { "REMOVED" },
                )
            })
        },
    )
}

fn capital(word: &str) -> String {
    let mut letters = word.replace('-', " ");
    if let Some(first) = letters.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    letters
}
