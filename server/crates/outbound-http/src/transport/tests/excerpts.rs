//! The part of a response that is kept, and responses that must do no harm (D2, D10).

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use rstest::rstest;

use super::receiver::Receiver;
use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn answer(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(body);
    answer
}

async fn excerpt_of(answer: Vec<u8>) -> (Option<String>, bool) {
    let outcome = send(&Receiver::answering(answer).await.url()).await.outcome;
    (outcome.response_body, outcome.response_truncated)
}

#[rstest]
#[case::nothing(200, 0, 0, false)]
#[case::a_whole_success(200, 1024, 1024, false)]
#[case::a_long_success(200, 1025, 1024, true)]
#[case::a_whole_failure(500, 16_384, 16_384, false)]
#[case::a_long_failure(500, 16_385, 16_384, true)]
#[tokio::test]
async fn a_body_is_kept_up_to_the_limit(
    #[case] status: u16,
    #[case] length: usize,
    #[case] kept: usize,
    #[case] truncated: bool,
) {
    let (text, cut) = excerpt_of(answer(status, "", &vec![b'x'; length])).await;
    assert_eq!((text.map_or(0, |text| text.len()), cut), (kept, truncated));
}

#[tokio::test]
async fn a_gzip_body_is_kept_decompressed() {
    let body = gzip(b"hello");
    let kept = excerpt_of(answer(500, "content-encoding: gzip\r\n", &body)).await;
    assert_eq!(kept, (Some("hello".to_owned()), false));
}

#[tokio::test]
async fn a_gzip_bomb_is_not_unpacked() {
    // 64 MiB in 64 KiB. The rest is never sent, so a reader that continued would never end.
    let mut bomb = answer(500, "content-encoding: gzip\r\n", &gzip(&vec![0; 64 << 20]));
    bomb.truncate(bomb.len() / 2);
    let receiver = Receiver::start(move |mut connection| {
        let bomb = bomb.clone();
        async move {
            connection.request().await;
            connection.write(bomb).await;
            connection.request().await;
        }
    })
    .await;
    let sent = send(&receiver.url()).await;
    assert!(sent.outcome.response_truncated);
    assert!(sent.outcome.response_body.unwrap().len() <= LIMITS.failed);
}

/// A body is decompressed if it is gzip, under any of its names, and otherwise kept as received.
#[rstest]
#[case::not_compressed("gzip", b"plain".to_vec(), Some("plain"), false)]
#[case::another_name("x-gzip", gzip(b"hello"), Some("hello"), false)]
#[case::in_capitals("GZip", gzip(b"hello"), Some("hello"), false)]
#[case::with_identity("gzip, identity", gzip(b"hello"), Some("hello"), false)]
#[case::identity_alone("identity", b"plain".to_vec(), Some("plain"), false)]
#[case::nothing_named("", b"plain".to_vec(), Some("plain"), false)]
#[case::empty("gzip", Vec::new(), None, false)]
#[case::empty_compressed("gzip", gzip(b""), None, false)]
#[case::twice("gzip, gzip", gzip(&gzip(b"hello")), Some("hello"), false)]
#[case::twice_in_two_lines("gzip\r\ncontent-encoding: gzip", gzip(&gzip(b"hello")), Some("hello"), false)]
#[case::declared_twice_compressed_once("gzip, gzip", gzip(b"hello"), Some("hello"), false)]
#[case::two_members("gzip", [gzip(b"hello "), gzip(b"world")].concat(), Some("hello world"), false)]
#[case::cut_off("gzip", stored(b"hello")[..18].to_vec(), Some("hel"), true)]
#[case::with_a_rest("gzip", [gzip(b"hello"), b"rest".to_vec()].concat(), Some("hello"), true)]
#[case::a_damaged_start("gzip", b"\x1f\x8b?".to_vec(), None, true)]
#[case::another_coding("deflate", b"plain".to_vec(), Some("plain"), false)]
#[case::another_coding_over_it("gzip, br", b"plain".to_vec(), Some("plain"), false)]
#[tokio::test]
async fn a_compressed_body_is_decompressed_if_it_is_gzip(
    #[case] coding: &str,
    #[case] body: Vec<u8>,
    #[case] kept: Option<&str>,
    #[case] truncated: bool,
) {
    for (status, length) in [(200, true), (500, true), (200, false)] {
        let mut raw = answer(status, &format!("content-encoding: {coding}\r\n"), &body);
        if !length {
            let text = format!("content-length: {}\r\n", body.len());
            let at = raw
                .windows(text.len())
                .position(|part| part == text.as_bytes())
                .unwrap();
            raw.drain(at..at + text.len());
        }
        let sent = send(&Receiver::answering(raw).await.url()).await;
        assert_eq!(sent.outcome.succeeded(), status == 200);
        let Outcome {
            response_body,
            response_truncated,
            ..
        } = sent.outcome;
        assert_eq!((response_body.as_deref(), response_truncated), (kept, truncated));
    }
}

