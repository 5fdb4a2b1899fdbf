//! TCP connections to vetted addresses (W10), tried in order until one succeeds (D2).
//!
//! Guarantees:
//!
//! - A name is looked up once per connection, and nothing is sent to an address before all of them are vetted.
//! - Every address is tried within the request's time, up to about a hundred for a name. The next one is tried
//!   [`NEXT_ADDRESS_AFTER`] later at the latest, while earlier ones continue (RFC 8305). As soon as one of the first
//!   [`AT_ONCE`] fails, the next is tried without a wait.
//! - A request needs [`AT_ONCE`] descriptors at most, however many addresses its name has.
//! - Only the first connection is kept. The others are closed without a byte sent. The layer above starts TLS on the
//!   kept one.
//!
//! hyper-util's connector alternates only between the two address families. Within one family it waits as long as the
//! operating system does, which is two minutes.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{BoxFuture, Either, select};
use futures_util::stream::{FuturesUnordered, StreamExt};
use hyper::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::Service;

use crate::classify::is_exhaustion;
use crate::resolve::{ResolveError, Vetted};
use crate::timing;
use tenterhook_clock::Clock;

/// How long an address has before the next one is tried as well. Shorter if the request has less time than this for each
/// address.
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);
/// Addresses of a name that are tried at the same time. When the next one is tried, the oldest is given up; the last ones
/// have the rest of the request's time.
const AT_ONCE: usize = 8;
/// The minimum time between two addresses after the first [`AT_ONCE`], even if they fail at once. RFC 8305 recommends it
/// (section 5). Without it, a name with thousands of addresses would make the server call thousands of machines in each
/// attempt; with it, about a hundred in ten seconds.
const LEAST_WAIT: Duration = Duration::from_millis(100);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// The host has no address that may be called.
    #[error("the host could not be resolved")]
    Resolve(#[from] ResolveError),
    /// No address accepted a connection. Contains the lack of a local resource if there was one, otherwise the error of
    /// the first address that failed.
    #[error("no connection could be made")]
    Tcp(#[source] io::Error),
}

/// Makes connections for an HTTP client, without TLS.
#[derive(Clone)]
pub(crate) struct Connector {
    names: Vetted,
    clock: Clock,
}

impl Connector {
    pub(crate) fn new(names: Vetted, clock: Clock) -> Self {
        Self { names, clock }
    }

    async fn connect(self, to: Uri) -> Result<TokioIo<TcpStream>, ConnectError> {
        let port = to.port_u16().unwrap_or(match to.scheme_str() {
            Some("https") => 443,
            _ => 80,
        });
        let addresses = self.names.to_try(to.host().unwrap_or_default()).await?;
        let addresses: Vec<_> = addresses
            .into_iter()
            .map(|address| SocketAddr::new(address, port))
            .collect();
        let wait = wait_for_each(addresses.len(), timing::time_left());
        let stream = first_connection(addresses, wait, &self.clock)
            .await
            .map_err(ConnectError::Tcp)?;
        // A request is written as a whole, so waiting for more bytes would only delay it. If this call fails, requests
        // are only slower.
        let _ = stream.set_nodelay(true);
        Ok(TokioIo::new(stream))
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = ConnectError;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        Box::pin(self.clone().connect(to))
    }
}

/// The first connection to one of `addresses`, tried in their order, each `wait` after the one before.
async fn first_connection(
    addresses: Vec<SocketAddr>,
    wait: Duration,
    clock: &Clock,
) -> io::Result<TcpStream> {
    let mut under_way = FuturesUnordered::new();
    let mut failure: Option<io::Error> = None;
    let mut note = |error: io::Error| {
        let lacks = is_exhaustion(&error);
        if lacks {
            timing::note_exhaustion();
        }
        if failure.is_none() || lacks {
            failure = Some(error);
        }
    };
    for (place, address) in addresses.iter().enumerate() {
        let is_of_the_last = place + AT_ONCE >= addresses.len();
        let given_up_after = (!is_of_the_last).then(|| wait.saturating_mul(AT_ONCE as u32));
        under_way.push(connect(*address, given_up_after, clock));
        if place + 1 == addresses.len() {
            break;
        }
        let mut pause = pin!(clock.linger(wait));
        loop {
            match select(under_way.next(), pause.as_mut()).await {
                Either::Left((Some(Some(Ok(stream))), _)) => return Ok(stream),
                Either::Left((Some(Some(Err(error))), _)) => {
                    note(error);
                    if place + 1 < AT_ONCE {
                        break;
                    }
                }
                Either::Left((Some(None), _)) => {}
                Either::Left((None, pause)) => {
                    pause.await;
                    break;
                }
                Either::Right(_) => break,
            }
        }
    }
    while let Some(ended) = under_way.next().await {
        match ended {
            Some(Ok(stream)) => return Ok(stream),
            Some(Err(error)) => note(error),
            None => {}
        }
    }
    Err(failure.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
}

/// A connection to this address, or its error. `None`: the address did not respond in time and is given up.
async fn connect(
    address: SocketAddr,
    given_up_after: Option<Duration>,
    clock: &Clock,
) -> Option<io::Result<TcpStream>> {
    let connecting = TcpStream::connect(address);
    let Some(limit) = given_up_after else {
        return Some(connecting.await);
    };
    match select(pin!(connecting), pin!(clock.linger(limit))).await {
        Either::Left((ended, _)) => Some(ended),
        Either::Right(_) => None,
    }
}

/// How long each of these addresses has before the next one is tried, from the time that the request has left.
fn wait_for_each(addresses: usize, left: Option<Duration>) -> Duration {
    let Some(left) = left else {
        return NEXT_ADDRESS_AFTER;
    };
    let each = u32::try_from(addresses).unwrap_or(u32::MAX).max(1);
    let least = LEAST_WAIT.min(left / AT_ONCE as u32);
    NEXT_ADDRESS_AFTER.min(left / each).max(least)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn each_address_has_250_ms_or_its_share_of_a_shorter_time() {
        for (addresses, left, expected) in [
            (8, Some(10_000), 250),
            (8, Some(2_000), 250),
            (8, Some(1_999), 249),
            (2, Some(100), 50),
            (1, Some(0), 0),
            (0, None, 250),
            (40, Some(10_000), 250),
            (41, Some(10_000), 243),
            (100, Some(10_000), 100),
            (4_000, Some(10_000), 100),
            (9, Some(400), 50),
        ] {
            let wait = wait_for_each(addresses, left.map(Duration::from_millis));
            assert_eq!(wait.as_millis(), expected, "{addresses} {left:?}");
        }
    }

    /// The wait never ends, so the test would hang if it were used.
    #[tokio::test]
    async fn a_failed_address_is_followed_by_the_next_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let well = listener.local_addr().unwrap();
        let refusing: SocketAddr = ([127, 0, 0, 2], well.port()).into();
        let addresses = vec![refusing, refusing, well];
        let stream = first_connection(addresses, Duration::MAX, &Clock::system()).await;
        assert_eq!(stream.unwrap().peer_addr().unwrap(), well);
    }

    /// Of more than eight addresses that all fail at once, the later ones are paced.
    #[tokio::test]
    async fn every_address_is_tried_and_the_later_ones_are_paced() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let well = listener.local_addr().unwrap();
        let refusing: SocketAddr = ([127, 0, 0, 2], well.port()).into();
        let mut addresses = vec![refusing; 30];
        addresses.push(well);
        let (clock, wait) = (Clock::system(), Duration::from_millis(10));
        let began = clock.monotonic();
        let stream = first_connection(addresses, wait, &clock).await;
        assert_eq!(stream.unwrap().peer_addr().unwrap(), well);
        assert!(clock.monotonic().duration_since(began) >= wait * 23);
    }

    #[tokio::test]
    async fn the_first_failure_is_reported_if_all_fail() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let refusing: SocketAddr = ([127, 0, 0, 2], listener.local_addr().unwrap().port()).into();
        // Linux refuses this address before a packet is sent, with a different error.
        let nowhere: SocketAddr = ([255, 255, 255, 255], 1).into();
        let error = first_connection(vec![refusing, nowhere], Duration::MAX, &Clock::system()).await;
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
