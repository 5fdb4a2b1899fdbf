//! What stands between a server and its Postgres: a relay of bytes that can fail in the ways a network can.
//!
//! Promises that bytes come through in order and unchanged, or the connection ends; a fault comes between two reads, at
//! the place its name says. Connections that have fallen silent neither carry bytes nor end. Does not understand the
//! protocol: what one read brings is what one side wrote at once, which for a server is a statement and for Postgres its
//! answer.

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

use crate::dice::Dice;
use crate::realtime;

/// Of so many reads one meets the weather, where it is bad.
const ONE_IN: usize = 12;
/// How much is read at once.
const BLOCK: usize = 16 * 1024;

/// How the connections fare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Everything comes through.
    Fair,
    /// Nothing comes through, and no connection ends.
    Stalled,
    /// Connections end between two messages.
    Cutting,
    /// Connections end when half of a message has come through.
    CuttingStatements,
    /// Connections end between a message and its answer.
    LosingAnswers,
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    ToPostgres,
    ToServer,
}

impl Weather {
    /// How much of so many bytes comes through before the end of the connection, if this is where it ends.
    fn strikes(self, way: Way, length: usize) -> Option<usize> {
        match (self, way) {
            (Self::Cutting, _) | (Self::LosingAnswers, Way::ToServer) => Some(0),
            (Self::CuttingStatements, Way::ToPostgres) => Some(length / 2),
            _ => None,
        }
    }
}

/// Which connections are silent, by their numbers in the order in which they were accepted.
#[derive(Debug, Clone, Copy, Default)]
struct Silence {
    /// Whether it lasts.
    lasts: bool,
    /// While it lasts, every connection below this number.
    below: u64,
    /// Every connection below this number, also after it has ended.
    for_good_below: u64,
}

/// One connection's part in the silence.
#[derive(Clone)]
struct Line {
    number: u64,
    silence: watch::Receiver<Silence>,
}

/// What happens to the bytes that were read from a line.
enum Hearing {
    /// It goes through.
    Through,
    /// It is lost.
    Lost,
}

impl Line {
    /// Waits while this line is silent for now; one that is silent for good loses what was read.
    async fn hearing(&mut self) -> Hearing {
        let number = self.number;
        let for_good = |silence: &Silence| number < silence.for_good_below;
        let decided = |silence: &Silence| for_good(silence) || !(silence.lasts && number < silence.below);
        match self.silence.wait_for(decided).await {
            Ok(silence) if !for_good(&silence) => Hearing::Through,
            _ => Hearing::Lost,
        }
    }

    /// Waits until the silence is over for those that are not silent for good.
    async fn ended(&mut self) {
        // An error means that the relay is gone, and everything with it.
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
    /// Starts one before the Postgres that listens on this Unix socket, whether or not it does now.
    pub async fn start(socket: PathBuf, seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let weather = watch::Sender::new(Weather::Fair);
        let (outlook, dice) = (weather.subscribe(), Arc::new(Mutex::new(Dice::new(seed))));
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
                let (socket, outlook, dice) = (socket.clone(), outlook.clone(), dice.clone());
                connections.spawn(relay(frontend, socket, outlook, line, dice));
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

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the weather for all connections, those that are open and those to come.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// Lets the connections that are open fall silent: until [`Proxy::end_silence`], or for good. Postgres does not learn
    /// before the end of the silence that a server has given such a connection up.
    pub fn silence(&self, for_good: bool) {
        let accepted = self.accepted.load(Ordering::SeqCst);
        self.silence.send_modify(|silence| {
            (silence.lasts, silence.below) = (true, accepted);
            if for_good {
                silence.for_good_below = accepted;
            }
        });
    }

    /// Lets what was silent for now through.
    pub fn end_silence(&self) {
        self.silence.send_modify(|silence| silence.lasts = false);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.work.abort();
    }
}

/// An error is one side's going away or the weather, which both are told by closing.
async fn relay(
    mut frontend: TcpStream,
    socket: PathBuf,
    weather: watch::Receiver<Weather>,
    line: Line,
    dice: Arc<Mutex<Dice>>,
) -> io::Result<()> {
    frontend.set_nodelay(true)?;
    let mut backend = UnixStream::connect(socket).await?;
    let (from_frontend, to_frontend) = frontend.split();
    let (from_backend, to_backend) = backend.split();
    tokio::select! {
        ended = pass(from_frontend, to_backend, Way::ToPostgres, weather.clone(), line.clone(), &dice) => ended,
        ended = pass(from_backend, to_frontend, Way::ToServer, weather, line, &dice) => ended,
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    way: Way,
    mut weather: watch::Receiver<Weather>,
    mut line: Line,
    dice: &Mutex<Dice>,
) -> io::Result<()> {
    let mut block = vec![0; BLOCK];
    loop {
        let read = from.read(&mut block).await;
        let over = !matches!(read, Ok(1..));
        match (line.hearing().await, way) {
            (Hearing::Through, _) => {}
            // The other side does not learn of an end either.
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
            && dice.lock().unwrap_or_else(PoisonError::into_inner).below(ONE_IN) == 0
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

    /// A proxy before something that sends back whatever comes.
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

    /// What comes back of a message of 64 bytes; less when the connection ends.
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
    async fn in_fair_weather_everything_comes_through() {
        let (proxy, _folder) = echo().await;
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        for _ in 0..50 {
            assert_eq!(exchange(&mut stream).await, 64);
        }
    }

    #[tokio::test]
    async fn in_bad_weather_a_connection_ends_where_the_weather_says() {
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
            // Half a statement may come back before the end, or be lost with it.
            assert!(end <= last, "{weather:?}: {end}");
        }
    }

    #[tokio::test]
    async fn what_stalls_comes_through_later() {
        let (proxy, folder) = echo().await;
        let (other, _folder) = echo().await;
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        let mut beside = TcpStream::connect(other.address()).await.unwrap();
        assert_eq!(exchange(&mut stream).await, 64);
        proxy.set(Weather::Stalled);
        let mut answer = Box::pin(exchange(&mut stream));
        // As long as a hundred exchanges take where nothing stalls.
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

    /// Whether an exchange does not end while a hundred others do.
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
    async fn what_is_silent_for_now_is_heard_later_and_new_connections_at_once() {
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
    async fn what_is_silent_for_good_neither_passes_nor_ends() {
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
