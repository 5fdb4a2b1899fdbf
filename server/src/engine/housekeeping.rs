//! Housekeeping: partitions ahead, history past its retention, and tables that would grow.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::civil::Date;
use jiff::{Span, Timestamp};

use super::shared::Shared;
use crate::store::{StoreError, changes, facts, partitions, tallies};

/// Days ahead for which partitions are made.
const DAYS_AHEAD: i64 = 3;
/// How often, in real time, what grows with the work is folded and pruned.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// How long to wait after an error of the database.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Makes partitions and drops old ones, at the start of every day.
pub(super) async fn run_daily(shared: Arc<Shared>) {
    loop {
        let today = partitions::day(shared.clock.now());
        match daily(&shared, today).await {
            Ok(()) => {
                shared
                    .clock
                    .sleep_until(partitions::start_of(days_after(today, 1)))
                    .await
            }
            Err(error) => {
                tracing::error!(%error, "partitions could not be kept; trying again");
                shared.clock.real_sleep(RETRY_AFTER).await;
            }
        }
    }
}

/// Folds tallies and prunes the feed, when there is something to fold.
pub(super) async fn run_tidy(shared: Arc<Shared>) {
    loop {
        shared.clock.real_sleep(TIDY_EVERY).await;
        if shared.tallied.swap(0, Ordering::Relaxed) == 0 {
            continue;
        }
        if let Err(error) = tidy(&shared).await {
            tracing::warn!(%error, "tables could not be tidied; the next round will");
        }
    }
}

/// Partitions for today, the day before (ids of its last millisecond) and the days ahead.
pub(super) async fn ensure_partitions(shared: &Shared, today: Date) -> Result<(), StoreError> {
    let mut conn = shared.store.conn().await?;
    partitions::ensure(&mut conn, days_after(today, -1), days_after(today, DAYS_AHEAD)).await?;
    Ok(())
}

async fn daily(shared: &Shared, today: Date) -> Result<(), StoreError> {
    ensure_partitions(shared, today).await?;
    let now = shared.clock.now();
    let ago = |length: Duration| now.saturating_sub(length).unwrap_or(Timestamp::MIN);
    let mut conn = shared.store.conn().await?;
    let keep_from = partitions::day(ago(shared.policy.history_retention));
    let dropped = partitions::drop_before(&mut conn, keep_from).await?;
    if !dropped.is_empty() {
        tracing::info!(
            partitions = dropped.len(),
            "history past its retention was dropped"
        );
    }
    let removed_by = ago(shared.policy.removed_retention);
    facts::forget_webhooks(&mut conn, removed_by, shared.sends_notices).await?;
    facts::forget_keys(&mut conn, now).await
}

async fn tidy(shared: &Shared) -> Result<(), StoreError> {
    let mut conn = shared.store.conn().await?;
    tallies::fold(&mut conn).await?;
    changes::prune(&mut conn).await
}

fn days_after(day: Date, days: i64) -> Date {
    day.saturating_add(Span::new().days(days))
}
