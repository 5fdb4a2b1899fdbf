//! A receiver on a real socket that handles each connection as the test says, byte by byte.
#![expect(
    clippy::disallowed_methods,
    reason = "a receiver is the world outside: simulated time does not know of it"
)]

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

/// What a receiver saw, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A connection was accepted.
    Connection,
    /// A request was read, head and body.
    Request(String),
    /// The sender closed a connection while the receiver waited for a request.
    Closed,
    /// The receiver closed a connection by [`Connection::close`].
    HungUp,
}

pub struct Receiver {
    pub address: SocketAddr,
    seen: mpsc::UnboundedReceiver<Seen>,
}

pub struct Connection {
    pub io: Box<dyn Io>,
    seen: mpsc::UnboundedSender<Seen>,
    unread: Vec<u8>,
}

pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

impl Receiver {
    /// Serves each connection with `serve`, in parallel. A connection is closed when `serve` returns.
    pub async fn start<F>(serve: impl Fn(Connection) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::listen(None, serve).await
    }

    /// Like [`Receiver::start`], after a TLS handshake. A connection that fails in the handshake is not served.
    pub async fn start_tls<F>(
        tls: tokio_rustls::rustls::ServerConfig,
        serve: impl Fn(Connection) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::listen(Some(TlsAcceptor::from(Arc::new(tls))), serve).await
    }

    async fn listen<F>(
        tls: Option<TlsAcceptor>,
        serve: impl Fn(Connection) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (said, seen) = mpsc::unbounded_channel();
        let serve = Arc::new(serve);
        tokio::spawn(async move {
            loop {
                let Ok((socket, _)) = listener.accept().await else {
                    return;
                };
                let (tls, said, serve) = (tls.clone(), said.clone(), serve.clone());
                let _ = said.send(Seen::Connection);
                tokio::spawn(async move {
                    let io: Box<dyn Io> = match tls {
                        None => Box::new(socket),
                        Some(tls) => match tls.accept(socket).await {
                            Ok(stream) => Box::new(stream),
                            Err(_) => return,
                        },
                    };
                    serve(Connection {
                        io,
                        seen: said,
                        unread: Vec::new(),
                    })
                    .await;
                });
            }
        });
        Self { address, seen }
    }

    /// A receiver that responds to the first request of each connection with `answer` and closes the connection.
    pub async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = Arc::new(answer.into());
        Self::start(move |mut connection| {
            let answer = answer.clone();
            async move {
                connection.request().await;
                connection.write(answer.as_slice()).await;
                connection.close();
            }
        })
        .await
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Waits for the next thing seen.
    pub async fn next(&mut self) -> Seen {
        self.seen.recv().await.unwrap()
    }

    /// The number of connections and of requests, once no more can come.
    pub fn counts(&mut self) -> (usize, usize) {
        let (mut connections, mut requests) = (0, 0);
        while let Ok(seen) = self.seen.try_recv() {
            match seen {
                Seen::Connection => connections += 1,
                Seen::Request(_) => requests += 1,
                Seen::Closed | Seen::HungUp => {}
            }
        }
        (connections, requests)
    }
}

impl Connection {
    /// The next request with its body; `None` once the sender has closed the connection.
    pub async fn request(&mut self) -> Option<String> {
        let request = self.read_request().await;
        let _ = self
            .seen
            .send(request.clone().map_or(Seen::Closed, Seen::Request));
        request
    }

    async fn read_request(&mut self) -> Option<String> {
        loop {
            let text = String::from_utf8_lossy(&self.unread).into_owned();
            if let Some((head, _)) = text.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "));
                let whole = head.len() + 4 + length.map_or(0, |length| length.parse().unwrap());
                if self.unread.len() >= whole {
                    self.unread.drain(..whole);
                    return Some(text[..whole].to_owned());
                }
            }
            match self.io.read_buf(&mut self.unread).await {
                Ok(read) if read > 0 => {}
                _ => return None,
            }
        }
    }

    /// Writes. Returns whether the other side still accepts it.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.io.write_all(bytes.as_ref()).await.is_ok() && self.io.flush().await.is_ok()
    }

    /// Closes the connection, then reports it.
    pub fn close(self) {
        let Self { io, seen, .. } = self;
        drop(io);
        let _ = seen.send(Seen::HungUp);
    }

    /// Responds to every request with `answer` until the sender closes the connection.
    pub async fn answer_all(&mut self, answer: impl AsRef<[u8]>) {
        while self.request().await.is_some() {
            self.write(answer.as_ref()).await;
        }
    }
}
