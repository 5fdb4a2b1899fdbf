//! The sockets that names are looked up with.
//!
//! Promises to tell of a failed lookup whether it may have failed because this process, or the machine, had no descriptor
//! left: the resolver tells such a lookup from an unanswered one in no way, and a receiver would be blamed for it. That is
//! so not only of the one that could not open a socket. Another of the same name may be given its answer; and the resolver
//! holds it against the server that it could not ask, and tries others, and ways that lead nowhere. So every failure counts
//! for nothing for [`SPARED`] after a lack: a name that does not exist is postponed meanwhile like those that do.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hickory_resolver::net::runtime::{RuntimeProvider, TokioRuntimeProvider};
use rustix::io::Errno;

use crate::clock::Clock;
use crate::engine::transport::classify::is_exhaustion;

/// Longer than a lookup takes that nobody answers, however often it is repeated.
const SPARED: Duration = Duration::from_secs(15);

/// Opens sockets as the runtime does. Clones count together.
#[derive(Clone, Default)]
pub(super) struct Sockets {
    runtime: TokioRuntimeProvider,
    /// When the last one could not be opened for want of a descriptor.
    lacked_at: Arc<Mutex<Option<Instant>>>,
    /// How many descriptors are left, where a test says so.
    #[cfg(test)]
    left: Option<Arc<std::sync::atomic::AtomicU64>>,
}

type Opening<T> = Pin<Box<dyn Send + Future<Output = io::Result<T>>>>;

impl Sockets {
    /// Whether a lookup that fails now fails by itself.
    pub fn suffice(&self) -> bool {
        self.suffice_at(Clock::system().monotonic())
    }

    fn suffice_at(&self, now: Instant) -> bool {
        let lacked_at = *self.lacked_at.lock().unwrap_or_else(PoisonError::into_inner);
        lacked_at.is_none_or(|at| now.saturating_duration_since(at) >= SPARED)
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

    fn watched<T: 'static + Send>(&self, opening: Opening<T>) -> Opening<T> {
        let lacked_at = Arc::clone(&self.lacked_at);
        #[cfg(test)]
        let opening = self.while_left(opening);
        Box::pin(async move {
            opening.await.inspect_err(|error| {
                if is_exhaustion(error) {
                    let now = Clock::system().monotonic();
                    *lacked_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
                }
            })
        })
    }

    #[cfg(test)]
    fn while_left<T: 'static + Send>(&self, opening: Opening<T>) -> Opening<T> {
        use std::sync::atomic::Ordering::SeqCst;
        let Some(left) = self.left.clone() else {
            return opening;
        };
        Box::pin(async move {
            let took = left.try_update(SeqCst, SeqCst, |left| left.checked_sub(1));
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
        self.watched(self.runtime.connect_tcp(server, from, within))
    }

    fn bind_udp(&self, from: SocketAddr, server: SocketAddr) -> Opening<Self::Udp> {
        self.watched(self.runtime.bind_udp(from, server))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lack_of_descriptors_spares_every_lookup_for_a_while_and_no_other_error_does() {
        for (error, spares) in [
            (Errno::CONNREFUSED, false),
            (Errno::MFILE, true),
            (Errno::NFILE, true),
        ] {
            let sockets = Sockets::default();
            let opening: Opening<()> = Box::pin(async move { Err(error.into()) });
            assert!(sockets.clone().watched(opening).await.is_err());
            assert_eq!(sockets.suffice(), !spares, "{error}");
            let lacked_at = *sockets.lacked_at.lock().unwrap();
            if let Some(at) = lacked_at {
                assert!(!sockets.suffice_at(at + SPARED - Duration::from_nanos(1)));
                assert!(sockets.suffice_at(at + SPARED));
            }
        }
        let sockets = Sockets::default();
        let opening: Opening<()> = Box::pin(async { Ok(()) });
        assert!(sockets.watched(opening).await.is_ok());
        assert!(sockets.suffice());
        assert!(is_exhaustion(&Sockets::lack()));
    }
}
