//! The sockets that names are looked up with.
//!
//! Promises to count each one that could not be opened because this process, or the machine, has no descriptor left: the
//! resolver tells such a lookup from an unanswered one in no way, and a receiver would be blamed for it.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hickory_resolver::net::runtime::{RuntimeProvider, TokioRuntimeProvider};
use rustix::io::Errno;

use crate::engine::transport::classify::is_exhaustion;

/// Opens sockets as the runtime does. Clones count together.
#[derive(Clone, Default)]
pub(super) struct Sockets {
    runtime: TokioRuntimeProvider,
    lacks: Arc<AtomicU64>,
    /// How many there had been before a lookup that worked.
    overcome: Arc<AtomicU64>,
    /// How many descriptors are left, where a test says so.
    #[cfg(test)]
    left: Option<Arc<AtomicU64>>,
}

type Opening<T> = Pin<Box<dyn Send + Future<Output = io::Result<T>>>>;

impl Sockets {
    /// How many could not be opened so far for want of a descriptor. A lookup during which this moves may be another
    /// one's victim: it is made again a second later, and blames nobody.
    pub fn lacks(&self) -> u64 {
        self.lacks.load(Ordering::Acquire)
    }

    /// A lookup has worked that began when there had been so many lacks.
    pub fn well_since(&self, lacks: u64) {
        self.overcome.fetch_max(lacks, Ordering::AcqRel);
    }

    /// Whether a lookup has worked since the last lack.
    pub fn are_well(&self) -> bool {
        self.lacks() == self.overcome.load(Ordering::Acquire)
    }

    /// The error of a lookup that found no descriptor.
    pub fn lack() -> io::Error {
        Errno::MFILE.into()
    }

    /// As on a machine that has so many descriptors left.
    #[cfg(test)]
    pub fn left(descriptors: u64) -> Self {
        Self {
            left: Some(Arc::new(descriptors.into())),
            ..Self::default()
        }
    }

    fn counting<T: 'static + Send>(&self, opening: Opening<T>) -> Opening<T> {
        let lacks = Arc::clone(&self.lacks);
        #[cfg(test)]
        let opening = self.while_left(opening);
        Box::pin(async move {
            opening.await.inspect_err(|error| {
                if is_exhaustion(error) {
                    lacks.fetch_add(1, Ordering::AcqRel);
                }
            })
        })
    }

    #[cfg(test)]
    fn while_left<T: 'static + Send>(&self, opening: Opening<T>) -> Opening<T> {
        let Some(left) = self.left.clone() else {
            return opening;
        };
        Box::pin(async move {
            let took = left.try_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
            if took.is_err() {
                return Err(Self::lack());
            }
            opening.await
        })
    }
}

impl RuntimeProvider for Sockets {
    type Handle = <TokioRuntimeProvider as RuntimeProvider>::Handle;
    type Timer = <TokioRuntimeProvider as RuntimeProvider>::Timer;
    type Udp = <TokioRuntimeProvider as RuntimeProvider>::Udp;
    type Tcp = <TokioRuntimeProvider as RuntimeProvider>::Tcp;

    fn create_handle(&self) -> Self::Handle {
        self.runtime.create_handle()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        from: Option<SocketAddr>,
        within: Option<Duration>,
    ) -> Opening<Self::Tcp> {
        self.counting(self.runtime.connect_tcp(server, from, within))
    }

    fn bind_udp(&self, from: SocketAddr, server: SocketAddr) -> Opening<Self::Udp> {
        self.counting(self.runtime.bind_udp(from, server))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lack_of_descriptors_is_counted_and_nothing_else_is() {
        let sockets = Sockets::default();
        for (error, lacks) in [(Errno::CONNREFUSED, 0), (Errno::MFILE, 1), (Errno::NFILE, 2)] {
            let opening: Opening<()> = Box::pin(async move { Err(error.into()) });
            assert!(sockets.clone().counting(opening).await.is_err());
            assert_eq!(
                (sockets.lacks(), sockets.are_well()),
                (lacks, lacks == 0),
                "{error}"
            );
        }
        let opening: Opening<()> = Box::pin(async { Ok(()) });
        assert!(sockets.counting(opening).await.is_ok());
        assert_eq!(sockets.lacks(), 2);
        sockets.well_since(1);
        assert!(!sockets.are_well());
        sockets.well_since(2);
        assert!(sockets.are_well());
        assert!(is_exhaustion(&Sockets::lack()));
    }
}
