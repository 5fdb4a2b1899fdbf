use super::*;

fn post(
    token: Option<&Token>,
    content_type: Option<&str>,
    accept: Option<&str>,
    body: impl Into<Body>,
) -> Request<Body> {
    let mut request = Request::post("/graphql");
    if let Some(token) = token {
        request = request.header("authorization", format!("bearer {}", token.0));
    }
    if let Some(content_type) = content_type {
        request = request.header("content-type", content_type);
    }
    if let Some(accept) = accept {
        request = request.header("accept", accept);
    }
    request.body(body.into()).unwrap()
}

fn code(body: &Json) -> &str {
    body["errors"][0]["extensions"]["code"]
        .as_str()
        .unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_executed_without_a_json_content_type() {
    let world = World::new().await;
    let (ann, query) = (world.user(1, 7), r#"{"query":"{ viewer { userId } }"}"#);
    for (content_type, status) in [
        (Some("application/json"), 200),
        (Some("Application/JSON; charset=UTF-8"), 200),
        (Some("application/json; charset=latin1"), 415),
        (Some("application/json; charset = latin1"), 415),
        (Some("text/plain"), 415),
        (Some("multipart/form-data; boundary=x"), 415),
        (Some("application/x-www-form-urlencoded"), 415),
        (None, 415),
    ] {
        let (answered, body) = world.send(post(Some(&ann), content_type, None, query)).await;
        assert_eq!(answered, status, "{content_type:?}");
        assert_eq!(code(&body), if status == 200 { "" } else { "BAD_USER_INPUT" });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_is_a_graphql_error_with_a_code() {
    let world = World::new().await;
    let ann = world.user(1, 7);
    let json = Some("application/json");
    let large = format!(r#"{{"query":"{}"}}"#, " ".repeat(1024 * 1024));
    for (token, body, status, expected) in [
        (
            None,
            r#"{"query":"{ viewer { userId } }"}"#,
            401,
            "UNAUTHENTICATED",
        ),
        (Some(&ann), "not json", 400, "BAD_USER_INPUT"),
        (Some(&ann), "[]", 400, "BAD_USER_INPUT"),
        (Some(&ann), "{}", 400, "BAD_USER_INPUT"),
        (Some(&ann), r#"{"query":1}"#, 400, "BAD_USER_INPUT"),
        (
            Some(&ann),
            r#"{"query":"{ a }","variables":[]}"#,
            400,
            "BAD_USER_INPUT",
        ),
        (Some(&ann), &large, 413, "PAYLOAD_TOO_LARGE"),
    ] {
        let (answered, answer) = world.send(post(token, json, None, body.to_owned())).await;
        assert_eq!(
            (answered.as_u16(), code(&answer)),
            (status, expected),
            "{}",
            &body[..body.len().min(40)]
        );
        assert!(answer.get("data").is_none());
    }
    let nested = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let (answered, answer) = world.send(post(Some(&ann), json, None, nested)).await;
    assert_eq!((answered.as_u16(), code(&answer)), (400, "QUERY_TOO_DEEP"));
    let levels = ["webhooks", "nodes"]
        .into_iter()
        .chain(["deliveries", "nodes", "webhook"].into_iter().cycle().take(14));
    let paged = |level: &str| {
        level
            .replace("webhooks", "webhooks(first: 1)")
            .replace("deliveries", "deliveries(first: 1)")
    };
    let levels: Vec<String> = levels.map(paged).collect();
    let deep = format!("{{ {} {{ id {}", levels.join(" { "), "}".repeat(levels.len() + 1));
    for (query, expected) in [
        ("{ viewer { ", "GRAPHQL_PARSE_FAILED"),
        ("", "GRAPHQL_PARSE_FAILED"),
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ webhook { id } }", "GRAPHQL_VALIDATION_FAILED"),
        (
            "query A { viewer { userId } } query B { viewer { userId } }",
            "BAD_USER_INPUT",
        ),
        (
            "{ webhooks(first: 100) { nodes { deliveries(first: 100) { nodes { id status createdAt finishedAt reason } } } } }",
            "QUERY_TOO_COMPLEX",
        ),
        (&format!("{{ a{} }}", "{ a".repeat(60)), "QUERY_TOO_DEEP"),
        (
            &format!("{{ {} }}", "x: viewer { userId } ".repeat(1_000)),
            "QUERY_TOO_COMPLEX",
        ),
        (&deep, "QUERY_TOO_DEEP"),
        (
            "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }",
            "QUERY_TOO_DEEP",
        ),
    ] {
        let body = json!({ "query": query }).to_string();
        let (legacy, answer) = world
            .send(post(Some(&ann), json, Some("application/json"), body.clone()))
            .await;
        assert_eq!(
            (legacy.as_u16(), code(&answer)),
            (200, expected),
            "{query}: {answer}"
        );
        assert!(answer.get("data").is_none(), "{answer}");
        let (status, _) = world
            .send(post(
                Some(&ann),
                json,
                Some("application/graphql-response+json"),
                body,
            ))
            .await;
        assert_eq!(status, 400, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_that_does_not_fit_is_bad_input() {
    let world = World::new().await;
    let ann = world.user(1, 7);
    let query = "query Q($since: DateTime) { deliveries(filter: {since: $since}) { totalCount } }";
    assert_eq!(
        world.refusal(&ann, query, json!({ "since": "yesterday" })).await,
        "BAD_USER_INPUT"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_response_type_is_negotiated() {
    let world = World::new().await;
    let ann = world.user(1, 7);
    for (accept, expected) in [
        (None, Some("application/json; charset=utf-8")),
        (Some("*/*"), Some("application/json; charset=utf-8")),
        (Some("application/json"), Some("application/json; charset=utf-8")),
        (
            Some("application/json, application/graphql-response+json"),
            Some("application/graphql-response+json; charset=utf-8"),
        ),
        (Some("text/html"), None),
        (Some("application/json;q=0"), None),
    ] {
        let request = post(
            Some(&ann),
            Some("application/json"),
            accept,
            r#"{"query":"{ viewer { userId } }"}"#,
        );
        let response = world.router.clone().oneshot(request).await.unwrap();
        assert_eq!(
            response.status(),
            if expected.is_some() { 200 } else { 406 },
            "{accept:?}"
        );
        if let Some(expected) = expected {
            assert_eq!(response.headers()["content-type"], expected);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_endpoints_respond() {
    let world = World::new().await;
    for (path, status, begins) in [
        ("/livez", 200, "ok"),
        ("/readyz", 200, "ready"),
        ("/schema.graphql", 200, "\"\"\""),
        ("/metrics", 200, "#"),
        ("/graphql", 401, "{\"errors\":"),
        ("/nothing", 404, ""),
    ] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = world.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status, "{path}");
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        assert!(body.starts_with(begins.as_bytes()), "{path}");
    }
}

fn get(token: Option<&Token>, parameters: &[(&str, &str)]) -> Request<Body> {
    let parameters = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(parameters)
        .finish();
    let mut request = Request::get(format!("/graphql?{parameters}"));
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {}", token.0));
    }
    request.body(Body::empty()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_and_nothing_else_are_executed_over_get() {
    let world = World::new().await;
    let ann = world.user(1, 7);
    let several = "query A { viewer { userId } } query B($n: Int) { webhooks(first: $n) { totalCount } } \
                   mutation C { pauseWebhook(input: {id: \"x\"}) { webhook { id } } }";
    for (parameters, status, expected) in [
        (&[("query", "{ viewer { userId } }")][..], 200, ""),
        (&[("query", several), ("operationName", "A")], 200, ""),
        (
            &[
                ("query", several),
                ("operationName", "B"),
                ("variables", "{\"n\":3}"),
            ],
            200,
            "",
        ),
        (
            &[
                ("query", "{ viewer { userId } }"),
                ("operationName", ""),
                ("variables", ""),
                ("extensions", ""),
            ],
            200,
            "",
        ),
        (
            &[("query", "{ viewer { userId } }"), ("other", "1"), ("other", "2")],
            200,
            "",
        ),
        (
            &[("query", "{ viewer { userId } }"), ("query", "{ __typename }")],
            400,
            "BAD_USER_INPUT",
        ),
        (
            &[("query", "{ viewer { userId } }"), ("variables", "[]")],
            400,
            "BAD_USER_INPUT",
        ),
        (
            &[("query", "{ viewer { userId } }"), ("extensions", "1")],
            400,
            "BAD_USER_INPUT",
        ),
        (
            &[("query", "{ viewer { userId } }"), ("variables", "{")],
            400,
            "BAD_USER_INPUT",
        ),
        (&[("operationName", "A")], 400, "BAD_USER_INPUT"),
        (
            &[("query", several), ("operationName", "C")],
            405,
            "BAD_USER_INPUT",
        ),
        // Nothing else in the document matters: neither a query nor an error.
        (&[("query", "mutation { nothing }")], 405, "BAD_USER_INPUT"),
    ] {
        let request = get(Some(&ann), parameters);
        let response = world.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status, "{parameters:?}");
        assert_eq!(response.headers()["cache-control"], "no-store");
        if status == 405 {
            assert_eq!(response.headers()["allow"], "POST");
        }
        let body: Json =
            serde_json::from_slice(&to_bytes(response.into_body(), usize::MAX).await.unwrap()).unwrap();
        assert_eq!(code(&body), expected, "{parameters:?}: {body}");
    }
    let (status, body) = world.send(get(None, &[("query", "{ viewer { userId } }")])).await;
    assert_eq!((status.as_u16(), code(&body)), (401, "UNAUTHENTICATED"));
    let deep = format!("{{\"a\":{}}}", "[".repeat(10_000));
    let (status, body) = world
        .send(get(
            Some(&ann),
            &[("query", "{ viewer { userId } }"), ("variables", &deep)],
        ))
        .await;
    assert_eq!((status.as_u16(), code(&body)), (400, "QUERY_TOO_DEEP"));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_methods_and_batches_and_compressed_bodies_are_refused() {
    let world = World::new().await;
    let ann = world.user(1, 7);
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS"] {
        let request = Request::builder()
            .method(method)
            .uri("/graphql")
            .body(Body::from(r#"{"query":"{ viewer { userId } }"}"#))
            .unwrap();
        let response = world.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 405, "{method}");
        assert_eq!(response.headers()["allow"], "GET, POST");
        let body: Json =
            serde_json::from_slice(&to_bytes(response.into_body(), usize::MAX).await.unwrap()).unwrap();
        assert_eq!(code(&body), "BAD_USER_INPUT");
    }
    let json = Some("application/json");
    for batch in [
        r#"[{"query":"{ viewer { userId } }"}]"#,
        r#" ["{ viewer { userId } }", null, null, null]"#,
        "[]",
    ] {
        let (status, body) = world.send(post(Some(&ann), json, None, batch)).await;
        assert_eq!((status.as_u16(), code(&body)), (400, "BAD_USER_INPUT"), "{batch}");
    }
    let mut request = post(Some(&ann), json, None, r#"{"query":"{ viewer { userId } }"}"#);
    request
        .headers_mut()
        .insert("content-encoding", "gzip".parse().unwrap());
    let (status, body) = world.send(request).await;
    assert_eq!((status.as_u16(), code(&body)), (415, "BAD_USER_INPUT"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_response_has_a_request_id() {
    let world = World::new().await;
    let ann = world.user(1, 7);
    let longest = "i".repeat(tenterhook_graphql_http::request_id::LONGEST);
    let too_long = "i".repeat(tenterhook_graphql_http::request_id::LONGEST + 1);
    for (sent, kept) in [
        ("abc-1.2_3", true),
        (longest.as_str(), true),
        (too_long.as_str(), false),
        ("", false),
        ("a b", false),
        ("a\"b", false),
    ] {
        let mut request = post(
            Some(&ann),
            Some("application/json"),
            None,
            r#"{"query":"{ viewer { userId } }"}"#,
        );
        request
            .headers_mut()
            .insert("x-request-id", sent.parse().unwrap());
        let response = world.router.clone().oneshot(request).await.unwrap();
        let answered = response.headers()["x-request-id"].to_str().unwrap();
        assert_eq!(answered == sent, kept, "{sent}");
        assert!(!answered.is_empty());
    }
    let response = world
        .router
        .clone()
        .oneshot(Request::get("/livez").body(Body::empty()).unwrap())
        .await
        .unwrap();
    assert_eq!(response.headers()["x-request-id"].len(), 32);
}

#[tokio::test(flavor = "multi_thread")]
async fn internal_errors_have_the_request_id() {
    use crate::error::ApiError;
    use tenterhook_graphql_http::{RequestError, request_id};
    let id = |error: ApiError| {
        let error = serde_json::to_value(RequestError::from(error).into_server_error()).unwrap();
        error["extensions"]["requestId"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let inside = request_id::within("the-request".to_owned(), async {
        [
            id(ApiError::internal("a secret")),
            id(ApiError::unavailable("a secret")),
            id(ApiError::forbidden()),
        ]
    });
    assert_eq!(inside.await, ["the-request", "the-request", ""]);
    assert_eq!(id(ApiError::internal("outside of any request")).len(), 32);
    // A closed database: the caller's own id passes every layer and is in the error.
    let world = World::new().await;
    let ann = world.user(1, 7);
    world.store.close();
    let mut request = post(
        Some(&ann),
        Some("application/json"),
        None,
        r#"{"query":"{ viewer { userId } }"}"#,
    );
    request
        .headers_mut()
        .insert("x-request-id", "find-me".parse().unwrap());
    let (status, body) = world.send(request).await;
    assert!(matches!(status.as_u16(), 500 | 503), "{status}");
    assert_eq!(body["errors"][0]["extensions"]["requestId"], "find-me", "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_origins_may_call_only_if_a_setting_allows_them() {
    let preflight = |origin: &str| {
        Request::options("/graphql")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type")
            .body(Body::empty())
            .unwrap()
    };
    let allowed = |response: &axum::response::Response| {
        let header = response.headers().get("access-control-allow-origin")?;
        Some(header.to_str().unwrap().to_owned())
    };
    let ours = "https://app.example.com";
    for (origins, origin, expected) in [
        (&[][..], ours, None),
        (&[ours], ours, Some(ours)),
        (&[ours], "https://evil.example.com", None),
        (&["*"], "https://evil.example.com", Some("*")),
    ] {
        let mut settings = Settings::development();
        settings.api.cors_origins = origins.iter().map(|&origin| origin.to_owned()).collect();
        let world = World::with(settings).await;
        let response = world.router.clone().oneshot(preflight(origin)).await.unwrap();
        assert_eq!(allowed(&response).as_deref(), expected, "{origins:?} {origin}");
        assert!(
            response
                .headers()
                .get("access-control-allow-credentials")
                .is_none()
        );
        let mut request = post(
            Some(&world.user(1, 7)),
            Some("application/json"),
            None,
            r#"{"query":"{ viewer { userId } }"}"#,
        );
        request.headers_mut().insert("origin", origin.parse().unwrap());
        let response = world.router.clone().oneshot(request).await.unwrap();
        assert_eq!(allowed(&response).as_deref(), expected, "{origins:?} {origin}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_responses_are_compressed_if_the_client_accepts_gzip() {
    use std::io::Read;
    let world = World::new().await;
    let ann = world.user(1, 7);
    let large = r#"{"query":"{ __schema { types { name description } } }"}"#;
    let small = r#"{"query":"{ viewer { userId } }"}"#;
    for (body, encoding, compressed) in [
        (large, "gzip", true),
        (large, "identity", false),
        (large, "br", false),
        (small, "gzip", false),
    ] {
        let mut request = post(Some(&ann), Some("application/json"), None, body);
        request
            .headers_mut()
            .insert("accept-encoding", encoding.parse().unwrap());
        let response = world.router.clone().oneshot(request).await.unwrap();
        let said = response.headers().get("content-encoding").cloned();
        assert_eq!(said.is_some(), compressed, "{encoding} {body}");
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let mut text = Vec::new();
        if compressed {
            flate2::read::GzDecoder::new(&bytes[..])
                .read_to_end(&mut text)
                .unwrap();
            assert!(bytes.len() < text.len() / 2);
        } else {
            text = bytes.to_vec();
        }
        let answer: Json = serde_json::from_slice(&text).unwrap();
        assert!(answer.get("errors").is_none());
    }
}
