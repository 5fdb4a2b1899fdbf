//! Housekeeping: makes partitions ahead, deletes history past its retention, and keeps tables small.
//!
//! Guarantees: a failed step does not prevent the others, and a partition that cannot be dropped does not prevent the
//! others from being dropped. All are tried. Failed steps are tried again with growing pauses.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::civil::Date;
use jiff::{Span, Timestamp};

use crate::backoff::Backoff;
use crate::state::Shared;
use tenterhook_store::{StoreError, changes, facts, partitions, tallies};

/// Days ahead for which partitions are made.
const DAYS_AHEAD: i64 = 3;
/// How often, in real time, tallies are folded and the changes feed is pruned.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// The longest pause before a failed step is tried again.
const AGAIN_AT_LAST: Duration = Duration::from_secs(300);

/// Makes partitions and drops old ones, at the start of every day.
pub(crate) async fn run_daily(shared: Arc<Shared>) {
    let mut pause = Backoff::up_to(AGAIN_AT_LAST);
    loop {
        let today = partitions::day(shared.clock.now());
        if daily(&shared, today).await {
            pause = Backoff::up_to(AGAIN_AT_LAST);
            let tomorrow = partitions::start_of(days_after(today, 1));
            shared.clock.sleep_until(tomorrow).await;
        } else {
            shared.clock.real_sleep(pause.next_wait()).await;
        }
    }
}

/// Whether a step succeeded. Logs an error if not.
fn is_done(what: &str, done: Result<(), StoreError>) -> bool {
    if let Err(error) = &done {
        tracing::error!(%error, what, "housekeeping failed; it is tried again");
    }
    done.is_ok()
}

/// Folds tallies and prunes the feed, if there is something to fold.
pub(crate) async fn run_tidy(shared: Arc<Shared>) {
    loop {
        shared.clock.real_sleep(TIDY_EVERY).await;
        if shared.tallied.swap(0, Ordering::Relaxed) == 0 {
            continue;
        }
        for (what, done) in [
            ("tallies", fold(&shared).await),
            ("changes", prune(&shared).await),
        ] {
            if let Err(error) = done {
                tracing::warn!(%error, what, "a table could not be tidied; the next round will");
            }
        }
    }
}

/// Makes partitions for today, the day before (for ids of its last millisecond) and the days ahead.
pub(crate) async fn ensure_partitions(shared: &Shared, today: Date) -> Result<(), StoreError> {
    let mut conn = shared.store.for_upkeep().await?;
    partitions::ensure(&mut conn, days_after(today, -1), days_after(today, DAYS_AHEAD)).await?;
    Ok(())
}

/// Returns whether all steps succeeded.
async fn daily(shared: &Shared, today: Date) -> bool {
    let steps = [
        is_done("partitions ahead", ensure_partitions(shared, today).await),
        is_done("partitions past their retention", drop_old(shared).await),
        is_done("webhooks removed long ago", forget_webhooks(shared).await),
        is_done("keys that have expired", forget_keys(shared).await),
    ];
    steps.iter().all(|done| *done)
}

fn ago(shared: &Shared, length: Duration) -> Timestamp {
    shared
        .clock
        .now()
        .saturating_sub(length)
        .unwrap_or(Timestamp::MIN)
}

async fn drop_old(shared: &Shared) -> Result<(), StoreError> {
    let mut conn = shared.store.for_upkeep().await?;
    let keep_from = partitions::day(ago(shared, shared.policy.history_retention));
    let old = partitions::drop_before(&mut conn, keep_from).await?;
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

async fn forget_webhooks(shared: &Shared) -> Result<(), StoreError> {
    let mut conn = shared.store.for_upkeep().await?;
    let removed_by = ago(shared, shared.policy.removed_retention);
    facts::forget_webhooks(&mut conn, removed_by, shared.sends_notices).await
}

async fn forget_keys(shared: &Shared) -> Result<(), StoreError> {
    let mut conn = shared.store.for_upkeep().await?;
    facts::forget_keys(&mut conn, shared.clock.now()).await
}

async fn fold(shared: &Shared) -> Result<(), StoreError> {
    tallies::fold(&mut *shared.store.conn().await?).await
}

async fn prune(shared: &Shared) -> Result<(), StoreError> {
    changes::prune(&mut *shared.store.conn().await?).await
}

fn days_after(day: Date, days: i64) -> Date {
    day.saturating_add(Span::new().days(days))
}
