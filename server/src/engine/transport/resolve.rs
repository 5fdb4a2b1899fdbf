//! From a host name to addresses that may be called (W10).
//!
//! Promises that a connection goes to an address that was vetted in the very lookup that the connection uses: there is
//! no second lookup that could say something else. A name with *any* forbidden address is refused as a whole: whoever
//! publishes one wants something that is not a delivery.
//! Does not see IP literals: the client connects to those without asking a resolver, so [`super::Transport`] vets them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::classify::is_exhaustion;
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

/// The machine's resolver, with whatever the machine configures for it.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn lookup<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((host, 0)).await.map_err(true_cause)?;
            Ok(found.map(|found| found.ip()).collect())
        })
    }
}

/// Descriptors that a lookup may need at once: its files, and a socket for each name server.
const DESCRIPTORS_OF_A_LOOKUP: usize = 4;

/// Where this process has no descriptor left, the machine's resolver says that the name does not exist: so look whether
/// that is why before a receiver is blamed. One that became free meanwhile is not noticed.
fn true_cause(error: io::Error) -> io::Error {
    let sockets = (0..DESCRIPTORS_OF_A_LOOKUP).map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)));
    match sockets.collect::<io::Result<Vec<_>>>() {
        Err(lack) if is_exhaustion(&lack) => lack,
        _ => error,
    }
}

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
            Ok(Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}
