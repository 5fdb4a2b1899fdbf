//! Malicious documents and bodies, each refused with its code before anything is executed.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use tenterhook_graphql_http::extension::{LONGEST_MESSAGE, MOST_ERRORS};
use tenterhook_graphql_http::limits::{
    BODY_LIMIT, MAX_ALIASES, MAX_JSON_NESTING, MAX_JSON_VALUES, MAX_TOKENS, MAX_VARIABLES,
};

use super::*;
use crate::limits::{MAX_PUBLISHED_VALUES, PUBLISHING_LIMIT};

fn nested(open: &str, inner: &str, close: &str, levels: usize) -> String {
    format!("{}{inner}{}", open.repeat(levels), close.repeat(levels))
}

/// Posts a body unchanged; returns the status and the first error's code.
async fn post(world: &World, token: &Token, body: impl Into<Body>) -> (u16, String) {
    let request = Request::post("/graphql")
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {}", token.0))
        .header("accept", "application/graphql-response+json")
        .body(body.into())
        .unwrap();
    let (status, answer) = world.send(request).await;
    assert!(answer.get("data").is_none() || status == 200, "{answer}");
    let code = answer["errors"][0]["extensions"]["code"].as_str();
    (status.as_u16(), code.unwrap_or_default().to_owned())
}

