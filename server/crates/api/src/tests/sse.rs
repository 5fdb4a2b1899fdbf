use std::time::Duration;

use axum::body::BodyDataStream;
use axum::http::HeaderMap;
use futures_util::StreamExt;

use super::*;

const CHANGED: &str = "subscription { webhookChanged { name } }";

/// An open event stream.
struct Events {
    body: BodyDataStream,
    text: String,
}

impl Events {
    /// The next block, without its empty line; `None` at the end.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(block);
            }
            let chunk = realtime::within(realtime::PATIENCE, self.body.next());
            let chunk = chunk.await.expect("something comes or it ends")?.unwrap();
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The payload of a `next` event.
    async fn payload(&mut self) -> Json {
        let block = self.next().await.expect("there is an event");
        let data = block.strip_prefix("event: next\ndata: ");
        serde_json::from_str(data.unwrap_or_else(|| panic!("not a next: {block}"))).unwrap()
    }

    async fn is_complete(&mut self) {
        assert_eq!(self.next().await.as_deref(), Some("event: complete\ndata:"));
        assert_eq!(self.next().await, None);
    }
}

async fn ask(
    world: &World,
    token: Option<&Token>,
    accept: &str,
    content_type: &str,
    body: String,
) -> (u16, HeaderMap, Events) {
    let mut request = Request::post("/graphql")
        .header("accept", accept)
        .header("content-type", content_type);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {}", token.0));
    }
    let request = request.body(Body::from(body)).unwrap();
    let (head, body) = world.router.clone().oneshot(request).await.unwrap().into_parts();
    let events = Events {
        body: body.into_data_stream(),
        text: String::new(),
    };
    (head.status.as_u16(), head.headers, events)
}

async fn follow(world: &World, token: &Token, query: &str) -> Events {
    let body = json!({ "query": query }).to_string();
    let (status, headers, events) =
        ask(world, Some(token), "text/event-stream", "application/json", body).await;
    assert_eq!(status, 200);
    assert_eq!(headers["content-type"], "text/event-stream; charset=utf-8");
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn each_result_is_a_next_event_and_the_end_a_complete_event() {
    let world = World::new().await;
    let ann = world.user(1, 7);
    let mut query = follow(&world, &ann, "{ viewer { userId } }").await;
    let payload = query.payload().await;
    assert_eq!(payload["data"], json!({ "viewer": { "userId": "7" } }));
    assert_eq!(payload["extensions"]["cost"]["total"], 2, "{payload}");
    query.is_complete().await;
    let nested = format!("{{ a(b: {}1{}) }}", "[".repeat(2_000), "]".repeat(2_000));
    for (query, code) in [
        ("{ viewer {", "GRAPHQL_PARSE_FAILED"),
        ("subscription { nothing }", "GRAPHQL_VALIDATION_FAILED"),
        (
            "subscription { webhookChanged(id: \"x\") { id } }",
            "BAD_USER_INPUT",
        ),
        (&nested, "QUERY_TOO_DEEP"),
    ] {
        let mut events = follow(&world, &ann, query).await;
        let payload = events.payload().await;
        assert_eq!(payload["errors"][0]["extensions"]["code"], code);
        assert!(payload.get("data").is_none(), "{payload}");
        events.is_complete().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_ends_with_its_token_or_its_server() {
    let world = World::new().await;
    let short = world.token(json!({
        "company_id": "1", "sub": "7", "exp": world.clock.now().as_second() + 3_600
    }));
    let mut events = follow(&world, &short, CHANGED).await;
    for name in ["a", "b"] {
        // The subscription begins when the stream is first read.
        let (payload, _) = tokio::join!(events.payload(), world.webhook(&short, json!({ "name": name })));
        assert_eq!(payload["data"], json!({ "webhookChanged": { "name": name } }));
    }
    let (payload, ()) = tokio::join!(events.payload(), world.advance(SignedDuration::from_hours(1)));
    assert_eq!(payload["errors"][0]["extensions"]["code"], "UNAUTHENTICATED");
    events.is_complete().await;

    let ann = world.user(1, 7);
    let mut events = follow(&world, &ann, CHANGED).await;
    let (end, ()) = tokio::join!(events.next(), world.connections.close(&world.clock));
    assert_eq!(end, None, "without a complete: the client tries again");
    drop(events);
    let body = json!({ "query": CHANGED }).to_string();
    let (status, ..) = ask(&world, Some(&ann), "text/event-stream", "application/json", body).await;
    assert_eq!(status, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_requests_are_refused_with_a_status() {
    let world = World::new().await;
    let ann = world.user(1, 7);
    let query = r#"{"query":"{ viewer { userId } }"}"#;
    for (token, content_type, body, expected) in [
        (None, "application/json", query, 401),
        (Some(&ann), "text/plain", query, 415),
        (Some(&ann), "application/json", "[]", 400),
    ] {
        let (status, headers, _) =
            ask(&world, token, "text/event-stream", content_type, body.to_owned()).await;
        assert_eq!(status, expected);
        assert_eq!(headers["content-type"], "application/json; charset=utf-8");
    }
    let large = format!(r#"{{"query":"{}"}}"#, " ".repeat(1024 * 1024));
    let (status, ..) = ask(&world, Some(&ann), "text/event-stream", "application/json", large).await;
    assert_eq!(status, 413);
    // A subscription has no single response.
    let answer = world.answer(&ann, CHANGED, json!({})).await;
    assert_eq!(
        answer["errors"][0]["extensions"]["code"], "BAD_USER_INPUT",
        "{answer}"
    );
    // A client that accepts JSON gets JSON.
    let accept = "application/json, text/event-stream";
    let (status, headers, _) = ask(&world, Some(&ann), accept, "application/json", query.to_owned()).await;
    assert_eq!(
        (status, headers["content-type"].to_str().unwrap()),
        (200, "application/json; charset=utf-8")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_kept_alive_and_count_as_connections() {
    let caps = ConnectionCaps {
        connections: 2,
        of_group: 1,
        keep_alive: Duration::from_millis(20),
        ..ConnectionCaps::default()
    };
    let world = World::built(Settings::development(), caps).await;
    let ann = world.user(1, 7);
    let mut first = follow(&world, &ann, CHANGED).await;
    assert_eq!(first.next().await.as_deref(), Some(":"));
    assert_eq!(first.next().await.as_deref(), Some(":"));
    let body = || json!({ "query": CHANGED }).to_string();
    let media = ("text/event-stream", "application/json");
    let (status, ..) = ask(&world, Some(&ann), media.0, media.1, body()).await;
    assert_eq!(status, 429);
    let _second = follow(&world, &world.user(2, 7), CHANGED).await;
    let (status, ..) = ask(&world, Some(&world.user(3, 7)), media.0, media.1, body()).await;
    assert_eq!(status, 503);
    drop(first);
    follow(&world, &ann, CHANGED).await;
}
