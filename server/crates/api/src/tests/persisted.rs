//! Documents requested by their hash.

use sha2::{Digest, Sha256};

use super::*;

fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn named(hash: &str) -> Json {
    json!({ "persistedQuery": { "version": 1, "sha256Hash": hash } })
}

/// The first error's code, or an empty string.
async fn ask(world: &World, body: Json) -> String {
    let request = Request::post("/graphql")
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {}", world.user(1, 7).0))
        .body(Body::from(body.to_string()))
        .unwrap();
    let answer = world.send(request).await.1;
    let code = answer["errors"][0]["extensions"]["code"].as_str();
    code.unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_registers_a_document_and_sends_its_hash_from_then_on() {
    let world = World::new().await;
    let text = "query Q($n: Int) { webhooks(first: $n) { totalCount } }";
    let by_hash = json!({ "extensions": named(&hash(text)), "variables": { "n": 2 } });
    assert_eq!(ask(&world, by_hash.clone()).await, "PERSISTED_QUERY_NOT_FOUND");
    let wrong = json!({ "query": text, "extensions": named(&hash("{ other }")) });
    assert_eq!(ask(&world, wrong).await, "BAD_USER_INPUT");
    assert_eq!(ask(&world, by_hash.clone()).await, "PERSISTED_QUERY_NOT_FOUND");
    let both = json!({ "query": text, "extensions": named(&hash(text)) });
    assert_eq!(ask(&world, both).await, "");
    assert_eq!(ask(&world, by_hash).await, "");
    let version = json!({ "extensions": { "persistedQuery": { "version": 2, "sha256Hash": hash(text) } } });
    assert_eq!(ask(&world, version).await, "BAD_USER_INPUT");
    let parameters = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("extensions", &named(&hash(text)).to_string())
        .finish();
    let request = Request::get(format!("/graphql?{parameters}"))
        .header("authorization", format!("Bearer {}", world.user(1, 7).0))
        .body(Body::empty())
        .unwrap();
    let (status, answer) = world.send(request).await;
    assert_eq!(status, 200);
    assert_eq!(answer["data"], json!({ "webhooks": { "totalCount": 0 } }));
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_and_too_deep_documents_are_not_registered() {
    let world = World::new().await;
    let deep = format!("{{ a(b: {}1{}) }}", "[".repeat(100), "]".repeat(100));
    for (text, code) in [
        ("{ viewer { ", "GRAPHQL_PARSE_FAILED"),
        (deep.as_str(), "QUERY_TOO_DEEP"),
    ] {
        let both = json!({ "query": text, "extensions": named(&hash(text)) });
        assert_eq!(ask(&world, both).await, code);
        let by_hash = json!({ "extensions": named(&hash(text)) });
        assert_eq!(ask(&world, by_hash).await, "PERSISTED_QUERY_NOT_FOUND");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_allow_list_nothing_else_is_executed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("allowed.json");
    let text = "{ viewer { userId } }";
    std::fs::write(&path, json!({ hash(text): text }).to_string()).unwrap();
    let mut settings = Settings::development();
    settings.api.document_allow_list = Some(path);
    let world = World::with(settings).await;
    for (body, code) in [
        (json!({ "query": text }), ""),
        (json!({ "extensions": named(&hash(text)) }), ""),
        (json!({ "query": "{ __typename }" }), "FORBIDDEN"),
        (
            json!({ "query": "{ __typename }", "extensions": named(&hash("{ __typename }")) }),
            "FORBIDDEN",
        ),
        (
            json!({ "extensions": named(&hash("{ __typename }")) }),
            "PERSISTED_QUERY_NOT_FOUND",
        ),
    ] {
        assert_eq!(ask(&world, body.clone()).await, code, "{body}");
    }
}
