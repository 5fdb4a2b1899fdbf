//! A receiver that only records when requests arrive, so that it never limits a load.
//!
//! It records the moment at which each request was complete. It responds on connections that stay open with 200, with
//! 500 or not at all, depending on the path. It supports only the part of HTTP/1.1 that it needs: requests with a
//! `content-length`. It keeps no bodies and checks no signatures: `tenterhook_harness::receiver` does.

use std::mem;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use tenterhook_harness::realtime::{self, Stopwatch};

use super::threads::OwnThread;

/// The thread's name.
pub const THREAD: &str = "load receiver";
/// Most headers of a request.
const MAX_HEADERS: usize = 32;
/// Bytes that a connection reads at a time.
const BLOCK: usize = 8 * 1024;
const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const ERROR: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";

/// How the receiver of a webhook responds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Responds with 200.
    Healthy,
    /// Responds with 500.
    Failing,
    /// Never responds.
    Hanging,
}

const KINDS: [(Kind, u8); 3] = [
    (Kind::Healthy, b'a'),
    (Kind::Failing, b'f'),
    (Kind::Hanging, b'h'),
];

/// One request that arrived.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// The event's id.
    pub event: Uuid,
    /// The webhook's number in this load.
    pub webhook: u32,
    /// How the receiver responds.
    pub kind: Kind,
    /// The attempt number, from 1.
    pub attempt: u8,
    /// The time in seconds on the run's stopwatch.
    pub at: f64,
}

/// A running receiver. It ends when dropped.
pub struct DatingReceiver {
    port: u16,
    seen: Arc<Seen>,
    _thread: OwnThread,
}

struct Seen {
    watch: Stopwatch,
    arrivals: Mutex<Vec<Arrival>>,
    /// First attempts that arrived at webhooks that respond.
    first: AtomicU64,
    broken: AtomicU64,
}

impl DatingReceiver {
    /// Listens on a free port, on one loopback address or on all of them. Times come from `watch`.
    ///
    /// # Errors
    ///
    /// If it cannot listen.
    pub async fn start(watch: Stopwatch, everywhere: bool) -> anyhow::Result<Self> {
        let thread = OwnThread::start(THREAD)?;
        let seen = Arc::new(Seen {
            watch,
            arrivals: Mutex::default(),
            first: AtomicU64::new(0),
            broken: AtomicU64::new(0),
        });
        let host = if everywhere {
            Ipv4Addr::UNSPECIFIED
        } else {
            Ipv4Addr::LOCALHOST
        };
        let shared = Arc::clone(&seen);
        // Bound in that thread, because a socket belongs to the runtime that created it.
        let bound = thread.spawn(async move { TcpListener::bind((host, 0)).await });
        let listener = bound.await.context("the receiver's thread has died")??;
        let port = listener.local_addr()?.port();
        thread.spawn(accept(listener, shared));
        Ok(Self {
            port,
            seen,
            _thread: thread,
        })
    }

    /// The beginning of the URLs of all webhooks of a host. Hosts count from 0.
    pub fn prefix(&self, host: u32) -> String {
        let [_, _, high, low] = host.to_be_bytes();
        // 127.0.0.1 is the first, because some systems have no other loopback address.
        let host = match host {
            0 => Ipv4Addr::LOCALHOST,
            _ => Ipv4Addr::new(127, 1, high, low),
        };
        format!("http://{}/", SocketAddr::from((host, self.port)))
    }

    /// The URL of a webhook.
    pub fn url(&self, host: u32, kind: Kind, webhook: u32) -> String {
        let letter = KINDS
            .iter()
            .find(|(known, _)| *known == kind)
            .map_or('a', |(_, letter)| char::from(*letter));
        format!("{}{letter}/{webhook}", self.prefix(host))
    }

    /// Number of first attempts that arrived at webhooks that respond, including repeats.
    pub fn arrived(&self) -> u64 {
        self.seen.first.load(Ordering::Relaxed)
    }

    /// Number of connections with an invalid request.
    pub fn broken(&self) -> u64 {
        self.seen.broken.load(Ordering::Relaxed)
    }

