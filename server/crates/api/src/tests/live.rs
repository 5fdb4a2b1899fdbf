use tenterhook_harness::client::Client;
use tenterhook_harness::client::live::LiveClient;
use tenterhook_harness::signature::Keyring;

use super::*;

const CHANGED: &str = "subscription($id: ID) { webhookChanged(id: $id) { id name health { state } } }";

async fn live(url: &str, token: &Token) -> LiveClient {
    let client = Client::new(url, Some(token.0.clone()), Keyring::default()).unwrap();
    client.live().await.unwrap()
}

/// The error code of a subscription that does not begin, or that ends.
async fn code(live: &mut LiveClient, id: &str) -> String {
    let message = live.next(id).await.unwrap();
    let errors = match message["type"].as_str() {
        Some("error") => &message["payload"],
        _ => &message["payload"]["errors"],
    };
    errors[0]["extensions"]["code"]
        .as_str()
        .unwrap_or_else(|| panic!("no code: {message}"))
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_get_every_change_of_a_webhook() {
    let world = World::new().await;
    let (url, ann) = (world.serve().await, world.user(1, 7));
    let mut live = live(&url, &ann).await;
    let all = live.subscribe(CHANGED, json!({})).await.unwrap();
    let id = world.webhook(&ann, json!({ "name": "a" })).await;
    let created = live.event(&all).await.unwrap();
    assert_eq!(created["webhookChanged"]["id"], json!(id));
    let named = live.subscribe(CHANGED, json!({ "id": id })).await.unwrap();
    world.webhook(&ann, json!({ "name": "another" })).await;
    assert_eq!(
        live.event(&all).await.unwrap()["webhookChanged"]["name"],
        "another"
    );
    for (mutation, input, field, expected) in [
        ("updateWebhook", json!({ "id": id, "name": "b" }), "/name", "b"),
        ("pauseWebhook", json!({ "id": id }), "/health/state", "PAUSED"),
        ("resumeWebhook", json!({ "id": id }), "/health/state", "ACTIVE"),
        ("deleteWebhook", json!({ "id": id }), "/health/state", "REMOVED"),
    ] {
        world.done(&ann, mutation, input, "").await;
        for subscription in [&all, &named] {
            let event = live.event(subscription).await.unwrap()["webhookChanged"].clone();
            assert_eq!(event.pointer(field), Some(&json!(expected)), "{mutation}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_without_read_access_cannot_subscribe() {
    let world = World::new().await;
    let url = world.serve().await;
    let writer = world.token(json!({ "company_id": "1", "sub": "7", "scope": "webhooks:write" }));
    for token in [world.platform(), writer] {
        let mut live = live(&url, &token).await;
        for field in [
            "webhookChanged { id }",
            "attemptRecorded { number }",
            "noticePosted { id }",
        ] {
            let id = live
                .subscribe(&format!("subscription {{ {field} }}"), json!({}))
                .await
                .unwrap();
            assert_eq!(code(&mut live, &id).await, "FORBIDDEN", "{field}");
            assert_eq!(live.rest(&id).await.unwrap(), Vec::<Json>::new());
        }
    }
    let mut live = live(&url, &world.operator()).await;
    let all = live
        .subscribe("subscription { attemptRecorded { number } }", json!({}))
        .await
        .unwrap();
    assert_eq!(code(&mut live, &all).await, "BAD_USER_INPUT");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_follows_one_webhook_and_every_change() {
    let world = World::new().await;
    let (url, receiver) = (world.serve().await, receiver(200).await);
    let ann = world.user(1, 7);
    let mut live = live(&url, &world.operator()).await;
    let changes = live.subscribe(CHANGED, json!({})).await.unwrap();
    let id = world
        .webhook(&ann, json!({ "subscriptionUrl": receiver.uri() }))
        .await;
    assert_eq!(
        live.event(&changes).await.unwrap()["webhookChanged"]["id"],
        json!(id)
    );
    let recorded = "subscription($id: ID) { attemptRecorded(webhookId: $id) { number delivery { status } } }";
    let attempts = live.subscribe(recorded, json!({ "id": id })).await.unwrap();
    world.publish(1, json!({})).await;
    let event = live.event(&attempts).await.unwrap();
    assert_eq!(event["attemptRecorded"]["number"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn w8_removing_a_user_ends_subscriptions_and_closes_the_socket() {
    let world = World::new().await;
    let (url, ann) = (world.serve().await, world.user(1, 7));
    let mut live = live(&url, &ann).await;
    let all = live.subscribe(CHANGED, json!({})).await.unwrap();
    let id = world.webhook(&ann, json!({})).await;
    // Reads the last event, so that the next message is the end.
    live.event(&all).await.unwrap();
    let changes = live.subscribe(CHANGED, json!({ "id": id })).await.unwrap();
    let gone = json!({ "companyId": "1", "userId": "7" });
    world
        .done(&world.platform(), "removeUser", gone, "removedWebhookCount")
        .await;
    assert_eq!(code(&mut live, &changes).await, "UNAUTHENTICATED");
    let next = live.subscribe("{ viewer { userId } }", json!({})).await;
    assert_eq!(
        next.err().unwrap().to_string(),
        "closed with 4403 The token's user was removed."
    );
}

#[test]
fn missed_events_are_reported_with_an_error_code() {
    use crate::error::{ApiError, ErrorCode};
    use tenterhook_engine::live::Missed;
    use tenterhook_graphql_http::RequestError;
    for (missed, code) in [
        (Missed::Behind, ErrorCode::Unavailable),
        (Missed::Lost, ErrorCode::Unavailable),
        (Missed::TooMany, ErrorCode::TooComplex),
    ] {
        assert_eq!(RequestError::from(ApiError::from(missed)).code(), code);
    }
}
