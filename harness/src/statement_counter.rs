//! Counts SQL statements: a proxy between a server and its Postgres that understands a part of the protocol.
//!
//! It counts each simple query and each execution of a prepared statement once, by its text, and changes nothing. It
//! does not support TLS, because it runs on the same machine.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::realtime;

/// Codes of SSLRequest and GSSENCRequest: the only messages without a type after which another one can follow.
const ENCRYPTION_REQUESTS: [u32; 2] = [80_877_103, 80_877_104];

/// Number of executions of each statement, by its text.
type Counts = Mutex<BTreeMap<String, u64>>;

/// The address of a Postgres.
#[derive(Debug, Clone)]
pub enum Upstream {
    /// A Unix socket.
    Socket(PathBuf),
    /// A host and port.
    Address((String, u16)),
}

/// A running proxy; dropping it closes its connections.
pub struct StatementCounter {
    address: SocketAddr,
    statements: Arc<Counts>,
    work: JoinHandle<()>,
}

impl StatementCounter {
    /// Starts a proxy to the Postgres at this address.
    pub async fn start(upstream: Upstream) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let statements = Arc::<Counts>::default();
        let counter = Arc::clone(&statements);
        let work = realtime::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((frontend, _)) = listener.accept().await {
                connections.spawn(relay(frontend, upstream.clone(), Arc::clone(&counter)));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self {
            address,
            statements,
            work,
        })
    }

    /// The address on which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Number of executed statements.
    pub fn statements(&self) -> u64 {
        self.by_text().values().sum()
    }

    /// Number of executions of each statement, by its text.
    pub fn by_text(&self) -> BTreeMap<String, u64> {
        self.statements
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for StatementCounter {
    fn drop(&mut self) {
        self.work.abort();
    }
}

/// Relays one connection. An error means that one side has closed it. Then the other side is closed too.
async fn relay(frontend: TcpStream, upstream: Upstream, statements: Arc<Counts>) -> io::Result<()> {
    frontend.set_nodelay(true)?;
    match upstream {
        Upstream::Socket(path) => between(frontend, UnixStream::connect(path).await?, &statements).await,
        Upstream::Address(address) => {
            let backend = TcpStream::connect(address).await?;
            backend.set_nodelay(true)?;
            between(frontend, backend, &statements).await
        }
    }
}

async fn between(
    mut frontend: TcpStream,
    backend: impl AsyncRead + AsyncWrite,
    statements: &Counts,
) -> io::Result<()> {
    let (mut from_frontend, mut to_frontend) = frontend.split();
    let (mut from_backend, mut to_backend) = tokio::io::split(backend);
    tokio::select! {
        ended = count(&mut from_frontend, &mut to_backend, statements) => ended,
        ended = tokio::io::copy(&mut from_backend, &mut to_frontend) => ended.map(drop),
    }
}

async fn count(
    frontend: &mut (impl AsyncRead + Unpin),
    backend: &mut (impl AsyncWrite + Unpin),
    statements: &Counts,
) -> io::Result<()> {
    while ENCRYPTION_REQUESTS.contains(&start_code(&forward(frontend, backend).await?)) {}
    let mut texts = Texts::default();
    loop {
        let kind = frontend.read_u8().await?;
        backend.write_u8(kind).await?;
        let message = forward(frontend, backend).await?;
        if let Some(text) = texts.executed(kind, &message) {
            let mut counts = statements.lock().unwrap_or_else(PoisonError::into_inner);
            *counts.entry(text).or_default() += 1;
        }
    }
}

/// The texts of a connection's prepared statements and portals.
#[derive(Default)]
struct Texts {
    statements: HashMap<String, String>,
    portals: HashMap<String, String>,
}

impl Texts {
    /// The statement that a message of this kind executes, if any.
    fn executed(&mut self, kind: u8, message: &[u8]) -> Option<String> {
        let mut words = message
            .split(|byte| *byte == 0)
            .map(|word| String::from_utf8_lossy(word).into_owned());
        let mut word = || words.next().unwrap_or_default();
        match kind {
            b'Q' => Some(word()),
            b'P' => {
                self.statements.insert(word(), word());
                None
            }
            b'B' => {
                let (portal, statement) = (word(), word());
                let text = self.statements.get(&statement).cloned().unwrap_or_default();
                self.portals.insert(portal, text);
                None
            }
            b'E' => Some(self.portals.get(&word()).cloned().unwrap_or_default()),
            _ => None,
        }
    }
}

/// The code in the first four bytes of a start-up message.
fn start_code(message: &[u8]) -> u32 {
    message.first_chunk().map_or(0, |four| u32::from_be_bytes(*four))
}

/// Forwards the rest of a message, beginning with its length. Returns what follows the length.
async fn forward(
    frontend: &mut (impl AsyncRead + Unpin),
    backend: &mut (impl AsyncWrite + Unpin),
) -> io::Result<Vec<u8>> {
    let length = frontend.read_u32().await?;
    let mut message = vec![0; usize::try_from(length).unwrap_or(0).saturating_sub(4)];
    frontend.read_exact(&mut message).await?;
    backend.write_u32(length).await?;
    backend.write_all(&message).await?;
    backend.flush().await?;
    Ok(message)
}
