//! A DNS resolver of our own.
//!
//! A lookup ends when no request waits for it any more. The operating system's resolver would hold a thread until it
//! gives up, and a few hundred names with silent servers would block every other name. Names are used as they are, never
//! completed from a search list, so that `redis` does not become a host in the network of this machine. The hosts file is
//! read once, at the start.
//!
//! Not supported: other sources of names on a machine (mDNS, LDAP). Vetting is done by [`crate::resolve`] in every
//! lookup, also for cached addresses.

mod families;
mod fd_guard;
mod silence;
mod single_flight;
mod sockets;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::task::Poll;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::poll;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Resolver as Hickory, ResolverBuilder};

use self::families::Families;
use self::single_flight::SingleFlight;
use self::sockets::Sockets;
use crate::name_servers::{NameServers, Patience};
use crate::resolve::{LookupError, Resolver};
use tenterhook_clock::Clock;

/// How long a server may take before it, or another one, is queried again.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// How many times a query is repeated. A silent server is given up before a request's deadline.
const ASK_AGAIN: usize = 2;
/// Queries in flight at once over one TCP connection, for responses too long for UDP. Queries over UDP have no bound.
const ASKED_AT_ONCE: usize = 1_000;
/// Names in the cache.
const CACHED: u64 = 10_000;
/// The longest time that a response is cached, whatever its TTL.
const REMEMBERED: Duration = Duration::from_secs(60);
/// How long a missing name is cached: less than the delay of a caller's first retry (D4).
const MISSING_REMEMBERED: Duration = Duration::from_secs(2);
/// The server used if none is configured, as the operating system's resolver does.
const UNCONFIGURED: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 53);

/// Looks names up in the DNS. Clones share the cache.
#[derive(Clone)]
pub struct DnsResolver {
    resolver: Hickory<Sockets>,
    sockets: Sockets,
    families: Families,
    single_flight: SingleFlight<Result<Vec<IpAddr>, LookupError>>,
    clock: Clock,
}

/// The resolver could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("the DNS resolver could not be set up")]
pub struct NoResolver(#[source] NetError);

impl DnsResolver {
    /// Queries these servers, or the servers configured on the machine if there are none.
    ///
    /// # Errors
    ///
    /// If the resolver cannot be built.
    pub fn new(clock: &Clock, servers: &[SocketAddr]) -> Result<Self, NoResolver> {
        Self::with(Sockets::new(clock.clone()), servers, ASK_AGAIN_AFTER)
    }

    fn with(sockets: Sockets, servers: &[SocketAddr], ask_again_after: Duration) -> Result<Self, NoResolver> {
        let mut builder = if servers.is_empty() {
            Hickory::builder(sockets.clone()).unwrap_or_else(|error| {
                tracing::warn!(%error, "no DNS server is configured on this machine; using {UNCONFIGURED}");
                asking(&[UNCONFIGURED], &sockets)
            })
        } else {
            asking(servers, &sockets)
        };
        let ResolverOpts {
            timeout,
            attempts,
            cache_size,
            max_active_requests,
            positive_max_ttl,
            negative_max_ttl,
            ..
        } = builder.options_mut();
        *timeout = ask_again_after;
        *attempts = ASK_AGAIN;
        *cache_size = CACHED;
        *max_active_requests = ASKED_AT_ONCE;
        *positive_max_ttl = Some(REMEMBERED);
        *negative_max_ttl = Some(MISSING_REMEMBERED);
        let resolver = builder.build().map_err(NoResolver)?;
        Ok(Self {
            resolver,
            families: Families::default(),
            single_flight: SingleFlight::default(),
            clock: sockets.clock().clone(),
            sockets,
        })
    }

    /// All addresses of a name, as far as its name servers respond.
    async fn addresses(self, name: Name) -> Result<Vec<IpAddr>, LookupError> {
        let ask = |name: Name, family: RecordType| {
            let resolver = self.resolver.clone();
            async move {
                let found = resolver.lookup(name, family).await?;
                let addresses = found.answers().iter().filter_map(|record| record.data.ip_addr());
                Ok(addresses.collect())
            }
        };
        // Always both families, because addresses that are not tried are vetted too.
        let found = self.families.both(name, &self.clock, ask).await;
        found.map_err(|error| {
            if self.sockets.recently_exhausted() {
                // Without a socket, the resolver reports only that no server responded. If it could query for only one
                // family, it may report that there are no addresses.
                LookupError::Exhausted
            } else if is_answer(&error) {
                LookupError::Answered(error.to_string())
            } else {
                LookupError::Unanswered(error.to_string())
            }
        })
    }
}

/// Whether a name server has responded, even with an error.
fn is_answer(error: &NetError) -> bool {
    matches!(
        error,
        NetError::Dns(_) | NetError::Proto(_) | NetError::QueryCaseMismatch
    )
}

fn asking(servers: &[SocketAddr], sockets: &Sockets) -> ResolverBuilder<Sockets> {
    let server = |address: &SocketAddr| {
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
            connection.port = address.port();
            connection
        });
        NameServerConfig::new(address.ip(), true, connections.into())
    };
    let servers = servers.iter().map(server).collect();
    let config = ResolverConfig::from_parts(None, Vec::new(), servers);
    Hickory::builder_with_config(config, sockets.clone())
}

