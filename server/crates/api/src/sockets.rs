//! The connections that carry subscriptions: limits on their number, and closing them when the server stops.
//!
//! A connection over a limit is refused at once. A place is free again as soon as its connection is closed. A
//! stopping server waits until every WebSocket has been sent its close frame, but at most twice [`LEAVE_WITHIN`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use tenterhook_clock::Clock;
use tenterhook_model::access::Caller;
use tenterhook_model::ids::CompanyId;

/// Maximum number of connections of one server.
pub const MOST_SOCKETS: usize = 1_000;
/// Maximum number of connections of one company to one server.
pub const MOST_OF_COMPANY: usize = 100;
/// Maximum number of concurrent operations on one WebSocket.
pub const MOST_OPERATIONS: usize = 100;
/// Maximum size of a message in bytes: the same as over HTTP, except that the platform's publications may be larger
/// there.
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
pub struct Caps {
    /// See [`MOST_SOCKETS`].
    pub sockets: usize,
    /// See [`MOST_OF_COMPANY`].
    pub of_company: usize,
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

impl Default for Caps {
    fn default() -> Self {
        Self {
            sockets: MOST_SOCKETS,
            of_company: MOST_OF_COMPANY,
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
pub struct Sockets {
    /// Their limits.
    pub caps: Caps,
    open: Mutex<Open>,
    closing: CancellationToken,
    left: Notify,
}

#[derive(Default)]
struct Open {
    all: usize,
    of_company: HashMap<CompanyId, usize>,
}

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The server has reached its limit.
    #[error("the server has as many live connections as it can")]
    Server,
    /// The company has reached its limit.
    #[error("the company has as many live connections as it may")]
    Company,
    /// The server is stopping.
    #[error("the server is stopping")]
    Closing,
}

/// A connection's place under the limits. Dropping it frees the place.
pub struct Seat {
    sockets: Arc<Sockets>,
    company: Option<CompanyId>,
}

impl Sockets {
    /// No open connections yet.
    pub fn new(caps: Caps) -> Arc<Self> {
        Arc::new(Self {
            caps,
            open: Mutex::default(),
            closing: CancellationToken::new(),
            left: Notify::new(),
        })
    }

    /// Takes a place under the server's limit, before the caller is known.
    pub fn admit(self: &Arc<Self>) -> Result<Seat, Full> {
        if self.closing.is_cancelled() {
            return Err(Full::Closing);
        }
        let mut open = self.open();
        if open.all >= self.caps.sockets {
            return Err(Full::Server);
        }
        open.all += 1;
        Ok(Seat {
            sockets: self.clone(),
            company: None,
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

impl Seat {
    /// Counts the connection for the caller's company, once. A caller without a company counts only for the server.
    pub fn take(&mut self, caller: &Caller) -> Result<(), Full> {
        let Caller::User(user) = caller else { return Ok(()) };
        if self.company.is_some() {
            return Ok(());
        }
        let most = self.sockets.caps.of_company;
        let mut open = self.sockets.open();
        let count = open.of_company.entry(user.company).or_default();
        if *count >= most {
            return Err(Full::Company);
        }
        *count += 1;
        drop(open);
        self.company = Some(user.company);
        Ok(())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.sockets.open();
        open.all = open.all.saturating_sub(1);
        if let Some(company) = self.company
            && let Some(count) = open.of_company.get_mut(&company)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.of_company.remove(&company);
            }
        }
        drop(open);
        self.sockets.left.notify_waiters();
    }
}
