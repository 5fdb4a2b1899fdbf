//! Faults that the library's validation accepts and ours refuses; and the cost of a document.

use super::*;
use crate::limits::COSTLIEST;

/// The only error's code. Checks that nothing was executed.
async fn refused(world: &World, query: &str, variables: Json) -> String {
    let answer = world.answer(&world.user(1, 7), query, variables).await;
    assert!(answer.get("data").is_none(), "{query}: {answer}");
    answer["errors"][0]["extensions"]["code"]
        .as_str()
        .unwrap_or_else(|| panic!("no code: {answer}"))
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn directives_on_typename_are_validated_and_obeyed() {
    let world = World::new().await;
    let ann = world.user(1, 7);
    for wrong in [
        "{ __typename @nope }",
        "{ __typename @skip }",
        "{ __typename @skip(if: 1) }",
        "{ __typename @skip(if: true, unless: true) }",
        "{ __typename @skip(if: true) @skip(if: true) }",
        "{ __typename @deprecated }",
        "{ viewer { __typename @nope } }",
        "{ ... { __typename @nope } }",
        "{ ...F } fragment F on Query { __typename @nope }",
        "{ __typename @skip(if: $missing) }",
        "query A { __typename } query B { __typename @nope }",
    ] {
        let code = refused(&world, wrong, json!({})).await;
        // Without a name the last one would be refused for that reason.
        assert_eq!(code, "GRAPHQL_VALIDATION_FAILED", "{wrong}");
    }
    let query = "query Q($skip: Boolean!) { a: __typename @skip(if: $skip) viewer { userId b: __typename @include(if: $skip) } }";
    assert_eq!(
        world.ask(&ann, query, json!({ "skip": true })).await,
        json!({ "viewer": { "userId": "7", "b": "Viewer" } })
    );
    assert_eq!(
        world.ask(&ann, query, json!({ "skip": false })).await,
        json!({ "a": "Query", "viewer": { "userId": "7" } })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_int_literal_out_of_range_is_refused_before_execution() {
    let world = World::new().await;
    let ann = world.user(1, 7);
    for past in [
        "2147483648",
        "-2147483649",
        "9223372036854775808",
        "99999999999999999999",
        "1.5",
    ] {
        for query in [
            "{ webhooks(first: N) { totalCount } }",
            "{ webhooks(first: 1) { nodes { deliveries(first: N) { totalCount } } } }",
            "{ ...F } fragment F on Query { notices(first: N) { totalCount } }",
            "query Q($n: Int = N) { webhooks(first: $n) { totalCount } }",
            "{ viewer { userId } webhooks(first: N) @skip(if: true) { totalCount } }",
        ] {
            let query = query.replace('N', past);
            assert_eq!(
                refused(&world, &query, json!({})).await,
                "GRAPHQL_VALIDATION_FAILED",
                "{query}"
            );
        }
    }
    // In range for a literal: the resolver decides on the size of a page.
    for within in ["2147483647", "-2147483648"] {
        let query = format!("{{ webhooks(first: {within}) {{ totalCount }} }}");
        let answer = world.answer(&ann, &query, json!({})).await;
        assert_eq!(answer["errors"][0]["extensions"]["code"], "BAD_USER_INPUT");
        assert!(answer["errors"][0]["path"].is_array(), "{answer}");
    }
    let query = "{ node(id: 99999999999) { id } }";
    assert_eq!(world.ask(&ann, query, json!({})).await, json!({ "node": null }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_that_does_not_fit_is_refused_before_execution() {
    let world = World::new().await;
    let ann = world.user(1, 7);
    let first = "query Q($n: Int) { viewer { userId } webhooks(first: $n) @skip(if: true) { totalCount } }";
    for value in [
        json!(2_147_483_648_i64),
        json!(-2_147_483_649_i64),
        json!(1.5),
        json!("1"),
        json!(true),
        json!([1]),
    ] {
        assert_eq!(
            refused(&world, first, json!({ "n": value })).await,
            "BAD_USER_INPUT",
            "{value}"
        );
    }
    for fits in [json!(2_147_483_647), json!(null)] {
        assert!(world.ask(&ann, first, json!({ "n": fits })).await.is_object());
    }
    let required = "query Q($id: ID!) { __typename node(id: $id) { id } }";
    for variables in [
        json!({}),
        json!({ "id": null }),
        json!({ "id": {} }),
        json!({ "id": true }),
    ] {
        assert_eq!(
            refused(&world, required, variables.clone()).await,
            "BAD_USER_INPUT",
            "{variables}"
        );
    }
    let create =
        "mutation M($input: CreateWebhookInput!) { createWebhook(input: $input) { userErrors { code } } }";
    let input = json!({ "subscriptionUrl": "http://127.0.0.1:9/", "eventAction": "ANY", "eventObject": "*" });
    for (name, value) in [
        ("eventAction", json!("SOME")),
        ("eventAction", json!(1)),
        ("subscriptionUrl", json!(null)),
        ("subscriptionUrl", json!(7)),
        ("unknown", json!(1)),
    ] {
        let mut wrong = input.clone();
        wrong[name] = value;
        let answer = world.answer(&ann, create, json!({ "input": wrong })).await;
        let message = answer["errors"][0]["message"].as_str().unwrap();
        assert!(message.contains("$input") && message.contains(name), "{message}");
        assert!(answer.get("data").is_none(), "{answer}");
    }
    for wrong in [json!([]), json!("x"), json!({})] {
        assert_eq!(
            refused(&world, create, json!({ "input": wrong })).await,
            "BAD_USER_INPUT"
        );
    }
    assert!(
        world
            .ask(&ann, create, json!({ "input": input }))
            .await
            .is_object()
    );
    // A single value counts as a list with one element.
    let list = "query Q($ids: [ID!]!) { nodes(ids: $ids) { id } }";
    assert_eq!(
        world.ask(&ann, list, json!({ "ids": "x" })).await,
        json!({ "nodes": [null] })
    );
    assert_eq!(
        refused(&world, list, json!({ "ids": ["x", null] })).await,
        "BAD_USER_INPUT"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_document_gets_the_same_response_as_a_new_one() {
    let world = World::new().await;
    let ann = world.user(1, 7);
    let create =
        "mutation M($input: CreateWebhookInput!) { createWebhook(input: $input) { userErrors { code } } }";
    let nested = "mutation M($url: String!) { createWebhook(input: { subscriptionUrl: $url, eventAction: ANY, \
                  eventObject: \"*\" }) { userErrors { code } } }";
    let deep = "query Q($n: Int) { webhooks(first: $n) { nodes { deliveries(first: $n) { nodes { attempts { number \
                httpStatus } } } } } }";
    let list = "query Q($ids: [ID!] = [\"x\"], $not: Boolean = false) { __typename @skip(if: $not) nodes(ids: $ids) { id } }";
    let input = json!({ "subscriptionUrl": "http://127.0.0.1:9/", "eventAction": "ANY", "eventObject": "*" });
    let with = |name: &str, value: Json| {
        let mut input = input.clone();
        input[name] = value;
        json!({ "input": input })
    };
    for (query, fits, others) in [
        (
            create,
            json!({ "input": input }),
            vec![
                with("eventAction", json!("SOME")),
                with("subscriptionUrl", json!(null)),
                with("unknown", json!(1)),
                json!({ "input": null }),
                json!({}),
            ],
        ),
        (
            nested,
            json!({ "url": "http://127.0.0.1:9/" }),
            vec![json!({ "url": 7 }), json!({ "url": null }), json!({})],
        ),
        (
            deep,
            json!({ "n": 1 }),
            vec![json!({ "n": 100 }), json!({ "n": "1" }), json!({ "n": 101 })],
        ),
        (
            list,
            json!({}),
            vec![
                json!({ "ids": null }),
                json!({ "ids": [null] }),
                json!({ "not": null }),
                json!({ "not": 1 }),
            ],
        ),
    ] {
        assert!(
            world.answer(&ann, query, fits.clone()).await["errors"].is_null(),
            "{query}"
        );
        for (place, variables) in others.into_iter().enumerate() {
            // Another text, so that it is not cached.
            let unknown = format!("{query}{}", " ".repeat(place + 1));
            let mut answers = [
                world.answer(&ann, &unknown, variables.clone()).await,
                world.answer(&ann, query, variables.clone()).await,
            ];
            for answer in &mut answers {
                answer["extensions"]["rateLimit"] = json!(null);
            }
            assert_eq!(answers[0], answers[1], "{query} {variables}");
            assert!(answers[0]["errors"].is_array(), "{query} {variables}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_executed_response_has_its_cost() {
    let world = World::new().await;
    let ann = world.user(1, 7);
    for (query, cost) in [
        ("{ viewer { userId } }", 2),
        ("{ viewer { userId companyId } }", 3),
        ("{ webhooks { nodes { id } } }", 1 + 20 * 2),
        ("{ webhooks(first: 3) { nodes { id } } }", 1 + 3 * 2),
        ("{ __typename }", 0),
    ] {
        let answer = world.answer(&ann, query, json!({})).await;
        assert_eq!(
            answer["extensions"]["cost"],
            json!({ "total": cost, "limit": COSTLIEST }),
            "{query}"
        );
    }
    let answer = world.answer(&ann, "{ nothing }", json!({})).await;
    assert!(answer["extensions"].get("cost").is_none(), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nested_pages_with_an_overflowing_cost_are_refused() {
    let world = World::new().await;
    // 100^10 does not fit into 64 bits; more levels exceed the limit on nesting.
    for levels in [2, 9, 16] {
        let query = format!(
            "{{ webhooks(first: 100) {{ nodes {{ {} id {} }} }} }}",
            "deliveries(first: 100) { nodes { webhook { ".repeat(levels),
            "} } }".repeat(levels)
        );
        let answer = world.answer(&world.user(1, 7), &query, json!({})).await;
        let code = answer["errors"][0]["extensions"]["code"]
            .as_str()
            .unwrap_or_default();
        assert!(
            matches!(code, "QUERY_TOO_COMPLEX" | "QUERY_TOO_DEEP"),
            "{levels}: {answer}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn introspection_and_suggestions_follow_their_settings() {
    let introspection = "{ __schema { queryType { name } } }";
    let misspelt = "{ viewer { userIdd } }";
    let world = World::new().await;
    let ann = world.user(1, 7);
    assert!(world.ask(&ann, introspection, json!({})).await["__schema"].is_object());
    let answer = world.answer(&ann, misspelt, json!({})).await;
    assert!(
        answer["errors"][0]["message"]
            .as_str()
            .unwrap()
            .contains("userId\"")
    );
    let mut settings = Settings::development();
    settings.api.introspection = false;
    settings.api.suggestions = false;
    let world = World::with(settings).await;
    let ann = world.user(1, 7);
    for query in [introspection, "{ __type(name: \"Query\") { name } }"] {
        assert_eq!(
            refused(&world, query, json!({})).await,
            "GRAPHQL_VALIDATION_FAILED",
            "{query}"
        );
    }
    assert_eq!(
        world.ask(&ann, "{ __typename }", json!({})).await,
        json!({ "__typename": "Query" })
    );
    let answer = world.answer(&ann, misspelt, json!({})).await;
    let message = answer["errors"][0]["message"].as_str().unwrap();
    assert!(!message.contains("userId\""), "{message}");
}
