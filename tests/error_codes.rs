//! Every error code that the API documents can be reached, and the list of codes is complete.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tenterhook_harness::client::raw::GRAPHQL_RESPONSE;
use tenterhook_harness::client::{Client, NewEvent, NewWebhook, Refusal};
use tenterhook_harness::realtime;
use tenterhook_harness::world::World;

const URL: &str = "http://127.0.0.1:9/hook";

/// The top-level codes except `REQUEST_TIMEOUT`, which takes as long as the time-out. Its tests are next to the code
/// that can time out.
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
/// Most concurrent operations of one live connection.
const OPERATIONS_OF_A_SOCKET: usize = 100;

/// Code and path of the only user error of a mutation.
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

/// Each `UserErrorCode` of the schema: how a caller gets it, and which path it has.
#[tokio::test(flavor = "multi_thread")]
async fn every_code_of_a_user_error_is_reached() {
    let world = World::start().await;
    let company = world.company(1);
    let (user, admin, platform) = (company.user(7), company.admin(9), world.platform());
    let webhook = user.create_webhook(NewWebhook::to(URL)).await.unwrap().webhook.id;
    company.app("crm").install(7).await.unwrap();
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
            &user,
            "createWebhook",
            new("userId", "9"),
            "input.userId",
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

/// The code for the hash of an unknown document.
async fn unknown_hash(user: &Client) -> String {
    let hash = json!({"extensions": {"persistedQuery": {"version": 1, "sha256Hash": "0".repeat(64)}}});
    let (_, text) = user
        .post_raw(GRAPHQL_RESPONSE, hash.to_string())
        .await
        .expect("it answers");
    code(&text)
}

/// The code when a connection starts one operation too many.
async fn operation_too_many(user: &Client) -> String {
    let mut live = user.live().await.expect("the token is accepted");
    let document = "subscription { webhookChanged { id } }";
    for _ in 0..OPERATIONS_OF_A_SOCKET {
        live.subscribe(document, json!({})).await.expect("it may follow");
    }
    let last = live.subscribe(document, json!({})).await.expect("it is heard");
    let mut refused = live.next(&last).await.expect("the server responds");
    code(&json!({"errors": refused["payload"].take()}).to_string())
}

/// The code of an internal error. Checks that the response has an id and shows nothing internal.
fn told(text: &str) -> String {
    for internal in [
        "apps", "relation", "hidden", "select", "database", "connect", "world_",
    ] {
        assert!(!text.contains(internal), "{internal} is in {text}");
    }
    let answer: Value = serde_json::from_str(text).expect("an answer is JSON");
    let id = answer["errors"][0]["extensions"]["requestId"].as_str();
    assert!(id.is_some_and(|id| id.len() == 32), "{text}");
    code(text)
}

/// The code of an internal error: the database refuses a statement.
async fn without_a_table(world: &World) -> String {
    let database = world.database().expect("the servers are ours");
    let rename = |from, to| format!("alter table {from} rename to {to}");
    database
        .execute(&rename("apps", "hidden"))
        .await
        .expect("there are apps");
    let query = json!({"query": "{ list: apps { totalCount } }"}).to_string();
    let answered = world.platform().post_raw(GRAPHQL_RESPONSE, query).await;
    database
        .execute(&rename("hidden", "apps"))
        .await
        .expect("they were hidden");
    let (status, text) = answered.expect("it answers");
    // A single field failed, so the request was executed.
    assert_eq!(status, 200, "{text}");
    told(&text)
}

/// The code while the database is not available. Afterwards queries work as before.
async fn without_a_database(world: &World, user: &Client) -> String {
    let query = json!({"query": "{ viewer { userId } }"}).to_string();
    let database = world.database().expect("the servers are ours");
    let closed = database.close().await.expect("it can be closed");
    // Broken connections and connections that cannot be opened give the same code.
    let mut codes = BTreeSet::new();
    for _ in 0..20 {
        let (status, text) = user
            .post_raw(GRAPHQL_RESPONSE, query.clone())
            .await
            .expect("it answers");
        assert_eq!(status, 503, "{text}");
        codes.insert(told(&text));
        let listed = user
            .send_raw("GET".parse().expect("a method"), "/v1/webhooks", None)
            .await;
        let (status, text) = listed.expect("it answers");
        assert_eq!(status, 503, "{text}");
        let answer: Value = serde_json::from_str(&text).expect("an answer is JSON");
        assert_eq!(
            (&answer["success"], &answer["errorCode"], answer.get("errors")),
            (&json!(false), &json!(503), None),
            "the REST routes answer in their form: {text}"
        );
    }
    closed.open().await.expect("it can be opened");
    realtime::eventually("it answers as before", async || {
        user.query("{ viewer { userId } }", json!({})).await.is_ok()
    })
    .await;
    Vec::from_iter(codes).join(" ")
}

/// The code of the first error.
fn code(text: &str) -> String {
    let answer: Value = serde_json::from_str(text).expect("an answer is JSON");
    answer["errors"][0]["extensions"]["code"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// Each top-level code, and how a caller gets it.
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
    let mut reached = BTreeMap::new();
    for (code, caller, document) in table {
        let refusal = caller.query(document, json!({})).await.unwrap_err();
        reached.insert(code, refusal.code().to_owned());
    }
    reached.insert("PERSISTED_QUERY_NOT_FOUND", unknown_hash(&user).await);
    reached.insert("RATE_LIMITED", operation_too_many(&user).await);
    reached.insert("INTERNAL", without_a_table(&world).await);
    reached.insert("UNAVAILABLE", without_a_database(&world, &user).await);
    let expected: BTreeMap<&str, String> = TOP_LEVEL.map(|code| (code, code.to_owned())).into();
    assert_eq!(reached, expected);
}

/// An event that conflicts with its key gets an error of its own. The other events are published.
#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_of_a_key_names_its_event() {
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
