//! The HTTP connections: from when one is accepted until it is closed.
//!
//! Promises that nobody holds a connection by being slow: one on which a request's head does not come in time is closed,
//! and so is one whose other end takes nothing for [`Limits::stalled_for`] while there is something to send. How long a
//! request's body may take is its reader's business. Speaks HTTP/1.1 only: which version a caller speaks would have to be
//! waited for, without an end.
//!
//! None of it is a tracked task: simulated time knows nothing of sockets.

use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use hyper::rt::Executor;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_io_timeout::TimeoutWriter;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::sockets::SEND_WITHIN;

/// How slow the other end may be, in real time.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From the opening of a connection, or from the end of an answer, to the end of the next request's head.
    pub head_within: Duration,
    /// Without a byte being taken while there are some to take.
    pub stalled_for: Duration,
}

impl Limits {
    /// With this time for a head, and the usual one for an answer.
    pub fn new(head_within: Duration) -> Self {
        Self {
            head_within,
            stalled_for: SEND_WITHIN,
        }
    }
}

/// Serves every connection that is made to `listener` until `stop`; then takes no more, and waits for those that are
/// there to end their requests.
pub async fn serve(mut listener: TcpListener, router: Router, limits: Limits, stop: CancellationToken) {
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
    // An error tells of somebody who broke it off, or was too slow, and is not there to be told.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

#[cfg(test)]
mod tests;
