use std::time::Duration;

use tenterhook_harness::client::live::{Frame, PROTOCOL, RawSocket};

use super::*;
use tenterhook_graphql_http::connection_limits::{
    LEAVE_WITHIN, MOST_CONNECTIONS, MOST_ID_BYTES, MOST_OF_GROUP, MOST_OPERATIONS, SEND_WITHIN,
};

const VIEWER: &str = "{ viewer { userId } }";
const CHANGED: &str = "subscription { webhookChanged { id } }";

async fn open(url: &str) -> RawSocket {
    RawSocket::connect(url, Some(PROTOCOL)).await.unwrap()
}

fn init(token: &Token) -> Json {
    json!({ "type": "connection_init", "payload": { "authorization": format!("Bearer {}", token.0) } })
}

fn subscribe(id: &str, query: &str) -> Json {
    json!({ "type": "subscribe", "id": id, "payload": { "query": query } })
}

/// A socket whose `connection_init` was acknowledged.
async fn ready(url: &str, token: &Token) -> RawSocket {
    let mut socket = open(url).await;
    socket.send(&init(token)).await.unwrap();
    assert_eq!(
        socket.message().await.unwrap(),
        json!({ "type": "connection_ack" })
    );
    socket
}

/// All messages until everything that was sent has been handled.
async fn until_pong(socket: &mut RawSocket) -> Vec<Json> {
    socket.send(&json!({ "type": "ping" })).await.unwrap();
    let mut messages = Vec::new();
    loop {
        let message = socket.message().await.unwrap();
        if message["type"] == "pong" {
            return messages;
        }
        messages.push(message);
    }
}

