#![doc = include_str!("../README.md")]
#![expect(
    clippy::disallowed_methods,
    reason = "this is the module that the ban on other clocks points to"
)]

mod simulated;
mod system;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinHandle;

pub use simulated::{AdvanceError, Busy, LAST_SIMULATED, SimClock};
use system::SystemClock;

/// The only source of time. Clones share it.
#[derive(Clone, Debug)]
pub struct Clock(Kind);

#[derive(Clone, Debug)]
enum Kind {
    System(Arc<SystemClock>),
    Simulated(SimClock),
}

/// The deadline was reached before the work was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the deadline was reached")]
pub struct DeadlineElapsed;

/// One request, as its receiver would name it if it stalls.
#[derive(Debug, Clone)]
pub struct RequestInFlight {
    /// A name that the receiver can make from the request. [`SimClock::stall_request`] is compared with it.
    pub name: String,
    /// The URL's host and port, such as `127.0.0.1:9000`. [`SimClock::stall_target`] is compared with it.
    pub target: Option<String>,
}

/// Held while a request is in flight to a receiver; see [`Clock::external`].
#[derive(Debug)]
#[must_use = "the request counts as in flight only while this is held"]
pub struct External {
    _held: Option<simulated::InFlight>,
}

impl Clock {
    /// The machine's clock, until a database time is [passed in](Clock::follow).
    pub fn system() -> Self {
        Self(Kind::System(Arc::new(SystemClock::new())))
    }

    /// Time that stands still at `start` (truncated to microseconds) until it is advanced. Clones share it, so several
    /// servers in one process can share it too.
    pub fn simulated(start: Timestamp) -> Self {
        Self(Kind::Simulated(SimClock::new(start)))
    }

    /// The handle that moves simulated time; `None` for the system clock.
    pub fn simulation(&self) -> Option<&SimClock> {
        match &self.0 {
            Kind::System(_) => None,
            Kind::Simulated(clock) => Some(clock),
        }
    }

