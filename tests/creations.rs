//! Creations with an idempotency key create one webhook, however often they are repeated.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tenterhook_harness::client::{Client, NewWebhook, Refusal};
use tenterhook_harness::world::World;

const URL: &str = "http://127.0.0.1:9/hook";
const SHOWN: &str = "webhook { id name health { state } } signingSecret";

/// An input with every field.
fn keyed(key: &str) -> Value {
    json!({
        "subscriptionUrl": URL, "eventAction": "ANY", "eventObject": "deal", "version": "V2", "name": "Deals",
        "httpAuthUser": "user", "httpAuthPassword": "a password", "idempotencyKey": key,
    })
}

fn with(mut input: Value, field: &str, value: Value) -> Value {
    input[field] = value;
    input
}

async fn create(caller: &Client, input: Value) -> Result<Value, Refusal> {
    caller.mutate("createWebhook", input, SHOWN).await
}

/// The webhook's id, and whether the secret was shown.
async fn made(caller: &Client, input: Value) -> (String, bool) {
    let made = create(caller, input).await.expect("it is answered");
    let id = made["webhook"]["id"].as_str().expect("a webhook").to_owned();
    (id, made["signingSecret"].is_string())
}

async fn code(caller: &Client, input: Value) -> (String, String) {
    let refusal = create(caller, input).await.expect_err("it is refused");
    let error = refusal.user_error().unwrap_or_else(|| panic!("{refusal}"));
    (error.code.clone(), error.path.join("."))
}

async fn used(caller: &Client) -> u32 {
    let quota = caller.quota("GENERAL", None).await;
    quota.expect("everybody has one").used
}

/// A repeated creation within a day returns the webhook's current state, without its secret. After that the key is
/// free.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_creates_once_and_then_returns_the_current_webhook() {
    let world = World::start().await;
    let user = world.company(1).user(7);
    let (id, shown) = made(&user, keyed("k")).await;
    assert!(shown, "the secret is shown once");
    assert_eq!(made(&user, keyed("k")).await, (id.clone(), false));
    // A default equals its explicit value, and the caller's own user id equals no user id.
    let mut short = keyed("k");
    short.as_object_mut().unwrap().remove("version");
    assert_eq!(made(&user, short).await, (id.clone(), false));
    let own = with(keyed("k"), "userId", json!("7"));
    assert_eq!(made(&user, own).await, (id.clone(), false));

    user.update_webhook(&id, json!({"name": "Renamed", "httpAuthPassword": "another"}))
        .await
        .unwrap();
    user.pause(&id).await.unwrap();
    let again = create(&user, keyed("k")).await.unwrap();
    assert_eq!(
        again["webhook"],
        json!({"id": id, "name": "Renamed", "health": {"state": "PAUSED"}})
    );
    user.delete_webhook(&id).await.unwrap();
    let again = create(&user, keyed("k")).await.unwrap();
    assert_eq!(again["webhook"]["health"]["state"], "REMOVED");
    assert_eq!(
        (used(&user).await, again["signingSecret"].clone()),
        (0, Value::Null)
    );

    world.advance("PT23H59M59S").await;
    assert_eq!(made(&user, keyed("k")).await, (id.clone(), false));
    world.advance("PT1S").await;
    let (other, shown) = made(&user, keyed("k")).await;
    assert!(other != id && shown, "a key is forgotten after a day");
    assert_eq!(used(&user).await, 1);
    world.verify().await;
}

