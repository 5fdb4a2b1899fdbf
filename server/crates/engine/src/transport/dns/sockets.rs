//! The sockets that names are looked up with, and what goes over them.
//!
//! Promises to know when a question was last sent and when a name server last answered, whatever the resolver makes of
//! it ([`Silence`], D13). An ICMP message that nothing listens at a port does not count as an answer.
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
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::io::{AsyncRead, AsyncWrite};
use hickory_resolver::net::runtime::{DnsTcpStream, DnsUdpSocket, RuntimeProvider, TokioRuntimeProvider};

use super::silence::Silence;
use crate::transport::classify::is_exhaustion;
use tenterhook_clock::Clock;
use tenterhook_policy::postponement::{Patience, Standing};

/// Longer than a lookup takes that nobody answers, however often it is repeated.
const SPARED: Duration = Duration::from_secs(15);
/// What a DNS message has at least: its header. The third byte's first bit says that it is an answer (RFC 1035, 4.1.1).
const HEADER_BYTES: usize = 12;
const ANSWER_BIT: u8 = 0x80;

type Runtime = TokioRuntimeProvider;
type Opening<T> = Pin<Box<dyn Send + Future<Output = io::Result<T>>>>;

/// Opens sockets as the runtime does. Clones count together.
#[derive(Clone)]
pub(super) struct Sockets {
    runtime: Runtime,
    log: Log,
    /// When one last could not be opened for lack of a descriptor or of memory.
    lacked_at: Arc<Mutex<Option<Instant>>>,
    /// How many descriptors are left, where a test says so.
    #[cfg(test)]
    left: Option<Arc<std::sync::atomic::AtomicU64>>,
}

/// Notes what was asked and answered.
#[derive(Clone)]
struct Log {
    clock: Clock,
    silence: Arc<Mutex<Silence>>,
}

impl Log {
    fn silence(&self) -> MutexGuard<'_, Silence> {
        self.silence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self) {
        let now = self.clock.elapsed();
        self.silence().asked(now);
    }

    fn answered(&self) {
        let now = self.clock.elapsed();
        let news = self.silence().answered(now);
        // Without the lock: writing a line may take long.
        if let Some(news) = news {
            news.log();
        }
    }

    fn standing(&self, patience: Patience) -> Standing {
        let now = self.clock.elapsed();
        let (standing, news) = self.silence().standing(now, patience);
        if let Some(news) = news {
            news.log();
        }
        standing
    }
}

impl Sockets {
    /// `clock` says when something was asked and answered.
    pub fn new(clock: Clock) -> Self {
        Self {
            runtime: Runtime::default(),
            log: Log {
                clock,
                silence: Arc::default(),
            },
            lacked_at: Arc::default(),
            #[cfg(test)]
            left: None,
        }
    }

    pub fn clock(&self) -> &Clock {
        &self.log.clock
    }

    /// What an attempt is that ends now and whose lookup was not answered (D13). Says in the log what there is to say.
    pub fn standing(&self, patience: Patience) -> Standing {
        self.log.standing(patience)
    }

    /// A lookup is waited for whose answer is not cached: the resolver is about to send it.
    pub fn asked(&self) {
        self.log.asked();
    }

    /// Whether a lookup that fails now fails by itself.
    pub fn suffice(&self) -> bool {
        self.suffice_at(self.log.clock.monotonic())
    }

    fn suffice_at(&self, now: Instant) -> bool {
        let lacked_at = *self.lacked_at.lock().unwrap_or_else(PoisonError::into_inner);
        lacked_at.is_none_or(|at| now.saturating_duration_since(at) >= SPARED)
    }

    /// As on a machine that has this number of descriptors left.
    #[cfg(test)]
    pub fn left(clock: Clock, descriptors: u64) -> Self {
        Self {
            left: Some(Arc::new(descriptors.into())),
            ..Self::new(clock)
        }
    }

