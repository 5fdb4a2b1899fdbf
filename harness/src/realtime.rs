//! Real time: the one place of the harness that looks at a real clock, waits on it, or starts a task.
//!
//! Promises that every wait is bounded and ends by saying what it waited for. Does not pace anything: the
//! policy's time is the world's simulated clock, and nothing here makes it pass.
#![expect(
    clippy::disallowed_methods,
    reason = "sockets and child processes live in real time; everything else of the harness asks this module"
)]

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinHandle;

/// How long anything that needs no time of its own may take before it counts as hung. Generous, since a
/// machine under load is slow and a shorter bound would judge the machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The real time of day.
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// Runs a receiver's own work beside the caller, unknown to any simulated clock: while a server waits for it
/// the server's attempt holds simulated time still.
pub fn spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(work)
}

/// The result of `work`, or `None` when it is still not there after `limit`.
pub async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(limit, work).await.ok()
}

/// Lets `duration` of real time pass. For receivers that are asked to be slow, never for a test to wait.
pub async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Keeps this thread until so many seconds are on `watch`, to a tenth of a millisecond; a runtime's own wait is ten times
/// as coarse. For a thread that is there to pace a load, and no runtime's.
pub fn block_until(watch: Stopwatch, seconds: f64) {
    let left = seconds - watch.seconds();
    if left > 0.0 {
        std::thread::sleep(Duration::from_secs_f64(left));
    }
}

/// Looks again and again until `condition` holds: for what another process does and announces to nobody.
///
/// # Panics
///
/// When it does not hold after [`PATIENCE`], naming `what`.
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

/// Measures real time; the machine's clock may be set meanwhile.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// Begins now.
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// Seconds since it began.
    pub fn seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}
