//! Maintenance: makes partitions ahead, deletes history past its retention, and keeps tables small.
//!
//! Guarantees: a failed step does not prevent the others, and a partition that cannot be dropped does not prevent the
//! others from being dropped. All are tried. Failed steps are tried again with growing pauses.

use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;
use jiff::{Span, Timestamp};

use crate::backoff::Backoff;
use crate::settle::counter_activity::CounterActivity;
use tenterhook_clock::Clock;
use tenterhook_settings::policy::PolicySettings;
use tenterhook_store::{
    Store, StoreError, UpkeepConnection, changes, delivery_counters, partitions, retention,
};

/// Days ahead for which partitions are made.
const DAYS_AHEAD: i64 = 3;
/// How often, in real time, delivery counters are folded and the changes feed is pruned.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// The longest pause before a failed step is tried again.
const LONGEST_BACKOFF: Duration = Duration::from_secs(300);

/// Makes partitions and deletes old history, at the start of every day.
pub(crate) struct DailyMaintenance {
    pub store: Store,
    pub clock: Clock,
    pub policy: Arc<PolicySettings>,
    /// Whether the platform has an endpoint for notices.
    pub sends_notices: bool,
}

impl DailyMaintenance {
    /// Maintains the database until the process ends.
    pub async fn run(self) {
        let mut backoff = Backoff::up_to(LONGEST_BACKOFF);
        loop {
            let today = partitions::day(self.clock.now());
            if self.daily(today).await {
                backoff = Backoff::up_to(LONGEST_BACKOFF);
                let tomorrow = partitions::start_of(days_after(today, 1));
                self.clock.sleep_until(tomorrow).await;
            } else {
                self.clock.real_sleep(backoff.next_wait()).await;
            }
        }
    }

    /// Returns whether all steps succeeded.
    async fn daily(&self, today: Date) -> bool {
        let mut upkeep = self.store.for_upkeep();
        let steps = [
            is_done(
                "create partitions for the days ahead",
                ensure_partitions(&mut upkeep, today).await,
            ),
            is_done(
                "drop partitions past their retention",
                self.drop_old(&mut upkeep).await,
            ),
            is_done(
                "delete webhooks past their retention",
                self.forget_webhooks(&mut upkeep).await,
            ),
            is_done(
                "delete notices of recoveries past their retention",
                self.forget_recoveries(&mut upkeep).await,
            ),
            is_done(
                "delete expired idempotency keys",
                self.forget_keys(&mut upkeep).await,
            ),
        ];
        steps.iter().all(|done| *done)
    }

    fn ago(&self, length: Duration) -> Timestamp {
        let ago = self.clock.now().saturating_sub(length);
        ago.unwrap_or(Timestamp::MIN)
    }

    async fn drop_old(&self, upkeep: &mut UpkeepConnection<'_>) -> Result<(), StoreError> {
        let conn = upkeep.get().await?;
        let keep_from = partitions::day(self.ago(self.policy.history_retention));
        let old = partitions::drop_before(conn, keep_from).await?;
        if !old.good.is_empty() {
            tracing::info!(
                partitions = old.good.len(),
                "history past its retention was dropped"
            );
        }
        for (partition, error) in &old.bad {
            tracing::error!(%error, partition, "a partition could not be dropped");
        }
        old.bad.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
    }

    async fn forget_webhooks(&self, upkeep: &mut UpkeepConnection<'_>) -> Result<(), StoreError> {
        let conn = upkeep.get().await?;
        let removed_by = self.ago(self.policy.removed_retention);
        retention::forget_webhooks(conn, removed_by, self.sends_notices).await
    }

    async fn forget_recoveries(&self, upkeep: &mut UpkeepConnection<'_>) -> Result<(), StoreError> {
        let conn = upkeep.get().await?;
        let recovered_by = self.ago(self.policy.history_retention);
        retention::forget_recoveries(conn, recovered_by).await
    }

    async fn forget_keys(&self, upkeep: &mut UpkeepConnection<'_>) -> Result<(), StoreError> {
        let conn = upkeep.get().await?;
        retention::forget_keys(conn, self.clock.now()).await
    }
}

/// Whether a step succeeded. Logs an error if not.
fn is_done(step: &str, done: Result<(), StoreError>) -> bool {
    if let Err(error) = &done {
        tracing::error!(%error, step, "a maintenance step failed; trying again");
    }
    done.is_ok()
}

/// Makes partitions for today, the day before (for ids of its last millisecond) and the days ahead.
pub(crate) async fn ensure_partitions(
    upkeep: &mut UpkeepConnection<'_>,
    today: Date,
) -> Result<(), StoreError> {
    let conn = upkeep.get().await?;
    partitions::ensure(conn, days_after(today, -1), days_after(today, DAYS_AHEAD)).await?;
    Ok(())
}

/// Folds delivery counters and prunes the changes feed every minute, if there is something to fold.
pub(crate) async fn run_tidy(store: Store, clock: Clock, counters: Arc<CounterActivity>) {
    loop {
        clock.real_sleep(TIDY_EVERY).await;
        if !counters.take() {
            continue;
        }
        for (table, done) in [("tallies", fold(&store).await), ("changes", prune(&store).await)] {
            if let Err(error) = done {
                tracing::warn!(%error, table, "old rows of a table could not be merged or deleted; trying again in a minute");
            }
        }
    }
}

async fn fold(store: &Store) -> Result<(), StoreError> {
    delivery_counters::fold(&mut *store.conn().await?).await
}

async fn prune(store: &Store) -> Result<(), StoreError> {
    changes::prune(&mut *store.conn().await?).await
}

fn days_after(day: Date, days: i64) -> Date {
    day.saturating_add(Span::new().days(days))
}
