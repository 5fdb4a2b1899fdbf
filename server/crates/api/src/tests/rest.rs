//! The REST routes with unusual HTTP requests. What they do is in the contract tests, `tests/rest.rs`.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::http::Method;
use axum::response::Response;
use axum::routing::post;
use tenterhook_graphql_http::layers;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::graphql_app;
use crate::rest::{self, openapi};

const LIST: &str = "/v1/webhooks";

/// A request with a user's token and a JSON body.
fn request(token: &Token, method: Method, path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {}", token.0))
        .header("content-type", "application/json")
        .body(body.into())
        .unwrap()
}

async fn ask(world: &World, request: Request<Body>) -> (Response, Json) {
    let response = world.router.clone().oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    let body = serde_json::from_slice(&bytes).unwrap_or(Json::Null);
    (Response::from_parts(head, Body::empty()), body)
}

fn body(name: &str) -> String {
    json!({ "subscription_url": "http://127.0.0.1:9/", "event_action": "*", "event_object": "*", "name": name })
        .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_64_kib_is_refused() {
    const LIMIT: usize = 64 * 1024;
    let world = World::new().await;
    let ann = world.user(1, 7);
    let padded = |size: usize| {
        let small = body("n");
        format!("{small}{}", " ".repeat(size - small.len()))
    };
    let (response, created) = ask(&world, request(&ann, Method::POST, LIST, padded(LIMIT))).await;
    assert_eq!(response.status(), 201, "{created}");
    let (response, refused) = ask(&world, request(&ann, Method::POST, LIST, padded(LIMIT + 1))).await;
    assert_eq!(
        (response.status().as_u16(), &refused["errorCode"]),
        (413, &json!(413))
    );
    assert_eq!(refused["success"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_body_and_other_types_are_refused() {
    let world = World::new().await;
    let ann = world.user(1, 7);
    for (header, value) in [
        ("content-type", "text/plain"),
        ("content-type", "application/json; charset=latin1"),
        ("content-type", "application/json; charset = latin1"),
        ("content-encoding", "gzip"),
    ] {
        let mut request = request(&ann, Method::POST, LIST, body("n"));
        request.headers_mut().insert(header, value.parse().unwrap());
        let (response, refused) = ask(&world, request).await;
        assert_eq!(response.status(), 415, "{header}: {value}");
        assert_eq!(refused["errorCode"], 415, "{refused}");
    }
}

/// REST and GraphQL share their limits, so that a caller cannot avoid a limit of one with the other.
#[tokio::test(flavor = "multi_thread")]
async fn requests_count_in_the_same_buckets_as_graphql() {
    let mut settings = Settings::development();
    settings.api.rate_per_token = 1;
    settings.api.rate_per_company = 1;
    // So slow that at most a few requests become available again during the test.
    settings.api.rate_burst = Duration::from_secs(3);
    let world = World::with(settings).await;
    let ann = world.user(1, 7);
    let (response, _) = ask(&world, request(&ann, Method::GET, LIST, "")).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["x-ratelimit-limit"], "3");
    assert_eq!(response.headers()["x-ratelimit-remaining"], "2");
    assert_eq!(response.headers()["x-ratelimit-reset"], "1");
    for _ in 0..50 {
        let answer = world.answer(&ann, "{ viewer { userId } }", json!({})).await;
        if answer["errors"][0]["extensions"]["code"] == "RATE_LIMITED" {
            break;
        }
    }
    // One may have become available again.
    let mut refused = None;
    for _ in 0..5 {
        let (response, answer) = ask(&world, request(&ann, Method::POST, LIST, body("n"))).await;
        if response.status() == 429 {
            refused = Some((response, answer));
            break;
        }
    }
    let (response, answer) = refused.expect("GraphQL has used up the limit");
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(response.headers()["x-ratelimit-remaining"], "0");
    assert_eq!(answer["errorCode"], 429);
    assert!(response.headers().contains_key("x-request-id"));
}

/// A route whose code is wrong: its body is empty.
async fn first_byte(body: String) -> String {
    body.as_bytes()[0].to_string()
}

/// A panic is an error in the form of the REST routes, which pages of allowed origins can read. It says nothing of the cause.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_an_error_in_the_form_of_the_routes() {
    const PAGE: &str = "https://app.example.com";
    let mut settings = Settings::development();
    settings.api.cors_origins = vec![PAGE.to_owned()];
    let world = World::with(settings).await;
    let (_, guard) = graphql_app::router(&world.services);
    let routes = rest::layered(Router::new().route(LIST, post(first_byte)), &guard);
    let request = Request::post(LIST)
        .header("origin", PAGE)
        .header("x-request-id", "a-panic");
    let answered = layers(routes, world.clock.clone()).oneshot(request.body(Body::empty()).unwrap());
    let response = answered.await.unwrap();
    assert_eq!(response.status(), 500);
    for (name, value) in [
        ("content-type", "application/json; charset=utf-8"),
        ("link", "</graphql>; rel=\"service\""),
        ("cache-control", "no-store"),
        ("x-request-id", "a-panic"),
        ("access-control-allow-origin", PAGE),
    ] {
        assert_eq!(response.headers()[name], value, "{name}");
    }
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    assert_eq!(
        serde_json::from_slice::<Json>(&body).unwrap(),
        json!({ "success": false, "error": "The server failed.", "errorCode": 500 })
    );
}

/// Paths and methods that the routes do not have give errors in their form. Other unknown paths have no body.
#[tokio::test(flavor = "multi_thread")]
async fn unknown_paths_and_methods_are_errors_in_the_form_of_the_routes() {
    let world = World::new().await;
    let ann = world.user(1, 7);
    for (method, path, status, allow, error) in [
        (Method::GET, "/v1/webhooks/", 404, None, "no such path"),
        (Method::DELETE, "/v1/webhooks/1/", 404, None, "no such path"),
        (
            Method::POST,
            "/api/v1/webhooks/1/replay",
            404,
            None,
            "no such path",
        ),
        (Method::GET, "/api/v1/deals", 404, None, "no such path"),
        (
            Method::PATCH,
            "/v1/webhooks/1",
            405,
            Some("DELETE"),
            "method not allowed",
        ),
        (
            Method::DELETE,
            "/api/v1/webhooks",
            405,
            Some("GET, HEAD, POST"),
            "method not allowed",
        ),
        (
            Method::POST,
            "/openapi.json",
            405,
            Some("GET, HEAD"),
            "method not allowed",
        ),
    ] {
        let (response, answer) = ask(&world, request(&ann, method.clone(), path, "")).await;
        assert_eq!(response.status(), status, "{method} {path}");
        let allowed = response.headers().get("allow");
        assert_eq!(
            allowed.map(|value| value.to_str().unwrap()),
            allow,
            "{method} {path}"
        );
        let expected = json!({ "success": false, "error": error, "errorCode": status });
        assert_eq!(answer, expected, "{method} {path}");
    }
    for path in ["/nothing", "/v1", "/v2/webhooks"] {
        let (response, answer) = ask(&world, request(&ann, Method::GET, path, "")).await;
        assert_eq!((response.status().as_u16(), answer), (404, Json::Null), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_routes_can_be_switched_off() {
    let world = World::with(Settings {
        rest: false,
        ..Settings::development()
    })
    .await;
    let ann = world.user(1, 7);
    for path in [LIST, "/api/v1/webhooks", "/v1/webhooks/1", "/openapi.json"] {
        let (response, _) = ask(&world, request(&ann, Method::GET, path, "")).await;
        assert_eq!(response.status(), 404, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_allowed_origins_may_use_the_routes() {
    const PAGE: &str = "https://app.example.com";
    let mut settings = Settings::development();
    settings.api.cors_origins = vec![PAGE.to_owned()];
    let world = World::with(settings).await;
    let preflight = Request::options("/v1/webhooks/1")
        .header("origin", PAGE)
        .header("access-control-request-method", "DELETE")
        .header("access-control-request-headers", "authorization,x-api-token")
        .body(Body::empty())
        .unwrap();
    let (response, _) = ask(&world, preflight).await;
    assert_eq!(response.status(), 200);
    let headers = response.headers();
    assert!(headers.contains_key("x-request-id") && !headers.contains_key("link"));
    let list = |name: &str| response.headers()[name].to_str().unwrap().to_lowercase();
    assert_eq!(list("access-control-allow-origin"), PAGE);
    assert_eq!(list("access-control-allow-methods"), "get,post,delete");
    for name in ["authorization", "x-api-token", "traceparent"] {
        assert!(list("access-control-allow-headers").contains(name), "{name}");
    }
    let mut request = request(&world.user(1, 7), Method::GET, LIST, "");
    request.headers_mut().insert("origin", PAGE.parse().unwrap());
    let (response, _) = ask(&world, request).await;
    let exposed = response.headers()["access-control-expose-headers"]
        .to_str()
        .unwrap();
    assert!(
        exposed.contains("x-ratelimit-remaining") && exposed.contains("link"),
        "{exposed}"
    );
}

/// Such a request reaches no route, so the response has nothing that a route adds.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_head_cannot_be_read_gets_a_status_and_no_more() {
    let world = World::new().await;
    let url = world.serve().await;
    let address = url.strip_prefix("http://").unwrap();
    let token = format!("authorization: Bearer {}", world.user(1, 7).0);
    let many: String = (0..101).map(|n| format!("x-{n}: n\r\n")).collect();
    for (request, status) in [
        (format!("GET {LIST} HTTP/1.1\r\nhost\r\n\r\n"), 400),
        (
            format!("GET {LIST}?{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(65_535)),
            414,
        ),
        (format!("GET {LIST} HTTP/1.1\r\n{token}\r\n{many}\r\n"), 431),
    ] {
        let exchange = async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            // A reset after the response counts as its end.
            let _ = stream.read_to_string(&mut answer).await;
            answer
        };
        let answer = realtime::within(realtime::PATIENCE, exchange).await;
        let answer = answer.expect("the connection closes");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert_eq!(body, "", "{head}");
        for header in ["x-request-id", "link", "content-type"] {
            assert!(!head.contains(header), "{header}: {head}");
        }
    }
}

/// A magic key of the JSON library has no effect: as an unknown key it is ignored, and in a value it is part of the value.
#[tokio::test(flavor = "multi_thread")]
async fn magic_keys_of_the_json_library_have_no_effect() {
    let world = World::new().await;
    let ann = world.user(1, 7);
    for key in ["$serde_json::private::RawValue", "$serde_json::private::Number"] {
        let mut body: Json = serde_json::from_str(&body("n")).unwrap();
        body[key] = json!("[[[");
        let (response, created) = ask(&world, request(&ann, Method::POST, LIST, body.to_string())).await;
        assert_eq!(response.status(), 201, "{created}");
        body["name"] = json!({ key: "\"n\"" });
        let (response, refused) = ask(&world, request(&ann, Method::POST, LIST, body.to_string())).await;
        assert_eq!(response.status(), 400, "{refused}");
        assert_eq!(refused["errors"], json!({ "name": ["must be a string"] }));
    }
}

/// A webhook and its health have exactly the keys that the description has.
#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_has_the_described_keys() {
    let world = World::new().await;
    let ann = world.user(1, 7);
    let (_, created) = ask(&world, request(&ann, Method::POST, LIST, body("n"))).await;
    let description = Request::get("/openapi.json").body(Body::empty()).unwrap();
    let (response, described) = ask(&world, description).await;
    assert_eq!(response.status(), 200);
    assert_eq!(described, serde_json::from_str::<Json>(openapi::text()).unwrap());
    let keys = |value: &Json| -> BTreeSet<String> { value.as_object().unwrap().keys().cloned().collect() };
    let schemas = &described["components"]["schemas"];
    for (shown, schema) in [
        (&created["data"], "Webhook"),
        (&created["data"]["health"], "Health"),
    ] {
        assert_eq!(keys(shown), keys(&schemas[schema]["properties"]), "{schema}");
    }
}
