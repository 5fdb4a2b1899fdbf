use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::http::StatusCode;
use axum::routing::get;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tenterhook_clock as clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::*;

/// How long a test waits for what needs no time of its own.
const PATIENCE: Duration = Duration::from_secs(60);
/// Short enough for a test to wait for it.
const SHORT: Duration = Duration::from_millis(50);
/// Longer than any test waits.
const LONG: Duration = Duration::from_secs(3600);

struct Served {
    address: std::net::SocketAddr,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
}

async fn served(router: Router, head_within: Duration, stalled_for: Duration) -> Served {
    let limits = Limits {
        head_within,
        stalled_for,
        discard_within: LONG,
    };
    served_within(router, limits).await
}

async fn served_within(router: Router, limits: Limits) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("there is a free port");
    let address = listener.local_addr().expect("it is bound");
    let stop = CancellationToken::new();
    let serving = clock::spawn_io(serve(listener, router, limits, stop.clone()));
    Served {
        address,
        stop,
        serving,
    }
}

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// A connection on which `text` was sent.
async fn asking(server: &Served, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address)
        .await
        .expect("the server listens");
    stream.write_all(text.as_bytes()).await.expect("the server reads");
    stream
}

/// Everything that arrives until the server closes the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    // A reset counts as the end too.
    let _ = clock::within(PATIENCE, stream.read_to_end(&mut text))
        .await
        .expect("it is closed");
    String::from_utf8_lossy(&text).into_owned()
}