/// The close code of a socket that sends these messages.
async fn close_code(mut socket: RawSocket, messages: &[Json]) -> u16 {
    for message in messages {
        socket.send(message).await.unwrap();
    }
    socket.closed().await.unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn every_breach_of_the_protocol_has_its_close_code() {
    let world = World::new().await;
    let (url, ann) = (world.serve().await, world.user(1, 7));
    let silent = RawSocket::connect(&url, None).await.unwrap();
    assert_eq!(close_code(silent, &[]).await, 4406);
    assert!(RawSocket::connect(&url, Some("graphql-ws")).await.is_err());

    for text in [
        "",
        "not json",
        "[]",
        "{}",
        r#"{"type":"nothing"}"#,
        r#"{"type":"complete"}"#,
    ] {
        let mut socket = open(&url).await;
        socket.send_text(text).await.unwrap();
        assert_eq!(socket.closed().await.unwrap().0, 4400, "{text}");
    }
    let mut socket = ready(&url, &ann).await;
    socket.send_bytes(b"{}".to_vec()).await.unwrap();
    assert_eq!(socket.closed().await.unwrap().0, 4400);
    for message in [
        json!({ "type": "subscribe", "id": "1" }),
        json!({ "type": "subscribe", "id": "1", "payload": {} }),
        json!({ "type": "subscribe", "id": "1", "payload": { "query": VIEWER, "variables": [] } }),
        json!({ "type": "subscribe", "payload": { "query": VIEWER } }),
        subscribe("", VIEWER),
        subscribe(&"x".repeat(MOST_ID_BYTES + 1), VIEWER),
    ] {
        let socket = ready(&url, &ann).await;
        assert_eq!(
            close_code(socket, std::slice::from_ref(&message)).await,
            4400,
            "{message}"
        );
    }
    let mut socket = ready(&url, &ann).await;
    let longest = "x".repeat(MOST_ID_BYTES);
    socket.send(&subscribe(&longest, VIEWER)).await.unwrap();
    assert_eq!(socket.message().await.unwrap()["id"], json!(longest));

    assert_eq!(
        close_code(open(&url).await, &[subscribe("1", VIEWER)]).await,
        4401
    );
    let twice = [init(&ann), init(&ann)];
    assert_eq!(close_code(open(&url).await, &twice).await, 4429);
    let same = [subscribe("1", CHANGED), subscribe("1", VIEWER)];
    assert_eq!(close_code(ready(&url, &ann).await, &same).await, 4409);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_token_closes_with_4403_and_the_reason() {
    let world = World::new().await;
    let url = world.serve().await;
    let expired = world.token(json!({ "company_id": "1", "sub": "7", "exp": world.clock.now().as_second() }));
    for (message, why) in [
        (json!({ "type": "connection_init" }), "A bearer token is needed."),
        (
            json!({ "type": "connection_init", "payload": null }),
            "A bearer token is needed.",
        ),
        (
            json!({ "type": "connection_init", "payload": { "authorization": 1 } }),
            "A bearer token is needed.",
        ),
        (init(&Token("x.y.z".to_owned())), "The token is not valid."),
        (init(&expired), "The token has expired."),
    ] {
        let mut socket = open(&url).await;
        socket.send(&message).await.unwrap();
        assert_eq!(socket.closed().await.unwrap(), (4403, why.to_owned()));
    }
}

/// A world whose sockets have these limits.
async fn timed(init_within: u64, keep_alive: u64, connections: usize) -> World {
    let caps = ConnectionCaps {
        init_within: Duration::from_millis(init_within),
        keep_alive: Duration::from_millis(keep_alive),
        connections,
        ..ConnectionCaps::default()
    };
    World::built(Settings::development(), caps).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_connection_init_closes_with_4408() {
    let world = timed(50, 60_000, 10).await;
    let url = world.serve().await;
    assert_eq!(close_code(open(&url).await, &[]).await, 4408);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authenticated_socket_outlives_the_init_timeout() {
    let world = timed(1_000, 60_000, 10).await;
    let url = world.serve().await;
    let mut socket = open(&url).await;
    assert_eq!(
        until_pong(&mut socket).await,
        Vec::<Json>::new(),
        "pings need no token"
    );
    socket.send(&init(&world.user(1, 7))).await.unwrap();
    assert_eq!(socket.message().await.unwrap()["type"], "connection_ack");
    let began = realtime::Stopwatch::start();
    while began.seconds() < 1.1 {
        assert_eq!(until_pong(&mut socket).await, Vec::<Json>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_and_mutations_have_one_result_or_one_error() {
    let world = World::new().await;
    let (url, ann) = (world.serve().await, world.user(1, 7));
    let mut socket = ready(&url, &ann).await;
    socket.send(&subscribe("1", VIEWER)).await.unwrap();
    let next = socket.message().await.unwrap();
    assert_eq!((&next["type"], &next["id"]), (&json!("next"), &json!("1")));
    let payload = &next["payload"];
    assert_eq!(payload["data"], json!({ "viewer": { "userId": "7" } }));
    assert_eq!(payload["extensions"]["cost"]["total"], 2, "{payload}");
    assert_eq!(
        socket.message().await.unwrap(),
        json!({ "type": "complete", "id": "1" })
    );

    let mutation = "mutation { createWebhook(input: { subscriptionUrl: \"http://127.0.0.1:9/\", eventAction: ANY, \
                    eventObject: \"*\" }) { userErrors { code } } }";
    socket.send(&subscribe("1", mutation)).await.unwrap();
    let made = socket.message().await.unwrap();
    assert_eq!(
        made["payload"]["data"]["createWebhook"]["userErrors"],
        json!([]),
        "{made}"
    );
    assert_eq!(socket.message().await.unwrap()["type"], "complete");

    let nested = format!("{{ a(b: {}1{}) }}", "[".repeat(2_000), "]".repeat(2_000));
    let aliases = format!("{{ {} }}", "x: __typename ".repeat(10_000));
    for (query, code) in [
        ("{ viewer { ", "GRAPHQL_PARSE_FAILED"),
        ("", "GRAPHQL_PARSE_FAILED"),
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { nothing }", "GRAPHQL_VALIDATION_FAILED"),
        (
            "subscription { webhookChanged(id: \"x\") { id } }",
            "BAD_USER_INPUT",
        ),
        (
            "query A { viewer { userId } } query B { viewer { userId } }",
            "BAD_USER_INPUT",
        ),
        (&nested, "QUERY_TOO_DEEP"),
        (&aliases, "QUERY_TOO_COMPLEX"),
    ] {
        socket.send(&subscribe("1", query)).await.unwrap();
        let error = socket.message().await.unwrap();
        let shown = &query[..query.len().min(60)];
        assert_eq!(
            (&error["type"], &error["id"]),
            (&json!("error"), &json!("1")),
            "{shown}"
        );
        assert_eq!(error["payload"][0]["extensions"]["code"], code, "{shown}");
        assert_eq!(until_pong(&mut socket).await, Vec::<Json>::new(), "{shown}");
    }
    let variables = json!({ "type": "subscribe", "id": "1", "payload": {
        "query": "query Q($since: DateTime) { deliveries(filter: {since: $since}) { totalCount } }",
        "variables": { "since": "yesterday" }
    } });
    socket.send(&variables).await.unwrap();
    let answer = socket.message().await.unwrap();
    assert!(answer.to_string().contains("BAD_USER_INPUT"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_are_answered_with_their_payload_and_a_completed_id_is_free() {
    let world = World::new().await;
    let (url, ann) = (world.serve().await, world.user(1, 7));
    let mut socket = ready(&url, &ann).await;
    let ping = json!({ "type": "ping", "payload": { "n": 1 } });
    socket.send(&ping).await.unwrap();
    assert_eq!(
        socket.message().await.unwrap(),
        json!({ "type": "pong", "payload": { "n": 1 } })
    );
    socket.send(&json!({ "type": "pong" })).await.unwrap();
    socket
        .send(&json!({ "type": "complete", "id": "unknown" }))
        .await
        .unwrap();
    for _ in 0..3 {
        socket.send(&subscribe("1", CHANGED)).await.unwrap();
        socket
            .send(&json!({ "type": "complete", "id": "1" }))
            .await
            .unwrap();
    }
    assert_eq!(until_pong(&mut socket).await, Vec::<Json>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_bounded_in_bytes() {
    let caps = ConnectionCaps {
        message_bytes: 1_000,
        ..ConnectionCaps::default()
    };
    let world = World::built(Settings::development(), caps).await;
    let (url, ann) = (world.serve().await, world.user(1, 7));
    let sized = |bytes: usize| {
        let ping = json!({ "type": "ping" }).to_string();
        format!("{ping}{}", " ".repeat(bytes - ping.len()))
    };
    let mut socket = ready(&url, &ann).await;
    socket.send_text(sized(1_000)).await.unwrap();
    assert_eq!(socket.message().await.unwrap()["type"], "pong");
    socket.send_text(sized(1_001)).await.unwrap();
    assert_eq!(socket.closed().await.unwrap().0, 1009);
    // Larger than what is read at all.
    let mut socket = ready(&url, &ann).await;
    socket.send_text(sized(2_001)).await.unwrap();
    assert_eq!(socket.closed().await.unwrap().0, 1009);
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_per_socket_are_bounded() {
    let caps = ConnectionCaps {
        operations: 2,
        ..ConnectionCaps::default()
    };
    let world = World::built(Settings::development(), caps).await;
    let (url, ann) = (world.serve().await, world.user(1, 7));
    let mut socket = ready(&url, &ann).await;
    for id in ["1", "2"] {
        socket.send(&subscribe(id, CHANGED)).await.unwrap();
    }
    assert_eq!(until_pong(&mut socket).await, Vec::<Json>::new());
    socket.send(&subscribe("3", CHANGED)).await.unwrap();
    let refused = socket.message().await.unwrap();
    assert_eq!((&refused["type"], &refused["id"]), (&json!("error"), &json!("3")));
    assert_eq!(refused["payload"][0]["extensions"]["code"], "RATE_LIMITED");
    socket
        .send(&json!({ "type": "complete", "id": "1" }))
        .await
        .unwrap();
    socket.send(&subscribe("3", CHANGED)).await.unwrap();
    assert_eq!(until_pong(&mut socket).await, Vec::<Json>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_are_bounded_per_company_and_per_server() {
    let caps = ConnectionCaps {
        connections: 4,
        of_group: 2,
        ..ConnectionCaps::default()
    };
    let world = World::built(Settings::development(), caps).await;
    let url = world.serve().await;
    let one = ready(&url, &world.user(1, 7)).await;
    let two = ready(&url, &world.user(1, 8)).await;
    let past = open(&url).await;
    assert_eq!(close_code(past, &[init(&world.admin(1, 9))]).await, 1013);
    let three = ready(&url, &world.user(2, 7)).await;
    realtime::eventually("the refused socket is closed", async || {
        RawSocket::connect(&url, Some(PROTOCOL)).await.is_ok()
    })
    .await;
    let four = realtime::within(realtime::PATIENCE, async {
        loop {
            if let Ok(socket) = RawSocket::connect(&url, Some(PROTOCOL)).await {
                return socket;
            }
        }
    });
    let four = four.await.unwrap();
    let full = RawSocket::connect(&url, Some(PROTOCOL)).await.err().unwrap();
    assert_eq!(full.to_string(), "refused with HTTP 503");
    drop((one, three, four));
    realtime::eventually("a place of the company is free", async || {
        let Ok(mut socket) = RawSocket::connect(&url, Some(PROTOCOL)).await else {
            return false;
        };
        socket.send(&init(&world.user(1, 7))).await.unwrap();
        socket.message().await.is_ok()
    })
    .await;
    drop(two);
}

#[test]
fn the_default_caps_equal_the_named_constants() {
    let caps = ConnectionCaps::default();
    assert_eq!(
        (caps.connections, caps.of_group, caps.operations),
        (MOST_CONNECTIONS, MOST_OF_GROUP, MOST_OPERATIONS)
    );
    assert_eq!((caps.send_within, caps.leave_within), (SEND_WITHIN, LEAVE_WITHIN));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_answers_is_kept_alive() {
    let world = timed(10_000, 400, 10).await;
    let url = world.serve().await;
    let mut socket = ready(&url, &world.user(1, 7)).await;
    // More than the maximum number of keep-alives without a response.
    for _ in 0..4 {
        assert_eq!(socket.next().await.unwrap(), Frame::Ping);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unresponsive_socket_is_closed() {
    let world = timed(10_000, 20, 1).await;
    let url = world.serve().await;
    // It neither responds nor closes the connection.
    let _silent = ready(&url, &world.user(1, 7)).await;
    realtime::eventually("its place is free", async || {
        RawSocket::connect(&url, Some(PROTOCOL)).await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_stops_reading_is_closed() {
    let caps = ConnectionCaps {
        connections: 1,
        send_within: Duration::from_millis(50),
        // Longer than the test waits, so that keep-alives do not close the socket.
        keep_alive: realtime::PATIENCE * 2,
        ..ConnectionCaps::default()
    };
    let world = World::built(Settings::development(), caps).await;
    let url = world.serve().await;
    let mut silent = ready(&url, &world.operator()).await;
    // Their responses are larger than all buffers between the two.
    let large = "{ __schema { types { name description } } }";
    for n in 0..2_000 {
        if silent.send(&subscribe(&n.to_string(), large)).await.is_err() {
            break;
        }
    }
    realtime::eventually("its place is free", async || {
        RawSocket::connect(&url, Some(PROTOCOL)).await.is_ok()
    })
    .await;
    // The socket lives until here, so that only the server can have closed it.
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_closes_the_socket() {
    let world = World::new().await;
    let url = world.serve().await;
    let short = world.token(json!({
        "company_id": "1", "sub": "7", "exp": world.clock.now().as_second() + 3_600
    }));
    let mut socket = ready(&url, &short).await;
    socket.send(&subscribe("1", CHANGED)).await.unwrap();
    world.advance(SignedDuration::from_secs(3_599)).await;
    assert_eq!(until_pong(&mut socket).await, Vec::<Json>::new());
    world.advance(SignedDuration::from_secs(1)).await;
    assert_eq!(
        socket.closed().await.unwrap(),
        (4403, "The token has expired.".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_server_closes_sockets_with_1001_and_opens_none() {
    let world = World::new().await;
    let url = world.serve().await;
    let mut waiting = open(&url).await;
    let mut following = ready(&url, &world.user(1, 7)).await;
    following.send(&subscribe("1", CHANGED)).await.unwrap();
    assert_eq!(until_pong(&mut following).await, Vec::<Json>::new());
    let closed = async {
        (
            waiting.closed().await.unwrap().0,
            following.closed().await.unwrap().0,
        )
    };
    let ((), codes) = tokio::join!(world.connections.close(&world.clock), closed);
    assert_eq!(codes, (1001, 1001));
    let late = RawSocket::connect(&url, Some(PROTOCOL)).await.err().unwrap();
    assert_eq!(late.to_string(), "refused with HTTP 503");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_server_does_not_wait_for_silent_clients() {
    let world = World::new().await;
    let url = world.serve().await;
    // Never read, so it does not reply to the close frame.
    let _silent = ready(&url, &world.user(1, 7)).await;
    let began = realtime::Stopwatch::start();
    world.connections.close(&world.clock).await;
    let bound = LEAVE_WITHIN.as_secs_f64() * 2.0;
    assert!(began.seconds() < bound + 1.0, "{} s", began.seconds());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_an_upgrade_gets_426() {
    let world = World::new().await;
    let request = Request::get("/graphql/ws").body(Body::empty()).unwrap();
    let (status, body) = world.send(request).await;
    assert_eq!(
        (status.as_u16(), &body["errors"][0]["extensions"]["code"]),
        (426, &json!("BAD_USER_INPUT"))
    );
}
