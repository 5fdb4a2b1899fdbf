//! A name with several addresses: each is tried within the deadline (D2).

use std::net::{Ipv4Addr, SocketAddr};

use ErrorClass::{Connect, Timeout};
use rstest::rstest;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::receiver::Receiver;
use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
/// An address where no one responds.
const DEAD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A listener that accepts no more connections: a client gets no response, as from a node that has stopped.
struct Swallowing {
    _listener: TcpListener,
    _queued: Vec<TcpStream>,
}

impl Swallowing {
    async fn at(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(address).unwrap();
        // The operating system queues one more connection than it is told.
        let listener = socket.listen(1).unwrap();
        let mut queued = Vec::new();
        for _ in 0..2 {
            queued.push(TcpStream::connect(address).await.unwrap());
        }
        Self {
            _listener: listener,
            _queued: queued,
        }
    }
}

/// The result of an attempt at `several.test`, with these addresses in this order.
async fn sent_to(port: u16, addresses: &[&str]) -> Sent {
    let clock = Clock::system();
    let names = Names::known(&[("several.test", addresses)]);
    let transport = transport_with(&clock, names, &["127.0.0.0/8", "::1/128"], None);
    transport
        .send(request(&clock, &format!("http://several.test:{port}/")))
        .await
}

/// A dead node behind a name does not prevent the attempt from reaching the others.
#[rstest]
#[case::dead_first(&["127.0.0.2", "127.0.0.1"])]
#[case::dead_last(&["127.0.0.1", "127.0.0.2"])]
#[case::several_dead(&["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.1"])]
#[case::of_both_families(&["127.0.0.2", "::1", "127.0.0.1"])]
#[tokio::test]
async fn a_dead_address_does_not_prevent_the_others(#[case] addresses: &[&str]) {
    let mut receiver = Receiver::answering(OK).await;
    let port = receiver.address.port();
    let mut dead = Vec::new();
    for last in 2..=4 {
        dead.push(Swallowing::at(SocketAddr::new(Ipv4Addr::new(127, 0, 0, last).into(), port)).await);
    }
    let sent = sent_to(port, addresses).await;
    assert_succeeded(&sent);
    let timings = sent.outcome.timings;
    assert!(timings.dns.is_some() && timings.connect.is_some(), "{timings:?}");
    assert!(timings.connect <= timings.first_byte, "{timings:?}");
    assert_eq!(receiver.counts(), (1, 1), "one wire request (D5)");
}

/// D2: more dead addresses than are tried at the same time.
#[tokio::test]
async fn the_last_of_many_addresses_is_tried_after_others_are_given_up() {
    let mut receiver = Receiver::answering(OK).await;
    let port = receiver.address.port();
    let mut dead = Vec::new();
    let mut addresses = Vec::new();
    for last in 2..=14 {
        let address = Ipv4Addr::new(127, 0, 0, last);
        dead.push(Swallowing::at(SocketAddr::new(address.into(), port)).await);
        addresses.push(address.to_string());
    }
    addresses.push("127.0.0.1".to_owned());
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let sent = sent_to(port, &addresses).await;
    assert_succeeded(&sent);
    assert_eq!(receiver.counts(), (1, 1), "one wire request (D5)");
}

#[rstest]
#[case::refused_first(&["127.0.0.2", "127.0.0.1"], true)]
#[case::refused_last(&["127.0.0.1", "127.0.0.2"], true)]
#[case::all_refuse(&["127.0.0.2", "127.0.0.3"], false)]
#[tokio::test]
async fn an_address_that_refuses_is_followed_by_the_next(#[case] addresses: &[&str], #[case] well: bool) {
    let receiver = Receiver::answering(OK).await;
    let sent = sent_to(receiver.address.port(), addresses).await;
    if well {
        assert_succeeded(&sent);
    } else {
        assert_failed(&sent, Connect);
        let message = sent.outcome.error_message.unwrap();
        assert_eq!(message, "The receiver refused the connection");
    }
}

#[rstest]
#[case::all_swallow(&["127.0.0.2", "127.0.0.3"])]
#[case::one_refuses(&["127.0.0.4", "127.0.0.2"])]
#[tokio::test]
async fn addresses_that_are_all_dead_time_out_at_the_deadline(#[case] addresses: &[&str]) {
    let free = TcpListener::bind((DEAD, 0)).await.unwrap().local_addr().unwrap();
    let first = Swallowing::at(free).await;
    let second = Swallowing::at((Ipv4Addr::new(127, 0, 0, 3), free.port()).into()).await;
    let start: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
    let clock = Clock::simulated(start);
    let simulation = clock.simulation().unwrap().clone();
    let url = format!("http://several.test:{}/", free.port());
    simulation.stall_target(&format!("several.test:{}", free.port()));
    let names = Names::known(&[("several.test", addresses)]);
    let transport = transport_with(&clock, names, &["127.0.0.0/8"], None);
    let request = request(&clock, &url);
    let attempt = clock.spawn("attempt", async move { transport.send(request).await });
    simulation.advance(LIMIT).await.unwrap();
    let sent = attempt.await.unwrap();
    assert_failed(&sent, Timeout);
    assert_eq!(
        (sent.ended_at, sent.outcome.error_message.as_deref()),
        (start + LIMIT, Some("Timed out after 10 s connecting"))
    );
    drop((first, second));
}
