//! String literals in documents: the escapes of GraphQL's edition of September 2025.

use sha2::{Digest, Sha256};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_escaped_emoji_is_one_character_everywhere() {
    let world = World::new().await;
    let (ann, receiver) = (world.user(1, 7), receiver(200).await);
    for (index, emoji) in [r"\ud83d\ude00", r"\u{1F600}", "😀"].into_iter().enumerate() {
        let url = format!("{}/{emoji}/{index}", receiver.uri());
        let create = format!(
            r#"mutation {{ createWebhook(input: {{ name: "{emoji}", subscriptionUrl: "{url}", eventAction: ANY,
                eventObject: "deal" }}) {{ webhook {{ name subscriptionUrl }} userErrors {{ code }} }} }}"#
        );
        let made = &world.ask(&ann, &create, json!({})).await["createWebhook"];
        assert_eq!(made["userErrors"], json!([]), "{emoji}");
        assert_eq!(made["webhook"]["name"], "😀", "{emoji}");
        let kept = made["webhook"]["subscriptionUrl"].as_str().unwrap();
        let part = kept.strip_suffix(&format!("/{index}")).unwrap();
        assert!(part.ends_with("😀") || part.ends_with("%F0%9F%98%80"), "{kept}");
    }
    let found = r#"{ webhooks(filter: { urlContains: "\u{31}2\u0037.0" }) { totalCount } }"#;
    assert_eq!(
        world.ask(&ann, found, json!({})).await["webhooks"]["totalCount"],
        3
    );

    let publish = r#"mutation { publishEvents(input: { events: [{ companyId: "1", action: CHANGE, object: "deal",
        objectId: "8", userId: "1", data: { s: "\ud83d\ude00", b: "\u{22}\u{5C}\u{A}" } }] }) { userErrors { code } } }"#;
    let published = world.ask(&world.platform(), publish, json!({})).await;
    assert_eq!(published["publishEvents"]["userErrors"], json!([]));
    world.settle().await;
    let sent = &receiver.received_requests().await.unwrap()[0];
    let body: Json = serde_json::from_slice(&sent.body).unwrap();
    assert_eq!(body["data"], json!({ "s": "😀", "b": "\"\\\n" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_escape_is_a_parse_error_with_its_position() {
    let world = World::new().await;
    let ann = world.user(1, 7);
    for (escape, why) in [
        (r"\ud83d", r"\ud83d is half of a surrogate pair"),
        (r"\u{DE00}", r"\u{DE00} is half of a surrogate pair"),
        (r"\u{110000}", r"\u{110000} is past the last character"),
        (r"\u{}", r"\u{} needs four hexadecimal digits"),
    ] {
        let query = format!(
            "{{\n  webhooks(filter: {{ urlContains: \"\\u{{61}}\", appId: \"{escape}\" }}) {{ totalCount }} }}"
        );
        let answer = world.answer(&ann, &query, json!({})).await;
        assert!(answer.get("data").is_none(), "{answer}");
        let error = &answer["errors"][0];
        assert_eq!(error["extensions"]["code"], "GRAPHQL_PARSE_FAILED", "{answer}");
        let message = error["message"].as_str().unwrap();
        let begin = format!("Syntax error at line 2, column 53: {why}");
        assert!(message.starts_with(&begin), "{message}");
        assert_eq!(error["locations"], json!([{ "line": 2, "column": 53 }]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_after_an_escape_have_the_right_position() {
    let world = World::new().await;
    let ann = world.user(1, 7);
    for (text, code, column) in [
        (
            r#"{ webhooks(filter: { urlContains: "\u{1F600}" }) { nothing } }"#,
            "GRAPHQL_VALIDATION_FAILED",
            52,
        ),
        (
            r#"{ webhooks(filter: { urlContains: "\ud83d\ude00" }) { ! } }"#,
            "GRAPHQL_PARSE_FAILED",
            55,
        ),
    ] {
        let answer = world.answer(&ann, text, json!({})).await;
        let error = &answer["errors"][0];
        assert_eq!(error["extensions"]["code"], code, "{answer}");
        assert_eq!(
            error["locations"],
            json!([{ "line": 1, "column": column }]),
            "{answer}"
        );
        let place = format!("line 1, column {column}");
        let is_told = error["message"].as_str().unwrap().contains(&place);
        assert_eq!(is_told, code == "GRAPHQL_PARSE_FAILED", "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_documents_hash_is_of_the_text_as_it_was_sent() {
    let world = World::new().await;
    let ann = world.user(1, 7);
    let text = r#"{ webhooks(filter: { urlContains: "\ud83d\ude00" }) { totalCount } }"#;
    let hash: String = Sha256::digest(text.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let named = json!({ "persistedQuery": { "version": 1, "sha256Hash": hash } });
    for body in [
        json!({ "query": text, "extensions": named }),
        json!({ "extensions": named }),
        json!({ "query": text }),
    ] {
        let request = Request::post("/graphql")
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {}", ann.0))
            .body(Body::from(body.to_string()))
            .unwrap();
        let (_, answer) = world.send(request).await;
        assert_eq!(
            answer["data"],
            json!({ "webhooks": { "totalCount": 0 } }),
            "{answer}"
        );
    }
}

/// The error has a position, and nothing is published.
#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_would_lose_digits_is_refused_with_its_place() {
    let world = World::new().await;
    let publish = |data: &str| {
        format!(
            "mutation {{ publishEvents(input: {{ events: [{{ companyId: \"1\", action: CHANGE, object: \"deal\", objectId: \"8\",
             userId: \"1\",\ndata: {data} }}] }}) {{ userErrors {{ code }} }} }}"
        )
    };
    for (data, digits, column) in [
        ("1200.50", "1200.50", 7),
        ("{n: [1, -0]}", "-0", 15),
        ("[{n: 1e2}]", "1e2", 12),
        ("{n: 1e400}", "1e400", 11),
    ] {
        let answer = world.answer(&world.platform(), &publish(data), json!({})).await;
        let error = &answer["errors"][0];
        assert_eq!(
            error["extensions"]["code"], "GRAPHQL_VALIDATION_FAILED",
            "{answer}"
        );
        assert_eq!(
            error["locations"],
            json!([{ "line": 3, "column": column }]),
            "{answer}"
        );
        let begin = format!("Refused: the number {digits} at line 3, column {column} ");
        let message = error["message"].as_str().unwrap();
        assert!(
            message.starts_with(&begin) && message.ends_with(" a variable."),
            "{message}"
        );
        assert_eq!(answer["errors"].as_array().unwrap().len(), 1, "{answer}");
    }
    let query = "query($v: JSON = {n: 1.50}) { webhooks { totalCount } }";
    let answer = world.answer(&world.user(1, 7), query, json!({})).await;
    let messages: Vec<_> = answer["errors"].as_array().unwrap().iter().collect();
    assert!(
        messages
            .iter()
            .any(|error| error["locations"] == json!([{ "line": 1, "column": 22 }])),
        "{answer}"
    );
}

/// If the digits are not kept, a number is checked against its type.
#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_is_not_an_int_is_quoted_as_written() {
    let world = World::new().await;
    let ann = world.user(1, 7);
    for (query, digits, column) in [
        ("{ webhooks(first: -0) { totalCount } }", "-0", 19),
        ("{ webhooks(first: 1e2) { totalCount } }", "1e2", 19),
        (
            "query($n: Int = 1.50) { webhooks(first: $n) { totalCount } }",
            "1.50",
            17,
        ),
        ("{ webhooks(first: 1.5) { totalCount } }", "1.5", 19),
        ("{ webhooks(first: 2147483648) { totalCount } }", "2147483648", 19),
    ] {
        let answer = world.answer(&ann, query, json!({})).await;
        // The library may report an error too.
        let begin = format!("`Int` cannot represent {digits}: it must be a whole number of 32 bits");
        let said = |error: &&Json| error["message"].as_str().unwrap().starts_with(&begin);
        let error = answer["errors"].as_array().unwrap().iter().find(said);
        let error = error.unwrap_or_else(|| panic!("{answer}"));
        assert_eq!(
            error["extensions"]["code"], "GRAPHQL_VALIDATION_FAILED",
            "{answer}"
        );
        assert_eq!(
            error["locations"],
            json!([{ "line": 1, "column": column }]),
            "{answer}"
        );
    }
}
