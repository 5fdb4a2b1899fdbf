//! Values that the database cannot store are refused on input, with their position.

use super::*;

const PUBLISH: &str = "mutation P($input: PublishEventsInput!) { publishEvents(input: $input) { events { index } userErrors { code path } } }";

fn event(occurred_at: &str) -> Json {
    json!({
        "companyId": "1", "action": "CHANGE", "object": "deal", "objectId": "8", "userId": "1",
        "occurredAt": occurred_at
    })
}

/// The code and message of the only error.
fn refused(answer: &Json) -> (&str, &str) {
    let errors = answer["errors"]
        .as_array()
        .unwrap_or_else(|| panic!("no error: {answer:#}"));
    assert_eq!(errors.len(), 1, "{answer:#}");
    let code = errors[0]["extensions"]["code"].as_str().unwrap();
    (code, errors[0]["message"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_out_of_range_time_names_its_event_and_publishes_none() {
    let world = World::new().await;
    let (first, last) = ("0001-01-01T00:00:00Z", "9999-12-30T22:00:00.999999Z");
    let input = json!({ "input": { "events": [event(first), event(last)] } });
    let done = world.ask(&world.platform(), PUBLISH, input).await;
    assert_eq!(done["publishEvents"]["events"].as_array().unwrap().len(), 2);
    for beyond in [
        "0000-12-31T23:59:59.999999Z",
        "-009000-01-01T00:00:00Z",
        "9999-12-30T22:00:01Z",
    ] {
        let input = json!({ "input": { "events": [event(first), event(beyond)] } });
        let answer = world.answer(&world.platform(), PUBLISH, input).await;
        let (code, message) = refused(&answer);
        assert_eq!(code, "BAD_USER_INPUT", "{beyond}");
        assert!(
            message.starts_with("`$input.events[1].occurredAt` must be"),
            "{message}"
        );
    }
    let stored = tenterhook_store::testing::count(&mut world.store.conn().await.unwrap(), "events").await;
    assert_eq!(stored, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_out_of_range_literal_is_refused_with_its_position() {
    let world = World::new().await;
    for (query, place, column) in [
        (
            "{ deliveries(filter: {since: \"-009000-01-01T00:00:00Z\"}) { totalCount } }",
            "filter.since",
            22,
        ),
        (
            "query Q($at: DateTime = \"-009000-01-01T00:00:00Z\") { notices(filter: {since: $at}) { totalCount } }",
            "$at",
            25,
        ),
    ] {
        let answer = world.answer(&world.user(1, 7), query, json!({})).await;
        let (code, message) = refused(&answer);
        assert_eq!(code, "BAD_USER_INPUT");
        assert!(message.starts_with(&format!("`{place}` must be")), "{message}");
        assert_eq!(
            answer["errors"][0]["locations"],
            json!([{ "line": 1, "column": column }])
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn search_text_must_not_contain_u0000() {
    let world = World::new().await;
    let query = "query Q($filter: WebhookFilter) { webhooks(filter: $filter) { totalCount nodes { id } } }";
    for field in ["urlContains", "eventObject"] {
        for (text, is_good) in [("a\0", false), ("\0", false), ("\u{1}", true), ("Ä", true)] {
            let filter = json!({ "filter": { field: text } });
            let answer = world.answer(&world.user(1, 7), query, filter).await;
            if is_good {
                assert_eq!(answer["data"]["webhooks"]["totalCount"], 0, "{answer}");
                continue;
            }
            let (code, message) = refused(&answer);
            assert_eq!(code, "BAD_USER_INPUT");
            assert_eq!(
                message,
                format!("`filter.{field}` must not contain the character U+0000.")
            );
        }
    }
}
