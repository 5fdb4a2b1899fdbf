//! TCP connections to vetted addresses (W10), tried in order until one succeeds (D2).
//!
//! Guarantees:
//!
//! - A name is looked up once per connection, and nothing is sent to an address before all of them are vetted.
//! - Every address gets its chance within the request's time. The next one is tried as soon as one fails, and after
//!   [`NEXT_ADDRESS_AFTER`] in any case, while earlier ones continue (RFC 8305).
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

/// The first connection to one of `addresses`, tried in their order.
async fn first_connection(
    addresses: Vec<SocketAddr>,
    wait: Duration,
    clock: &Clock,
) -> io::Result<TcpStream> {
    let mut addresses = addresses.into_iter();
    let mut under_way = FuturesUnordered::new();
    let mut failure: Option<io::Error> = None;
    loop {
        under_way.extend(addresses.next().map(TcpStream::connect));
        let ended = if addresses.len() == 0 {
            under_way.next().await
        } else {
            match select(under_way.next(), pin!(clock.linger(wait))).await {
                Either::Left((ended, _)) => ended,
                Either::Right(_) => continue,
            }
        };
        match ended {
            Some(Ok(stream)) => return Ok(stream),
            Some(Err(error)) => {
                let lacks = is_exhaustion(&error);
                if lacks {
                    timing::note_exhaustion();
                }
                if failure.is_none() || lacks {
                    failure = Some(error);
                }
            }
            None => return Err(failure.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into())),
        }
    }
}

/// How long each of these addresses has before the next one is tried, from the time that the request has left.
fn wait_for_each(addresses: usize, left: Option<Duration>) -> Duration {
    let each = u32::try_from(addresses).unwrap_or(u32::MAX).max(1);
    left.map_or(NEXT_ADDRESS_AFTER, |left| NEXT_ADDRESS_AFTER.min(left / each))
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
