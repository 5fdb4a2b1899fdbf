//! Real time: the only module of the harness that reads a real clock, waits on it, or starts a task.
//!
//! Every wait is bounded, and a time-out says what was waited for. Nothing here moves time for the policy: that is the
//! world's simulated clock.
#![expect(
    clippy::disallowed_methods,
    reason = "sockets and child processes live in real time; everything else of the harness asks this module"
)]

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinHandle;

/// How long work that does not wait for anything may take before it counts as hung. Generous, because a machine under
/// load is slow, and a shorter bound would judge the machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The current time.
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// Runs a receiver's work concurrently with the caller, unknown to any simulated clock. While a server waits for it,
/// the server's attempt stops simulated time.
pub fn spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(work)
}

/// The result of `work`, or `None` if it takes longer than `limit`.
pub async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(limit, work).await.ok()
}

/// Waits for `duration` of real time. For receivers that must be slow, never for a test to wait.
pub async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Blocks this thread until this number of seconds on `watch`, with a precision of 0.1 ms. A runtime's timer is ten
/// times less precise. For the thread that paces a load, not for threads of a runtime.
pub fn block_until(watch: Stopwatch, seconds: f64) {
    let left = seconds - watch.seconds();
    if left > 0.0 {
        std::thread::sleep(Duration::from_secs_f64(left));
    }
}

/// Polls until `condition` holds, for changes in another process that sends no notification.
///
/// # Panics
///
/// If it does not hold after [`PATIENCE`]. The message has `what`.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let holds = async {
        while !condition().await {
            pause(Duration::from_millis(20)).await;
        }
    };
    assert!(
        within(PATIENCE, holds).await.is_some(),
        "still not so after {PATIENCE:?}: {what}"
    );
}

/// Measures real time, also if the machine's clock is set meanwhile.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// Seconds since the start.
    pub fn seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}
