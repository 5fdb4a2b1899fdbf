//! The number of a query's statements depends on the kinds of objects that it selects, never on their number.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tenterhook_harness::client::{Client, NewWebhook};
use tenterhook_harness::world::World;

/// Every field of a webhook that a list may show: the most expensive selection that a client has reason to make.
const WORST: &str = "query($first: Int!) { webhooks(first: $first) { totalCount nodes {
    id name subscriptionUrl app { appId name } health { state lastSuccessAt lastHttpStatus lostCount nextTransition { at } }
    stats(since: \"2026-02-03T00:00:00Z\", until: \"2026-02-04T00:00:00Z\", bucket: \"PT12H\") { succeeded p99Ms }
    deliveries(first: 5) { totalCount nodes { id status replayOf { id } webhook { number } event { object }
        attempts { number httpStatus requestHeaders { name } requestBody } } } } } }";
/// Most statements: the caller, a page and its count, and one for each kind of object on it.
const MOST: u64 = 14;

/// The statements that ran during the query, with their counts. Without those of background work.
async fn statements(world: &World, caller: &Client, first: usize) -> BTreeMap<String, u64> {
    let before = world.statements_by_text();
    let answer = caller
        .query(WORST, json!({ "first": first }))
        .await
        .expect("the query is answered");
    let after = world.statements_by_text();
    let nodes = answer["webhooks"]["nodes"].as_array().expect("nodes are a list");
    assert_eq!(nodes.len(), first);
    let complete = |node: &Value| {
        node["deliveries"]["nodes"]
            .as_array()
            .is_some_and(|deliveries| deliveries.len() == 5)
            && node["deliveries"]["nodes"][4]["attempts"][0]["httpStatus"] == 200
    };
    assert!(nodes.iter().all(complete), "{:#}", nodes[0]);
    let ran = |(text, count): (String, u64)| {
        let count = count - before.get(&text).copied().unwrap_or_default();
        (count > 0 && !in_the_background(&text)).then_some((text, count))
    };
    after.into_iter().filter_map(ran).collect()
}

/// Whether a statement is background work of the server: the changes feed, its heartbeat, due transitions, the search
/// for webhooks with open deliveries, and the settings of a new connection. A transaction counts by its contents: its
/// begin and end do not show whose it is.
fn in_the_background(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let frames = ["begin", "commit", "rollback"].iter().any(|word| text == *word);
    let own = [
        "changes",
        "nodes",
        "tallies",
        "next_transition_at",
        "for update",
        "recursive walk",
    ];
    frames || text.starts_with("set ") || own.iter().any(|word| text.contains(word))
}

/// The same statements with equal page sizes.
fn limits_aside(statements: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let aside = |(text, count): (&String, &u64)| (text.replace("limit 101", "limit 11"), *count);
    statements.iter().map(aside).collect()
}

/// A hundred webhooks with health, app and their last five deliveries with attempts take the same statements as ten.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_webhooks_take_the_same_statements_as_ten() {
    let world = World::builder().metered().start().await;
    let company = world.company(1);
    let receiver = world.receiver(200).await;
    let crm = company.app("crm").install(9).await.unwrap();
    let callers = [company.user(1), company.user(2), crm];
    for n in 0..100 {
        // The app's webhooks are created last and later, so that they are among the ten.
        if n == 80 {
            world.advance("PT1S").await;
        }
        let caller = &callers[if n < 40 {
            0
        } else if n < 80 {
            1
        } else {
            2
        }];
        caller
            .create_webhook(NewWebhook::to(&receiver.url()))
            .await
            .unwrap();
    }
    company.publish_many(5).await.unwrap();
    world.settle().await;
    let operator = world.operator();
    let ten = statements(&world, &operator, 10).await;
    let hundred = statements(&world, &operator, 100).await;
    assert_eq!(limits_aside(&ten), limits_aside(&hundred));
    let all: u64 = hundred.values().sum();
    assert!(all <= MOST, "{all} statements: {hundred:#?}");
    assert!(all >= 10, "the query is counted: {hundred:#?}");
    world.verify().await;
}