    /// The time, truncated to the microseconds that the database stores. Never goes back.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Kind::System(clock) => clock.now(),
            Kind::Simulated(clock) => clock.now(),
        }
    }

    /// Real monotonic time on both clocks, for example for the age of the feed or the duration of a phase.
    pub fn monotonic(&self) -> Instant {
        Instant::now()
    }

    /// The time since a fixed moment in the past: simulated time in a simulation, otherwise monotonic time, which
    /// [`Clock::follow`] does not correct.
    pub fn elapsed(&self) -> Duration {
        match &self.0 {
            Kind::System(clock) => clock.elapsed(),
            Kind::Simulated(clock) => {
                let since = clock.now().duration_since(Timestamp::MIN);
                since.try_into().unwrap_or_default()
            }
        }
    }

    /// Waits until [`Clock::now`] is at or after `at`. The task is idle while it waits.
    pub async fn sleep_until(&self, at: Timestamp) {
        match &self.0 {
            Kind::System(clock) => clock.sleep_until(at).await,
            Kind::Simulated(clock) => clock.sleep_until(at).await,
        }
    }

    /// Waits for `duration` of real time on both clocks, for polls, heartbeats and the feed. The task is idle while it
    /// waits.
    pub async fn real_sleep(&self, duration: Duration) {
        self.park(tokio::time::sleep(duration)).await;
    }

    /// Runs `future` for at most `limit` of real time on both clocks, and drops it then. For the other end of a socket,
    /// which simulated time does not know. Not for a tracked task, because the task is idle while it waits.
    ///
    /// # Errors
    ///
    /// [`DeadlineElapsed`] when the time is up.
    pub async fn within<F: Future>(&self, limit: Duration, future: F) -> Result<F::Output, DeadlineElapsed> {
        tokio::select! {
            output = future => Ok(output),
            () = self.real_sleep(limit) => Err(DeadlineElapsed),
        }
    }

    /// Waits for `duration` of real time in the middle of work. The task is *not* idle, so simulated time does not move.
    pub async fn linger(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    /// Waits for `duration` of real time so that more work comes together. In simulated time it does not wait.
    pub async fn gather(&self, duration: Duration) {
        if self.simulation().is_none() {
            tokio::time::sleep(duration).await;
        }
    }

    /// Runs `future` until `at` at the latest, and drops it then. The task is *not* idle, so simulated time waits for
    /// the result. Call it from a tracked task: in other tasks simulated time does not know that there is work.
    ///
    /// # Errors
    ///
    /// [`DeadlineElapsed`] at exactly `at` (T2). If `at` has already been reached, `future` is not started. On the
    /// system clock the time left is measured monotonically from the call. An output that exists when the end is noticed
    /// counts as ready in time, because a slow machine is not the receiver's fault.
    pub async fn deadline<F: Future>(&self, at: Timestamp, future: F) -> Result<F::Output, DeadlineElapsed> {
        match &self.0 {
            Kind::System(clock) => clock.deadline(at, future).await,
            Kind::Simulated(clock) => clock.deadline(at, future).await,
        }
    }

    /// Starts a task. Simulated time waits for it unless it is idle. It stops counting when it ends, panics or, once
    /// aborted, is dropped by the runtime, but not before the tasks that join it have been woken.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub fn spawn<F>(&self, name: &'static str, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        match &self.0 {
            Kind::System(_) => tokio::spawn(future),
            Kind::Simulated(clock) => clock.spawn(name, future),
        }
    }

    /// Waits for another task of this process: a channel, a `Notify`, a join handle. The task is idle while it waits.
    ///
    /// Not for I/O, because no task in the process announces its end. In a `select!`, one parked branch makes the whole
    /// task idle, so never combine it with a request or a query.
    pub async fn park<F: Future>(&self, future: F) -> F::Output {
        match &self.0 {
            Kind::System(_) => future.await,
            Kind::Simulated(clock) => clock.park(future).await,
        }
    }

    /// Notes that the calling task has a request in flight to a receiver. While the receiver has reported that it stalls
    /// ([`SimClock::stall_request`], [`SimClock::stall_target`]), the task is idle. No effect on the system clock.
    pub fn external(&self, request: RequestInFlight) -> External {
        External {
            _held: self.simulation().and_then(|clock| clock.external(request)),
        }
    }

    /// Adopts the database's time: `database_now` was read between `asked` and `answered`, both from
    /// [`Clock::monotonic`]. If it is behind the latest result of [`Clock::now`], time stands still until the database's
    /// time reaches it. So call this once before serving.
    ///
    /// Returns by how much the database's clock is at least ahead of this machine's own, negative if it is behind. Zero
    /// if the time between the query and its response can explain the difference. In a simulation nothing is adopted or
    /// compared, and the result is zero.
    pub fn follow(&self, database_now: Timestamp, asked: Instant, answered: Instant) -> SignedDuration {
        match &self.0 {
            Kind::System(clock) => {
                clock.follow(database_now, asked, answered);
                system::ahead_of_machine(database_now, asked, answered)
            }
            Kind::Simulated(_) => SignedDuration::ZERO,
        }
    }
}

/// Real monotonic time, for code below everything that has a [`Clock`]: connections to the database.
pub fn monotonic() -> Instant {
    Instant::now()
}

/// Waits for `limit` of real time on any clock. The task is *not* idle: for work that simulated time must wait for and
/// that may never get a response, such as a statement.
pub async fn lapse(limit: Duration) {
    tokio::time::sleep(limit).await;
}

/// Runs `future` for at most `limit` of real time on any clock, and drops it then. Not idle, like [`lapse`].
///
/// # Errors
///
/// [`DeadlineElapsed`] when the time is up.
pub async fn within<F: Future>(limit: Duration, future: F) -> Result<F::Output, DeadlineElapsed> {
    tokio::time::timeout(limit, future)
        .await
        .map_err(|_| DeadlineElapsed)
}

/// Starts a task that moves bytes for other tasks. Simulated time need not know it, because those tasks are busy
/// meanwhile.
pub fn spawn_io<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(future)
}

/// Truncates to the microseconds that the database stores.
fn whole_micros(at: Timestamp) -> Timestamp {
    let beyond = i64::from(at.subsec_nanosecond() % 1000);
    at.checked_sub(SignedDuration::from_nanos(beyond)).unwrap_or(at)
}