/// As gzip in uncompressed blocks, so that the position of a cut is known to the byte: ten bytes of header, and five per
/// block.
fn stored(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_body_compressed_twice_is_bounded() {
    let inner = gzip(&vec![b'x'; 64 << 20]);
    assert!(gzip(&inner).len() < LIMITS.failed, "all of it is read");
    let (text, cut) = excerpt_of(answer(500, "content-encoding: gzip, gzip\r\n", &gzip(&inner))).await;
    assert_eq!((text.unwrap().len(), cut), (LIMITS.failed, true));
}

#[tokio::test]
async fn an_endless_body_is_a_success() {
    let receiver = Receiver::start(|mut connection| async move {
        connection.request().await;
        connection
            .write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            .await;
        while connection.write("4\r\nmore\r\n").await {}
    })
    .await;
    let sent = send(&receiver.url()).await;
    assert_succeeded(&sent);
    assert_eq!(sent.outcome.response_body.unwrap(), "more".repeat(256));
    assert!(sent.outcome.response_truncated);
}

#[rstest]
#[case::bad_chunking("transfer-encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n")]
#[case::cut_off("content-length: 100\r\n\r\nok")]
#[tokio::test]
async fn a_body_cut_off_after_the_headers_is_a_success(#[case] rest: &str) {
    let sent = send(
        &Receiver::answering(format!("HTTP/1.1 200 OK\r\n{rest}"))
            .await
            .url(),
    )
    .await;
    assert_succeeded(&sent);
    assert_eq!(sent.outcome.response_body.as_deref(), Some("ok"));
    assert!(sent.outcome.response_truncated);
}

#[tokio::test]
async fn a_body_is_kept_as_text_that_can_be_stored() {
    let (text, _) = excerpt_of(answer(500, "", b"a\0b\xFFc")).await;
    assert_eq!(text.unwrap(), "a\u{FFFD}b\u{FFFD}c");
}

#[tokio::test]
async fn a_binary_body_stays_within_the_limit() {
    let (text, cut) = excerpt_of(answer(500, "", &[0xFF; LIMITS.failed])).await;
    assert!(text.unwrap().len() <= LIMITS.failed && cut);
}

#[tokio::test]
async fn headers_are_kept_in_order_as_lossy_text() {
    let mut raw =
        b"HTTP/1.1 200 OK\r\nx-b: 1\r\nx-a: caf\xE9\r\nX-B: 2\r\ncontent-length: 0\r\n\r\n".to_vec();
    let headers = send(&Receiver::answering(std::mem::take(&mut raw)).await.url())
        .await
        .outcome
        .response_headers;
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        headers,
        [
            ("x-b", "1"),
            ("x-b", "2"),
            ("x-a", "caf\u{FFFD}"),
            ("content-length", "0")
        ]
    );
}

#[rstest]
#[case::many_headers(format!("{}", "a: b\r\n".repeat(90)))]
#[case::long_headers(format!("{}", format!("a: {}\r\n", "x".repeat(3000)).repeat(20)))]
#[case::one_long_header(format!("a: {}\r\n", "x".repeat(100_000)))]
#[tokio::test]
async fn headers_are_kept_up_to_a_limit(#[case] headers: String) {
    let sent = send(&Receiver::answering(answer(200, &headers, b"")).await.url()).await;
    assert_succeeded(&sent);
    let kept = sent.outcome.response_headers;
    assert!(kept.len() <= MAX_HEADERS);
    assert!(
        kept.iter()
            .map(|(name, value)| name.len() + value.len())
            .sum::<usize>()
            <= MAX_HEADER_BYTES
    );
}
