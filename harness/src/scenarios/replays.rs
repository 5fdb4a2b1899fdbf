//! A replay sends an old event as a new delivery. A test delivery changes no counter (D12).

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::scene::{BAN, MILLISECOND, Scene};
use crate::scenario::{Failure, Need, Play, Scenario, refused, same};
use crate::signature::Verdict;

const DAY: SignedDuration = SignedDuration::from_hours(24);
/// D10's retention.
const RETENTION: SignedDuration = SignedDuration::from_hours(30 * 24);

pub(super) fn scenarios() -> Vec<Scenario> {
    let all = [
        Scenario::new(
            "a-replay-is-a-new-delivery",
            "A replay is another delivery of the same event: attempts from 1, the same webhook-id, retries of its own.",
            &["D12", "E7"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 500).await?;
                    let event = scene.deliver().await?.event.event_id;
                    world.advance("PT183S").await;
                    let first = scene.last_delivery().await?;
                    let replayed = scene.user.replay(json!({"deliveryIds": [first.id]})).await?;
                    same("number of replays", replayed.count, 1)?;
                    world.settle().await;
                    receiver.answer_with(200);
                    world.advance("PT3S").await;
                    let requests = receiver.journal().all();
                    let sent: Vec<_> = requests
                        .iter()
                        .map(|sent| (sent.event(), sent.attempt()))
                        .collect();
                    let event = event.as_str();
                    let expected = [1, 2, 3, 4, 1, 2].map(|attempt| (event, attempt)).to_vec();
                    same("webhook-ids and attempts", sent, expected)?;
                    let statuses: Vec<String> = scene
                        .deliveries()
                        .await?
                        .into_iter()
                        .map(|one| one.status)
                        .collect();
                    same(
                        "statuses of both deliveries",
                        statuses,
                        vec!["FAILED".to_owned(), "SUCCEEDED".to_owned()],
                    )
                })
            },
        ),
        Scenario::new(
            "a-replay-counts-as-any-delivery",
            "A replay's failed first try counts towards a ban and opens a window; its success closes it.",
            &["D12", "B1", "R1"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 200).await?;
                    scene.deliver().await?;
                    receiver.answer_with(500);
                    world.advance("PT1M").await;
                    let since = world.now();
                    replay_first(&scene).await?;
                    scene.expect_health("after a failed replay", "ACTIVE", 1).await?;
                    scene.expect_window("after a failed replay", Some(since)).await?;
                    receiver.answer_with(200);
                    replay_first(&scene).await?;
                    scene.expect_window("after a replay that succeeded", None).await
                })
            },
        ),
        Scenario::new(
            "what-a-ban-lost-can-be-replayed-after-it",
            "During a ban a replay is refused. After the ban it sends the lost event again, and the first delivery stays lost.",
            &["D12", "B4"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 500).await?;
                    scene.deliver_times(10).await?;
                    let lost_event = scene.deliver().await?.event.event_id;
                    let lost = scene.last_delivery().await?;
                    same("its status", lost.status.as_str(), "LOST")?;
                    let which = json!({"deliveryIds": [lost.id]});
                    refused(
                        "a replay during the ban",
                        scene.user.replay(which.clone()).await,
                        "INVALID_STATE",
                    )?;
                    world.advance(BAN).await;
                    receiver.answer_with(200);
                    same("number of replays", scene.user.replay(which).await?.count, 1)?;
                    world.settle().await;
                    let requests = receiver.journal().all();
                    let last = requests.last().map(|sent| (sent.event(), sent.attempt()));
                    same("the last request", last, Some((lost_event.as_str(), 1)))?;
                    let of_event: Vec<String> = scene
                        .deliveries()
                        .await?
                        .into_iter()
                        .filter(|one| one.event.event_id == lost_event)
                        .map(|one| one.status)
                        .collect();
                    same(
                        "deliveries of the event",
                        of_event,
                        vec!["LOST".to_owned(), "SUCCEEDED".to_owned()],
                    )
                })
            },
        ),
        Scenario::new(
            "the-log-of-a-replay-has-its-own-30-days",
            "A replay 29 days after the event can be read for 30 days after its attempt, with its attempts, request bodies and \
             event. An event that was accepted 30 days ago cannot be replayed again.",
            &["D10", "D12", "T2"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 200).await?;
                    scene.deliver().await?;
                    world.advance("P29D").await;
                    replay_first(&scene).await?;
                    same("deliveries after a replay", scene.deliveries().await?.len(), 2)?;
                    world.advance("P1D").await;
                    same("deliveries after 30 days", scene.deliveries().await?.len(), 1)?;
                    let again = json!({"deliveryIds": [scene.last_delivery().await?.id]});
                    refused("another replay", scene.user.replay(again).await, "INVALID_STATE")?;
                    let again = json!({"webhookId": scene.webhook.id});
                    same("another replay of all", scene.user.replay(again).await?.count, 0)?;

                    world.advance(RETENTION - DAY - MILLISECOND).await;
                    let arrivals = receiver.journal().all();
                    let (event, bodies) = log(&scene).await?;
                    let sent = arrivals
                        .iter()
                        .skip(1)
                        .map(|arrival| json!(String::from_utf8_lossy(&arrival.body)));
                    same("the request bodies of the replay", bodies, sent.collect())?;
                    let ids = arrivals.iter().map(|arrival| arrival.event().to_owned());
                    same("the event", vec![event.clone(); 2], ids.collect())?;
                    same(
                        "whether the event can be read by its id",
                        is_event(&scene, &event).await?,
                        true,
                    )?;
                    world.advance(MILLISECOND).await;
                    same(
                        "deliveries 30 days after the attempt",
                        scene.deliveries().await?,
                        Vec::new(),
                    )?;
                    same(
                        "whether the event can be read by its id",
                        is_event(&scene, &event).await?,
                        false,
                    )
                })
            },
        ),
        Scenario::new(
            "no-replay-while-paused-or-removed",
            "A replay for a paused or removed webhook is refused, and creates nothing.",
            &["D12"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 200).await?;
                    scene.deliver().await?;
                    let which = json!({"deliveryIds": [scene.last_delivery().await?.id]});
                    scene.user.pause(&scene.webhook.id).await?;
                    refused(
                        "while paused",
                        scene.user.replay(which.clone()).await,
                        "INVALID_STATE",
                    )?;
                    scene.user.delete_webhook(&scene.webhook.id).await?;
                    refused(
                        "after its removal",
                        scene.user.replay(which).await,
                        "INVALID_STATE",
                    )?;
                    world.settle().await;
                    same("deliveries", scene.deliveries().await?.len(), 1)?;
                    same("requests", receiver.journal().len(), 1)
                })
            },
        )
        .needing(Need::Pause),
        Scenario::new(
            "a-dry-run-makes-nothing",
            "A dry run returns the number of deliveries that a replay would create, and creates none.",
            &["D12"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 200).await?;
                    scene.deliver_times(3).await?;
                    let which = json!({"webhookId": scene.webhook.id, "dryRun": true});
                    let replayed = scene.user.replay(which).await?;
                    same("the count", replayed.count, 3)?;
                    world.advance("PT1H").await;
                    same("deliveries", scene.deliveries().await?.len(), 3)?;
                    same("requests", receiver.journal().len(), 3)
                })
            },
        ),
        Scenario::new(
            "a-test-delivery-touches-nothing",
            "A test delivery is sent at once and signed; its failure is not counted, opens no window and is not retried.",
            &["D12", "B1", "E7"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 500).await?;
                    let attempt = scene.user.test(&scene.webhook.id).await?;
                    same(
                        "status and number",
                        (attempt.http_status, attempt.number),
                        (Some(500), 1),
                    )?;
                    let requests = receiver.journal().all();
                    let verdicts: Vec<_> = requests.iter().map(|sent| &sent.verdict).collect();
                    same("the requests' signatures", verdicts, vec![&Verdict::Valid])?;
                    for _ in 0..10 {
                        scene.user.test(&scene.webhook.id).await?;
                    }
                    scene
                        .expect_health("after eleven failed tests", "ACTIVE", 0)
                        .await?;
                    scene.expect_window("after eleven failed tests", None).await?;
                    world.advance("PT1H").await;
                    same("requests an hour later", receiver.journal().len(), 11)?;
                    same("deliveries", scene.deliveries().await?.len(), 0)
                })
            },
        ),
        Scenario::new(
            "a-test-that-succeeds-ends-no-window",
            "A successful test delivery leaves window and counter as they are.",
            &["D12", "R1"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 500).await?;
                    let since = world.now();
                    scene.deliver().await?;
                    world.advance("PT1H").await;
                    receiver.answer_with(200);
                    let attempt = scene.user.test(&scene.webhook.id).await?;
                    same("its status", attempt.http_status, Some(200))?;
                    scene.expect_health("after the test", "ACTIVE", 1).await?;
                    scene.expect_window("after the test", Some(since)).await
                })
            },
        ),
    ];
    all.map(|scenario| scenario.needing(Need::Replay)).into()
}

