//! The DNS, asked by ourselves.
//!
//! Promises that a lookup ends when nobody waits for it any more: the machine's own resolver would hold a thread until
//! it gives up, and a few hundred names whose servers keep silent would keep every other name waiting. Names are taken
//! as they stand, never completed from a search list, so that `redis` does not become a neighbour of ours. The hosts
//! file is read once, at the start. Does not know what else a machine may have to look names up in (mDNS, LDAP), and does
//! not vet: [`super::resolve`] does, in every lookup, whatever lies in the cache.

mod sockets;
mod together;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts,
};
use hickory_resolver::lookup_ip::LookupIp;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::Name;
use hickory_resolver::{Resolver as Hickory, ResolverBuilder};

use self::sockets::Sockets;
use self::together::Together;
use super::resolve::Resolver;

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
    together: Together<Result<LookupIp, NetError>>,
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
    pub fn new(servers: &[SocketAddr]) -> Result<Self, NoResolver> {
        Self::with(Sockets::default(), servers, ASK_AGAIN_AFTER)
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
            ip_strategy,
            cache_size,
            max_active_requests,
            positive_max_ttl,
            negative_max_ttl,
            ..
        } = builder.options_mut();
        *timeout = ask_again_after;
        *attempts = ASK_AGAIN;
        // Both always: an address that is not tried is vetted still.
        *ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        *cache_size = CACHED;
        *max_active_requests = ASKED_AT_ONCE;
        *positive_max_ttl = Some(REMEMBERED);
        *negative_max_ttl = Some(MISSING_REMEMBERED);
        let resolver = builder.build().map_err(NoResolver)?;
        Ok(Self {
            resolver,
            sockets,
            together: Together::default(),
        })
    }
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
    fn lookup<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let mut name = Name::from_ascii(host).map_err(io::Error::other)?;
            name.set_fqdn(true);
            let (resolver, asked) = (self.resolver.clone(), name.clone());
            let lookup = async move { resolver.lookup_ip(asked).await };
            match self.together.join(name, lookup).await {
                Ok(found) => Ok(found.iter().collect()),
                // That nobody answered is all that the resolver says where it had no socket to ask with; or, where it
                // could ask for the addresses of one family alone, that there are none.
                Err(error) if self.sockets.suffice() => Err(io::Error::other(error)),
                Err(_) => Err(Sockets::lack()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;
    use tenterhook_harness::names::{Answer, NameServer};

    use super::*;
    use crate::engine::transport::classify::is_exhaustion;

    /// One of a name's two lookups finds a descriptor, whichever comes first: for one of these names it is the one that
    /// finds nothing.
    #[tokio::test]
    async fn a_name_is_not_called_unknown_where_half_of_it_was_asked() {
        let names = NameServer::start().await;
        let mut found = 0;
        for (name, address) in [("four.test", "93.184.215.14"), ("six.test", "2606:4700::1")] {
            names.set(name, Answer::read(address));
            let resolver = DnsResolver::with(Sockets::left(1), &[names.address()], ASK_AGAIN_AFTER).unwrap();
            match resolver.lookup(name).await {
                Ok(addresses) => {
                    assert_eq!(addresses, [address.parse::<IpAddr>().unwrap()]);
                    found += 1;
                }
                Err(error) => assert!(is_exhaustion(&error), "{name}: {error:?}"),
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
        let resolver = DnsResolver::with(Sockets::default(), &[names.address()], SOON).unwrap();
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
