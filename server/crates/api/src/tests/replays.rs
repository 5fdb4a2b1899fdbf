use diesel_async::SimpleAsyncConnection;

use super::*;
use crate::global_id::GlobalId;
use tenterhook_model::ids::EventId;
use tenterhook_policy::input_limits;

const MADE: &str = "count deliveries { id status createdAt event { id } replayOf { id } }";

/// Global ids of a webhook's deliveries, newest first.
pub(super) async fn deliveries(world: &World, token: &Token, webhook: &str) -> Vec<String> {
    let query = "query Q($id: ID!) { webhook(id: $id) { deliveries { nodes { id } } } }";
    let read = world.ask(token, query, json!({ "id": webhook })).await;
    let nodes = read["webhook"]["deliveries"]["nodes"].as_array().unwrap();
    nodes
        .iter()
        .map(|node| node["id"].as_str().unwrap().to_owned())
        .collect()
}

pub(super) async fn deals(world: &World, token: &Token, receiver: &MockServer) -> String {
    let input = json!({ "subscriptionUrl": receiver.uri(), "eventObject": "deal" });
    world.webhook(token, input).await
}

#[tokio::test(flavor = "multi_thread")]
async fn d12_a_replay_is_a_new_delivery_of_the_old_event() {
    let world = World::new().await;
    let (ann, receiver) = (world.user(1, 7), receiver(200).await);
    let id = deals(&world, &ann, &receiver).await;
    let event = world.publish(1, json!({})).await;
    world.settle().await;
    let first = deliveries(&world, &ann, &id).await.remove(0);
    for round in 1..=2 {
        world.advance(SignedDuration::from_secs(1)).await;
        let named = json!({ "deliveryIds": deliveries(&world, &ann, &id).await });
        let replayed = world.done(&ann, "replayDeliveries", named, MADE).await;
        assert_eq!(
            replayed["count"], 1,
            "one for an event, however many deliveries it had"
        );
        let made = &replayed["deliveries"][0];
        assert_eq!(
            (&made["event"]["id"], &made["replayOf"]["id"]),
            (&json!(event), &json!(first))
        );
        world.settle().await;
        assert_eq!(deliveries(&world, &ann, &id).await.len(), round + 1);
        assert_eq!(world.fates(&ann, &id).await[0], "SUCCEEDED -");
    }
    let requests = receiver.received_requests().await.unwrap();
    assert_eq!(requests.len(), 3);
    for request in &requests {
        assert_eq!(request.headers["webhook-id"], requests[0].headers["webhook-id"]);
        assert_eq!(request.headers["tenterhook-attempt"], "1");
    }
    let tally = world.engine.gauges().read().await.unwrap().all;
    assert_eq!((tally.accepted, tally.succeeded, tally.open), (3, 3, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn d12_a_replay_counts_towards_bans_as_any_delivery() {
    let world = World::new().await;
    let (ann, failing) = (world.user(1, 7), receiver(500).await);
    let id = deals(&world, &ann, &failing).await;
    world.publish(1, json!({})).await;
    world.settle().await;
    let input = json!({ "deliveryIds": deliveries(&world, &ann, &id).await });
    assert_eq!(
        world.errors(&ann, "replayDeliveries", input.clone()).await,
        ["INVALID_STATE input.deliveryIds.0"],
        "what has not ended is sent anyway"
    );
    world.advance(SignedDuration::from_mins(5)).await;
    world.done(&ann, "replayDeliveries", input, "").await;
    world.settle().await;
    let query = "query Q($id: ID!) { webhook(id: $id) { health { banCounter } } }";
    let read = world.ask(&ann, query, json!({ "id": id })).await;
    assert_eq!(read["webhook"]["health"]["banCounter"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn d12_deliveries_lost_in_a_pause_can_be_replayed() {
    let world = World::new().await;
    let (ann, receiver) = (world.user(1, 7), receiver(200).await);
    let id = deals(&world, &ann, &receiver).await;
    world.publish(1, json!({})).await;
    world.settle().await;
    world.advance(SignedDuration::from_secs(10)).await;
    world.done(&ann, "pauseWebhook", json!({ "id": id }), "").await;
    for _ in 0..3 {
        world.publish(1, json!({})).await;
        world.advance(SignedDuration::from_secs(10)).await;
    }
    let lost = json!({ "webhookId": id, "status": ["LOST"], "since": "2026-11-23T10:00:20Z" });
    for dry_run in [true, false] {
        let mut input = lost.clone();
        input["dryRun"] = json!(dry_run);
        assert_eq!(
            world.errors(&ann, "replayDeliveries", input).await,
            ["INVALID_STATE input.webhookId"]
        );
    }
    let named = json!({ "deliveryIds": deliveries(&world, &ann, &id).await[..1] });
    assert_eq!(
        world.errors(&ann, "replayDeliveries", named).await,
        ["INVALID_STATE input.deliveryIds.0"]
    );
    world.done(&ann, "resumeWebhook", json!({ "id": id }), "").await;
    let mut dry = lost.clone();
    dry["dryRun"] = json!(true);
    for (input, sent) in [(dry, 1), (lost, 3)] {
        let payload = world
            .done(&ann, "replayDeliveries", input, "count deliveries { id }")
            .await;
        assert_eq!(payload["count"], 2);
        world.settle().await;
        assert_eq!(receiver.received_requests().await.unwrap().len(), sent);
    }
    let all = json!({ "webhookId": id, "dryRun": true });
    assert_eq!(
        world.done(&ann, "replayDeliveries", all, "count").await["count"],
        4
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn d12_w4_callers_with_the_right_to_change_and_operators_replay() {
    for (sees, code) in APP_SEES.into_iter().zip(["NOT_FOUND", "FORBIDDEN"]) {
        replays_follow_the_right_to_change(sees, code).await;
    }
}

/// `code`: the refusal of an app that names a delivery to its user's general webhook.
async fn replays_follow_the_right_to_change(sees: AppSees, code: &str) {
    let world = World::where_apps_see(sees).await;
    for user in [7, 9] {
        world.install("crm", 1, user).await;
    }
    let (ann, crm, receiver) = (world.user(1, 7), world.through("crm", 1, 7), receiver(200).await);
    let id = deals(&world, &ann, &receiver).await;
    world.publish(1, json!({})).await;
    world.settle().await;
    let named = json!({ "deliveryIds": deliveries(&world, &ann, &id).await });
    let by_app = format!("{code} input.deliveryIds.0");
    for (token, expected) in [
        (&world.user(1, 8), vec!["NOT_FOUND input.deliveryIds.0"]),
        (&world.admin(2, 9), vec!["NOT_FOUND input.deliveryIds.0"]),
        (&crm, vec![by_app.as_str()]),
        (
            &world.through_as("admin", "crm", 1, 9),
            vec!["NOT_FOUND input.deliveryIds.0"],
        ),
        (&world.through("erp", 1, 7), vec!["APP_NOT_INSTALLED input"]),
        (&ann, vec![]),
        (&world.admin(1, 9), vec![]),
        (&world.operator(), vec![]),
    ] {
        assert_eq!(
            world.errors(token, "replayDeliveries", named.clone()).await,
            expected,
            "{sees:?}"
        );
    }
    let query = "mutation M($input: ReplayDeliveriesInput!) { replayDeliveries(input: $input) { count } }";
    let input = json!({ "input": named });
    assert_eq!(world.refusal(&world.platform(), query, input).await, "FORBIDDEN");
}

#[tokio::test(flavor = "multi_thread")]
async fn replay_input_names_one_selection_within_its_bounds() {
    let world = World::new().await;
    let ann = world.user(1, 7);
    let id = world.webhook(&ann, json!({})).await;
    for (input, expected) in [
        (json!({}), "INVALID input"),
        (json!({ "webhookId": id, "deliveryIds": [] }), "INVALID input"),
        (json!({ "deliveryIds": [], "status": ["LOST"] }), "INVALID input"),
        (json!({ "webhookId": "nothing" }), "NOT_FOUND input.webhookId"),
        (
            json!({ "webhookId": id, "status": ["PENDING"] }),
            "INVALID input.status",
        ),
        (json!({ "deliveryIds": [id] }), "NOT_FOUND input.deliveryIds.0"),
        (
            json!({ "deliveryIds": vec![&id; 1_001] }),
            "TOO_MANY input.deliveryIds",
        ),
    ] {
        assert_eq!(world.errors(&ann, "replayDeliveries", input).await, [expected]);
    }
    let none = world
        .done(&ann, "replayDeliveries", json!({ "webhookId": id }), "count")
        .await;
    assert_eq!(none["count"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn d12_nothing_is_replayed_in_a_ban_or_after_a_removal() {
    let world = World::new().await;
    let (ann, failing) = (world.user(1, 7), receiver(500).await);
    let id = deals(&world, &ann, &failing).await;
    for _ in 0..10 {
        world.publish(1, json!({})).await;
    }
    world.settle().await;
    world.advance(SignedDuration::from_mins(5)).await;
    let lost = json!({ "webhookId": id, "status": ["LOST"] });
    let refused = ["INVALID_STATE input.webhookId"];
    assert_eq!(
        world.errors(&ann, "replayDeliveries", lost.clone()).await,
        refused
    );
    world.advance(SignedDuration::from_mins(25)).await;
    let payload = world.done(&ann, "replayDeliveries", lost.clone(), "count").await;
    assert_eq!(payload["count"], 10);
    world.done(&ann, "deleteWebhook", json!({ "id": id }), "").await;
    assert_eq!(world.errors(&ann, "replayDeliveries", lost).await, refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_deliveries_are_replayed_in_one_call() {
    let world = World::new().await;
    let (ann, receiver) = (world.user(1, 7), receiver(200).await);
    let id = deals(&world, &ann, &receiver).await;
    world.done(&ann, "pauseWebhook", json!({ "id": id }), "").await;
    let event = json!({
        "companyId": "1", "action": "CHANGE", "object": "deal", "objectId": "8", "userId": "1",
        "data": { "title": "new" }, "previous": { "title": "old" }
    });
    for events in [1_000, 1] {
        let input = json!({ "events": vec![&event; events] });
        world.done(&world.platform(), "publishEvents", input, "").await;
        world.advance(SignedDuration::from_secs(1)).await;
    }
    world.done(&ann, "resumeWebhook", json!({ "id": id }), "").await;
    let input = json!({ "webhookId": id });
    let payload = world
        .done(&ann, "replayDeliveries", input, "count deliveries { id }")
        .await;
    assert_eq!(
        (&payload["count"], payload["deliveries"].as_array().unwrap().len()),
        (&json!(1_001), 100)
    );
    world.settle().await;
    assert_eq!(receiver.received_requests().await.unwrap().len(), 1_001);
    let tally = world.engine.gauges().read().await.unwrap().all;
    assert_eq!(
        (tally.accepted, tally.lost, tally.succeeded),
        (2_002, 1_001, 1_001)
    );
}

/// Writes lost deliveries of a webhook of company 1 straight into the tables: publishing that number would take
/// minutes.
pub(super) async fn lose(world: &World, webhook: &str, deliveries: usize) {
    let Some((lane, webhook)) = GlobalId::webhook(webhook) else {
        panic!("no webhook: {webhook}");
    };
    let now = world.clock.now();
    let row = |_| format!("'{}'::uuid", EventId::new(now));
    let events: Vec<String> = (0..deliveries).map(row).collect();
    let accepted_at = EventId::new(now).accepted_at();
    world
        .store
        .conn()
        .await
        .unwrap()
        .batch_execute(&format!(
            "with lost as materialized (select unnest(array[{}]) as id), stored as (
                 insert into events (lane, id, accepted_at, company, action, object, object_id, user_id, change_source,
                                     is_bulk_edit, correlation_id)
                 select {1}, id, '{accepted_at}', 1, 2, 'deal', '8', 1, 1, false, '' from lost)
             insert into outcomes (lane, webhook, event, generation, company, created_at, at, status, reason)
             select {1}, '{webhook}', id, 0, 1, '{accepted_at}', '{accepted_at}', 3, 3 from lost",
            events.join(","),
            lane.0
        ))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_takes_at_most_50_000_deliveries_of_a_webhook() {
    let world = World::new().await;
    let ann = world.user(1, 7);
    let id = world.webhook(&ann, json!({})).await;
    lose(&world, &id, input_limits::REPLAYED_OF_WEBHOOK).await;
    let lost =
        |dry_run| json!({ "webhookId": id, "status": ["LOST"], "dryRun": dry_run, "idempotencyKey": "all" });
    for dry_run in [true, false, false] {
        let payload = world
            .done(&ann, "replayDeliveries", lost(dry_run), "count deliveries { id }")
            .await;
        let shown = if dry_run { 0 } else { 100 };
        assert_eq!(payload["count"], input_limits::REPLAYED_OF_WEBHOOK);
        assert_eq!(payload["deliveries"].as_array().unwrap().len(), shown);
    }
    let tally = world.engine.gauges().read().await.unwrap().all;
    assert_eq!(tally.accepted, 50_000, "made once");
    let another = world.webhook(&ann, json!({})).await;
    lose(&world, &another, input_limits::REPLAYED_OF_WEBHOOK + 1).await;
    for dry_run in [true, false] {
        let input = json!({ "webhookId": another, "dryRun": dry_run });
        assert_eq!(
            world.errors(&ann, "replayDeliveries", input).await,
            ["TOO_MANY input"]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d12_the_same_key_replays_once() {
    let world = World::new().await;
    let (ann, receiver) = (world.user(1, 7), receiver(200).await);
    let id = deals(&world, &ann, &receiver).await;
    world.publish(1, json!({})).await;
    world.settle().await;
    let input = json!({ "webhookId": id, "idempotencyKey": "again" });
    let first = world.done(&ann, "replayDeliveries", input.clone(), MADE).await;
    assert_eq!(first["count"], 1);
    world.settle().await;
    world.publish(1, json!({})).await;
    world.advance(SignedDuration::from_mins(1)).await;
    // Although more deliveries match by now, and even if none could be replayed any more.
    let expected = |status: &str| {
        let mut expected = first.clone();
        expected["deliveries"][0]["status"] = json!(status);
        expected
    };
    let again = world.done(&ann, "replayDeliveries", input.clone(), MADE).await;
    assert_eq!(again, expected("SUCCEEDED"));
    for (other, error) in [
        (
            json!({ "webhookId": id, "status": ["LOST"] }),
            "IDEMPOTENCY_CONFLICT input.idempotencyKey",
        ),
        (
            json!({ "webhookId": id, "since": "2026-11-23T10:00:00Z" }),
            "IDEMPOTENCY_CONFLICT input.idempotencyKey",
        ),
        (
            json!({ "deliveryIds": [] }),
            "IDEMPOTENCY_CONFLICT input.idempotencyKey",
        ),
        (
            json!({ "webhookId": id, "idempotencyKey": "" }),
            "INVALID input.idempotencyKey",
        ),
        (
            json!({ "webhookId": id, "idempotencyKey": "x".repeat(256) }),
            "TOO_LONG input.idempotencyKey",
        ),
    ] {
        let mut input = input.clone();
        input.as_object_mut().unwrap().remove("webhookId");
        input
            .as_object_mut()
            .unwrap()
            .extend(other.as_object().unwrap().clone());
        assert_eq!(
            world.errors(&ann, "replayDeliveries", input).await,
            [error],
            "{other}"
        );
    }
    world.done(&ann, "pauseWebhook", json!({ "id": id }), "").await;
    assert_eq!(
        world.done(&ann, "replayDeliveries", input.clone(), MADE).await,
        expected("SUCCEEDED")
    );
    world.done(&ann, "resumeWebhook", json!({ "id": id }), "").await;
    let tally = world.engine.gauges().read().await.unwrap().all;
    assert_eq!(tally.accepted, 3, "two events and a replay");

    let long = json!({ "webhookId": id, "idempotencyKey": "x".repeat(255) });
    assert_eq!(world.done(&ann, "replayDeliveries", long, MADE).await["count"], 2);
    // A key belongs to the user who chose it, and expires after a day.
    let of_another = world
        .done(&world.admin(1, 9), "replayDeliveries", input.clone(), MADE)
        .await;
    assert_eq!(of_another["count"], 2);
    world.settle().await;
    world.advance(SignedDuration::from_mins(24 * 60 - 2)).await;
    assert_eq!(
        world.done(&ann, "replayDeliveries", input.clone(), MADE).await,
        expected("SUCCEEDED")
    );
    world.advance(SignedDuration::from_mins(1)).await;
    assert_eq!(
        world.done(&ann, "replayDeliveries", input, MADE).await["count"],
        2
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn d12_an_empty_replay_uses_its_key_and_a_refused_call_does_not() {
    let world = World::new().await;
    let (ann, receiver) = (world.user(1, 7), receiver(200).await);
    let id = deals(&world, &ann, &receiver).await;
    let keyed =
        |key: &str, dry_run: bool| json!({ "webhookId": id, "idempotencyKey": key, "dryRun": dry_run });
    assert_eq!(
        world
            .done(&ann, "replayDeliveries", keyed("none", false), MADE)
            .await["count"],
        0
    );
    world.publish(1, json!({})).await;
    world.settle().await;
    assert_eq!(
        world
            .done(&ann, "replayDeliveries", keyed("none", false), MADE)
            .await["count"],
        0
    );
    world.done(&ann, "pauseWebhook", json!({ "id": id }), "").await;
    assert_eq!(
        world
            .errors(&ann, "replayDeliveries", keyed("paused", false))
            .await,
        ["INVALID_STATE input.webhookId"]
    );
    world.done(&ann, "resumeWebhook", json!({ "id": id }), "").await;
    for dry_run in [true, true, false, false] {
        assert_eq!(
            world
                .done(&ann, "replayDeliveries", keyed("paused", dry_run), "count")
                .await["count"],
            1
        );
    }
    let tally = world.engine.gauges().read().await.unwrap().all;
    assert_eq!(tally.accepted, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn d12_concurrent_calls_with_one_key_replay_once() {
    let world = World::new().await;
    let (ann, receiver) = (world.user(1, 7), receiver(200).await);
    let id = deals(&world, &ann, &receiver).await;
    world.publish(1, json!({})).await;
    world.settle().await;
    let input = json!({ "webhookId": id, "idempotencyKey": "at once" });
    let calls =
        (0..8).map(|_| world.done(&ann, "replayDeliveries", input.clone(), "count deliveries { id }"));
    let answers = futures_util::future::join_all(calls).await;
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    world.settle().await;
    assert_eq!(deliveries(&world, &ann, &id).await.len(), 2);
}
