//! The relay between a server and its Postgres. It can fail in the ways in which a network can.
//!
//! Bytes arrive in order and unchanged, or the connection ends. A fault happens between two reads, at the place that
//! its name says. Silent connections neither carry bytes nor end. The relay does not understand the protocol: it takes
//! what one read returns as one message, which is a statement from a server or a response from Postgres.

use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use tenterhook_harness::realtime;
use tenterhook_harness::rng::Rng;

/// One read in `ONE_IN` is hit by a fault, while there is one.
const ONE_IN: usize = 12;
/// Most bytes in one read.
const BLOCK: usize = 16 * 1024;

/// The fault of the connections, if any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// All bytes pass.
    Fair,
    /// No bytes pass, and no connection ends.
    Stalled,
    /// Connections end between two messages.
    Cutting,
    /// Connections end after half of a message has passed.
    CuttingStatements,
    /// Connections end between a message and its response.
    LosingAnswers,
}

/// The direction of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    ToPostgres,
    ToServer,
}

impl Weather {
    /// If a connection ends at such a read: how many of its `length` bytes pass before.
    fn strikes(self, way: Way, length: usize) -> Option<usize> {
        match (self, way) {
            (Self::Cutting, _) | (Self::LosingAnswers, Way::ToServer) => Some(0),
            (Self::CuttingStatements, Way::ToPostgres) => Some(length / 2),
            _ => None,
        }
    }
}

/// The silent connections, by their numbers in the order in which they were accepted.
#[derive(Debug, Clone, Copy, Default)]
struct Silence {
    /// Whether the silence lasts.
    lasts: bool,
    /// While it lasts, every connection with a smaller number is silent.
    below: u64,
    /// Every connection with a smaller number is silent, also after the silence has ended.
    for_good_below: u64,
}

/// One connection, and the silence that may concern it.
#[derive(Clone)]
struct Line {
    number: u64,
    silence: watch::Receiver<Silence>,
}

/// What happens to bytes that were read.
enum Hearing {
    /// They pass.
    Through,
    /// They are lost.
    Lost,
}

impl Line {
    /// Waits while this connection is silent for now. If it is silent permanently, the bytes are lost.
    async fn hearing(&mut self) -> Hearing {
        let number = self.number;
        let for_good = |silence: &Silence| number < silence.for_good_below;
        let decided = |silence: &Silence| for_good(silence) || !(silence.lasts && number < silence.below);
        match self.silence.wait_for(decided).await {
            Ok(silence) if !for_good(&silence) => Hearing::Through,
            _ => Hearing::Lost,
        }
    }

    /// Waits until the silence is over for connections that are not silent permanently.
    async fn ended(&mut self) {
        // An error means that the relay has ended, with all connections.
        drop(self.silence.wait_for(|silence| !silence.lasts).await);
    }
}

/// A running relay; dropping it ends its connections.
pub struct Proxy {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    silence: watch::Sender<Silence>,
    accepted: Arc<AtomicU64>,
    work: JoinHandle<()>,
}

impl Proxy {
    /// Starts a relay to the Postgres with this Unix socket, which need not listen yet.
    pub async fn start(socket: PathBuf, seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let weather = watch::Sender::new(Weather::Fair);
        let (outlook, rng) = (weather.subscribe(), Arc::new(Mutex::new(Rng::new(seed))));
        let silence = watch::Sender::new(Silence::default());
        let (quiet, accepted) = (silence.subscribe(), Arc::new(AtomicU64::new(0)));
        let count = Arc::clone(&accepted);
        let work = realtime::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((frontend, _)) = listener.accept().await {
                let line = Line {
                    number: count.fetch_add(1, Ordering::SeqCst),
                    silence: quiet.clone(),
                };
                let (socket, outlook, rng) = (socket.clone(), outlook.clone(), rng.clone());
                connections.spawn(relay(frontend, socket, outlook, line, rng));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self {
            address,
            weather,
            silence,
            accepted,
            work,
        })
    }

    /// The address on which the relay listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets the fault of all connections, open ones and later ones.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// Silences the open connections, until [`Proxy::end_silence`], or permanently. If a server closes a silent
    /// connection, Postgres learns of it only at the end of the silence.
    pub fn silence(&self, for_good: bool) {
        let accepted = self.accepted.load(Ordering::SeqCst);
        self.silence.send_modify(|silence| {
            (silence.lasts, silence.below) = (true, accepted);
            if for_good {
                silence.for_good_below = accepted;
            }
        });
    }

    /// Lets the held bytes pass, and ends the silence except for connections that are silent permanently.
    pub fn end_silence(&self) {
        self.silence.send_modify(|silence| silence.lasts = false);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.work.abort();
    }
}

