//! Every code that a caller can be answered with can be reached, and the list is complete.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tenterhook_harness::client::{Client, NewEvent, NewWebhook, Refusal};
use tenterhook_harness::world::World;

const URL: &str = "http://127.0.0.1:9/hook";

/// Codes of top-level errors that the contract names and this test does not bring about: the first is of a feature that
/// the schema does not show, the others are no caller's doing (`RATE_LIMITED` has its own tests beside what is limited).
const NOT_HERE: [&str; 4] = [
    "PERSISTED_QUERY_NOT_FOUND",
    "RATE_LIMITED",
    "UNAVAILABLE",
    "INTERNAL",
];
/// The codes of API.md, Conventions.
const TOP_LEVEL: [&str; 12] = [
    "UNAUTHENTICATED",
    "FORBIDDEN",
    "BAD_USER_INPUT",
    "GRAPHQL_PARSE_FAILED",
    "GRAPHQL_VALIDATION_FAILED",
    "RATE_LIMITED",
    "QUERY_TOO_DEEP",
    "QUERY_TOO_COMPLEX",
    "PAYLOAD_TOO_LARGE",
    "PERSISTED_QUERY_NOT_FOUND",
    "UNAVAILABLE",
    "INTERNAL",
];

/// The code and path of the only error of a mutation's input.
async fn user_error(caller: &Client, mutation: &str, input: Value) -> (String, String) {
    let refusal = caller
        .mutate(mutation, input, "")
        .await
        .expect_err("it is refused");
    let Refusal::User(errors) = refusal else {
        panic!("{mutation}: {refusal}");
    };
    assert_eq!(errors.len(), 1, "{mutation}: {errors:?}");
    let error = &errors[0];
    assert!(
        !error.message.is_empty() && error.message.ends_with('.'),
        "{error:?}"
    );
    assert_eq!(error.path.first().map(String::as_str), Some("input"), "{error:?}");
    (error.code.clone(), error.path.join("."))
}

