//! The state of one connection: when bytes last arrived, the last error code, and whether it may be used again.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use diesel::QueryResult;
use diesel::result::{DatabaseErrorKind, Error};
use futures_util::stream::{self, Stream, StreamExt};
use tokio_util::sync::CancellationToken;

use super::pulse::Pulse;
use super::sqlstate::{self, Code, Meaning};
use tenterhook_clock as clock;

/// How long to look for a result after the time is up: a process that was stopped for a while notices the time before it
/// reads a result that arrived during the stop.
const LAST_LOOK: Duration = Duration::from_millis(100);

/// One connection's state, shared by the connection, its socket and the task that drives it.
pub struct Line {
    limit: Duration,
    pulse: Arc<Pulse>,
    seen: Mutex<Seen>,
    given_up: AtomicBool,
    /// Stops the task that drives the connection, which closes the socket.
    closed: CancellationToken,
}

struct Seen {
    /// When bytes last arrived.
    at: Instant,
    /// The code of the last error.
    code: Option<Code>,
    /// Why the connection has ended, if it has.
    ended: Option<String>,
}

impl Line {
    /// The state of a connection with the time limit `limit` for statements.
    pub fn new(limit: Duration, pulse: Arc<Pulse>) -> Arc<Self> {
        Arc::new(Self {
            limit,
            pulse,
            seen: Mutex::new(Seen {
                at: clock::monotonic(),
                code: None,
                ended: None,
            }),
            given_up: AtomicBool::new(false),
            closed: CancellationToken::new(),
        })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that bytes arrived, perhaps with the code of an error.
    pub fn hear(&self, code: Option<Code>) {
        let mut seen = self.seen();
        seen.at = clock::monotonic();
        seen.code = code.or(seen.code);
    }

    /// Records that the connection has ended.
    pub fn end(&self, why: String) {
        self.seen().ended = Some(why);
    }

    /// Resolves when the connection must be closed.
    pub async fn until_closed(&self) {
        self.closed.cancelled().await;
    }

    /// Closes the socket, even during a statement.
    pub fn close(&self) {
        self.closed.cancel();
    }

    pub fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }

    /// Whether another connection has stopped answering since bytes last arrived here: then this one may have too.
    pub fn is_suspect(&self) -> bool {
        self.pulse.suspects(self.seen().at)
    }

    fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
        self.close();
    }

    /// Runs a statement until its result begins.
    pub async fn statement<T>(&self, doing: impl Future<Output = QueryResult<T>>) -> QueryResult<T> {
        if self.is_given_up() {
            return Err(closed("the connection to the database was closed before"));
        }
        self.seen().code = None;
        let began = clock::monotonic();
        let mut doing = pin!(doing);
        let mut done = clock::within(self.limit, doing.as_mut()).await;
        if done.is_err() {
            done = clock::within(LAST_LOOK, doing).await;
        }
        match done {
            Ok(Ok(value)) => {
                self.pulse.answered(began);
                Ok(value)
            }
            Ok(Err(error)) => Err(self.told(error)),
            Err(_) => Err(self.silent(began)),
        }
    }

    /// The rows of a statement that started at `began`. All of them must arrive before the limit.
    pub fn rows<T>(
        self: Arc<Self>,
        rows: impl Stream<Item = QueryResult<T>> + Send + 'static,
        began: Instant,
    ) -> impl Stream<Item = QueryResult<T>> + Send + 'static {
        let left = self
            .limit
            .saturating_sub(clock::monotonic().duration_since(began))
            .max(LAST_LOOK);
        let mut rows = Box::pin(rows);
        let mut late = Box::pin(clock::lapse(left));
        let mut is_late = false;
        stream::poll_fn(move |cx| match rows.poll_next_unpin(cx) {
            _ if is_late => Poll::Ready(None),
            Poll::Ready(row) => Poll::Ready(row.map(|row| row.map_err(|error| self.told(error)))),
            Poll::Pending => late.as_mut().poll(cx).map(|()| {
                is_late = true;
                Some(Err(self.silent(began)))
            }),
        })
    }

    /// The statement was not answered in time. Gives up the connection, because nothing else ends the statement.
    fn silent(&self, began: Instant) -> Error {
        self.give_up();
        self.pulse.fell_silent(began, self.limit);
        closed(&format!(
            "no response within {:?}; the connection was closed",
            self.limit
        ))
    }

    /// Converts an error by its code.
    fn told(&self, error: Error) -> Error {
        let (code, ended) = {
            let mut seen = self.seen();
            (seen.code.take(), seen.ended.clone())
        };
        match (error, code) {
            // An error without a code is not from Postgres: the connection has ended.
            (Error::DatabaseError(DatabaseErrorKind::UnableToSendCommand, info), _) => {
                self.give_up();
                closed(&ended.unwrap_or_else(|| info.message().to_owned()))
            }
            (Error::DatabaseError(kind, info), Some(code)) => {
                if sqlstate::meaning(code) == Meaning::Unavailable {
                    self.give_up();
                }
                if code == sqlstate::READ_ONLY {
                    self.pulse.refuses_changes();
                }
                match kind {
                    DatabaseErrorKind::Unknown => sqlstate::coded(code, info),
                    kind => Error::DatabaseError(kind, info),
                }
            }
            (error, _) => error,
        }
    }
}

fn closed(why: &str) -> Error {
    Error::DatabaseError(DatabaseErrorKind::ClosedConnection, Box::new(why.to_owned()))
}
