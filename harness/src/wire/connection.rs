//! One accepted connection: reads its request, and responds or stays silent.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use jiff::SignedDuration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::journal::{Arrival, Journal, Request};
use crate::realtime;
use crate::reply::Reply;
use crate::timekeeper::Time;

/// Longest request head that is read, in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// How long [`Connection::let_read`] waits.
const READING: Duration = Duration::from_millis(250);

/// The bytes of a connection, encrypted or not.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin + Send {
    /// The TCP connection below.
    fn tcp(&self) -> &TcpStream;
}

impl Socket for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Socket for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// One accepted connection, with what it needs from its receiver.
pub(super) struct Connection {
    pub(super) number: usize,
    pub(super) stream: Box<dyn Socket>,
    pub(super) time: Time,
    pub(super) journal: Journal,
    pub(super) silence: Arc<Silence>,
}

impl Connection {
    /// Reads one request, and adds it to the journal.
    pub(super) async fn receive(&mut self) -> io::Result<Arc<Arrival>> {
        let mut bytes = Vec::new();
        let head_end = loop {
            if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            if bytes.len() > MAX_HEAD || self.stream.read_buf(&mut bytes).await? == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "no end of the request head",
                ));
            }
        };
        let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
        let mut lines = head.split("\r\n");
        let mut first = lines.next().unwrap_or_default().split(' ');
        let (method, path) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
        let mut body = bytes.split_off(head_end + 4);
        while body.len() < length {
            if self.stream.read_buf(&mut body).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.journal.enter(Request {
            connection: Some(self.number),
            method: method.to_owned(),
            path: path.to_owned(),
            headers,
            body: Bytes::from(body),
        }))
    }

    /// Sends the response, and closes.
    pub(super) async fn send(&mut self, reply: &Reply) -> io::Result<()> {
        let mut head = format!("HTTP/1.1 {} Scripted\r\n", reply.status);
        for (name, value) in &reply.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!(
            "content-length: {}\r\nconnection: close\r\n\r\n",
            reply.body.len()
        ));
        self.stream.write_all(head.as_bytes()).await?;
        self.stream.write_all(&reply.body).await?;
        self.stream.shutdown().await
    }

    /// Sends exactly these bytes.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Closes the sending direction. The other stays open.
    pub(super) async fn half_close(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// Gives the client a moment of real time to read what was sent, while simulated time stands still. A socket does
    /// not tell when the client has read: a client that needs longer may see less than was sent.
    pub(super) async fn let_read(&mut self) {
        realtime::pause(READING).await;
    }

    /// Sends nothing more in response to this request until the client gives up.
    pub(super) async fn hang(&mut self, arrival: &Arrival) {
        self.time.stall(&arrival.name());
        self.outlast().await;
    }

    /// Sends nothing until the client gives up. For a connection whose request is not known; see [`Connection::hang`].
    pub(super) async fn keep_silent(mut self) {
        let _silent = Silence::begin(&self.silence);
        self.outlast().await;
    }

    /// Waits until the client gives up. Reading is the only way to notice that.
    pub(super) async fn outlast(&mut self) {
        let mut ignored = [0; 1024];
        while matches!(self.stream.read(&mut ignored).await, Ok(1..)) {}
    }

    /// Closes with RST instead of FIN.
    pub(super) fn reset(self) -> io::Result<()> {
        self.stream.tcp().set_zero_linger()
    }
}

/// Counts the silent connections of a receiver. Their requests are unknown, and so their attempts. The clock therefore
/// treats the whole address as stalled while there is at least one.
pub(super) struct Silence {
    time: Time,
    target: SocketAddr,
    count: Mutex<usize>,
}

struct Silent(Arc<Silence>);

impl Silence {
    pub(super) fn new(time: Time, target: SocketAddr) -> Arc<Self> {
        Arc::new(Self {
            time,
            target,
            count: Mutex::new(0),
        })
    }

    /// Stays silent for this span of the world's time. The clock stops at its end until the silence is over.
    pub(super) async fn last(silence: &Arc<Self>, wait: SignedDuration) {
        let silent = Self::begin(silence);
        silence.time.after(wait, Box::new(move || drop(silent))).await;
    }

    fn begin(silence: &Arc<Self>) -> Silent {
        let mut count = silence.count.lock().unwrap_or_else(PoisonError::into_inner);
        *count += 1;
        silence.time.stall_target(&silence.target.to_string());
        Silent(Arc::clone(silence))
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        let mut count = self.0.count.lock().unwrap_or_else(PoisonError::into_inner);
        *count -= 1;
        if *count == 0 {
            self.0.time.resume_target(&self.0.target.to_string());
        }
    }
}
