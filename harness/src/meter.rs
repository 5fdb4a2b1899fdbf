//! Counts SQL statements: a proxy between a server and its Postgres that understands just enough of the protocol.
//!
//! Promises to count each simple query and each execution of a prepared statement once, and to change nothing. Does
//! not speak TLS: it stands on this machine.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::realtime;

/// A frontend's SSLRequest and GSSENCRequest: the only messages without a type that may be followed by another.
const ENCRYPTION_REQUESTS: [u32; 2] = [80_877_103, 80_877_104];

/// A running proxy; dropping it closes its connections.
pub struct Meter {
    address: SocketAddr,
    statements: Arc<AtomicU64>,
    work: JoinHandle<()>,
}

impl Meter {
    /// Starts one before the Postgres that listens on this Unix socket.
    pub async fn start(socket: PathBuf) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let statements = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&statements);
        let work = realtime::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((frontend, _)) = listener.accept().await {
                connections.spawn(relay(frontend, socket.clone(), Arc::clone(&counter)));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self {
            address,
            statements,
            work,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many statements have passed.
    pub fn statements(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.work.abort();
    }
}

/// An error is one side's going away, which the other is told by closing.
async fn relay(mut frontend: TcpStream, socket: PathBuf, statements: Arc<AtomicU64>) -> io::Result<()> {
    frontend.set_nodelay(true)?;
    let mut backend = UnixStream::connect(socket).await?;
    let (mut from_frontend, mut to_frontend) = frontend.split();
    let (mut from_backend, mut to_backend) = backend.split();
    tokio::select! {
        ended = count(&mut from_frontend, &mut to_backend, &statements) => ended,
        ended = tokio::io::copy(&mut from_backend, &mut to_frontend) => ended.map(drop),
    }
}

async fn count(
    frontend: &mut (impl AsyncRead + Unpin),
    backend: &mut (impl AsyncWrite + Unpin),
    statements: &AtomicU64,
) -> io::Result<()> {
    while ENCRYPTION_REQUESTS.contains(&forward(frontend, backend).await?) {}
    loop {
        let kind = frontend.read_u8().await?;
        if matches!(kind, b'Q' | b'E') {
            statements.fetch_add(1, Ordering::Relaxed);
        }
        backend.write_u8(kind).await?;
        forward(frontend, backend).await?;
    }
}

/// Passes on one message from its length on; answers its first four bytes, which in a start-up message say what it is.
async fn forward(
    frontend: &mut (impl AsyncRead + Unpin),
    backend: &mut (impl AsyncWrite + Unpin),
) -> io::Result<u32> {
    let length = frontend.read_u32().await?;
    let mut message = vec![0; usize::try_from(length).unwrap_or(0).saturating_sub(4)];
    frontend.read_exact(&mut message).await?;
    backend.write_u32(length).await?;
    backend.write_all(&message).await?;
    backend.flush().await?;
    Ok(message.first_chunk().map_or(0, |four| u32::from_be_bytes(*four)))
}