    /// The arrivals since the last call.
    pub fn take(&self) -> Vec<Arrival> {
        mem::take(&mut *self.seen.arrivals())
    }
}

impl Seen {
    fn arrivals(&self) -> MutexGuard<'_, Vec<Arrival>> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, arrival: Arrival) {
        self.arrivals().push(arrival);
        if arrival.attempt == 1 && arrival.kind != Kind::Hanging {
            self.first.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn accept(listener: TcpListener, seen: Arc<Seen>) {
    loop {
        // An error means that the client has closed the connection.
        if let Ok((stream, peer)) = listener.accept().await
            && peer.ip().is_loopback()
        {
            let seen = Arc::clone(&seen);
            realtime::spawn(async move {
                if serve(stream, &seen).await.is_none() {
                    seen.broken.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    }
}

/// Responds until the client closes the connection. `None` after an invalid request.
async fn serve(mut stream: TcpStream, seen: &Seen) -> Option<()> {
    // Otherwise the kernel may delay a response by 40 ms, and the load would attribute that to the server.
    stream.set_nodelay(true).ok()?;
    let mut received = Vec::with_capacity(BLOCK);
    loop {
        while let Some((request, length)) = parse(&received)? {
            received.drain(..length);
            seen.note(Arrival {
                at: seen.watch.seconds(),
                ..request
            });
            let answer = match request.kind {
                Kind::Healthy => OK,
                Kind::Failing => ERROR,
                Kind::Hanging => continue,
            };
            if stream.write_all(answer).await.is_err() {
                return Some(());
            }
        }
        received.reserve(BLOCK);
        // An error is treated like the end of the connection.
        if !matches!(stream.read_buf(&mut received).await, Ok(1..)) {
            return Some(());
        }
    }
}

/// The first request and its length. The outer `None` means an invalid request, the inner `None` an incomplete one.
fn parse(received: &[u8]) -> Option<Option<(Arrival, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(head) = request.parse(received).ok()? else {
        return Some(None);
    };
    let number = |text: &str| text.parse::<usize>().ok();
    let header = |name: &str| {
        let header = request
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(header.value).ok()
    };
    let length = head + number(header("content-length")?)?;
    if received.len() < length {
        return Some(None);
    }
    let (letter, webhook) = request.path?.trim_start_matches('/').split_once('/')?;
    let kind = KINDS.iter().find(|(_, known)| letter.as_bytes() == [*known])?.0;
    let arrival = Arrival {
        event: header("webhook-id")?.parse().ok()?,
        webhook: webhook.parse().ok()?,
        kind,
        attempt: header("tenterhook-attempt")?.parse().ok()?,
        at: 0.0,
    };
    Some(Some((arrival, length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &str = "POST /f/7 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\
                           Webhook-Id: 01890000-0000-7000-8000-000000000001\r\nTenterhook-Attempt: 2\r\n\r\n{}";

    #[test]
    fn a_request_counts_once_it_is_complete() {
        let mut two = REQUEST.repeat(2).into_bytes();
        let (arrival, length) = parse(&two).unwrap().unwrap();
        assert_eq!(
            (arrival.webhook, arrival.kind, arrival.attempt),
            (7, Kind::Failing, 2)
        );
        assert_eq!(arrival.event.to_string(), "01890000-0000-7000-8000-000000000001");
        assert_eq!(length, REQUEST.len());
        two.drain(..length);
        assert!(parse(&two).unwrap().is_some());
        for part in 0..REQUEST.len() {
            assert!(parse(&two[..part]).unwrap().is_none(), "{part}");
        }
    }

    #[test]
    fn a_request_that_names_no_delivery_is_invalid() {
        for (from, to) in [
            ("/f/7", "/x/7"),
            ("/f/7", "/f"),
            ("/f/7", "/f/seven"),
            ("Webhook-Id", "Other-Id"),
            ("Content-Length", "Content-Size"),
            ("Attempt: 2", "Attempt: 256"),
            ("HTTP/1.1", "HTTQ/1.1"),
        ] {
            assert!(parse(REQUEST.replacen(from, to, 1).as_bytes()).is_none(), "{to}");
        }
    }
}
