//! Waiting until every process knows of a change (W8, B6, D9).

use std::sync::Arc;
use std::time::Duration;

use crate::cluster::freshness::Freshness;
use crate::cluster::process::ProcessState;
use crate::cluster::timings::LeaseTimings;
use tenterhook_clock::Clock;
use tenterhook_store::changes::Mark;
use tenterhook_store::{Store, StoreError, nodes};

/// How often to check whether the other processes know of a change.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// Makes sure that every process knows of a change before the API responds (W8, D9). Cheap to clone.
#[derive(Clone)]
pub struct Propagation {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) timings: LeaseTimings,
    pub(crate) process: Arc<ProcessState>,
    pub(crate) freshness: Arc<Freshness>,
}

impl Propagation {
    /// Waits until every live process knows of the change, or has stopped starting attempts because it could not read the
    /// feed. That takes at most six seconds with the default lease.
    pub async fn propagate_to_all(&self, mark: &Mark) {
        let limit = self.timings.propagation_limit();
        let since = self.clock.monotonic();
        let mut seen = self.freshness.ask_for_read();
        let here = seen.wait_for(|snapshot| snapshot.shows(mark));
        tokio::select! {
            _ = here => {}
            () = self.clock.linger(limit) => return,
        }
        while self.clock.monotonic().duration_since(since) < limit {
            match self.unaware(mark).await {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot check whether other processes have read a change")
                }
            }
            self.clock.linger(ASK_EVERY).await;
        }
    }

    /// The number of live processes that do not know of the change yet.
    async fn unaware(&self, mark: &Mark) -> Result<i64, StoreError> {
        let mut conn = self.store.conn().await?;
        let dead_after = self.timings.dead_after().as_secs_f64();
        nodes::unaware(&mut conn, self.process.node(), dead_after, mark).await
    }
}
