//! The HTTP connections, from accepting to closing.
//!
//! No slow peer can hold a connection. A connection is closed if a request's head does not arrive in time, and if the
//! peer reads nothing for [`Limits::stalled_for`] while there is something to send. The code that reads a request's
//! body limits its time, and `unread_body` discards what no code reads. Only HTTP/1.1 is supported: detecting the version
//! would mean waiting without a limit for the peer's first bytes.
//!
//! Connections are not tracked tasks: sockets use real time, also when the clock is simulated.

mod unread_body;

use std::pin::pin;
use std::time::Duration;

use axum::serve::Listener;
use axum::{Router, middleware};
use hyper::rt::Executor;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_io_timeout::TimeoutWriter;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection_limits::SEND_WITHIN;

pub use unread_body::DISCARDED;

/// How long a response waits for a body that its route did not read: time for 32 MiB at 10 Mbit/s. Callers without a token
/// can hold a connection for this long, which is less than a connection may be idle.
const DISCARD_WITHIN: Duration = Duration::from_secs(30);

/// How slow the peer may be, in real time.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From the opening of a connection, or the end of a response, to the end of the next request's head.
    pub head_within: Duration,
    /// How long the peer may read nothing while there are bytes to send.
    pub stalled_for: Duration,
    /// How long a response waits for the part of the body that its route did not read.
    pub discard_within: Duration,
}

impl Limits {
    /// This limit for a request's head, and the default limits for everything else.
    pub fn new(head_within: Duration) -> Self {
        Self {
            head_within,
            stalled_for: SEND_WITHIN,
            discard_within: DISCARD_WITHIN,
        }
    }
}

/// Serves every connection to `listener` until `stop`. Then it accepts no more and waits until open connections have
/// finished their requests.
pub async fn serve(mut listener: TcpListener, router: Router, limits: Limits, stop: CancellationToken) {
    let unread = middleware::from_fn_with_state(limits.discard_within, unread_body::layer);
    let router = router.layer(unread);
    let connections = TaskTracker::new();
    loop {
        let stream = tokio::select! {
            (stream, _) = Listener::accept(&mut listener) => stream,
            () = stop.cancelled() => break,
        };
        let connection = connection(stream, router.clone(), limits, stop.clone());
        TokioExecutor::new().execute(connections.track_future(connection));
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn connection(stream: TcpStream, router: Router, limits: Limits, stop: CancellationToken) {
    let mut stream = TimeoutWriter::new(stream);
    stream.set_timeout(Some(limits.stalled_for));
    let mut builder = Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_within);
    let service = TowerToHyperService::new(router);
    let connection = builder.serve_connection(TokioIo::new(Box::pin(stream)), service);
    let mut connection = pin!(connection.with_upgrades());
    // An error means that the peer disconnected or was too slow, so nobody is there to receive it.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

#[cfg(test)]
mod tests;
