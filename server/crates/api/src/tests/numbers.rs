//! Webhooks named by the numbers that payloads carry.

use tenterhook_harness::client::Client;
use tenterhook_harness::signature::Keyring;

use super::*;

/// A webhook's global id and number.
async fn created(world: &World, token: &Token) -> (String, String) {
    let id = world.webhook(token, json!({})).await;
    let query = "query Q($id: ID!) { webhook(id: $id) { number } }";
    let read = world.ask(token, query, json!({ "id": id })).await;
    (id, read["webhook"]["number"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mutation_takes_the_number_of_a_webhook() {
    let world = World::new().await;
    let receiver = receiver(200).await;
    let ann = world.user(1, 7);
    let (id, number) = created(&world, &ann).await;
    let input = json!({ "id": number });
    let change = json!({ "id": number, "subscriptionUrl": receiver.uri() });
    for (mutation, input) in [
        ("updateWebhook", &change),
        ("rotateWebhookSecret", &input),
        ("pauseWebhook", &input),
        ("resumeWebhook", &input),
    ] {
        let done = world
            .done(&ann, mutation, input.clone(), "webhook { id number }")
            .await;
        assert_eq!(
            done["webhook"],
            json!({ "id": id, "number": number }),
            "{mutation}"
        );
    }
    let tested = world
        .done(&ann, "testWebhook", input.clone(), "attempt { httpStatus }")
        .await;
    assert_eq!(tested["attempt"]["httpStatus"], 200);
    world.publish(1, json!({})).await;
    world.settle().await;
    let replay = json!({ "webhookId": number, "dryRun": true });
    let replayed = world.done(&ann, "replayDeliveries", replay, "count").await;
    assert_eq!(replayed["count"], 1);
    let deleted = world
        .done(&ann, "deleteWebhook", input.clone(), "deletedWebhookId")
        .await;
    assert_eq!(deleted["deletedWebhookId"], json!(id), "the global id");
    let restored = world.errors(&ann, "restoreWebhook", input).await;
    assert_eq!(restored, ["INVALID_STATE input.id"], "it is found");
}

/// D12: a key is about a webhook, whether the call has its id or its number. The number of another webhook is another input.
#[tokio::test(flavor = "multi_thread")]
async fn the_id_and_the_number_of_a_webhook_are_the_same_input_for_a_key() {
    let world = World::new().await;
    let receiver = receiver(200).await;
    let ann = world.user(1, 7);
    let (id, number) = created(&world, &ann).await;
    let (_, another) = created(&world, &ann).await;
    let change = json!({ "id": id, "subscriptionUrl": receiver.uri() });
    world.done(&ann, "updateWebhook", change, "").await;
    world.publish(1, json!({})).await;
    world.settle().await;
    let before = world.engine.gauges().read().await.unwrap().all.accepted;
    for (made, key, [first, second]) in [
        (0, "id first", [&id, &number]),
        (1, "number first", [&number, &id]),
    ] {
        let replay =
            |webhook: &str| json!({ "webhookId": webhook, "status": ["SUCCEEDED"], "idempotencyKey": key });
        let done = async |webhook: &str| {
            let fields = "count deliveries { id }";
            world
                .done(&ann, "replayDeliveries", replay(webhook), fields)
                .await
        };
        let replayed = done(first).await;
        assert_eq!(replayed["count"], 1, "{key}");
        assert_eq!(done(second).await, replayed, "{key}");
        let accepted = world.engine.gauges().read().await.unwrap().all.accepted;
        assert_eq!(accepted, before + made + 1, "{key}: sent once");
        for other in [another.as_str(), "9007199254740991", "x"] {
            let conflict = world.errors(&ann, "replayDeliveries", replay(other)).await;
            assert_eq!(
                conflict,
                ["IDEMPOTENCY_CONFLICT input.idempotencyKey"],
                "{key}, {other}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_and_filters_take_the_number_of_a_webhook() {
    let world = World::new().await;
    let (ann, boss) = (world.user(1, 7), world.admin(1, 2));
    let (id, number) = created(&world, &ann).await;
    created(&world, &ann).await;
    world.publish(1, json!({})).await;
    let query = "query Q($id: ID!) {
        webhook(id: $id) { id }
        webhooks(filter: { number: $id }) { nodes { id } totalCount }
        deliveries(filter: { webhookId: $id }) { nodes { webhook { id } } }
        notices(filter: { webhookId: $id }) { nodes { id } }
        node(id: $id) { id }
        nodes(ids: [$id]) { id }
    }";
    let by_number = json!({ "id": number });
    for caller in [&ann, &boss, &world.operator()] {
        let read = world.ask(caller, query, by_number.clone()).await;
        assert_eq!(read["webhook"]["id"], json!(id));
        assert_eq!(
            read["webhooks"],
            json!({ "nodes": [{ "id": id }], "totalCount": 1 })
        );
        assert_eq!(read["deliveries"]["nodes"], json!([{ "webhook": { "id": id } }]));
        assert_eq!(read["node"], Json::Null, "a number is not a global id");
        assert_eq!(read["nodes"], json!([null]));
    }
    let nothing = json!({
        "webhook": null, "webhooks": { "nodes": [], "totalCount": 0 }, "deliveries": { "nodes": [] },
        "notices": { "nodes": [] }, "node": null, "nodes": [null]
    });
    for stranger in [world.user(1, 8), world.admin(2, 7)] {
        assert_eq!(world.ask(&stranger, query, by_number.clone()).await, nothing);
    }
    let none = json!({ "id": "9007199254740991" });
    assert_eq!(world.ask(&ann, query, none).await, nothing);
    let filter = "{ webhooks(filter: { number: \"x\" }) { totalCount } }";
    assert_eq!(world.refusal(&ann, filter, json!({})).await, "BAD_USER_INPUT");
}

/// A subscription listens before the pong, although the number is looked up first. One with a number that no webhook has
/// gets nothing, like one with the id of a webhook that the caller may not see.
#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_takes_the_number_of_a_webhook() {
    let world = World::new().await;
    let (url, ann) = (world.serve().await, world.user(1, 7));
    let (id, number) = created(&world, &ann).await;
    let client = Client::new(&url, Some(ann.0.clone()), Keyring::default()).unwrap();
    let mut live = client.live().await.unwrap();
    let changed = "subscription($id: ID) { webhookChanged(id: $id) { id } }";
    let none = live
        .subscribe(changed, json!({ "id": "9007199254740991" }))
        .await
        .unwrap();
    let named = live.subscribe(changed, json!({ "id": number })).await.unwrap();
    world
        .done(&ann, "updateWebhook", json!({ "id": id, "name": "b" }), "")
        .await;
    let told = live.event(&named).await.unwrap();
    assert_eq!(told["webhookChanged"]["id"], json!(id));
    assert_eq!(live.rest(&none).await.unwrap(), Vec::<Json>::new());
}
