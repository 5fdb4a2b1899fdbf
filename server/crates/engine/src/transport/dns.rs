//! The DNS, asked by ourselves.
//!
//! Promises that a lookup ends when nobody waits for it any more: the machine's own resolver would hold a thread until
//! it gives up, and a few hundred names whose servers keep silent would keep every other name waiting. Names are taken
//! as they stand, never completed from a search list, so that `redis` does not become a neighbour of ours. The hosts
//! file is read once, at the start. Does not know what else a machine may have to look names up in (mDNS, LDAP), and does
//! not vet: [`super::resolve`] does, in every lookup, whatever lies in the cache.

mod families;
mod silence;
mod sockets;
mod together;

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
use self::sockets::Sockets;
use self::together::Together;
use super::resolve::{LookupError, Resolver};
use tenterhook_clock::Clock;
use tenterhook_policy::postponement::{Patience, Standing};

/// How long a server may take before it, or another, is asked again.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// How often it is asked again: a server that is silent is given up before an attempt's deadline.
const ASK_AGAIN: usize = 2;
/// Questions under way at once over one TCP connection, for answers too long for UDP, which has no limit.
const ASKED_AT_ONCE: usize = 1_000;
/// Names remembered.
const CACHED: u64 = 10_000;
/// How long an answer is remembered, whatever it says of itself.
const REMEMBERED: Duration = Duration::from_secs(60);
/// How long it is remembered that a name does not exist: less than the first retry waits (D4).
const MISSING_REMEMBERED: Duration = Duration::from_secs(2);
/// Who is asked where nothing is configured, as the machine's own resolver would.
const UNCONFIGURED: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 53);

/// Looks names up in the DNS. Clones share what is remembered.
#[derive(Clone)]
pub struct DnsResolver {
    resolver: Hickory<Sockets>,
    sockets: Sockets,
    families: Families,
    together: Together<Result<Vec<IpAddr>, LookupError>>,
    clock: Clock,
}

/// The resolver could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("the DNS resolver could not be set up")]
pub struct NoResolver(#[source] NetError);

impl DnsResolver {
    /// Asks these servers, or those that the machine is configured with if there are none.
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
                tracing::warn!(%error, "no DNS server is configured on this machine; asking {UNCONFIGURED}");
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
            together: Together::default(),
            clock: sockets.clock().clone(),
            sockets,
        })
    }

    /// All addresses of a name, as far as its name servers answer.
    async fn addresses(self, name: Name) -> Result<Vec<IpAddr>, LookupError> {
        let ask = |name: Name, family: RecordType| {
            let resolver = self.resolver.clone();
            async move {
                let found = resolver.lookup(name, family).await?;
                let addresses = found.answers().iter().filter_map(|record| record.data.ip_addr());
                Ok(addresses.collect())
            }
        };
        // Always both families: an address that is not tried is vetted too.
        let found = self.families.both(name, &self.clock, ask).await;
        found.map_err(|error| {
            if !self.sockets.suffice() {
                // Without a socket to ask with, the resolver says only that nobody answered; or, if it could ask for the
                // addresses of one family only, that there are none.
                LookupError::NoMeans
            } else if is_answer(&error) {
                LookupError::Answered(error.to_string())
            } else {
                LookupError::Unanswered(error.to_string())
            }
        })
    }
}

/// Whether a name server has answered, however badly.
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
            let mut lookup = self.together.join(name, lookup);
            match poll!(&mut lookup) {
                // Remembered, or read from the hosts file.
                Poll::Ready(found) => found,
                // An attempt that joins another's lookup counts as asking too: the answer may take long.
                Poll::Pending => {
                    self.sockets.asked();
                    lookup.await
                }
            }
        })
    }

    fn standing(&self, patience: Patience) -> Standing {
        self.sockets.standing(patience)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::SeqCst;

    use tenterhook_harness::names::{Answer, NameServer};
    use tenterhook_harness::realtime;
    use tokio::net::UdpSocket;

    use super::*;
    use tenterhook_settings::policy::PolicySettings;

    fn sockets() -> Sockets {
        Sockets::new(Clock::system())
    }

    fn are_silent(resolver: &DnsResolver) -> bool {
        let patience = Patience::of(&PolicySettings::default());
        resolver.standing(patience) == Standing::Silent
    }

    /// F17: a name server that is not there, whatever the machine says of it, and one that says nothing.
    #[tokio::test]
    async fn d13_silence_is_known_as_such_and_any_answer_ends_it() {
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

    /// F12: half of a name's lookups is swallowed.
    #[tokio::test]
    async fn a_silent_family_is_not_asked_again_and_again() {
        let names = NameServer::start().await;
        names.set("half.test", Answer::read("93.184.215.14 10.0.0.1 2606:4700::1"));
        for (swallowed, expected) in [(AAAA, &["93.184.215.14", "10.0.0.1"][..]), (A, &["2606:4700::1"])] {
            let front = Front::start(names.address(), swallowed).await;
            let resolver = DnsResolver::new(&Clock::system(), &[front.address]).unwrap();
            for lookups in 1..=3 {
                let found = resolver.lookup("half.test").await.unwrap();
                let found: Vec<_> = found.iter().map(ToString::to_string).collect();
                assert_eq!(found, expected);
                // The resolver sends a question up to four times before it tries again, and it would try three times.
                let swallowed = front.swallowed.load(SeqCst);
                assert!(swallowed <= 4 * lookups, "{swallowed}");
            }
            assert!(!are_silent(&resolver));
        }
    }

    const A: u16 = 1;
    const AAAA: u16 = 28;

    /// Stands before a name server and swallows the questions for one type of record.
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
                    // The type stands behind the name, which ends with an empty label.
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

    /// One of a name's two lookups finds a descriptor, whichever comes first: for one of these names it is the one that
    /// finds nothing.
    #[tokio::test]
    async fn a_name_is_not_called_unknown_where_half_of_it_was_asked() {
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
                Err(error) => assert!(matches!(error, LookupError::NoMeans), "{name}: {error:?}"),
            }
            assert_eq!(names.asked(name), 1, "{name}");
        }
        assert_eq!(found, 1);
    }

    /// Less than the resolver waits before it sends the same question again by itself.
    const SOON: Duration = Duration::from_millis(300);

    /// The one that joined is polled first, as it may be where there are several threads.
    #[tokio::test]
    async fn an_answer_that_was_lost_is_asked_for_again_for_all_who_wait() {
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
