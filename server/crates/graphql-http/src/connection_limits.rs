//! The connections that carry subscriptions: limits on their number, and closing them when the server stops.
//!
//! A connection over a limit is refused at once. A place is free again as soon as its connection is closed. A
//! stopping server waits until every WebSocket has been sent its close frame, but at most twice [`LEAVE_WITHIN`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::error::{ErrorCode, RequestError};
use tenterhook_clock::Clock;

/// Maximum number of connections of one server.
pub const MOST_CONNECTIONS: usize = 1_000;
/// Maximum number of connections of one group of callers to one server.
pub const MOST_OF_GROUP: usize = 100;
/// Maximum number of concurrent operations on one WebSocket.
pub const MOST_OPERATIONS: usize = 100;
/// Maximum size of a message in bytes: the same as [`BODY_LIMIT`](crate::limits::BODY_LIMIT).
pub const MOST_MESSAGE_BYTES: usize = 1024 * 1024;
/// Maximum length of an operation's id, in bytes.
pub const MOST_ID_BYTES: usize = 256;
/// How long a WebSocket may take to authenticate, in real time.
pub const INIT_WITHIN: Duration = Duration::from_secs(10);
/// Interval of keep-alives, in real time. A WebSocket from which nothing arrived for two intervals is closed.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long sending one message may take, in real time. A caller that does not read it is disconnected.
pub const SEND_WITHIN: Duration = Duration::from_secs(10);
/// How long a connection may take to close, in real time.
pub const LEAVE_WITHIN: Duration = Duration::from_secs(1);

/// The limits above, or other values for tests.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionCaps {
    /// See [`MOST_CONNECTIONS`].
    pub connections: usize,
    /// See [`MOST_OF_GROUP`].
    pub of_group: usize,
    /// See [`MOST_OPERATIONS`].
    pub operations: usize,
    /// See [`MOST_MESSAGE_BYTES`].
    pub message_bytes: usize,
    /// See [`INIT_WITHIN`].
    pub init_within: Duration,
    /// See [`KEEP_ALIVE`].
    pub keep_alive: Duration,
    /// See [`SEND_WITHIN`].
    pub send_within: Duration,
    /// See [`LEAVE_WITHIN`].
    pub leave_within: Duration,
}

impl Default for ConnectionCaps {
    fn default() -> Self {
        Self {
            connections: MOST_CONNECTIONS,
            of_group: MOST_OF_GROUP,
            operations: MOST_OPERATIONS,
            message_bytes: MOST_MESSAGE_BYTES,
            init_within: INIT_WITHIN,
            keep_alive: KEEP_ALIVE,
            send_within: SEND_WITHIN,
            leave_within: LEAVE_WITHIN,
        }
    }
}

/// The open connections of this server.
pub struct ConnectionLimits {
    /// Their limits.
    pub caps: ConnectionCaps,
    open: Mutex<Open>,
    closing: CancellationToken,
    left: Notify,
}

#[derive(Default)]
struct Open {
    all: usize,
    of_group: HashMap<ConnectionGroup, usize>,
}

/// The callers that share a limit on connections, such as the users of one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConnectionGroup {
    /// The noun for messages, such as `tenant`.
    pub kind: &'static str,
    /// Identifies the group among those of its kind.
    pub id: String,
}

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The server has reached its limit.
    #[error("the server has reached its limit of live connections")]
    Server,
    /// The caller's group, of this kind, has reached its limit.
    #[error("the {0} has reached its limit of live connections")]
    Group(&'static str),
    /// The server is stopping.
    #[error("the server is stopping")]
    Closing,
}

impl From<Full> for RequestError {
    fn from(full: Full) -> Self {
        let code = match full {
            Full::Group(_) => ErrorCode::RateLimited,
            Full::Server | Full::Closing => ErrorCode::Unavailable,
        };
        Self::new(code, format!("The connection is refused: {full}."))
    }
}

/// A connection's place under the limits. Dropping it frees the place.
pub struct ConnectionPermit {
    connections: Arc<ConnectionLimits>,
    group: Option<ConnectionGroup>,
}

impl ConnectionLimits {
    /// No open connections yet.
    pub fn new(caps: ConnectionCaps) -> Arc<Self> {
        Arc::new(Self {
            caps,
            open: Mutex::default(),
            closing: CancellationToken::new(),
            left: Notify::new(),
        })
    }

    /// Takes a place under the server's limit, before the caller is known.
    pub fn acquire(self: &Arc<Self>) -> Result<ConnectionPermit, Full> {
        if self.closing.is_cancelled() {
            return Err(Full::Closing);
        }
        let mut open = self.open();
        if open.all >= self.caps.connections {
            return Err(Full::Server);
        }
        open.all += 1;
        Ok(ConnectionPermit {
            connections: self.clone(),
            group: None,
        })
    }

    /// Resolves when the server stops.
    pub fn closing(&self) -> WaitForCancellationFutureOwned {
        self.closing.clone().cancelled_owned()
    }

    /// Ends every connection and waits until they are closed, but not for long: twice `leave_within`.
    pub async fn close(&self, clock: &Clock) {
        self.closing.cancel();
        let all_left = async {
            loop {
                let left = self.left.notified();
                if self.open().all == 0 {
                    return;
                }
                left.await;
            }
        };
        tokio::select! {
            () = all_left => {}
            () = clock.real_sleep(self.caps.leave_within * 2) => {}
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionPermit {
    /// Counts the connection for the caller's group, once. A caller without a group counts only for the server.
    pub fn join(&mut self, group: Option<ConnectionGroup>) -> Result<(), Full> {
        let Some(group) = group.filter(|_| self.group.is_none()) else {
            return Ok(());
        };
        let most = self.connections.caps.of_group;
        let mut open = self.connections.open();
        let count = open.of_group.entry(group.clone()).or_default();
        if *count >= most {
            return Err(Full::Group(group.kind));
        }
        *count += 1;
        drop(open);
        self.group = Some(group);
        Ok(())
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut open = self.connections.open();
        open.all = open.all.saturating_sub(1);
        if let Some(group) = &self.group
            && let Some(count) = open.of_group.get_mut(group)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.of_group.remove(group);
            }
        }
        drop(open);
        self.connections.left.notify_waiters();
    }
}
