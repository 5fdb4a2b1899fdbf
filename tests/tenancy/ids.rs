//! Indirect ways to another caller's data: counts, cursors, keys, and numbers that occur in two companies.

use serde_json::{Value, json};
use tenterhook_harness::client::NewEvent;
use tenterhook_harness::world::AppSees;

use super::assertions::{Expected, judge};
use super::callers::{self, ITS_APP, Identity, OWNER, PLATFORM, STRANGERS, everybody};
use super::fixture::{COMPANY, ELSEWHERE, Fixture, USER};
use super::{ask, none, said};

/// The arguments that return a whole list.
const WHOLE: &str = "first: 100";
/// The lists to read.
const LISTS: [&str; 5] = ["webhooks", "deliveries", "notices", "event", "apps"];

fn find<'a>(everybody: &'a [Identity], name: &str) -> &'a Identity {
    callers::find(everybody, name)
}

/// A count shows no more than its list, for every caller.
#[tokio::test(flavor = "multi_thread")]
async fn a_count_includes_only_what_the_caller_sees() {
    compare_counts(AppSees::Application).await;
}

/// The same where apps also see the general webhooks of their user.
#[tokio::test(flavor = "multi_thread")]
async fn under_own_general_a_count_includes_only_what_the_caller_sees() {
    compare_counts(AppSees::OwnGeneral).await;
}

async fn compare_counts(sees: AppSees) {
    let fixture = Fixture::where_apps_see(sees).await;
    let (mut found, mut counted) = (Vec::new(), 0);
    for who in &everybody(&fixture.world, sees) {
        for list in LISTS {
            let counts = "{ totalCount edges { cursor } pageInfo { hasNextPage } }";
            let question = match list {
                "event" => format!("{{ event(id: <open event>) {{ deliveries({WHOLE}) {counts} }} }}"),
                "webhooks" => format!("{{ webhooks({WHOLE}, filter: {{includeRemoved: true}}) {counts} }}"),
                _ => format!("{{ {list}({WHOLE}) {counts} }}"),
            };
            let answer = ask(&who.client, &fixture.fill(&question)).await;
            let page = match list {
                "event" => &answer["data"]["event"]["deliveries"],
                _ => &answer["data"][list],
            };
            if page.is_null() {
                continue;
            }
            counted += 1;
            let entries = page["edges"].as_array().map_or(0, Vec::len);
            if page["totalCount"] != entries || page["pageInfo"]["hasNextPage"] != false {
                found.push(format!("{}: {list}: {answer}", who.name));
            }
        }
    }
    none(&found);
    assert!(counted > 0, "at least one caller reads a list");
}

/// A cursor from another caller's list is a position in the caller's own list, and reveals nothing about the other list.
#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_another_caller_pages_ones_own_list() {
    let fixture = Fixture::new().await;
    let everybody = everybody(&fixture.world, AppSees::Application);
    let mut found = Vec::new();
    for name in STRANGERS {
        let who = find(&everybody, name);
        let own = ask(&who.client, "{ webhooks { nodes { id } } }").await;
        let own = own["data"]["webhooks"]["nodes"][0]["id"].clone();
        assert!(own.is_string(), "{name} has a webhook");
        for side in ["first: 100, after", "last: 100, before"] {
            let page = format!(
                "deliveries({side}: <delivery cursor>) {{ totalCount edges {{ cursor node {{ id }} }} \
                 pageInfo {{ startCursor endCursor }} }}"
            );
            let question = format!("{{ webhook(id: {own}) {{ {page} }} }}");
            let answer = ask(&who.client, &fixture.fill(&question)).await;
            found.extend(judge(&answer, &Expected::Own, &fixture.marks, &who.sees()).err());
        }
    }
    none(&found);
}

/// W3: the same user number in two companies means two users.
#[tokio::test(flavor = "multi_thread")]
async fn a_quota_counts_only_the_callers_company() {
    let fixture = Fixture::new().await;
    let everybody = everybody(&fixture.world, AppSees::Application);
    let used = async |name: &str| {
        let question = fixture.fill("{ webhookQuota(type: GENERAL, userId: <user>) { used } }");
        let answer = ask(&find(&everybody, name).client, &question).await;
        answer["data"]["webhookQuota"]["used"].clone()
    };
    for name in [OWNER, "an admin"] {
        assert_eq!(used(name).await, 3, "{name}: healthy, banned and flaky");
    }
    for name in ["a namesake in another company", STRANGERS[0]] {
        assert_eq!(used(name).await, 0, "{name}");
    }
}

/// D12: each caller has separate keys for replays. Another caller does not even learn that a key was used.
#[tokio::test(flavor = "multi_thread")]
async fn keys_of_replays_are_separate_per_caller() {
    reuse_keys_of_replays(AppSees::Application).await;
}

/// The same where apps also see the general webhooks of their user.
#[tokio::test(flavor = "multi_thread")]
async fn under_own_general_keys_of_replays_are_separate_per_caller() {
    reuse_keys_of_replays(AppSees::OwnGeneral).await;
}