async fn document(world: &World, text: &str) -> (u16, String) {
    post(world, &world.user(1, 7), json!({ "query": text }).to_string()).await
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn literals_nested_by_the_thousand_are_refused() {
    let world = World::new().await;
    for value in [nested("[", "", "]", 2_000), nested("{a:", "1", "}", 2_000)] {
        for text in [
            format!("{{ node(id: {value}) {{ id }} }}"),
            format!("query Q($a: JSON = {value}) {{ viewer {{ userId }} }}"),
            format!("{{ viewer @skip(if: {value}) {{ userId }} }}"),
        ] {
            assert_eq!(document(&world, &text).await, refused(400, "QUERY_TOO_DEEP"));
        }
    }
    let selections = nested("{ a ", "b", "}", 2_000);
    assert_eq!(
        document(&world, &selections).await,
        refused(400, "QUERY_TOO_DEEP")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn multiplying_documents_are_refused() {
    let world = World::new().await;
    let complex = refused(400, "QUERY_TOO_COMPLEX");
    let mut doubling = "{ ...F0 }".to_owned();
    for level in 0..30 {
        let next = level + 1;
        doubling += &format!(" fragment F{level} on Query {{ ...F{next} ...F{next} }}");
    }
    doubling += " fragment F30 on Query { __typename }";
    assert_eq!(document(&world, &doubling).await, complex);
    let aliases = |n: usize| {
        let aliases: String = (0..n).map(|n| format!("a{n}: __typename ")).collect();
        format!("{{ {aliases} }}")
    };
    assert_eq!(document(&world, &aliases(10_000)).await, complex);
    assert_eq!(document(&world, &aliases(MAX_ALIASES + 1)).await, complex);
    assert_eq!(document(&world, &aliases(MAX_ALIASES)).await.0, 200);
    for field in ["__typename", "viewer { userId }"] {
        let directives = "@skip(if: false) ".repeat(1_000);
        let text = format!("{{ {} }}", field.replacen(' ', &format!(" {directives}"), 1));
        let text = if field.contains(' ') {
            text
        } else {
            format!("{{ {field} {directives} }}")
        };
        assert_eq!(document(&world, &text).await, complex);
    }
    let variables: String = (0..20_000).map(|n| format!("$v{n}: Int ")).collect();
    let text = format!("query Q({variables}) {{ viewer {{ userId }} }}");
    assert_eq!(document(&world, &text).await, complex);
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_are_bounded() {
    let world = World::new().await;
    let ann = world.user(1, 7);
    let given = |n: usize| {
        let variables: serde_json::Map<_, _> = (0..n).map(|n| (format!("v{n}"), json!(1))).collect();
        json!({ "query": "{ viewer { userId } }", "variables": variables }).to_string()
    };
    assert_eq!(post(&world, &ann, given(MAX_VARIABLES)).await.0, 200);
    for many in [MAX_VARIABLES + 1, 20_000] {
        assert_eq!(
            post(&world, &ann, given(many)).await,
            refused(400, "QUERY_TOO_COMPLEX")
        );
    }
    let wide =
        |n: usize| json!({ "query": "{ viewer { userId } }", "variables": { "a": vec![0; n] } }).to_string();
    // Values other than elements: the two objects, the list and a comma are four; n elements have n - 1 commas.
    let around = 3;
    assert_eq!(post(&world, &ann, wide(MAX_JSON_VALUES - around)).await.0, 200);
    assert_eq!(
        post(&world, &ann, wide(MAX_JSON_VALUES - around + 1)).await,
        refused(400, "QUERY_TOO_COMPLEX")
    );
    let platform = world.platform();
    assert_eq!(post(&world, &platform, wide(MAX_JSON_VALUES + 1)).await.0, 200);
    assert_eq!(
        post(&world, &platform, wide(MAX_PUBLISHED_VALUES)).await,
        refused(400, "QUERY_TOO_COMPLEX")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn json_nested_by_the_hundred_thousand_is_refused() {
    let world = World::new().await;
    let ann = world.user(1, 7);
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = nested(open, "1", close, 100_000);
        let within = format!("{{\"query\":\"{{ viewer {{ userId }} }}\",\"variables\":{{\"a\":{deep}}}}}");
        for body in [deep, within] {
            assert_eq!(
                post(&world, &ann, body).await,
                refused(400, "QUERY_TOO_DEEP"),
                "{open}"
            );
        }
        // Two levels belong to the request itself.
        let body = |levels| {
            let deep = nested(open, "1", close, levels);
            format!("{{\"query\":\"{{ viewer {{ userId }} }}\",\"variables\":{{\"a\":{deep}}}}}")
        };
        assert_eq!(post(&world, &ann, body(MAX_JSON_NESTING - 2)).await.0, 200);
        assert_eq!(
            post(&world, &ann, body(MAX_JSON_NESTING - 1)).await,
            refused(400, "QUERY_TOO_DEEP")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_bounded_with_and_without_content_length() {
    let world = World::new().await;
    let sized = |bytes: usize| {
        let rest = "{\"query\":\"{ viewer { userId } }\"}";
        format!("{rest}{}", " ".repeat(bytes - rest.len()))
    };
    let streamed = |text: String| {
        let chunks: Vec<_> = text
            .into_bytes()
            .chunks(64 * 1024)
            .map(|chunk| Ok::<_, std::io::Error>(bytes::Bytes::copy_from_slice(chunk)))
            .collect();
        Body::from_stream(futures_util::stream::iter(chunks))
    };
    let too_large = refused(413, "PAYLOAD_TOO_LARGE");
    for (token, limit) in [
        (world.user(1, 7), BODY_LIMIT),
        (world.platform(), PUBLISHING_LIMIT),
    ] {
        assert_eq!(post(&world, &token, sized(limit)).await.0, 200);
        for bytes in [limit + 1, 16 * 1024 * 1024, 40 * 1024 * 1024] {
            assert_eq!(post(&world, &token, sized(bytes)).await, too_large);
            assert_eq!(post(&world, &token, streamed(sized(bytes))).await, too_large);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_bounded_in_number_and_length() {
    let world = World::new().await;
    let ann = world.user(1, 7);
    let wrong = |n: usize| format!("{{ {} }}", (0..n).map(|n| format!("x{n} ")).collect::<String>());
    for (fields, errors) in [
        (MOST_ERRORS, MOST_ERRORS),
        (MOST_ERRORS + 1, MOST_ERRORS),
        (MAX_TOKENS - 2, MOST_ERRORS),
    ] {
        let answer = world.answer(&ann, &wrong(fields), json!({})).await;
        assert_eq!(answer["errors"].as_array().unwrap().len(), errors);
    }
    let long = "x".repeat(100_000);
    for text in [
        format!("{{ {long} }}"),
        format!("{{ {long} "),
        format!("{{ viewer {{ userId(a: \"{long}\") }} }}"),
        format!("{{ webhooks(type: {long}) {{ totalCount }} }}"),
        format!("query Q($a: {long}) {{ viewer {{ userId }} }}"),
    ] {
        let answer = world.answer(&ann, &text, json!({})).await;
        for error in answer["errors"].as_array().unwrap() {
            let message = error["message"].as_str().unwrap();
            assert!(
                message.chars().count() <= LONGEST_MESSAGE + 1,
                "{}",
                message.len()
            );
            assert!(error["extensions"]["code"].is_string(), "{error}");
        }
    }
}

/// A body with these pieces and no end.
fn trickling(pieces: &[&'static str]) -> Body {
    let pieces: Vec<_> = pieces.iter().copied().map(Ok::<_, std::io::Error>).collect();
    Body::from_stream(futures_util::stream::iter(pieces).chain(futures_util::stream::pending()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_in_time_is_given_up() {
    let mut settings = Settings::development();
    settings.api.body_within = Duration::from_millis(50);
    let world = World::with(settings).await;
    let pieces = ["{\"query\":", "\"{ viewer { userId } }\"", "}"];
    for accept in [
        "application/json",
        "application/graphql-response+json",
        "text/event-stream",
    ] {
        // Everything but the end has arrived, or nothing.
        for body in [trickling(&pieces), trickling(&[])] {
            let request = Request::post("/graphql")
                .header("content-type", "application/json")
                .header("authorization", format!("Bearer {}", world.user(1, 7).0))
                .header("accept", accept)
                .body(body)
                .unwrap();
            let (status, answer) = world.send(request).await;
            let expected = (408, &json!("REQUEST_TIMEOUT"));
            let code = &answer["errors"][0]["extensions"]["code"];
            assert_eq!((status.as_u16(), code), expected, "{accept}: {answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_comes_in_pieces_within_its_time_is_read() {
    let world = World::new().await;
    let pieces = ["{\"query\":", "\"{ viewer { userId } }\"", "}"].map(Ok::<_, std::io::Error>);
    let slowly = futures_util::stream::iter(pieces).then(|piece| async move {
        tokio::task::yield_now().await;
        piece
    });
    let body = Body::from_stream(slowly);
    assert_eq!(post(&world, &world.user(1, 7), body).await, (200, String::new()));
}

/// The first line of the response to a client that reads nothing before it has sent `request`.
async fn sent_first(address: &str, request: &str) -> String {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.expect("the server listens");
        let sent = stream.write_all(request.as_bytes()).await;
        sent.expect("the server reads the whole request");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("a response");
        String::from_utf8(answer).expect("text")
    };
    let answer = realtime::within(realtime::PATIENCE, exchange).await;
    let answer = answer.expect("the server answers and closes");
    answer.lines().next().unwrap_or_default().to_owned()
}

/// No refusal breaks a client that is still sending, whatever the reason, with and without the body's length.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_send_a_large_body_can_read_every_refusal() {
    const LARGE: usize = 4 * 1024 * 1024;
    let world = World::new().await;
    let url = world.serve().await;
    let address = url.strip_prefix("http://").unwrap();
    let bearer = |token: Token| format!("authorization: Bearer {}\r\n", token.0);
    let ann = bearer(world.user(1, 7));
    let reading = json!({ "company_id": "1", "sub": "7", "role": "regular", "scope": "webhooks:read" });
    let reading = bearer(world.token(reading));
    let (json, text) = (
        "content-type: application/json\r\n",
        "content-type: text/plain\r\n",
    );
    let body = "a".repeat(LARGE);
    let chunks = format!("10000\r\n{}\r\n", &body[..65_536]).repeat(LARGE / 65_536);
    let sized = format!("content-length: {LARGE}\r\n\r\n{body}");
    let chunked = format!("transfer-encoding: chunked\r\n\r\n{chunks}0\r\n\r\n");
    for (line, headers, status) in [
        ("POST /graphql", json.to_owned(), 401),
        (
            "POST /graphql",
            format!("{json}accept: text/event-stream\r\n"),
            401,
        ),
        ("POST /graphql", format!("{ann}{text}"), 415),
        (
            "POST /graphql",
            format!("{ann}{text}accept: text/event-stream\r\n"),
            415,
        ),
        ("POST /graphql", format!("{ann}{json}accept: text/html\r\n"), 406),
        ("POST /graphql", format!("{ann}{json}"), 413),
        ("PUT /graphql", format!("{ann}{json}"), 405),
        ("POST /v1/webhooks", json.to_owned(), 401),
        ("POST /v1/webhooks", format!("{reading}{json}"), 403),
        ("POST /v1/webhooks", format!("{ann}{text}"), 415),
        ("POST /v1/webhooks", format!("{ann}{json}"), 413),
        ("PUT /v1/webhooks", format!("{ann}{json}"), 405),
        ("POST /v1/deals", format!("{ann}{json}"), 404),
        ("POST /nothing", format!("{ann}{json}"), 404),
        ("POST /sim/clock/advance", json.to_owned(), 401),
    ] {
        for body in [&sized, &chunked] {
            let request = format!("{line} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}{body}");
            let first = sent_first(address, &request).await;
            assert!(
                first.starts_with(&format!("HTTP/1.1 {status} ")),
                "{line}, {status}: {first}"
            );
        }
    }
}
