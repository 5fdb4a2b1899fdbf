//! Receivers that send slowly, without end, or less than announced: their cost is bounded, in bytes and in time (D2).

use ErrorClass::{Protocol, Timeout};
use rstest::rstest;
use tokio::sync::Semaphore;

use super::receiver::{Receiver, Seen};
use super::*;

const SECOND: SignedDuration = SignedDuration::from_secs(1);
/// The most bytes of a head that hyper buffers over HTTP/1. It checks before each read, so the last read may exceed it.
const HEAD_BYTES: usize = 8192 + 4096 * 100;
const OK: &str = "HTTP/1.1 200 OK\r\n";

/// Simulated time that the test moves, a receiver that sends one byte of `answer` a second, and the attempt at it. After
/// the request, each permit lets one byte go.
async fn dripping(answer: &'static str) -> (Clock, Arc<Semaphore>, tokio::task::JoinHandle<Sent>, Receiver) {
    let clock = Clock::simulated("2026-11-23T10:00:00Z".parse().unwrap());
    let simulation = clock.simulation().unwrap().clone();
    let drops = Arc::new(Semaphore::new(0));
    let tap = drops.clone();
    let mut receiver = Receiver::start(move |mut connection| {
        let (simulation, tap) = (simulation.clone(), tap.clone());
        async move {
            connection.request().await;
            simulation.stall_request(NAME);
            for byte in answer.bytes() {
                tap.acquire().await.unwrap().forget();
                if !connection.write([byte]).await {
                    break;
                }
            }
            connection.request().await;
        }
    })
    .await;
    let transport = transport(&clock);
    let request = request(&clock, &receiver.url());
    let attempt = clock.spawn("attempt", async move { transport.send(request).await });
    assert_eq!(receiver.next().await, Seen::Connection);
    assert!(matches!(receiver.next().await, Seen::Request(_)));
    (clock, drops, attempt, receiver)
}

#[rstest]
#[case::a_status_line("HTTP/1.1 200 OK\r\n\r\n")]
#[case::a_header_that_grows("HTTP/1.1 200 OK\r\na: bbbbbbbbbbbbbbbb")]
#[tokio::test]
async fn headers_that_drip_time_out_at_the_deadline(#[case] answer: &'static str) {
    let (clock, drops, attempt, mut receiver) = dripping(answer).await;
    let (start, simulation) = (clock.now(), clock.simulation().unwrap().clone());
    for _ in 0..9 {
        drops.add_permits(1);
        simulation.advance(SECOND).await.unwrap();
        assert!(!attempt.is_finished(), "timed out early");
    }
    drops.add_permits(1);
    simulation.advance(SECOND).await.unwrap();
    let sent = attempt.await.unwrap();
    assert_failed(&sent, Timeout);
    assert_eq!(sent.ended_at, start + LIMIT);
    drops.add_permits(answer.len());
    assert_eq!(receiver.next().await, Seen::Closed);
}

/// Sends an attempt in simulated time that stands still: if it ends, the deadline did not end it.
async fn without_time(receiver: &Receiver) -> Sent {
    let clock = Clock::simulated("2026-11-23T10:00:00Z".parse().unwrap());
    transport(&clock).send(request(&clock, &receiver.url())).await
}

/// A receiver that sends `head` and then `more` as long as the client accepts it.
async fn endless(head: &'static [u8], more: &'static [u8]) -> Receiver {
    Receiver::start(move |mut connection| async move {
        connection.request().await;
        connection.write(head).await;
        while connection.write(more).await {}
    })
    .await
}

/// A compressed body can continue without end and without content: a file name that does not end, or empty blocks.
#[rstest]
#[case::a_name_without_end(b"\x1f\x8b\x08\x08\0\0\0\0\0\x03", b"aaaaaaaaaaaaaaaa")]
#[case::empty_blocks(b"\x1f\x8b\x08\x00\0\0\0\0\0\x03", b"\x00\x00\x00\xff\xff")]
#[tokio::test]
async fn a_compressed_body_without_content_is_not_read_for_ever(
    #[case] start: &'static [u8],
    #[case] more: &'static [u8],
) {
    let head = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\nconnection: close\r\n\r\n";
    let head = [head.as_bytes(), start].concat().leak();
    let sent = without_time(&endless(head, more).await).await;
    assert_succeeded(&sent);
    assert_eq!(
        (sent.outcome.response_body, sent.outcome.response_truncated),
        (None, true)
    );
}

#[rstest]
#[case::many_headers(OK.as_bytes(), b"a: b\r\n")]
#[case::one_long_header(b"HTTP/1.1 200 OK\r\na: ", b"bbbbbbbbbbbbbbbb")]
#[case::a_long_status_line(b"HTTP/1.1 200 ", b"OKOKOKOKOKOKOKOK")]
#[case::folded_lines(b"HTTP/1.1 200 OK\r\na: b\r\n", b" c\r\n")]
#[tokio::test]
async fn an_endless_response_head_is_a_protocol_failure(
    #[case] head: &'static [u8],
    #[case] more: &'static [u8],
) {
    assert_failed(&without_time(&endless(head, more).await).await, Protocol);
}

#[rstest]
#[case::chunk_extensions(b"1;", b"aaaaaaaaaaaaaaaa")]
#[case::trailers(b"0\r\na: ", b"bbbbbbbbbbbbbbbb")]
#[tokio::test]
async fn chunk_extensions_and_trailers_are_bounded(
    #[case] start: &'static [u8],
    #[case] more: &'static [u8],
) {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let head = [head.as_bytes(), start].concat().leak();
    let sent = without_time(&endless(head, more).await).await;
    assert_succeeded(&sent);
    assert!(sent.outcome.response_truncated);
}

#[rstest]
#[case::as_many_as_allowed(MOST_HEADERS, true)]
#[case::one_more(MOST_HEADERS + 1, false)]
#[tokio::test]
async fn response_headers_are_bounded_in_number(#[case] headers: usize, #[case] taken: bool) {
    let rest = "a: b\r\n".repeat(headers - 1);
    let receiver = Receiver::answering(format!("{OK}content-length: 0\r\n{rest}\r\n")).await;
    let sent = send(&receiver.url()).await;
    if taken {
        assert_succeeded(&sent);
        assert_eq!(sent.outcome.response_headers.len(), MAX_HEADERS);
    } else {
        assert_failed(&sent, Protocol);
    }
}

#[rstest]
#[case::as_long_as_allowed(HEAD_BYTES, true)]
#[case::longer(HEAD_BYTES * 2, false)]
#[tokio::test]
async fn a_response_head_is_bounded_in_bytes(#[case] length: usize, #[case] taken: bool) {
    let rest = "content-length: 0\r\n\r\n";
    let filler = "x".repeat(length - OK.len() - "a: \r\n".len() - rest.len());
    let receiver = Receiver::answering(format!("{OK}a: {filler}\r\n{rest}")).await;
    let sent = send(&receiver.url()).await;
    if taken {
        assert_succeeded(&sent);
    } else {
        assert_failed(&sent, Protocol);
    }
}
