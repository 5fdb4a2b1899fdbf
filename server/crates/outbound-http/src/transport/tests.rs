//! The transport against real sockets and real TLS. This file has what all tests use.

mod addresses;
mod excerpts;
mod http2;
mod names;
mod outcomes;
mod receiver;
mod several_addresses;
mod single_request;
mod slow;
mod time;
mod tls;

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::target::TargetConfig;
use crate::{DnsResolver, ErrorClass, Lack, LookupError, MAX_HEADER_BYTES, MAX_HEADERS};

/// The name of every request, for simulated time.
const NAME: &str = "request";
const LIMIT: SignedDuration = SignedDuration::from_secs(10);
const LIMITS: ExcerptLimits = ExcerptLimits {
    failed: 16 * 1024,
    success: 1024,
};

/// A resolver with the test's names. `hangs.test` never gets a response, for `exhausted.test` the machine lacks a
/// socket, and names that are not listed do not exist.
#[derive(Default)]
struct Names {
    known: HashMap<&'static str, Vec<IpAddr>>,
    lookups: AtomicUsize,
}

impl Names {
    fn known(names: &[(&'static str, &[&str])]) -> Arc<Self> {
        let parse = |ips: &[&str]| ips.iter().map(|ip| ip.parse().unwrap()).collect();
        let known = names.iter().map(|&(name, ips)| (name, parse(ips))).collect();
        Arc::new(Self {
            known,
            lookups: AtomicUsize::new(0),
        })
    }

    fn lookups(&self) -> usize {
        self.lookups.load(Ordering::SeqCst)
    }
}

impl Resolver for Names {
    fn lookup<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, LookupError>> {
        self.lookups.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            if host == "hangs.test" {
                std::future::pending::<()>().await;
            }
            if host == "exhausted.test" {
                return Err(LookupError::Exhausted);
            }
            self.known
                .get(host)
                .cloned()
                .ok_or_else(|| LookupError::Answered("there is no such name".to_owned()))
        })
    }
}

/// A transport that may call the loopback addresses, where `receiver.test` is.
fn transport(clock: &Clock) -> Transport {
    transport_with(
        clock,
        Names::known(&[("receiver.test", &["127.0.0.1"])]),
        &["127.0.0.0/8"],
        None,
    )
}

fn transport_with(
    clock: &Clock,
    resolver: Arc<dyn Resolver>,
    allowed: &[&str],
    extra_ca_pem: Option<String>,
) -> Transport {
    let config = TransportConfig {
        targets: Arc::new(targets(allowed)),
        resolver,
        extra_ca_pem: extra_ca_pem.map(String::into_bytes),
        user_agent: "tenterhook-test".to_owned(),
        patience: Patience::OF_TESTS,
    };
    Transport::new(clock.clone(), config).unwrap()
}

fn targets(allowed: &[&str]) -> TargetPolicy {
    TargetPolicy::new(TargetConfig {
        allowed: allowed.iter().map(|net| net.parse().unwrap()).collect(),
        ..TargetConfig::default()
    })
    .unwrap()
}

/// The first attempt at `url`, with a deadline in 10 s.
fn request(clock: &Clock, url: &str) -> Request {
    Request {
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: Bytes::from_static(b"{\"event\":1}"),
        deadline: clock.now() + LIMIT,
        excerpt_limits: LIMITS,
        name: NAME.to_owned(),
        url: url.parse().unwrap(),
    }
}

/// Sends the first attempt at `url` on the system clock.
async fn send(url: &str) -> Sent {
    let clock = Clock::system();
    transport(&clock).send(request(&clock, url)).await
}

#[track_caller]
fn assert_failed(sent: &Sent, class: ErrorClass) {
    let Outcome {
        status,
        error_class,
        error_message,
        ..
    } = &sent.outcome;
    assert_eq!(*error_class, Some(class), "{sent:?}");
    assert_eq!(status.is_some(), class == ErrorClass::Status, "{sent:?}");
    assert!(error_message.is_some(), "{sent:?}");
    assert_eq!(sent.lack, None, "it is the receiver's: {sent:?}");
}

#[track_caller]
fn assert_succeeded(sent: &Sent) {
    assert!(sent.outcome.succeeded(), "{sent:?}");
    assert_eq!(sent.outcome.error_message, None);
}