/// Replays the webhook's oldest delivery, and waits until the server has made the attempts that are due.
async fn replay_first(scene: &Scene<'_>) -> Play {
    let first = scene.deliveries().await?.into_iter().next();
    let first = first.ok_or_else(|| Failure::CouldNotRun("nothing was delivered yet".to_owned()))?;
    scene.user.replay(json!({"deliveryIds": [first.id]})).await?;
    scene.world.settle().await;
    Ok(())
}

/// The event of the only delivery, and the request body of each of its attempts.
async fn log(scene: &Scene<'_>) -> Result<(String, Vec<Value>), Failure> {
    let document = "query($id: ID!) { webhook(id: $id) { deliveries(first: 2) { nodes { \
        event { eventId } attempts { requestBody } } } } }";
    let data = scene
        .user
        .query(document, json!({"id": scene.webhook.id}))
        .await?;
    let nodes = &data["webhook"]["deliveries"]["nodes"];
    same("deliveries in the log", nodes.as_array().map(Vec::len), Some(1))?;
    let event = nodes[0]["event"]["eventId"].as_str().unwrap_or_default();
    let attempts = nodes[0]["attempts"].as_array().into_iter().flatten();
    let bodies = attempts.map(|attempt| attempt["requestBody"].clone());
    Ok((event.to_owned(), bodies.collect()))
}

/// Whether the event can be read by the id that payloads carry.
async fn is_event(scene: &Scene<'_>, event: &str) -> Result<bool, Failure> {
    let document = "query($id: ID!) { event(id: $id) { id } }";
    let data = scene.user.query(document, json!({"id": event})).await?;
    Ok(!data["event"].is_null())
}
