//! The cost of a query, field by field: in the code, in the descriptions, and in the table of docs/graphql.md.

use std::collections::{BTreeMap, BTreeSet};

use async_graphql::registry::{MetaType, Registry};
use async_graphql::{OutputType, SubscriptionType};

use super::super::live::Subscription;
use super::super::schema::{self, Mutation, Query};
use super::*;

const PAGE: &str = include_str!("../../../../../docs/graphql.md");

/// Lists that cost nothing extra, because their length is bounded by the input, the request or the response.
const PAID_ONCE: [&str; 4] = [
    "userErrors",
    "PublishEventsPayload.events",
    "Attempt.requestHeaders",
    "Attempt.responseHeaders",
];

/// A query for each field with a cost of its own, and the expected cost.
const PRICES: &[(&str, &str, usize)] = &[
    ("Query.nodes", r#"{ nodes(ids: ["a", "b", "c"]) { id } }"#, 1 + 3),
    (
        "Query.webhooks",
        "{ webhooks(last: 7) { nodes { id name } } }",
        1 + 7 * 3,
    ),
    ("Query.deliveries", "{ deliveries { totalCount } }", 1 + 20),
    (
        "Query.notices",
        "{ notices(first: 100) { nodes { kind } } }",
        1 + 100 * 2,
    ),
    ("Query.apps", "{ apps(first: 1) { nodes { name } } }", 1 + 2),
    (
        "Event.deliveries",
        r#"{ event(id: "x") { deliveries(first: 5) { nodes { status } } } }"#,
        1 + 1 + 5 * 2,
    ),
    (
        "Webhook.deliveries",
        r#"{ webhook(id: "x") { deliveries { nodes { status } } } }"#,
        1 + 1 + 20 * 2,
    ),
    // The clock shows ten o'clock.
    (
        "Webhook.stats",
        r#"{ webhook(id: "x") { stats(since: "2026-11-23T09:00:00Z", bucket: "PT10M") { lost } } }"#,
        1 + 1 + 6,
    ),
    (
        "Delivery.attempts",
        r#"{ node(id: "x") { ... on Delivery { attempts { number httpStatus } } } }"#,
        1 + 1 + 4 * 2,
    ),
    (
        "ReplayDeliveriesPayload.deliveries",
        "mutation { replayDeliveries(input: { deliveryIds: [] }) { deliveries { id } } }",
        1 + 1 + 100,
    ),
];

/// The fields with a cost of their own, and the cost in their descriptions.
fn priced() -> BTreeMap<String, String> {
    let mut registry = Registry::default();
    Query::create_type_info(&mut registry);
    Mutation::create_type_info(&mut registry);
    Subscription::create_type_info(&mut registry);
    // The registry also contains the types that the roots are merged from.
    let published = schema::sdl();
    let is_published = |ty: &str| published.contains(&format!("\ntype {ty} "));
    let mut priced = BTreeMap::new();
    for (ty, meta) in registry.types.iter().filter(|(ty, _)| is_published(ty)) {
        let MetaType::Object { fields, .. } = meta else {
            continue;
        };
        for (name, field) in fields {
            let at = format!("{ty}.{name}");
            let paragraphs = field.description.iter().flat_map(|text| text.split("\n\n"));
            let said: Vec<&str> = paragraphs
                .filter_map(|paragraph| paragraph.strip_prefix("Cost: "))
                .collect();
            let has_price = field.compute_complexity.is_some();
            assert_eq!(said.len(), usize::from(has_price), "{at} must say its cost");
            let inner = registry.types.get(field.ty.trim_matches(['[', ']', '!']));
            let is_many = field.ty.contains('[') && inner.is_some_and(|ty| !ty.is_leaf())
                || field.ty.ends_with("Connection!");
            let is_free = PAID_ONCE.contains(&name.as_str()) || PAID_ONCE.contains(&at.as_str());
            assert_eq!(
                has_price,
                // A connection is multiplied at the field that returns it.
                is_many && !is_free && !ty.ends_with("Connection"),
                "{at} must have a cost exactly if it can return a list"
            );
            priced.extend(said.first().map(|said| (at, said.replace('\n', " "))));
        }
    }
    priced
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_costs_what_it_can_return_and_its_description_says_so() {
    let world = World::new().await;
    let ann = world.user(1, 7);
    for (field, query, cost) in PRICES {
        let answer = world.answer(&ann, query, json!({})).await;
        assert_eq!(answer["extensions"]["cost"]["total"], *cost, "{field}: {answer}");
    }
    let tried: BTreeSet<String> = PRICES.iter().map(|(field, ..)| (*field).to_owned()).collect();
    assert_eq!(priced().into_keys().collect::<BTreeSet<_>>(), tried);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cost_of_attempts_follows_the_number_of_retries_in_the_settings() {
    let mut settings = Settings::development();
    settings.policy.retry_delays = vec![std::time::Duration::from_secs(1); 10];
    let world = World::with(settings).await;
    let query = r#"{ node(id: "x") { ... on Delivery { attempts { number } } } }"#;
    let answer = world.answer(&world.user(1, 7), query, json!({})).await;
    assert_eq!(answer["extensions"]["cost"]["total"], 1 + 1 + 11, "{answer}");
}

#[test]
fn the_page_lists_every_field_with_a_cost_of_its_own() {
    let line = |(at, said): (String, String)| format!("| `{at}` | {} |", said.trim_end_matches('.'));
    let table: Vec<String> = priced().into_iter().map(line).collect();
    let table = format!("| Field | Cost |\n| --- | --- |\n{}\n", table.join("\n"));
    assert!(
        PAGE.contains(&format!("\n{table}\n")),
        "docs/graphql.md must have:\n{table}"
    );
}