fn greeting() -> Router {
    Router::new().route("/", get(|| async { "hello" }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_does_not_come_in_time_closes_the_connection() {
    let server = served(greeting(), SHORT, LONG).await;
    for begun in ["", "P", "GET / HTTP/1.1\r\nhost: a\r\nx-slow: "] {
        let mut stream = asking(&server, begun).await;
        let answered = rest(&mut stream).await;
        assert!(!answered.contains("hello"), "{begun:?}: {answered}");
    }
    // A connection without a further request is closed too.
    let mut stream = asking(&server, GET).await;
    assert!(rest(&mut stream).await.ends_with("hello"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_comes_in_pieces_within_its_time_is_answered() {
    let server = served(greeting(), LONG, LONG).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    for byte in b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n" {
        stream.write_all(&[*byte]).await.unwrap();
        stream.flush().await.unwrap();
        tokio::task::yield_now().await;
    }
    assert!(rest(&mut stream).await.ends_with("hello"));
}

/// Notifies when it is dropped together with its response.
struct Told(Arc<Notify>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// A response without an end.
fn endless(ended: Arc<Notify>) -> Router {
    let answer = move || {
        let told = Told(ended.clone());
        let blocks = stream::unfold(told, |told| async move {
            let block = Ok::<_, Infallible>(Bytes::from_static(&[0; 64 * 1024]));
            Some((block, told))
        });
        async { Body::from_stream(blocks) }
    };
    Router::new().route("/", get(answer))
}

#[tokio::test(flavor = "multi_thread")]
async fn only_clients_that_stop_reading_are_disconnected() {
    let ended = Arc::new(Notify::new());
    let server = served(endless(ended.clone()), LONG, SHORT).await;
    let _silent = asking(&server, GET).await;
    clock::within(PATIENCE, ended.notified())
        .await
        .expect("its answer is given up");

    let patient = served(endless(ended.clone()), LONG, LONG).await;
    let mut reading = asking(&patient, GET).await;
    // More than all buffers between the two can hold.
    let mut block = vec![0; 64 * 1024];
    for _ in 0..1_000 {
        reading.read_exact(&mut block).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_server_finishes_requests_and_accepts_none() {
    let go = Arc::new(Notify::new());
    let (asked, is_asked) = (Arc::new(Notify::new()), go.clone());
    let began = asked.clone();
    let router = Router::new().route(
        "/",
        get(move || {
            let (go, asked) = (is_asked.clone(), asked.clone());
            async move {
                asked.notify_one();
                go.notified().await;
                "done"
            }
        }),
    );
    let server = served(router, LONG, LONG).await;
    let mut idle = asking(&server, "").await;
    let mut stream = asking(&server, GET).await;
    began.notified().await;
    server.stop.cancel();
    assert_eq!(rest(&mut idle).await, "");
    let refused = async {
        while TcpStream::connect(server.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    clock::within(PATIENCE, refused)
        .await
        .expect("no more connections are accepted");
    go.notify_one();
    assert!(rest(&mut stream).await.ends_with("done"));
    server.serving.await.unwrap();
}

/// A server that responds to every request with this status and reads no body.
async fn refusing(status: StatusCode, discard_within: Duration) -> Served {
    let limits = Limits {
        head_within: LONG,
        stalled_for: LONG,
        discard_within,
    };
    served_within(Router::new().fallback(move || async move { status }), limits).await
}

/// The head of a request with a body, and its last header.
fn head(last: &str) -> String {
    format!("POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{last}\r\n\r\n")
}

/// A body that is larger than all buffers between client and server.
const LARGE: usize = 4 * 1024 * 1024;

/// Requests with a large body, with and without its length.
fn large() -> [String; 2] {
    let (part, body) = ("a".repeat(64 * 1024), "a".repeat(LARGE));
    let chunk = format!("10000\r\n{part}\r\n");
    let chunks = chunk.repeat(LARGE / part.len());
    [
        format!("{}{body}", head(&format!("content-length: {LARGE}"))),
        format!("{}{chunks}0\r\n\r\n", head("transfer-encoding: chunked")),
    ]
}

/// The client reads nothing until it has sent everything.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_first_can_read_a_refusal() {
    for status in [StatusCode::UNAUTHORIZED, StatusCode::PAYLOAD_TOO_LARGE] {
        let server = refusing(status, LONG).await;
        for request in large() {
            let mut stream = asking(&server, &request).await;
            let answered = rest(&mut stream).await;
            let expected = format!("HTTP/1.1 {}", status.as_u16());
            assert!(answered.starts_with(&expected), "{answered}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_does_not_wait_for_a_body_without_end() {
    let server = refusing(StatusCode::UNAUTHORIZED, SHORT).await;
    for last in ["content-length: 10", "transfer-encoding: chunked"] {
        let mut stream = asking(&server, &head(last)).await;
        let answered = rest(&mut stream).await;
        assert!(answered.starts_with("HTTP/1.1 401"), "{answered}");
    }
}

/// The client would send its body only after `100 Continue`.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_for_continue_gets_a_refusal_at_once() {
    let server = refusing(StatusCode::UNAUTHORIZED, LONG).await;
    let mut stream = asking(&server, &head("content-length: 10\r\nexpect: 100-continue")).await;
    let answered = rest(&mut stream).await;
    assert!(answered.starts_with("HTTP/1.1 401"), "{answered}");
}

/// The time for a body is over, so nothing of it is awaited.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_was_too_slow_is_not_awaited_again() {
    let server = refusing(StatusCode::REQUEST_TIMEOUT, LONG).await;
    let mut stream = asking(&server, &head("content-length: 10")).await;
    let answered = rest(&mut stream).await;
    assert!(answered.starts_with("HTTP/1.1 408"), "{answered}");
}

/// The route begins to read, so the client gets `100 Continue` and sends everything.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_was_told_to_continue_can_read_a_refusal() {
    let refuse = |body: Body| async move {
        let _first = body.into_data_stream().next().await;
        StatusCode::PAYLOAD_TOO_LARGE
    };
    let server = served(Router::new().fallback(refuse), LONG, LONG).await;
    for request in large() {
        let (head, body) = request.split_once("\r\n\r\n").expect("a head");
        let mut stream = asking(&server, &format!("{head}\r\nexpect: 100-continue\r\n\r\n")).await;
        let mut told = [0; 25];
        clock::within(PATIENCE, stream.read_exact(&mut told))
            .await
            .expect("it may continue")
            .expect("the connection is open");
        assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(body.as_bytes()).await.expect("the server reads");
        let answered = rest(&mut stream).await;
        assert!(answered.starts_with("HTTP/1.1 413"), "{answered}");
    }
}
