use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use futures_util::stream;
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
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("there is a free port");
    let address = listener.local_addr().expect("it is bound");
    let stop = CancellationToken::new();
    let limits = Limits {
        head_within,
        stalled_for,
    };
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