/// Another input with the same key is a conflict, whichever field differs. The bounds of the key are those of every
/// key.
#[tokio::test(flavor = "multi_thread")]
async fn another_input_with_the_same_key_is_a_conflict() {
    let world = World::start().await;
    let admin = world.company(1).admin(7);
    let (id, _) = made(&admin, keyed("k")).await;
    let conflict = (
        "IDEMPOTENCY_CONFLICT".to_owned(),
        "input.idempotencyKey".to_owned(),
    );
    for (field, value) in [
        ("subscriptionUrl", json!("http://127.0.0.1:9/other")),
        ("eventAction", json!("CREATE")),
        ("eventObject", json!("*")),
        ("version", json!("V1")),
        ("name", json!("deals")),
        ("name", Value::Null),
        ("userId", json!("8")),
        ("httpAuthUser", json!("")),
        ("httpAuthPassword", json!("a Password")),
        ("httpAuthPassword", json!("")),
        ("httpAuthPassword", Value::Null),
        // Also one that would be refused by itself.
        ("subscriptionUrl", json!("http://10.0.0.1/")),
    ] {
        let other = with(keyed("k"), field, value.clone());
        assert_eq!(code(&admin, other).await, conflict, "{field}: {value}");
    }
    assert_eq!(made(&admin, keyed("k")).await, (id, false));
    for (key, expected) in [
        (String::new(), "INVALID"),
        ("a\u{7}b".to_owned(), "INVALID"),
        ("x".repeat(256), "TOO_LONG"),
    ] {
        let (code, path) = code(&admin, keyed(&key)).await;
        assert_eq!((code.as_str(), path.as_str()), (expected, "input.idempotencyKey"));
    }
    assert!(made(&admin, keyed(&"x".repeat(255))).await.1);
    assert_eq!(used(&admin).await, 2);
    world.verify().await;
}

/// Each user has separate keys, and so has each app of a user. A refused creation does not use up its key.
#[tokio::test(flavor = "multi_thread")]
async fn keys_are_separate_per_caller_and_refusals_use_none() {
    let world = World::start().await;
    let company = world.company(1);
    let crm = company.app("crm").install(7).await.unwrap();
    let erp = company.app("erp").install(7).await.unwrap();
    let callers = [
        company.user(7),
        company.user(8),
        world.company(2).user(7),
        crm,
        erp,
    ];
    let mut ids = BTreeSet::new();
    for caller in &callers {
        let (id, shown) = made(caller, keyed("k")).await;
        assert!(shown && ids.insert(id));
    }
    for caller in &callers {
        let (id, shown) = made(caller, keyed("k")).await;
        assert!(!shown && ids.contains(&id));
    }

    let user = &callers[0];
    let wrong = with(keyed("later"), "subscriptionUrl", json!("hook"));
    assert_eq!(code(user, wrong).await.0, "INVALID_URL");
    let mut others = Vec::new();
    for _ in 1..40 {
        others.push(user.create_webhook(NewWebhook::to(URL)).await.unwrap().webhook.id);
    }
    assert_eq!(code(user, keyed("later")).await.0, "LIMIT_REACHED");
    // W3: an existing webhook needs no free place.
    assert!(!made(user, keyed("k")).await.1);
    user.delete_webhook(&others[0]).await.unwrap();
    assert!(made(user, keyed("later")).await.1);
    assert_eq!(used(user).await, 40);
    world.verify().await;
}

/// W3: two hundred simultaneous creations with one key, on two servers, create one webhook and show its secret once;
/// also if it takes the last place.
#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_simultaneous_creations_with_one_key_make_one_webhook() {
    let world = World::builder().servers(2).start().await;
    for taken in [0, 38] {
        for _ in 0..taken {
            let user = world.company(1).user(7);
            user.create_webhook(NewWebhook::to(URL)).await.unwrap();
        }
        let key = format!("at once, {taken} taken");
        let create = async |n: usize| {
            let user = world.company(1).at(n % 2).user(7);
            made(&user, keyed(&key)).await
        };
        let all = join_all((0..200).map(create)).await;
        let ids: BTreeSet<&String> = all.iter().map(|(id, _)| id).collect();
        let secrets = all.iter().filter(|(_, shown)| *shown).count();
        assert_eq!((ids.len(), secrets), (1, 1), "{taken} taken");
    }
    assert_eq!(used(&world.company(1).user(7)).await, 40);
    world.verify().await;
}
