//! The sockets for DNS queries; their traffic is noted.
//!
//! They record when a query was last sent and when a name server last responded, independently of the resolver
//! ([`Silence`], D13). An ICMP message that no one listens on a port does not count as a response.
//! If a socket cannot be opened, [`FdGuard`] gets the error.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::io::{AsyncRead, AsyncWrite};
use hickory_resolver::net::runtime::{DnsTcpStream, DnsUdpSocket, RuntimeProvider, TokioRuntimeProvider};

use super::fd_guard::FdGuard;
use super::silence::Silence;
use crate::name_servers::{NameServers, Patience};
use tenterhook_clock::Clock;

/// The minimum length of a DNS message: its header. The first bit of its third byte marks a response (RFC 1035, 4.1.1).
const HEADER_BYTES: usize = 12;
const ANSWER_BIT: u8 = 0x80;

type Runtime = TokioRuntimeProvider;
type Opening<T> = Pin<Box<dyn Send + Future<Output = io::Result<T>>>>;

/// Opens sockets as the runtime does. Clones share the records.
#[derive(Clone)]
pub(super) struct Sockets {
    runtime: Runtime,
    log: Log,
    fd_guard: FdGuard,
    /// How many descriptors are left, if a test limits them.
    #[cfg(test)]
    left: Option<Arc<std::sync::atomic::AtomicU64>>,
}

/// Notes queries and responses.
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
        // After the lock is released, because writing a log line may take long.
        if let Some(news) = news {
            news.log();
        }
    }

    fn name_servers(&self, patience: Patience) -> NameServers {
        let now = self.clock.elapsed();
        let (servers, news) = self.silence().name_servers(now, patience);
        if let Some(news) = news {
            news.log();
        }
        servers
    }
}

impl Sockets {
    /// `clock` gives the times of queries and responses.
    pub fn new(clock: Clock) -> Self {
        Self {
            runtime: Runtime::default(),
            log: Log {
                clock,
                silence: Arc::default(),
            },
            fd_guard: FdGuard::default(),
            #[cfg(test)]
            left: None,
        }
    }

    pub fn clock(&self) -> &Clock {
        &self.log.clock
    }

    /// Whether silent name servers are to blame for a request that ends now without a response to its lookup (D13).
    /// Logs changes.
    pub fn name_servers(&self, patience: Patience) -> NameServers {
        self.log.name_servers(patience)
    }

    /// Notes that a request waits for a lookup that is not cached: the resolver is about to send it.
    pub fn asked(&self) {
        self.log.asked();
    }

    /// Whether a lookup that fails now may fail because there was no descriptor for it.
    pub fn recently_exhausted(&self) -> bool {
        self.fd_guard.recently_exhausted(self.log.clock.monotonic())
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
        let (fd_guard, log) = (self.fd_guard.clone(), self.log.clone());
        #[cfg(test)]
        let opening = self.while_left(opening);
        Box::pin(async move {
            match opening.await {
                Ok(socket) => Ok(Watched { socket, server, log }),
                Err(error) => {
                    fd_guard.failed(&error, log.clock.monotonic());
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

/// A socket to a name server; its traffic is noted.
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
    async fn exhaustion_while_a_socket_is_opened_is_remembered_by_all_clones() {
        for (error, spares) in [(Errno::CONNREFUSED, false), (Errno::MFILE, true)] {
            let sockets = self::sockets();
            let opening: Opening<()> = Box::pin(async move { Err(error.into()) });
            assert!(sockets.clone().watched(SERVER, opening).await.is_err());
            assert_eq!(sockets.recently_exhausted(), spares, "{error}");
        }
        let sockets = self::sockets();
        let opening: Opening<()> = Box::pin(async { Ok(()) });
        assert!(sockets.watched(SERVER, opening).await.is_ok());
        assert!(!sockets.recently_exhausted());
    }
}
