//! Real DNS behaviour: chains, failures, silence, and changing responses (W10).

use ErrorClass::{BlockedAddress, Dns, Timeout};
use rstest::rstest;
use tenterhook_harness::dns_server::{Answer, NameServer};

use super::receiver::Receiver;
use super::*;

fn resolver(names: &NameServer) -> DnsResolver {
    resolver_on(&Clock::system(), names)
}

fn resolver_on(clock: &Clock, names: &NameServer) -> DnsResolver {
    DnsResolver::new(clock, &[names.address()]).unwrap()
}

fn says(names: &NameServer, name: &str, answer: &str) {
    names.set(name, Answer::read(answer));
}

/// The addresses found; none if the lookup fails.
async fn found(names: &NameServer, name: &str) -> Vec<String> {
    let found = resolver(names).lookup(name).await.unwrap_or_default();
    found.iter().map(ToString::to_string).collect()
}

#[rstest]
#[case::one("93.184.215.14", &["93.184.215.14"])]
#[case::both_families("2606:4700::1 93.184.215.14", &["93.184.215.14", "2606:4700::1"])]
#[case::ipv6_only("2606:4700::1", &["2606:4700::1"])]
#[case::a_chain_of_aliases("CNAME one.test", &["10.0.0.1"])]
#[case::a_chain_without_an_end("CNAME nowhere.test", &[])]
#[case::a_loop_of_aliases("CNAME name.test", &[])]
#[case::no_address("NODATA", &[])]
#[case::no_name("NXDOMAIN", &[])]
#[case::a_failure("SERVFAIL", &[])]
#[tokio::test]
async fn all_addresses_of_a_name_are_found(#[case] answer: &str, #[case] expected: &[&str]) {
    let names = NameServer::start().await;
    says(&names, "one.test", "CNAME two.test");
    says(&names, "two.test", "10.0.0.1");
    says(&names, "name.test", answer);
    assert_eq!(found(&names, "name.test").await, expected);
}

#[tokio::test]
async fn names_are_looked_up_as_given() {
    let names = NameServer::start().await;
    says(&names, "one", "93.184.215.14");
    says(&names, "_a.b-c.test", "93.184.215.15");
    says(&names, "trail-.test", "93.184.215.16");
    for (name, expected) in [
        ("one", "93.184.215.14"),
        ("ONE.", "93.184.215.14"),
        ("_a.b-c.test", "93.184.215.15"),
        ("trail-.test", "93.184.215.16"),
    ] {
        assert_eq!(found(&names, name).await, [expected], "{name}");
    }
    assert_eq!(names.asked("one"), 4, "twice, for both families");
}

#[tokio::test]
async fn localhost_needs_no_query() {
    let names = NameServer::start().await;
    let found = resolver(&names).lookup("localhost").await.unwrap();
    assert!(found.iter().all(IpAddr::is_loopback) && !found.is_empty());
    assert_eq!(names.asked("localhost"), 0);
}

#[tokio::test]
async fn a_connection_goes_to_the_address_of_its_only_lookup() {
    let mut receiver = Receiver::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let names = NameServer::start().await;
    says(&names, "receiver.test", "CNAME here.test");
    says(&names, "here.test", "127.0.0.1");
    let clock = Clock::system();
    let transport = transport_with(&clock, Arc::new(resolver(&names)), &["127.0.0.1/32"], None);
    let url = format!("http://receiver.test:{}/", receiver.address.port());
    assert_succeeded(&transport.send(request(&clock, &url)).await);
    assert_eq!(names.asked("receiver.test"), 2, "once for each family");
    assert_eq!(receiver.counts(), (1, 1));
}

#[tokio::test]
async fn dns_rebinding_is_blocked_at_every_attempt() {
    let mut receiver = Receiver::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let names = NameServer::start().await;
    let clock = Clock::system();
    let transport = transport_with(&clock, Arc::new(resolver(&names)), &[], None);
    let url = format!("http://rebinds.test:{}/", receiver.address.port());
    says(&names, "rebinds.test", "93.184.215.14");
    says(&names, "localhost", "127.0.0.1");
    assert!(transport.vet_host(&url.parse().unwrap()).await.is_ok());
    for answer in ["127.0.0.1", "93.184.215.14 127.0.0.1", "CNAME localhost"] {
        says(&names, "rebinds.test", answer);
        assert_failed(&transport.send(request(&clock, &url)).await, BlockedAddress);
    }
    assert_eq!(receiver.counts(), (0, 0));
}

#[tokio::test]
async fn a_name_created_later_is_found_at_the_next_attempt() {
    let receiver = Receiver::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let names = NameServer::start().await;
    let clock = Clock::system();
    let transport = transport_with(&clock, Arc::new(resolver(&names)), &["127.0.0.1/32"], None);
    let url = format!("http://late.test:{}/", receiver.address.port());
    for answer in ["NXDOMAIN", "NODATA", "SERVFAIL"] {
        says(&names, "late.test", answer);
        assert_failed(&transport.send(request(&clock, &url)).await, Dns);
    }
    says(&names, "late.test", "127.0.0.1");
    assert_succeeded(&transport.send(request(&clock, &url)).await);
}

/// If a name gets no response while another does, that is the receiver's failure. If no name gets one, it is not
/// (D13).
#[rstest]
#[case::another_name_gets_a_response(true)]
#[case::no_name_gets_a_response(false)]
#[tokio::test]
async fn d13_silent_name_servers_take_the_deadline_and_no_more(#[case] answered: bool) {
    let start: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
    let clock = Clock::simulated(start);
    let simulation = clock.simulation().unwrap().clone();
    let names = NameServer::start().await;
    says(&names, "silent.test", "SILENCE");
    says(&names, "other.test", "93.184.215.14");
    simulation.stall_target("silent.test:80");
    let resolver = Arc::new(resolver_on(&clock, &names));
    let transport = transport_with(&clock, resolver.clone(), &[], None);
    let request = request(&clock, "http://silent.test/");
    let attempt = clock.spawn("attempt", async move { transport.send(request).await });
    simulation.advance(LIMIT / 2).await.unwrap();
    if answered {
        assert!(resolver.lookup("other.test").await.is_ok());
    }
    simulation.advance(LIMIT / 2).await.unwrap();
    let sent = attempt.await.unwrap();
    assert_eq!(sent.ended_at, start + LIMIT);
    if answered {
        assert_failed(&sent, Timeout);
    } else {
        assert_eq!(sent.lack, Some(Lack::NameServers), "{sent:?}");
        assert_eq!(sent.outcome.error_class, Some(Dns));
        let message = sent.outcome.error_message.unwrap();
        assert!(message.contains("this server"), "{message}");
    }
}

/// The operating system's resolver would use a thread for each lookup until it gives up, and the number of threads is
/// limited.
#[test]
fn unanswered_lookups_do_not_delay_others() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    runtime.block_on(async {
        let names = NameServer::start().await;
        says(&names, "quick.test", "93.184.215.14");
        let resolver = Arc::new(resolver(&names));
        let mut silent = tokio::task::JoinSet::new();
        for name in ["a.test", "b.test", "c.test"] {
            says(&names, name, "SILENCE");
            let resolver = resolver.clone();
            silent.spawn(async move { resolver.lookup(name).await.is_ok() });
        }
        while names.asked("c.test") == 0 {
            tokio::task::yield_now().await;
        }
        assert!(resolver.lookup("quick.test").await.is_ok());
        assert!(silent.try_join_next().is_none(), "all of them still wait");
    });
}