impl Resolver for DnsResolver {
    fn lookup<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, LookupError>> {
        Box::pin(async move {
            // Such a name is refused before it is looked up (W10).
            let mut name =
                Name::from_ascii(host).map_err(|error| LookupError::Answered(error.to_string()))?;
            name.set_fqdn(true);
            let lookup = self.clone().addresses(name.clone());
            let mut lookup = self.single_flight.join(name, lookup);
            match poll!(&mut lookup) {
                // From the cache or the hosts file.
                Poll::Ready(found) => found,
                // A request that joins another's lookup also counts as a query, because the response may take long.
                Poll::Pending => {
                    self.sockets.asked();
                    lookup.await
                }
            }
        })
    }

    fn name_servers(&self, patience: Patience) -> NameServers {
        self.sockets.name_servers(patience)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::SeqCst;

    use tenterhook_harness::dns_server::{Answer, NameServer};
    use tenterhook_harness::realtime;
    use tokio::net::UdpSocket;

    use super::*;

    fn sockets() -> Sockets {
        Sockets::new(Clock::system())
    }

    fn are_silent(resolver: &DnsResolver) -> bool {
        resolver.name_servers(Patience::OF_TESTS) == NameServers::Silent
    }

    /// A name server that does not exist, whatever error the operating system reports, and one that does not
    /// respond.
    #[tokio::test]
    async fn d13_silence_is_detected_and_any_response_ends_it() {
        let nobody = std::net::UdpSocket::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let resolver = DnsResolver::with(sockets(), &[nobody], SOON).unwrap();
        assert!(!are_silent(&resolver), "nothing was asked");
        let error = resolver.lookup("a.test").await.unwrap_err();
        assert!(matches!(error, LookupError::Unanswered(_)), "{error:?}");
        assert!(are_silent(&resolver));

        let names = NameServer::start().await;
        for answer in ["NXDOMAIN", "NODATA", "SERVFAIL", "93.184.215.14"] {
            let resolver = DnsResolver::with(sockets(), &[names.address()], SOON).unwrap();
            names.set("silent.test", Answer::Silence);
            let error = resolver.lookup("silent.test").await.unwrap_err();
            assert!(matches!(error, LookupError::Unanswered(_)), "{error:?}");
            assert!(are_silent(&resolver));
            names.set("other.test", Answer::read(answer));
            let other = resolver.lookup("other.test").await;
            assert_eq!(other.is_ok(), answer.contains('.'), "{other:?}");
            assert!(!are_silent(&resolver), "{answer} is an answer");
        }
    }

    /// The name server drops the queries for one address family.
    #[tokio::test]
    async fn a_silent_address_family_gets_one_try_per_lookup() {
        let names = NameServer::start().await;
        names.set("half.test", Answer::read("93.184.215.14 10.0.0.1 2606:4700::1"));
        for (swallowed, expected) in [(AAAA, &["93.184.215.14", "10.0.0.1"][..]), (A, &["2606:4700::1"])] {
            let front = Front::start(names.address(), swallowed).await;
            let resolver = DnsResolver::new(&Clock::system(), &[front.address]).unwrap();
            for lookups in 1..=3 {
                let found = resolver.lookup("half.test").await.unwrap();
                let found: Vec<_> = found.iter().map(ToString::to_string).collect();
                assert_eq!(found, expected);
                // The resolver sends a query up to four times per try, and would try three times.
                let swallowed = front.swallowed.load(SeqCst);
                assert!(swallowed <= 4 * lookups, "{swallowed}");
            }
            assert!(!are_silent(&resolver));
        }
    }

    const A: u16 = 1;
    const AAAA: u16 = 28;

    /// A proxy for a name server that drops the queries for one record type.
    struct Front {
        address: SocketAddr,
        swallowed: Arc<AtomicUsize>,
    }

    impl Front {
        async fn start(behind: SocketAddr, kind: u16) -> Self {
            let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
            let address = socket.local_addr().unwrap();
            let swallowed = Arc::new(AtomicUsize::new(0));
            let count = swallowed.clone();
            let pass = async move {
                let mut question = [0; 4096];
                while let Ok((length, from)) = socket.recv_from(&mut question).await {
                    let question = question[..length].to_vec();
                    // The type follows the name, which ends with an empty label.
                    let end = 12 + question[12..].iter().position(|byte| *byte == 0).unwrap();
                    if question[end + 1..end + 3] == kind.to_be_bytes() {
                        count.fetch_add(1, SeqCst);
                        continue;
                    }
                    let to_server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                    to_server.send_to(&question, behind).await.unwrap();
                    let mut answer = [0; 4096];
                    let length = to_server.recv(&mut answer).await.unwrap();
                    socket.send_to(&answer[..length], from).await.unwrap();
                }
            };
            drop(realtime::spawn(pass));
            Self { address, swallowed }
        }
    }

    /// Only one of a name's two lookups gets a descriptor, whichever comes first. For one of these names it is the
    /// lookup that finds nothing.
    #[tokio::test]
    async fn a_name_is_not_unknown_if_only_one_family_was_queried() {
        let names = NameServer::start().await;
        let mut found = 0;
        for (name, address) in [("four.test", "93.184.215.14"), ("six.test", "2606:4700::1")] {
            names.set(name, Answer::read(address));
            let sockets = Sockets::left(Clock::system(), 1);
            let resolver = DnsResolver::with(sockets, &[names.address()], ASK_AGAIN_AFTER).unwrap();
            match resolver.lookup(name).await {
                Ok(addresses) => {
                    assert_eq!(addresses, [address.parse::<IpAddr>().unwrap()]);
                    found += 1;
                }
                Err(error) => assert!(matches!(error, LookupError::Exhausted), "{name}: {error:?}"),
            }
            assert_eq!(names.asked(name), 1, "{name}");
        }
        assert_eq!(found, 1);
    }

    /// Less than the time after which the resolver sends the same query again by itself.
    const SOON: Duration = Duration::from_millis(300);

    /// The lookup that joined is polled first, as can happen with several threads.
    #[tokio::test]
    async fn a_lost_dns_response_is_queried_again_for_all_waiters() {
        let names = NameServer::start().await;
        names.set("lost.test", Answer::Silence);
        let resolver = DnsResolver::with(sockets(), &[names.address()], SOON).unwrap();
        let mut first = resolver.lookup("lost.test");
        let mut second = resolver.lookup("lost.test");
        while names.asked("lost.test") < 2 {
            assert!(poll!(&mut first).is_pending());
            tokio::task::yield_now().await;
        }
        assert!(poll!(&mut second).is_pending());
        names.set("lost.test", Answer::read("93.184.215.14"));
        let expected: IpAddr = "93.184.215.14".parse().unwrap();
        let (second, first) = tokio::join!(biased; second, first);
        assert_eq!(second.unwrap(), [expected]);
        assert_eq!(first.unwrap(), [expected]);
        assert_eq!(names.asked("lost.test"), 4, "twice, for both families");
    }
}