/// Relays one connection. An error means that one side has closed it or a fault has ended it. Either way both sides are
/// closed.
async fn relay(
    mut frontend: TcpStream,
    socket: PathBuf,
    weather: watch::Receiver<Weather>,
    line: Line,
    rng: Arc<Mutex<Rng>>,
) -> io::Result<()> {
    frontend.set_nodelay(true)?;
    let mut backend = UnixStream::connect(socket).await?;
    let (from_frontend, to_frontend) = frontend.split();
    let (from_backend, to_backend) = backend.split();
    tokio::select! {
        ended = pass(from_frontend, to_backend, Way::ToPostgres, weather.clone(), line.clone(), &rng) => ended,
        ended = pass(from_backend, to_frontend, Way::ToServer, weather, line, &rng) => ended,
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    way: Way,
    mut weather: watch::Receiver<Weather>,
    mut line: Line,
    rng: &Mutex<Rng>,
) -> io::Result<()> {
    let mut block = vec![0; BLOCK];
    loop {
        let read = from.read(&mut block).await;
        let over = !matches!(read, Ok(1..));
        match (line.hearing().await, way) {
            (Hearing::Through, _) => {}
            // The other side does not learn that the connection has ended either.
            (Hearing::Lost, Way::ToServer) if over => pending().await,
            (Hearing::Lost, Way::ToPostgres) if over => {
                line.ended().await;
                return Ok(());
            }
            (Hearing::Lost, _) => continue,
        }
        let length = match read? {
            0 => return Ok(()),
            length => length,
        };
        let now = match weather.wait_for(|weather| *weather != Weather::Stalled).await {
            Ok(weather) => *weather,
            Err(_) => return Ok(()),
        };
        if let Some(through) = now.strikes(way, length)
            && rng.lock().unwrap_or_else(PoisonError::into_inner).below(ONE_IN) == 0
        {
            to.write_all(&block[..through]).await?;
            to.flush().await?;
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        to.write_all(&block[..length]).await?;
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    /// A relay to a server that sends back whatever it gets.
    async fn echo() -> (Proxy, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        realtime::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                realtime::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    drop(tokio::io::copy(&mut from, &mut to).await);
                });
            }
        });
        (Proxy::start(socket, 1).await.unwrap(), folder)
    }

    /// Number of bytes that are returned of a message of 64 bytes; fewer if the connection ends.
    async fn exchange(stream: &mut TcpStream) -> usize {
        if stream.write_all(&[7; 64]).await.is_err() {
            return 0;
        }
        let mut back = Vec::new();
        let mut block = [0; 64];
        while back.len() < 64 {
            match stream.read(&mut block).await {
                Ok(length @ 1..) => back.extend_from_slice(&block[..length]),
                _ => break,
            }
        }
        assert!(back.iter().all(|byte| *byte == 7));
        back.len()
    }

    #[tokio::test]
    async fn without_a_fault_all_bytes_arrive() {
        let (proxy, _folder) = echo().await;
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        for _ in 0..50 {
            assert_eq!(exchange(&mut stream).await, 64);
        }
    }

    #[tokio::test]
    async fn each_fault_ends_the_connection_at_its_place() {
        let (proxy, _folder) = echo().await;
        for (weather, last) in [
            (Weather::Cutting, 0),
            (Weather::CuttingStatements, 32),
            (Weather::LosingAnswers, 0),
        ] {
            proxy.set(weather);
            let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
            let mut exchanged = 0;
            let end = loop {
                match exchange(&mut stream).await {
                    64 => exchanged += 1,
                    fewer => break fewer,
                }
                assert!(exchanged < 10_000, "{weather:?} never came");
            };
            // Half of a statement may be returned before the end, or be lost with it.
            assert!(end <= last, "{weather:?}: {end}");
        }
    }

    #[tokio::test]
    async fn stalled_bytes_arrive_later() {
        let (proxy, folder) = echo().await;
        let (other, _folder) = echo().await;
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        let mut beside = TcpStream::connect(other.address()).await.unwrap();
        assert_eq!(exchange(&mut stream).await, 64);
        proxy.set(Weather::Stalled);
        let mut answer = Box::pin(exchange(&mut stream));
        // The time of a hundred exchanges over a relay that is not stalled.
        let meanwhile = async {
            for _ in 0..100 {
                assert_eq!(exchange(&mut beside).await, 64);
            }
        };
        tokio::select! {
            biased;
            _ = &mut answer => panic!("it came through"),
            () = meanwhile => {}
        }
        proxy.set(Weather::Fair);
        assert_eq!(answer.await, 64);
        drop(folder);
    }

    /// Whether an exchange is still waiting after a hundred others have ended.
    async fn says_nothing(stream: &mut TcpStream, other: &mut TcpStream) -> bool {
        let mut answer = Box::pin(exchange(stream));
        let meanwhile = async {
            for _ in 0..100 {
                assert_eq!(exchange(other).await, 64);
            }
        };
        tokio::select! {
            biased;
            _ = &mut answer => false,
            () = meanwhile => true,
        }
    }

    #[tokio::test]
    async fn bytes_held_back_by_a_silence_arrive_after_it() {
        let (proxy, _folder) = echo().await;
        let mut old = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(exchange(&mut old).await, 64);
        proxy.silence(false);
        let mut new = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(says_nothing(&mut old, &mut new).await);
        proxy.end_silence();
        let mut held = [0; 64];
        old.read_exact(&mut held).await.unwrap();
        assert_eq!(exchange(&mut old).await, 64);
    }

    #[tokio::test]
    async fn a_permanent_silence_passes_no_bytes_and_closes_nothing() {
        let (proxy, _folder) = echo().await;
        let mut old = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(exchange(&mut old).await, 64);
        proxy.silence(true);
        let mut new = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(says_nothing(&mut old, &mut new).await);
        proxy.end_silence();
        assert!(says_nothing(&mut old, &mut new).await, "nor after the silence");
    }
}