/// Issue 4, point 4: each `UserErrorCode` of the schema, how a caller comes by it, and where it says that it is.
#[tokio::test(flavor = "multi_thread")]
async fn every_code_of_a_user_error_is_reached() {
    let world = World::start().await;
    let company = world.company(1);
    let (user, admin, platform) = (company.user(7), company.admin(9), world.platform());
    let webhook = user.create_webhook(NewWebhook::to(URL)).await.unwrap().webhook.id;
    let crm = company.app("crm").install(7).await.unwrap();
    let full = company.user(40);
    for _ in 0..40 {
        full.create_webhook(NewWebhook::to(URL)).await.unwrap();
    }
    let paused = admin
        .create_webhook(NewWebhook::to(URL))
        .await
        .unwrap()
        .webhook
        .id;
    admin.pause(&paused).await.unwrap();
    let keyed = |more: Value| {
        let mut input = json!({"webhookId": webhook, "idempotencyKey": "once"});
        input
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        input
    };
    user.replay(keyed(json!({}))).await.unwrap();
    let new = |field: &str, value: &str| {
        let mut input = json!(NewWebhook::to(URL));
        input[field] = json!(value);
        input
    };
    let named = vec![webhook.clone(); 1_001];
    let elsewhere = company.app("erp").acting_for(7);
    let crms = json!({"appId": company.app("crm").id(), "name": "again"});
    let table: [(&str, &Client, &str, Value, &str); 13] = [
        (
            "INVALID",
            &user,
            "createWebhook",
            new("name", "a\u{0}b"),
            "input.name",
        ),
        (
            "INVALID_URL",
            &user,
            "createWebhook",
            new("subscriptionUrl", "hook"),
            "input.subscriptionUrl",
        ),
        (
            "FORBIDDEN_ADDRESS",
            &user,
            "createWebhook",
            new("subscriptionUrl", "http://10.0.0.1/"),
            "input.subscriptionUrl",
        ),
        (
            "NOT_IN_CATALOG",
            &user,
            "createWebhook",
            new("eventObject", "boat"),
            "input.eventObject",
        ),
        (
            "LIMIT_REACHED",
            &full,
            "createWebhook",
            json!(NewWebhook::to(URL)),
            "input",
        ),
        (
            "NOT_FOUND",
            &full,
            "deleteWebhook",
            json!({"id": webhook}),
            "input.id",
        ),
        (
            "FORBIDDEN",
            &crm,
            "deleteWebhook",
            json!({"id": webhook}),
            "input.id",
        ),
        (
            "APP_NOT_INSTALLED",
            &elsewhere,
            "createWebhook",
            json!(NewWebhook::to(URL)),
            "input",
        ),
        (
            "INVALID_STATE",
            &admin,
            "replayDeliveries",
            json!({"webhookId": paused}),
            "input.webhookId",
        ),
        (
            "TOO_LONG",
            &user,
            "createWebhook",
            new("name", &"x".repeat(256)),
            "input.name",
        ),
        (
            "TOO_MANY",
            &user,
            "replayDeliveries",
            json!({"deliveryIds": named}),
            "input.deliveryIds",
        ),
        (
            "IDEMPOTENCY_CONFLICT",
            &user,
            "replayDeliveries",
            keyed(json!({"status": ["LOST"]})),
            "input.idempotencyKey",
        ),
        ("ALREADY_EXISTS", &platform, "registerApp", crms, "input.appId"),
    ];
    let mut reached = BTreeSet::new();
    for (code, caller, mutation, input, path) in table {
        assert_eq!(
            user_error(caller, mutation, input).await,
            (code.to_owned(), path.to_owned()),
            "{mutation}"
        );
        reached.insert(code.to_owned());
    }
    let document = "{ __type(name: \"UserErrorCode\") { enumValues(includeDeprecated: true) { name } } }";
    let read = user.query(document, json!({})).await.unwrap();
    let names = read["__type"]["enumValues"].as_array().unwrap().iter();
    let of_the_schema: BTreeSet<String> = names
        .map(|value| value["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        reached, of_the_schema,
        "add a line for each code to the table above"
    );
    world.verify().await;
}

/// Issue 4, point 4: each code of API.md that a caller can bring about by what it asks.
#[tokio::test(flavor = "multi_thread")]
async fn every_code_of_a_top_level_error_is_reached() {
    let world = World::start().await;
    let user = world.company(1).user(7);
    let deep = format!(
        "{{ {} id {} }}",
        "webhooks { nodes { deliveries { nodes { webhook { ".repeat(8),
        "} } } } }".repeat(8)
    );
    let costly =
        "{ webhooks(first: 100) { nodes { deliveries(first: 100) { nodes { attempts { number } } } } } }";
    let large = format!("{{ viewer {{ userId }} }} #{}", "x".repeat(9 * 1024 * 1024));
    let table: [(&str, Client, &str); 8] = [
        ("UNAUTHENTICATED", world.anonymous(0), "{ viewer { userId } }"),
        ("FORBIDDEN", world.platform(), "{ webhooks { totalCount } }"),
        (
            "BAD_USER_INPUT",
            user.clone(),
            "{ webhooks(first: 101) { totalCount } }",
        ),
        ("GRAPHQL_PARSE_FAILED", user.clone(), "{ webhooks("),
        ("GRAPHQL_VALIDATION_FAILED", user.clone(), "{ boats }"),
        ("QUERY_TOO_DEEP", user.clone(), &deep),
        ("QUERY_TOO_COMPLEX", user.clone(), costly),
        ("PAYLOAD_TOO_LARGE", user.clone(), &large),
    ];
    let mut reached: BTreeMap<&str, String> = NOT_HERE.map(|code| (code, code.to_owned())).into();
    for (code, caller, document) in table {
        let refusal = caller.query(document, json!({})).await.unwrap_err();
        reached.insert(code, refusal.code().to_owned());
    }
    let expected: BTreeMap<&str, String> = TOP_LEVEL.map(|code| (code, code.to_owned())).into();
    assert_eq!(reached, expected);
}

/// An event that conflicts with its key is answered for itself alone; the others are published.
#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_of_a_key_says_which_event_it_is() {
    let world = World::start().await;
    let event = |object: &str| {
        NewEvent::new(world.company(1).id(), "CREATE", "deal", object).with("idempotencyKey", "k")
    };
    let published = world.platform().publish(&[event("8"), event("9")]).await.unwrap();
    assert_eq!(published.events.len(), 1);
    let error = &published.user_errors[0];
    assert_eq!(
        (error.code.as_str(), error.path.join(".").as_str()),
        ("IDEMPOTENCY_CONFLICT", "input.events.1.idempotencyKey")
    );
}
