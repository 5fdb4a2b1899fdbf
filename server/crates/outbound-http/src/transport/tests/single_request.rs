//! One HTTP request per attempt, and kept-alive connections (D5).

use std::net::Ipv4Addr;
use std::sync::atomic::AtomicBool;

use ErrorClass::Reset;
use tokio::sync::Notify;

use super::receiver::{Receiver, Seen};
use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn a_reused_connection_has_no_dns_or_connect_time() {
    let mut receiver = Receiver::start(|mut connection| async move { connection.answer_all(OK).await }).await;
    let clock = Clock::system();
    let transport = transport(&clock);
    let url = format!("http://receiver.test:{}/", receiver.address.port());

    let first = transport.send(request(&clock, &url)).await;
    assert_succeeded(&first);
    let timings = first.outcome.timings;
    assert!(timings.dns.is_some() && timings.connect.is_some(), "{timings:?}");
    assert!(timings.first_byte <= Some(first.duration) && timings.connect <= timings.first_byte);

    let second = transport.send(request(&clock, &url)).await;
    assert_succeeded(&second);
    let timings = second.outcome.timings;
    assert_eq!((timings.dns, timings.connect), (None, None));
    assert!(timings.first_byte.is_some());
    assert_eq!(receiver.counts(), (1, 2));
}

#[tokio::test]
async fn a_connection_reused_while_resolving_has_no_connect_time() {
    let answer = Arc::new(Notify::new());
    let answered = answer.clone();
    let mut receiver = Receiver::start(move |mut connection| {
        let answer = answered.clone();
        async move {
            connection.request().await;
            answer.notified().await;
            connection.write(OK).await;
            connection.answer_all(OK).await;
        }
    })
    .await;
    let clock = Clock::system();
    let names = Arc::new(OnceOnly::default());
    let transport = transport_with(&clock, names.clone(), &["127.0.0.0/8"], None);
    let url = format!("http://receiver.test:{}/", receiver.address.port());
    let (transport, clock, url) = (&transport, &clock, url.as_str());
    let first = async move { transport.send(request(clock, url)).await };
    let second = async move {
        assert_eq!(receiver.next().await, Seen::Connection);
        assert!(matches!(receiver.next().await, Seen::Request(_)));
        let release = async {
            names.asked_again.notified().await;
            answer.notify_one();
        };
        let (sent, ()) = tokio::join!(transport.send(request(clock, url)), release);
        assert_eq!(receiver.counts(), (0, 1));
        sent
    };
    let (first, second) = tokio::join!(first, second);
    assert_succeeded(&first);
    assert_succeeded(&second);
    assert_eq!(
        (second.outcome.timings.dns, second.outcome.timings.connect),
        (None, None)
    );
}

/// Resolves the first lookup to the loopback address, and never returns from later ones.
#[derive(Default)]
struct OnceOnly {
    asked: AtomicBool,
    asked_again: Notify,
}

impl Resolver for OnceOnly {
    fn lookup<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, LookupError>> {
        Box::pin(async {
            if self.asked.swap(true, Ordering::SeqCst) {
                self.asked_again.notify_one();
                std::future::pending::<()>().await;
            }
            Ok(vec![Ipv4Addr::LOCALHOST.into()])
        })
    }
}

#[tokio::test]
async fn a_receiver_may_close_an_idle_connection() {
    let mut receiver = Receiver::answering(OK).await;
    let clock = Clock::system();
    let transport = transport(&clock);
    for _ in 0..50 {
        assert_succeeded(&transport.send(request(&clock, &receiver.url())).await);
        assert_eq!(receiver.next().await, Seen::Connection);
        assert!(matches!(receiver.next().await, Seen::Request(_)));
        // The connection is closed by now. Whether the client has noticed is chance.
        assert_eq!(receiver.next().await, Seen::HungUp);
    }
    assert_eq!(receiver.counts(), (0, 0));
}

#[tokio::test]
async fn an_unanswered_request_on_a_new_connection_is_not_repeated() {
    let mut receiver = Receiver::answering("").await;
    assert_failed(&send(&receiver.url()).await, Reset);
    assert_eq!(receiver.counts(), (1, 1));
}

#[tokio::test]
async fn an_unanswered_request_on_a_reused_connection_is_not_repeated() {
    let mut receiver = Receiver::start(|mut connection| async move {
        connection.request().await;
        connection.write(OK).await;
        connection.request().await;
    })
    .await;
    let clock = Clock::system();
    let transport = transport(&clock);
    assert_succeeded(&transport.send(request(&clock, &receiver.url())).await);
    assert_failed(&transport.send(request(&clock, &receiver.url())).await, Reset);
    assert_eq!(receiver.counts(), (1, 2));
}

#[tokio::test]
async fn a_connection_reset_in_the_first_moment_is_not_tried_again() {
    let mut receiver = Receiver::start(|connection| async move { drop(connection) }).await;
    assert_failed(&send(&receiver.url()).await, Reset);
    assert_eq!(receiver.counts(), (1, 0));
}

#[tokio::test]
async fn a_503_with_retry_after_is_not_retried() {
    let answer = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n";
    let mut receiver =
        Receiver::start(move |mut connection| async move { connection.answer_all(answer).await }).await;
    assert_failed(&send(&receiver.url()).await, ErrorClass::Status);
    assert_eq!(receiver.counts(), (1, 1));
}

#[tokio::test]
async fn a_connection_with_unread_data_is_closed() {
    let mut receiver = Receiver::start(|mut connection| async move {
        connection.request().await;
        connection
            .write("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
            .await;
        connection.write(vec![b'x'; LIMITS.failed + 1]).await;
        connection.request().await;
    })
    .await;
    let clock = Clock::system();
    let transport = transport(&clock);
    let sent = transport.send(request(&clock, &receiver.url())).await;
    assert_succeeded(&sent);
    assert!(sent.outcome.response_truncated);
    assert_eq!(receiver.next().await, Seen::Connection);
    assert!(matches!(receiver.next().await, Seen::Request(_)));
    assert_eq!(receiver.next().await, Seen::Closed);
}