    /// Opens a socket whose traffic is noted.
    fn watched<T: 'static + Send>(&self, server: SocketAddr, opening: Opening<T>) -> Opening<Watched<T>> {
        let (lacked_at, log) = (Arc::clone(&self.lacked_at), self.log.clone());
        #[cfg(test)]
        let opening = self.while_left(opening);
        Box::pin(async move {
            match opening.await {
                Ok(socket) => Ok(Watched { socket, server, log }),
                Err(error) => {
                    if is_exhaustion(&error) {
                        let now = log.clock.monotonic();
                        *lacked_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
                    }
                    Err(error)
                }
            }
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
                return Err(rustix::io::Errno::MFILE.into());
            }
            opening.await
        })
    }
}

impl RuntimeProvider for Sockets {
    type Handle = <Runtime as RuntimeProvider>::Handle;
    type Timer = <Runtime as RuntimeProvider>::Timer;
    type Udp = Watched<<Runtime as RuntimeProvider>::Udp>;
    type Tcp = Watched<<Runtime as RuntimeProvider>::Tcp>;

    fn create_handle(&self) -> Self::Handle {
        self.runtime.create_handle()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        from: Option<SocketAddr>,
        within: Option<Duration>,
    ) -> Opening<Self::Tcp> {
        self.watched(server, self.runtime.connect_tcp(server, from, within))
    }

    fn bind_udp(&self, from: SocketAddr, server: SocketAddr) -> Opening<Self::Udp> {
        self.watched(server, self.runtime.bind_udp(from, server))
    }
}

/// A socket to a name server that notes what goes over it.
pub(super) struct Watched<T> {
    socket: T,
    server: SocketAddr,
    log: Log,
}

impl<T: DnsUdpSocket> DnsUdpSocket for Watched<T> {
    type Time = T::Time;

    fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        let received = self.socket.poll_recv_from(cx, buffer);
        if let Poll::Ready(Ok((length, from))) = received
            && (from.ip().to_canonical(), from.port())
                == (self.server.ip().to_canonical(), self.server.port())
            && length >= HEADER_BYTES
            && buffer[2] & ANSWER_BIT != 0
        {
            self.log.answered();
        }
        received
    }

    fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        target: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        let sent = self.socket.poll_send_to(cx, bytes, target);
        if sent.is_ready() {
            self.log.asked();
        }
        sent
    }
}

impl<T: DnsTcpStream> DnsTcpStream for Watched<T> {
    type Time = T::Time;
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = Pin::new(&mut self.socket).poll_read(cx, buffer);
        if matches!(read, Poll::Ready(Ok(1..))) {
            self.log.answered();
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        if written.is_ready() {
            self.log.asked();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    const SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 53);

    fn sockets() -> Sockets {
        Sockets::new(Clock::system())
    }

    #[tokio::test]
    async fn a_lack_of_descriptors_spares_every_lookup_for_a_while_and_no_other_error_does() {
        for (error, spares) in [
            (Errno::CONNREFUSED, false),
            (Errno::MFILE, true),
            (Errno::NFILE, true),
            (Errno::NOMEM, true),
            (Errno::NOBUFS, true),
        ] {
            let sockets = self::sockets();
            let opening: Opening<()> = Box::pin(async move { Err(error.into()) });
            assert!(sockets.clone().watched(SERVER, opening).await.is_err());
            assert_eq!(sockets.suffice(), !spares, "{error}");
            let lacked_at = *sockets.lacked_at.lock().unwrap();
            if let Some(at) = lacked_at {
                assert!(!sockets.suffice_at(at + SPARED - Duration::from_nanos(1)));
                assert!(sockets.suffice_at(at + SPARED));
            }
        }
        let sockets = self::sockets();
        let opening: Opening<()> = Box::pin(async { Ok(()) });
        assert!(sockets.watched(SERVER, opening).await.is_ok());
        assert!(sockets.suffice());
    }
}
