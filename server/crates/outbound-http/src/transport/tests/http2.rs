//! HTTP/2, if the receiver offers it.

use ErrorClass::{Protocol, Reset};
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use hyper::Version;
use tokio::io::AsyncWriteExt;

use super::receiver::{Connection, Receiver};
use super::tls::{Authority, https};
use super::*;

type Call = (hyper::Request<RecvStream>, SendResponse<Bytes>);

/// A receiver that speaks HTTP/2 and handles each request with `answer`; the number counts them.
async fn receiver(authority: &Authority, answer: fn(Call)) -> (Receiver, Arc<AtomicUsize>) {
    let mut tls = authority.server("receiver.test");
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = attempts.clone();
    let serve = move |connection: Connection| {
        let counted = counted.clone();
        async move {
            let mut calls = h2::server::handshake(connection.io).await.unwrap();
            while let Some(Ok(call)) = calls.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                answer(call);
            }
        }
    };
    (Receiver::start_tls(tls, serve).await, attempts)
}

fn respond((request, mut response): Call) {
    assert_eq!(request.version(), Version::HTTP_2);
    let head = hyper::Response::builder()
        .status(200)
        .header("x-answer", "yes")
        .body(())
        .unwrap();
    let mut body = response.send_response(head, false).unwrap();
    body.send_data(Bytes::from_static(b"over two"), true).unwrap();
}

#[tokio::test]
async fn one_connection_serves_many_attempts() {
    let authority = Authority::new();
    let (mut receiver, attempts) = receiver(&authority, respond).await;
    let clock = Clock::system();
    let transport = authority.transport(&clock);
    let send = || transport.send(request(&clock, &https(&receiver)));

    let first = send().await;
    assert_succeeded(&first);
    assert_eq!(first.outcome.response_body.as_deref(), Some("over two"));
    assert!(
        first
            .outcome
            .response_headers
            .contains(&("x-answer".to_owned(), "yes".to_owned()))
    );

    let (second, third) = tokio::join!(send(), send());
    assert_succeeded(&second);
    assert_succeeded(&third);
    assert_eq!(second.outcome.timings.connect, None);
    assert_eq!(attempts.load(Ordering::SeqCst), 3);
    assert_eq!(receiver.counts(), (1, 0));
}

#[tokio::test]
async fn a_refused_stream_is_a_reset_and_not_tried_again() {
    let authority = Authority::new();
    let (receiver, attempts) = receiver(&authority, |(_, mut response)| {
        response.send_reset(Reason::REFUSED_STREAM)
    })
    .await;
    assert_failed(&authority.send(&receiver).await, Reset);
    assert_eq!(attempts.load(Ordering::SeqCst), 1);
}

/// Sends an attempt to a receiver whose response has a header value of this length. Each header counts 32 bytes more.
async fn with_header_of(bytes: usize) -> Sent {
    static LENGTH: AtomicUsize = AtomicUsize::new(0);
    static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _alone = ONE_AT_A_TIME.lock().await;
    LENGTH.store(bytes, Ordering::SeqCst);
    let authority = Authority::new();
    let (receiver, _) = receiver(&authority, |(_, mut response)| {
        let value = "x".repeat(LENGTH.load(Ordering::SeqCst));
        let head = hyper::Response::builder().header("a", value).body(()).unwrap();
        // The receiver's library refuses this if it already knows the client's limit.
        let _ = response.send_response(head, true);
    })
    .await;
    authority.send(&receiver).await
}

#[tokio::test]
async fn headers_are_bounded_in_bytes() {
    // `:status` with its value, the name `a`, and 32 bytes for each of the two. The limit itself is refused.
    let most = MOST_HTTP2_HEADER_BYTES as usize - 1 - ":status200".len() - "a".len() - 64;
    assert_succeeded(&with_header_of(most).await);
    assert_failed(&with_header_of(most + 1).await, Protocol);
}

/// How much a receiver may send before any of it is read.
#[tokio::test]
async fn the_receive_window_of_a_stream_is_bounded() {
    let authority = Authority::new();
    let (receiver, _) = receiver(&authority, |(_, mut response)| {
        let mut body = response.send_response(hyper::Response::new(()), false).unwrap();
        body.reserve_capacity(16 << 20);
        let room = body.capacity();
        body.send_data(Bytes::from(room.to_string()), true).unwrap();
    })
    .await;
    let sent = authority.send(&receiver).await;
    assert_succeeded(&sent);
    assert_eq!(
        sent.outcome.response_body.unwrap(),
        HTTP2_STREAM_WINDOW.to_string()
    );
}

#[tokio::test]
async fn headers_beyond_the_limit_are_a_protocol_failure() {
    let authority = Authority::new();
    let (receiver, _) = receiver(&authority, |(_, mut response)| {
        let head = hyper::Response::builder()
            .header("x-long", "x".repeat(20_000))
            .body(())
            .unwrap();
        response.send_response(head, true).unwrap();
    })
    .await;
    assert_failed(&authority.send(&receiver).await, Protocol);
}

#[tokio::test]
async fn invalid_http2_is_a_protocol_failure() {
    let authority = Authority::new();
    let mut tls = authority.server("receiver.test");
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let receiver = Receiver::start_tls(tls, |mut connection| async move {
        connection
            .io
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await
            .unwrap();
        connection.request().await;
    })
    .await;
    assert_failed(&authority.send(&receiver).await, Protocol);
}
