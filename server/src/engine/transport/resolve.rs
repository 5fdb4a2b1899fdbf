//! From a host name to addresses that may be called (W10).
//!
//! Promises that a connection goes to an address that was vetted in the very lookup that the connection uses: there is
//! no second lookup that could say something else. A name with *any* forbidden address is refused as a whole: whoever
//! publishes one wants something that is not a delivery.
//! Does not see IP literals: the client connects to those without asking a resolver, so [`super::Transport`] vets them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::phases::{Phase, measured};
use crate::policy::target::{Blocked, TargetPolicy};

/// Looks host names up. Tests and the harness put their own in.
pub trait Resolver: Send + Sync + 'static {
    /// The addresses of `host`, in order of preference.
    ///
    /// # Errors
    ///
    /// If the name does not exist or nobody could be asked.
    fn lookup<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;
}

/// The most addresses of a name that one attempt tries to connect to. A name with thousands would have us knock at
/// thousands of doors; all of them are vetted in any case.
pub const MAX_ADDRESSES: usize = 8;

/// Why a name leads nowhere.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResolveError {
    /// The lookup failed.
    #[error("the name could not be resolved")]
    Lookup(#[source] io::Error),
    /// The name exists and has no address.
    #[error("the name has no address")]
    Empty,
    /// An address may not be called.
    #[error("the name leads to an address that may not be called")]
    Forbidden(#[source] Blocked),
}

/// A resolver that hands out vetted addresses only.
#[derive(Clone)]
pub(super) struct Vetted {
    resolver: Arc<dyn Resolver>,
    targets: Arc<TargetPolicy>,
}

impl Vetted {
    pub(super) fn new(resolver: Arc<dyn Resolver>, targets: Arc<TargetPolicy>) -> Self {
        Self { resolver, targets }
    }

    /// All addresses of `host`, each of which may be called.
    pub(super) async fn lookup(&self, host: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let addresses = self.resolver.lookup(host).await.map_err(ResolveError::Lookup)?;
        if addresses.is_empty() {
            return Err(ResolveError::Empty);
        }
        for &address in &addresses {
            self.targets.vet_address(address).map_err(|blocked| {
                // For the operator only: the address may tell about a network that the webhook's owner cannot see.
                tracing::debug!(host, %address, %blocked, "a name leads to a forbidden address");
                ResolveError::Forbidden(blocked)
            })?;
        }
        Ok(addresses)
    }
}

impl Resolve for Vetted {
    fn resolve(&self, name: Name) -> Resolving {
        let vetted = self.clone();
        Box::pin(async move {
            let found = measured(Phase::Resolving, vetted.lookup(name.as_str())).await?;
            // Port 0 stands for the port of the URL.
            let some = found.into_iter().take(MAX_ADDRESSES);
            Ok(Box::new(some.map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}
