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
    assert_eq!((answered.as_u16(), code(&answer)), (400, "BAD_USER_INPUT"));
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
async fn the_answers_type_is_negotiated() {
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
async fn plain_http_says_what_it_is_asked() {
    let world = World::new().await;
    for (path, status, begins) in [
        ("/livez", 200, "ok"),
        ("/readyz", 200, "ready"),
        ("/schema.graphql", 200, "\"\"\""),
        ("/metrics", 200, "#"),
        ("/graphql", 405, ""),
        ("/nothing", 404, ""),
    ] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = world.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status, "{path}");
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        assert!(body.starts_with(begins.as_bytes()), "{path}");
    }
}
