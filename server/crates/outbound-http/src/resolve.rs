//! Resolves a host to addresses that may be called (W10).
//!
//! A connection goes only to an address that was vetted in the same lookup. There is no second lookup that could return
//! another address. A name with *any* forbidden address is refused completely, because its publisher wants something
//! other than requests. IP literals are vetted here too.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::name_servers::{NameServers, Patience};
use crate::target::{Blocked, TargetPolicy};
use crate::timing::{Phase, measured};

/// Looks host names up. Tests and the harness use their own implementation.
pub trait Resolver: Send + Sync + 'static {
    /// The addresses of `host`, in order of preference.
    ///
    /// # Errors
    ///
    /// If the name does not exist, no name server responded, or none could be queried.
    fn lookup<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, LookupError>>;

    /// Whether silent name servers are to blame for a request that ends now without a response to its lookup (D13).
    /// They count as responding unless the resolver queries name servers itself.
    fn name_servers(&self, _patience: Patience) -> NameServers {
        NameServers::Answering
    }
}

/// Why a lookup has no addresses. The texts come from the resolver, for the log.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LookupError {
    /// A name server responded that the name has no address, or that it does not know.
    #[error("a name server responded without an address: {0}")]
    Answered(String),
    /// No name server responded.
    #[error("no name server responded: {0}")]
    Unanswered(String),
    /// This machine had no file descriptor or memory left for a query.
    #[error("no file descriptor or memory was left to query a name server")]
    Exhausted,
}

/// Why a name gives no usable address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    /// The lookup failed.
    #[error("the name could not be resolved")]
    Lookup(#[source] LookupError),
    /// The name exists but has no address.
    #[error("the name has no address")]
    Empty,
    /// An address may not be called.
    #[error("the name leads to an address that may not be called")]
    Forbidden(#[source] Blocked),
}

/// A resolver that returns only vetted addresses.
#[derive(Clone)]
pub(crate) struct Vetted {
    resolver: Arc<dyn Resolver>,
    targets: Arc<TargetPolicy>,
}

impl Vetted {
    pub(crate) fn new(resolver: Arc<dyn Resolver>, targets: Arc<TargetPolicy>) -> Self {
        Self { resolver, targets }
    }

    /// Whether a request that ends now without a response to its lookup does not count, because the name servers are
    /// silent (D13).
    pub(crate) fn lacks_name_servers(&self, patience: Patience) -> bool {
        self.resolver.name_servers(patience) == NameServers::Silent
    }

    /// All addresses of `host`, if each of them may be called.
    pub(crate) async fn lookup(&self, host: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let addresses = self.resolver.lookup(host).await.map_err(ResolveError::Lookup)?;
        if addresses.is_empty() {
            return Err(ResolveError::Empty);
        }
        for &address in &addresses {
            self.targets.vet_address(address).map_err(|blocked| {
                // For the operator only: the address may reveal a network that whoever chose the name cannot see.
                tracing::debug!(host, %address, %blocked, "a name leads to a forbidden address");
                ResolveError::Forbidden(blocked)
            })?;
        }
        Ok(addresses)
    }

    /// The addresses to connect to for `host`, a name or an IP literal, in the order in which to try them.
    pub(crate) async fn to_try(&self, host: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if let Ok(address) = literal.unwrap_or(host).parse() {
            self.targets
                .vet_address(address)
                .map_err(ResolveError::Forbidden)?;
            return Ok(vec![address]);
        }
        let found = measured(Phase::Resolving, self.lookup(host)).await?;
        Ok(in_turns(&found))
    }
}

/// The addresses of `found`, each once, alternating between the families (RFC 8305, section 4). If a machine cannot reach
/// one family at all, that costs the time of one address and not of the whole family.
fn in_turns(found: &[IpAddr]) -> Vec<IpAddr> {
    let first = found.first().is_some_and(IpAddr::is_ipv4);
    let (mut this, mut other): (Vec<_>, Vec<_>) = found
        .iter()
        .rev()
        .copied()
        .partition(|address| address.is_ipv4() == first);
    let (mut turns, mut seen) = (Vec::new(), HashSet::new());
    while let Some(address) = this.pop().or_else(|| other.pop()) {
        if seen.insert(address) {
            turns.push(address);
            std::mem::swap(&mut this, &mut other);
        }
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_tried_in_turns_and_no_address_twice() {
        let parse = |text: &str| -> Vec<IpAddr> {
            text.split_whitespace()
                .map(|address| address.parse().unwrap())
                .collect()
        };
        for (found, expected) in [
            ("", ""),
            ("1.0.0.1", "1.0.0.1"),
            ("1.0.0.1 1.0.0.2 1::1 1::2", "1.0.0.1 1::1 1.0.0.2 1::2"),
            ("1::1 1::2 1.0.0.1", "1::1 1.0.0.1 1::2"),
            ("1.0.0.1 1.0.0.1 1::1 1.0.0.2", "1.0.0.1 1::1 1.0.0.2"),
            (
                "1.0.0.1 1.0.0.2 1.0.0.3 1.0.0.4 1.0.0.5 1.0.0.6 1.0.0.7 1.0.0.8 1::1",
                "1.0.0.1 1::1 1.0.0.2 1.0.0.3 1.0.0.4 1.0.0.5 1.0.0.6 1.0.0.7 1.0.0.8",
            ),
        ] {
            assert_eq!(in_turns(&parse(found)), parse(expected), "{found}");
        }
    }
}
