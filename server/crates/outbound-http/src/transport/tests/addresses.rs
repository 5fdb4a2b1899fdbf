//! Addresses to which no connection is made (W10).

use std::net::TcpListener;

use rstest::rstest;

use super::receiver::Receiver;
use super::*;
use crate::ErrorClass::BlockedAddress;

/// A transport that allows no private address.
fn strict(clock: &Clock, names: Arc<Names>) -> Transport {
    transport_with(clock, names, &[], None)
}

#[rstest]
#[case::plain("http://127.0.0.1:PORT/")]
#[case::decimal("http://2130706433:PORT/")]
#[case::hexadecimal("http://0x7f.1:PORT/")]
#[case::octal("http://0177.0.0.1:PORT/")]
#[case::trailing_dot("http://127.0.0.1.:PORT/")]
#[case::fullwidth("http://１２７.0.0.1:PORT/")]
#[case::mapped("http://[::ffff:127.0.0.1]:PORT/")]
#[case::mapped_private("http://[::ffff:10.0.0.1]:PORT/")]
#[case::loopback_v6("http://[::1]:PORT/")]
#[case::metadata("http://169.254.169.254/latest/meta-data")]
#[case::over_tls("https://127.0.0.1:PORT/")]
#[case::a_name("http://sneaky.test:PORT/")]
#[case::a_name_with_one_such_address("http://mixed.test:PORT/")]
#[case::a_name_over_tls("https://sneaky.test:PORT/")]
#[tokio::test]
async fn nothing_goes_to_a_forbidden_address(#[case] url: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = url.replace("PORT", &listener.local_addr().unwrap().port().to_string());
    let names = Names::known(&[
        ("sneaky.test", &["127.0.0.1"]),
        ("mixed.test", &["203.0.114.9", "10.1.1.1"]),
    ]);
    let clock = Clock::system();
    let sent = strict(&clock, names).send(request(&clock, &url)).await;
    assert_failed(&sent, BlockedAddress);
    assert_eq!(
        sent.outcome.error_message.unwrap(),
        "The URL leads to an address that may not be called"
    );
    assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn a_connection_uses_the_vetted_address_without_a_new_lookup() {
    let receiver = Receiver::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let names = Names::known(&[("receiver.test", &["127.0.0.1"])]);
    let clock = Clock::system();
    let transport = transport_with(&clock, names.clone(), &["127.0.0.1/32"], None);
    let url = format!("http://receiver.test:{}/", receiver.address.port());
    assert_succeeded(&transport.send(request(&clock, &url)).await);
    assert_eq!(names.lookups(), 1);
}

#[rstest]
#[case::public("https://public.test/", true)]
#[case::private("https://private.test/", false)]
#[case::one_private("https://mixed.test/", false)]
#[case::unknown("https://unknown.test/", true)]
#[case::literal("https://10.0.0.1/", false)]
#[tokio::test]
async fn a_host_is_vetted_when_a_webhook_is_created(#[case] url: &str, #[case] allowed: bool) {
    let names = Names::known(&[
        ("public.test", &["203.0.114.9", "2a00:1450::1"]),
        ("private.test", &["192.168.0.1"]),
        ("mixed.test", &["203.0.114.9", "127.0.0.1"]),
    ]);
    let transport = strict(&Clock::system(), names);
    assert_eq!(transport.vet_host(&url.parse().unwrap()).await.is_ok(), allowed);
}

/// How many addresses of a name with this number of addresses are tried.
async fn tried(addresses: usize) -> usize {
    let many: Vec<String> = (1..=addresses).map(|n| format!("93.184.215.{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let vetted = Vetted::new(Names::known(&[("many.test", &many)]), Arc::new(targets(&[])));
    vetted.to_try("many.test").await.unwrap().len()
}

#[tokio::test]
async fn every_address_of_a_name_is_tried() {
    for addresses in [1, 8, 9, 250] {
        assert_eq!(tried(addresses).await, addresses);
    }
}

#[tokio::test]
async fn addresses_that_would_not_be_reached_in_time_are_vetted_too() {
    let many: Vec<String> = (1..=250).map(|n| format!("93.184.215.{n}")).collect();
    let mut addresses: Vec<&str> = many.iter().map(String::as_str).collect();
    addresses.push("10.0.0.1");
    let names = Names::known(&[("many.test", &addresses)]);
    let clock = Clock::system();
    let sent = strict(&clock, names)
        .send(request(&clock, "http://many.test/"))
        .await;
    assert_failed(&sent, BlockedAddress);
}
