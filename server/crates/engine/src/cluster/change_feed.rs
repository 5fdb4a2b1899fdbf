//! The changes feed: reads within a tenth of a second what other processes did to webhooks.
//!
//! Guarantees: this process never acts on knowledge older than [`LeaseTimings::stale`](super::timings::LeaseTimings). If
//! a read or heartbeat is overdue, no attempt starts until both have succeeded again.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::apply_changes::ChangeApplier;
use crate::cluster::freshness::Freshness;
use crate::cluster::membership::Membership;
use crate::deliver::claimer;
use crate::deliver::wake_schedule::WakeSchedule;
use crate::live::Announcer;
use crate::settle::notice_writer::NoticeWriter;
use tenterhook_clock::Clock;
use tenterhook_model::ids::{Lane, WebhookId};
use tenterhook_store::{Store, StoreError, changes};

/// How often the feed is read, in real time. This and the read itself take well under B6's quarter of a second.
const READ_EVERY: Duration = Duration::from_millis(100);

/// Reads the feed, and does what follows from the changes.
pub(crate) struct ChangeFeed {
    pub store: Store,
    pub clock: Clock,
    pub freshness: Arc<Freshness>,
    pub changes: Arc<ChangeApplier>,
    pub announcer: Announcer,
    pub notices: Arc<NoticeWriter>,
    pub wakes: Arc<WakeSchedule>,
    pub membership: Arc<Membership>,
}

impl ChangeFeed {
    /// Reads the feed until the process ends.
    pub async fn run(self) {
        let mut handled: HashSet<i64> = HashSet::new();
        let mut failed = 0_u64;
        loop {
            tokio::select! {
                () = self.clock.real_sleep(READ_EVERY) => {}
                () = self.clock.park(self.freshness.read_wanted()) => {}
            }
            let began = self.clock.monotonic();
            match self.read(&mut handled).await {
                Ok(()) => {
                    self.freshness.note_read(began);
                    if std::mem::take(&mut failed) > 0 {
                        tracing::info!("the changes feed can be read again");
                    }
                }
                Err(error) => {
                    // There are ten reads per second while the database is unavailable: log the first failure, then
                    // every hundredth.
                    if failed.is_multiple_of(100) {
                        tracing::warn!(%error, before = failed, "the changes feed could not be read");
                    }
                    failed += 1;
                }
            }
        }
    }

    async fn read(&self, handled: &mut HashSet<i64>) -> Result<(), StoreError> {
        let from = self.freshness.snapshot().oldest_running();
        let mut conn = self.store.conn().await?;
        let (snapshot, rows) = changes::read(&mut conn, from).await?;
        drop(conn);
        let fresh: Vec<_> = rows.iter().filter(|row| !handled.contains(&row.seq)).collect();
        let mut webhooks: Vec<(Lane, WebhookId)> = fresh.iter().filter_map(|row| row.webhook).collect();
        webhooks.sort_unstable();
        webhooks.dedup();
        if !webhooks.is_empty() {
            self.changes.apply(&webhooks).await?;
        }
        // The last step that can fail, so that no subscriber gets a change twice. It comes before the rows count as
        // handled.
        self.announcer.announce(&webhooks).await?;
        let anything = !fresh.is_empty();
        let look_around = fresh.iter().any(|row| row.webhook.is_none());
        *handled = rows.iter().map(|row| row.seq).collect();
        self.freshness.note_snapshot(snapshot);
        if look_around {
            // A process that stops also leaves notices that are due later.
            self.notices.wake_notifier();
            claimer::search(&self.store, &self.wakes).await?;
        }
        if anything {
            self.membership.beat().await?;
        }
        Ok(())
    }
}
