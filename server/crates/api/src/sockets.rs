//! The connections that subscriptions go over: how many there may be, and their end when the server stops.
//!
//! Promises that a connection past a cap is told so at once, that a place is free again as soon as its connection is
//! gone, and that a server which stops waits until every WebSocket has been sent its close frame, but not for longer than
//! twice [`LEAVE_WITHIN`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use tenterhook_clock::Clock;
use tenterhook_model::access::Caller;
use tenterhook_model::ids::CompanyId;

/// Connections of one server.
pub const MOST_SOCKETS: usize = 1_000;
/// Connections of one company to one server.
pub const MOST_OF_COMPANY: usize = 100;
/// Operations that are under way on one WebSocket.
pub const MOST_OPERATIONS: usize = 100;
/// Bytes of one message: what fits over HTTP, but for the platform's publications, which may be larger there.
pub const MOST_MESSAGE_BYTES: usize = 1024 * 1024;
/// Bytes of an operation's id.
pub const MOST_ID_BYTES: usize = 256;
/// How long a WebSocket may take to say who it is, in real time.
pub const INIT_WITHIN: Duration = Duration::from_secs(10);
/// How often a connection is told that it is still there, in real time. A WebSocket from which nothing came for two of
/// these is gone.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long one message may take to be sent, in real time: who does not read is gone.
pub const SEND_WITHIN: Duration = Duration::from_secs(10);
/// How long a connection may take to end once it is told to, in real time.
pub const LEAVE_WITHIN: Duration = Duration::from_secs(1);

/// The bounds above, as they are or as a test needs them.
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

/// The connections of this server.
pub struct Sockets {
    /// What is allowed.
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

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// As many as the server allows.
    #[error("the server has as many live connections as it can")]
    Server,
    /// As many as a company may have.
    #[error("the company has as many live connections as it may")]
    Company,
    /// The server stops.
    #[error("the server is stopping")]
    Closing,
}

/// A connection's place, until it is dropped.
pub struct Seat {
    sockets: Arc<Sockets>,
    company: Option<CompanyId>,
}

impl Sockets {
    /// None yet.
    pub fn new(caps: Caps) -> Arc<Self> {
        Arc::new(Self {
            caps,
            open: Mutex::default(),
            closing: CancellationToken::new(),
            left: Notify::new(),
        })
    }

    /// A place for one more, whoever it turns out to be.
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

    /// Ends every connection and waits until they are gone, a moment at the most.
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
    /// Counts the connection as one of the caller's company, once; who has no company counts only in all.
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