async fn reuse_keys_of_replays(sees: AppSees) {
    let fixture = Fixture::where_apps_see(sees).await;
    let everybody = everybody(&fixture.world, sees);
    let replay = async |name: &str, which: &str, key: &str| {
        let question = format!(
            "mutation {{ replayDeliveries(input: {{{which}, idempotencyKey: {key:?}}}) \
             {{ count deliveries {{ id }} userErrors {{ code message path }} }} }}"
        );
        ask(&find(&everybody, name).client, &fixture.fill(&question)).await
    };
    let own = replay(OWNER, "deliveryIds: [<delivery>]", "taken").await;
    assert_eq!(own["data"]["replayDeliveries"]["count"], 1, "{own}");
    let mut found = Vec::new();
    let of_an_app = match sees {
        AppSees::Application => "NOT_FOUND",
        AppSees::OwnGeneral => "FORBIDDEN",
    };
    for (name, code) in [
        (STRANGERS[0], "NOT_FOUND"),
        (STRANGERS[1], "NOT_FOUND"),
        ("a namesake in another company", "NOT_FOUND"),
        ("its app for another user", "NOT_FOUND"),
        (ITS_APP, of_an_app),
        ("another app", of_an_app),
    ] {
        for which in ["deliveryIds: [<delivery>]", "webhookId: <general>"] {
            let taken = replay(name, which, "taken").await;
            let told = Expected::Told(code);
            let who = find(&everybody, name);
            found.extend(judge(&taken, &told, &fixture.marks, &who.sees()).err());
            assert_eq!(
                said(&taken),
                said(&replay(name, which, "never used").await),
                "{name}"
            );
        }
    }
    none(&found);
    // A second caller who may replay the delivery gets a new replay, not the first one's.
    let again = replay("an admin", "deliveryIds: [<delivery>]", "taken").await;
    let ids = |answer: &Value| answer["data"]["replayDeliveries"]["deliveries"].clone();
    assert_eq!(ids(&again).as_array().map(Vec::len), Some(1), "{again}");
    assert_ne!(ids(&again), ids(&own));
}

/// Each caller has separate keys for creations. With another caller's key, a caller creates a new webhook.
#[tokio::test(flavor = "multi_thread")]
async fn keys_of_creations_are_separate_per_caller() {
    let fixture = Fixture::new().await;
    let everybody = everybody(&fixture.world, AppSees::Application);
    let create = async |name: &str| {
        let question = "mutation { createWebhook(input: {subscriptionUrl: \"http://127.0.0.1:9/\", eventAction: ANY, \
            eventObject: \"*\", idempotencyKey: \"taken\"}) { webhook { id } signingSecret userErrors { code } } }";
        ask(&find(&everybody, name).client, question).await
    };
    let mut made = Vec::new();
    let mut found = Vec::new();
    for name in [
        OWNER,
        STRANGERS[0],
        STRANGERS[1],
        "an admin",
        "a namesake in another company",
        "its app for another user",
        ITS_APP,
        "another app",
    ] {
        let answer = create(name).await;
        let who = find(&everybody, name);
        found.extend(judge(&answer, &Expected::Own, &fixture.marks, &who.sees()).err());
        let payload = &answer["data"]["createWebhook"];
        assert!(payload["signingSecret"].is_string(), "{name}: {answer}");
        assert!(!made.contains(&payload["webhook"]["id"]), "{name}: {answer}");
        made.push(payload["webhook"]["id"].clone());
        let again = create(name).await;
        let again = &again["data"]["createWebhook"];
        assert_eq!(again["webhook"]["id"], payload["webhook"]["id"], "{name}");
        assert!(again["signingSecret"].is_null(), "{name}");
    }
    none(&found);
}

/// E1: a key publishes once in each company.
#[tokio::test(flavor = "multi_thread")]
async fn keys_of_publications_are_separate_per_company() {
    let fixture = Fixture::new().await;
    let everybody = everybody(&fixture.world, AppSees::Application);
    let platform = &find(&everybody, PLATFORM).client;
    let event = |company: u64| {
        NewEvent::new(company, "CREATE", "deal", "1")
            .with("idempotencyKey", "taken")
            .with("data", json!({"of": company.to_string()}))
    };
    let first = platform.publish_one(event(COMPANY)).await.unwrap();
    let other = platform.publish_one(event(ELSEWHERE)).await.unwrap();
    assert!(!first.duplicate && !other.duplicate);
    assert_ne!(first.event.id, other.event.id);
    assert!(platform.publish_one(event(COMPANY)).await.unwrap().duplicate);
    fixture.world.settle().await;
}

/// W4, W7: the token decides. The number of another company's user in an input gives no access.
#[tokio::test(flavor = "multi_thread")]
async fn the_user_number_of_another_company_gives_no_access() {
    let fixture = Fixture::new().await;
    let everybody = everybody(&fixture.world, AppSees::Application);
    let namesake = find(&everybody, "a namesake in another company");
    let create = "mutation { createWebhook(input: {subscriptionUrl: \"http://127.0.0.1:9/\", eventAction: ANY, \
        eventObject: \"*\", userId: <user>}) { webhook { companyId userId ownerId } userErrors { code } } }";
    let answer = ask(&namesake.client, &fixture.fill(create)).await;
    let made = json!({
        "companyId": ELSEWHERE.to_string(), "userId": USER.to_string(), "ownerId": USER.to_string()
    });
    assert_eq!(answer["data"]["createWebhook"]["webhook"], made, "{answer}");
    let secret = fixture
        .world
        .platform()
        .publish_one(super::fixture::secret())
        .await
        .unwrap();
    assert_eq!(
        secret.delivery_count, 4,
        "to the user's webhooks, and not to the namesake's"
    );
    fixture.world.settle().await;
}
