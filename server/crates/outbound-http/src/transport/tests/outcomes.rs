//! The outcome for each response, or the lack of one (D1, D3, D10).

use ErrorClass::{Connect, Dns, Protocol, Reset, Status};
use rstest::rstest;

use super::receiver::Receiver;
use super::*;

#[rstest]
#[case::ok("200 OK", true)]
#[case::created("201 Created", true)]
#[case::no_content("204 No Content", true)]
#[case::unknown_success("299 Whatever", true)]
#[case::moved("301 Moved Permanently", false)]
#[case::not_modified("304 Not Modified", false)]
#[case::temporary_redirect("307 Temporary Redirect", false)]
#[case::bad_request("400 Bad Request", false)]
#[case::gone("410 Gone", false)]
#[case::server_error("500 Internal Server Error", false)]
#[case::beyond("799 Made Up", false)]
#[tokio::test]
async fn the_status_decides(#[case] status: &str, #[case] success: bool) {
    let receiver = Receiver::answering(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n")).await;
    let sent = send(&receiver.url()).await;
    assert_eq!(sent.outcome.status, Some(status[..3].parse().unwrap()));
    if success {
        assert_succeeded(&sent)
    } else {
        assert_failed(&sent, Status)
    }
}

#[rstest]
#[case::early_hints("103 Early Hints")]
#[case::continues("100 Continue")]
#[case::processing("102 Processing")]
#[tokio::test]
async fn interim_responses_are_ignored(#[case] interim: &str) {
    let answer =
        format!("HTTP/1.1 {interim}\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let sent = send(&Receiver::answering(answer).await.url()).await;
    assert_succeeded(&sent);
    assert_eq!(sent.outcome.status, Some(200));
    assert_eq!(sent.outcome.response_body.as_deref(), Some("ok"));
}

#[tokio::test]
async fn switching_protocols_is_a_final_failure() {
    let answer = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
    let sent = send(&Receiver::answering(answer).await.url()).await;
    assert_failed(&sent, Status);
    assert_eq!(sent.outcome.status, Some(101));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let mut receiver = Receiver::start(|mut connection| async move {
        connection
            .answer_all("HTTP/1.1 307 T\r\nlocation: /next\r\ncontent-length: 0\r\n\r\n")
            .await;
    })
    .await;
    let sent = send(&receiver.url()).await;
    assert_failed(&sent, Status);
    assert!(
        sent.outcome
            .error_message
            .unwrap()
            .ends_with("redirects are not followed")
    );
    assert_eq!(receiver.counts(), (1, 1));
}

#[tokio::test]
async fn a_redirect_to_a_metadata_address_is_not_followed() {
    let answer = "HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/latest\r\ncontent-length: 0\r\n\r\n";
    let sent = send(&Receiver::answering(answer).await.url()).await;
    assert_failed(&sent, Status);
    assert_eq!(sent.outcome.status, Some(302));
}

#[rstest]
#[case::no_answer("")]
#[case::within_the_status_line("HTTP/1.1 20")]
#[case::within_the_headers("HTTP/1.1 200 OK\r\ncontent-le")]
#[case::after_an_interim_answer("HTTP/1.1 103 Early Hints\r\n\r\n")]
#[tokio::test]
async fn a_connection_closed_before_the_headers_end_is_reset(#[case] answer: &str) {
    assert_failed(&send(&Receiver::answering(answer).await.url()).await, Reset);
}

#[tokio::test]
async fn a_connection_closed_at_once_is_reset() {
    assert_failed(&send(&Receiver::start(|_| async {}).await.url()).await, Reset);
}

#[rstest]
#[case::not_http("SSH-2.0-OpenSSH_9.2\r\n".to_owned())]
#[case::a_bad_version("HTTP/3.9 200 OK\r\n\r\n".to_owned())]
#[case::a_bad_status("HTTP/1.1 2x0 OK\r\n\r\n".to_owned())]
#[case::http_0_9("<html>ok</html>\r\n".to_owned())]
#[case::two_lengths("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n".to_owned())]
#[case::too_many_headers(format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(1000)))]
#[case::headers_too_long(format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "x".repeat(1_000_000)))]
#[tokio::test]
async fn invalid_http_is_a_protocol_failure(#[case] answer: String) {
    assert_failed(&send(&Receiver::answering(answer).await.url()).await, Protocol);
}

/// Only the status counts, even if other lines are malformed (D1, RFC 9112 sections 5.1 and 5.2).
#[rstest]
#[case::a_fold("x-a: b\r\n c\r\n", Some("b c"))]
#[case::a_fold_with_a_tab("x-a: b\r\n\tc\r\n", Some("b c"))]
#[case::two_folds("x-a: b\r\n c\r\n  d\r\n", Some("b c d"))]
#[case::a_space_before_the_colon("x-a : b\r\n", Some("b"))]
#[case::no_header("no colon\r\n", None)]
#[case::an_odd_name("x a: b\r\n", None)]
#[case::a_line_without_a_name(": b\r\n", None)]
#[case::a_control_character("x-a: b\x01c\r\n", None)]
#[tokio::test]
async fn a_malformed_header_line_changes_nothing(#[case] line: &str, #[case] kept: Option<&str>) {
    for (status, class) in [("200 OK", None), ("500 No", Some(Status))] {
        let answer = format!("HTTP/1.1 {status}\r\nx-b: 1\r\n{line}x-c: 2\r\ncontent-length: 2\r\n\r\nok");
        let sent = send(&Receiver::answering(answer).await.url()).await;
        assert_eq!(sent.outcome.error_class, class, "{sent:?}");
        assert_eq!(sent.outcome.response_body.as_deref(), Some("ok"));
        let header = |name: &str| {
            let all = &sent.outcome.response_headers;
            all.iter()
                .find(|(of, _)| of == name)
                .map(|(_, value)| value.as_str())
        };
        assert_eq!((header("x-b"), header("x-c")), (Some("1"), Some("2")));
        assert_eq!(header("x-a"), kept);
        assert_eq!(
            sent.outcome.response_headers.len(),
            3 + usize::from(kept.is_some())
        );
    }
}

#[rstest]
#[case::a_header("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n".to_owned(), "a header")]
#[case::another_header("HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n".to_owned(), "a header")]
#[case::the_status_line("HTTP/1.1 2x0 OK\r\n\r\n".to_owned(), "a status line")]
#[case::too_many_headers(format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(1000)), "too many headers")]
#[case::not_http("SSH-2.0-OpenSSH_9.2\r\n".to_owned(), "is not valid HTTP")]
#[tokio::test]
async fn the_error_names_the_invalid_part_of_the_response(#[case] answer: String, #[case] words: &str) {
    let sent = send(&Receiver::answering(answer).await.url()).await;
    let message = sent.outcome.error_message.unwrap();
    assert!(message.contains(words), "{message}");
}

/// The webhook is older than the rule against such names. Only a name with a leading hyphen was never looked up.
#[rstest]
#[case::at_the_start("-lead.test", false)]
#[case::at_the_end("trail-.test", true)]
#[tokio::test]
async fn a_label_that_ends_with_a_hyphen_is_looked_up(#[case] name: &'static str, #[case] asked: bool) {
    let receiver = Receiver::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let clock = Clock::system();
    let names = Names::known(&[(name, &["127.0.0.1"])]);
    let transport = transport_with(&clock, names, &["127.0.0.0/8"], None);
    let url = format!("http://{name}:{}/", receiver.address.port());
    let sent = transport.send(request(&clock, &url)).await;
    if asked {
        assert_succeeded(&sent);
    } else {
        assert_failed(&sent, Dns);
    }
}

#[tokio::test]
async fn a_banner_before_the_request_is_a_protocol_failure() {
    let receiver = Receiver::start(|mut connection| async move {
        connection.write("220 mail.test ESMTP\r\n").await;
        connection.request().await;
    })
    .await;
    assert_failed(&send(&receiver.url()).await, Protocol);
}

#[tokio::test]
async fn a_refused_connection_is_a_connect_failure() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let sent = send(&format!("http://{unused}/")).await;
    assert_failed(&sent, Connect);
    assert_eq!(
        sent.outcome.error_message.as_deref(),
        Some("The receiver refused the connection")
    );
    assert_eq!(sent.outcome.timings.dns, None);
    assert!(sent.outcome.timings.connect.is_some());
    assert_eq!(sent.outcome.timings.first_byte, None);
}

#[tokio::test]
async fn exhausted_descriptors_are_not_the_receivers_fault() {
    let sent = send("http://exhausted.test/").await;
    assert_eq!(sent.lack, Some(Lack::Means), "{sent:?}");
    assert_eq!(sent.outcome.error_class, Some(Connect));
    let message = sent.outcome.error_message.unwrap();
    assert!(message.contains("This server"), "{message}");
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_a_dns_failure() {
    let sent = send("http://nowhere.test/").await;
    assert_failed(&sent, Dns);
    assert!(sent.outcome.timings.dns.is_some());
    assert_eq!(sent.outcome.timings.connect, None);
}

#[tokio::test]
async fn a_name_without_address_is_a_dns_failure() {
    let clock = Clock::system();
    let transport = transport_with(&clock, Names::known(&[("empty.test", &[])]), &[], None);
    assert_failed(&transport.send(request(&clock, "http://empty.test/")).await, Dns);
}

#[tokio::test]
async fn invalid_request_headers_fail_before_anything_is_sent() {
    let mut receiver = Receiver::answering("HTTP/1.1 200 OK\r\n\r\n").await;
    let clock = Clock::system();
    let mut bad = request(&clock, &receiver.url());
    bad.headers.push(("x".to_owned(), "a\r\nb: c".to_owned()));
    assert_failed(&transport(&clock).send(bad).await, Protocol);
    assert_eq!(receiver.counts(), (0, 0));
}

#[tokio::test]
async fn the_request_has_the_given_headers_and_the_standard_ones() {
    let mut receiver = Receiver::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let clock = Clock::system();
    let mut given = request(&clock, &format!("{}?a=b#c", receiver.url()));
    given
        .headers
        .push(("authorization".to_owned(), "Basic c2VjcmV0".to_owned()));
    assert_succeeded(&transport(&clock).send(given).await);
    receiver.next().await;
    let super::receiver::Seen::Request(text) = receiver.next().await else {
        panic!("no request")
    };
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let (line, headers) = head.split_once("\r\n").unwrap();
    let mut headers: Vec<_> = headers.lines().map(str::to_owned).collect();
    headers.sort_unstable();
    assert_eq!(line, "POST /hook?a=b HTTP/1.1");
    assert_eq!(
        headers,
        [
            "accept-encoding: gzip",
            "accept: */*",
            "authorization: Basic c2VjcmV0",
            "content-length: 11",
            "content-type: application/json",
            &format!("host: {}", receiver.address),
            "user-agent: tenterhook-test",
        ]
    );
    assert_eq!(body, "{\"event\":1}");
}

#[test]
fn a_request_shows_no_secret() {
    let clock = Clock::system();
    let mut request = request(&clock, "http://receiver.test/?token=s3cret");
    request
        .headers
        .push(("authorization".to_owned(), "Basic s3cret".to_owned()));
    assert!(!format!("{request:?}").contains("s3cret"));
}

#[test]
fn credentials_are_marked_as_such() {
    let header = |name: &str| (name.to_owned(), "s3cret".to_owned());
    let map = header_map(vec![header("Authorization"), header("webhook-id")]).unwrap();
    assert!(map[AUTHORIZATION].is_sensitive() && !map["webhook-id"].is_sensitive());
    assert!(!format!("{:?}", map[AUTHORIZATION]).contains("s3cret"));
}
