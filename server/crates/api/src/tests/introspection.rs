//! Introspection queries, of tools and of attackers.

use super::*;
use crate::limits::{COSTLIEST, DEEPEST, DEEPEST_INTROSPECTION};

/// The query that `getIntrospectionQuery` of graphql-js writes with every option on and this number of levels of
/// `ofType`: GraphiQL, Apollo's tools, the Relay compiler and GraphQL Code Generator send parts of it.
fn full(levels: usize) -> String {
    let types = format!(
        "{} kind name {}",
        "kind name ofType {".repeat(levels),
        "}".repeat(levels)
    );
    let inputs = "name description type { ...TypeRef } defaultValue isDeprecated deprecationReason";
    format!(
        "query IntrospectionQuery {{ __schema {{
           description queryType {{ name kind }} mutationType {{ name kind }} subscriptionType {{ name kind }}
           types {{ ...FullType }}
           directives {{ name description isRepeatable locations args(includeDeprecated: true) {{ ...InputValue }} }} }} }}
         fragment FullType on __Type {{
           kind name description specifiedByURL isOneOf
           fields(includeDeprecated: true) {{
             name description args(includeDeprecated: true) {{ ...InputValue }} type {{ ...TypeRef }} isDeprecated deprecationReason }}
           inputFields(includeDeprecated: true) {{ ...InputValue }}
           interfaces {{ ...TypeRef }}
           enumValues(includeDeprecated: true) {{ name description isDeprecated deprecationReason }}
           possibleTypes {{ ...TypeRef }} }}
         fragment InputValue on __InputValue {{ {inputs} }}
         fragment TypeRef on __Type {{ {types} }}"
    )
}

/// Number of fields in a response.
fn fields(value: &Json) -> usize {
    match value {
        Json::Object(fields_of) => fields_of.len() + fields_of.values().map(fields).sum::<usize>(),
        Json::Array(items) => items.iter().map(fields).sum(),
        _ => 0,
    }
}

fn total(answer: &Json) -> usize {
    let total = answer["extensions"]["cost"]["total"].as_u64();
    usize::try_from(total.unwrap_or_else(|| panic!("{answer}"))).unwrap()
}

/// The code of a document that must not be executed.
async fn refused(world: &World, query: &str, variables: Json) -> Json {
    let answer = world.answer(&world.user(1, 7), query, variables).await;
    assert!(answer.get("data").is_none(), "executed: {query}");
    assert!(answer["extensions"].get("cost").is_none(), "validated: {query}");
    answer["errors"][0]["extensions"]["code"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_introspection_query_of_every_tool_passes_and_costs_what_it_returns() {
    let world = World::new().await;
    let ann = world.user(1, 7);
    for levels in [7, 9, 12] {
        let answer = world.answer(&ann, &full(levels), json!({})).await;
        assert!(answer.get("errors").is_none(), "{levels}: {answer:#}");
        let (cost, fields) = (total(&answer), fields(&answer["data"]));
        assert!(fields > 1_000, "{fields}");
        // The types that the roots are merged from are counted, though they are not in the response.
        assert!((fields..fields * 3 / 2).contains(&cost), "{cost} for {fields}");
        assert!(cost < 10_000, "{cost}: docs/graphql.md says less");
        assert!(cost < COSTLIEST / 2, "{cost}: no room for the schema to grow");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn small_introspection_queries_cost_little() {
    let world = World::new().await;
    let ann = world.user(1, 7);
    for (query, variables, cost) in [
        ("{ __schema { queryType { name } } }", json!({}), 3),
        ("{ __typename __schema { __typename } }", json!({}), 2),
        (
            "{ viewer { userId } __type(name: \"WebhookState\") { enumValues { name } } }",
            json!({}),
            2 + 2 + 4,
        ),
        (
            "{ __type(name: \"NoSuchType\") { fields { name } } }",
            json!({}),
            1,
        ),
        (
            "query Q($n: String!) { __type(name: $n) { enumValues { name } } }",
            json!({ "n": "WebhookState" }),
            2 + 4,
        ),
        (
            "query Q($n: String = \"WebhookState\") { __type(name: $n) { enumValues { name } } }",
            json!({}),
            2 + 4,
        ),
    ] {
        let answer = world.answer(&ann, query, variables).await;
        assert!(answer.get("errors").is_none(), "{query}: {answer}");
        assert_eq!(total(&answer), cost, "{query}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_introspection_aliases_are_refused_before_execution() {
    let world = World::new().await;
    let aliases: String = (0..100)
        .map(|n| format!("a{n}: __schema {{ types {{ ...FullType }} }} "))
        .collect();
    let full = full(9);
    let fragments = full.find("fragment FullType").map(|at| &full[at..]).unwrap();
    let query = format!("{{ {aliases} }} {fragments}");
    assert_eq!(refused(&world, &query, json!({})).await, "QUERY_TOO_COMPLEX");
}

#[tokio::test(flavor = "multi_thread")]
async fn multiplying_introspection_is_refused_before_execution() {
    let world = World::new().await;
    let again = |inner: &str| {
        let fields = format!("fields {{ type {{ {inner} ofType {{ {inner} }} }} }}");
        format!("on __Type {{ a: {fields} b: {fields} c: {fields} d: {fields} }} ")
    };
    let fragments: String = (1..4)
        .map(|level| format!("fragment F{level} {}", again(&format!("...F{}", level + 1))))
        .collect();
    let fragments = format!("{fragments} fragment F4 {}", again("name"));
    let cycles = format!(
        "{} fields {{ name }} {}",
        "interfaces { possibleTypes {".repeat(5),
        "} }".repeat(5)
    );
    for query in [
        format!("{{ __schema {{ types {{ ...F1 }} }} }} {fragments}"),
        format!("query Q($n: String!) {{ __type(name: $n) {{ ...F1 }} }} {fragments}"),
        format!("{{ __schema {{ types {{ {cycles} }} }} }}"),
    ] {
        let code = refused(&world, &query, json!({ "n": "Query" })).await;
        assert_eq!(code, "QUERY_TOO_COMPLEX", "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn introspection_has_its_own_depth_limit() {
    let world = World::new().await;
    let ann = world.user(1, 7);
    let of_type = |levels: usize| {
        format!(
            "{{ __type(name: \"Query\") {{ {} name {} }} }}",
            "ofType {".repeat(levels),
            "}".repeat(levels)
        )
    };
    // `__type` and `name` add two levels.
    let deepest = world
        .answer(&ann, &of_type(DEEPEST_INTROSPECTION - 2), json!({}))
        .await;
    assert!(deepest.get("errors").is_none(), "{deepest}");
    let code = refused(&world, &of_type(DEEPEST_INTROSPECTION - 1), json!({})).await;
    assert_eq!(code, "QUERY_TOO_DEEP");

    let deep = |depth: usize| {
        let objects = ["webhook", "deliveries(first: 1)", "nodes"]
            .into_iter()
            .cycle()
            .take(depth - 1);
        let objects = objects
            .collect::<Vec<_>>()
            .join(" { ")
            .replacen("webhook", "webhook(id: \"x\")", 1);
        let leaf = ["totalCount", "id", "id"][depth % 3];
        format!("{{ {objects} {{ {leaf} {}", "}".repeat(depth))
    };
    let deepest = world.answer(&ann, &deep(DEEPEST), json!({})).await;
    assert_eq!(deepest["data"]["webhook"], Json::Null, "{deepest}");
    assert!(deepest.get("errors").is_none(), "{deepest}");
    let code = refused(&world, &deep(DEEPEST + 1), json!({})).await;
    assert_eq!(code, "QUERY_TOO_DEEP");
}
