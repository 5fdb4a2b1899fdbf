//! Settling: results become rows, batch by batch (D6, D7).
//!
//! A batch is the results that arrive while the previous one is written, and under load for a moment longer. So batches
//! are small under low load and large under high load. A batch with failures first locks its health rows, in the order
//! of their ids, and [`tenterhook_policy::health`] judges the results in the order in which their attempts ended. A
//! batch of successes locks only the rows whose failure window it ends. If no window is known to be open, it is a single
//! statement.
//!
//! Guarantees:
//!
//! - Each recorded attempt is judged once, in the transaction that records it.
//! - A batch that the database refuses, or does not write in time, is [divided](crate::bisection) until the bad result is
//!   alone. A refused result is recorded with less of its response ([`reduced`]) or set [aside](set_aside). A late result is
//!   set aside; for example, another transaction may have a row of its webhook locked.
//!
//! Not guaranteed: that a result is recorded. If its lease was lost, it is dropped, because another process holds the
//! delivery.

mod judgement;
mod record;
mod reduced;
mod set_aside;

use std::slice;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;

use self::judgement::{heal, results_of};
use self::record::{Recorded, write};
use self::set_aside::SetAside;
use crate::bisection::{Bisection, Refused, TIME_OUTS};
use crate::state::{Shared, Started};
use tenterhook_model::ids::{Lane, WebhookId};
use tenterhook_store::settle::{Settlement, Then};

/// At most this number of results in one transaction.
const BATCH: usize = 400;
/// How long results gather after a batch of several that was not full. A batch costs as much as thirty results, and only
/// someone reading the attempt log notices the delay. If the process crashes in this time, the attempts of these results
/// are made again (D6).
const GATHER: Duration = Duration::from_millis(15);

/// One result on its way to be settled.
pub(crate) struct Result {
    pub settlement: Settlement,
    /// The attempt, if one was made.
    pub started: Option<Started>,
}

/// Settles results until no more can arrive.
pub(crate) async fn run(shared: Arc<Shared>, mut results: mpsc::UnboundedReceiver<Result>) {
    let mut batch: Vec<Result> = Vec::with_capacity(BATCH);
    let mut aside = SetAside::of(&shared);
    loop {
        let came = tokio::select! {
            came = shared.clock.park(results.recv_many(&mut batch, BATCH)) => came,
            () = aside.due(&shared.clock) => {
                aside.settle_again(&shared).await;
                continue;
            }
        };
        if came == 0 {
            break;
        }
        aside.join(&shared, &mut batch);
        // Results of one webhook are next to each other: if one is late, all of them are.
        batch.sort_by_key(|result| group(&result.settlement));
        let (settlements, mut started): (Vec<_>, Vec<_>) = batch
            .drain(..)
            .map(|result| (result.settlement, result.started))
            .unzip();
        // If something is known to be locked, or the process stops, there is no time for long lock waits.
        let hurried = aside.has_late() || shared.is_stopping();
        let refused = settle_each(&shared, &settlements, hurried).await;
        aside.add(&shared, settlements, &mut started, refused);
        done(&shared, started.into_iter().flatten());
        if (2..BATCH).contains(&came) {
            shared.clock.gather(GATHER).await;
        }
    }
    aside.end(&shared).await;
}

/// Frees the places of settled attempts, so that others can start.
fn done(shared: &Arc<Shared>, attempts: impl Iterator<Item = Started>) {
    let attempts: Vec<Started> = attempts.collect();
    {
        let mut queue = shared.queue();
        attempts.iter().for_each(|(_, key)| queue.settle(key.webhook));
    }
    shared.unsettled.settle(attempts.into_iter());
    shared.capacity.notify_one();
}

/// The group of a result: results with the same value wait for the same health row. Results without an attempt wait for
/// none.
fn group(settlement: &Settlement) -> (Lane, WebhookId, bool) {
    let key = settlement.key;
    (key.lane, key.webhook, settlement.attempt.is_none())
}

/// For each result, where its group ends in the sorted batch.
fn group_ends(batch: &[Settlement]) -> Vec<usize> {
    let mut ends: Vec<usize> = (1..=batch.len()).collect();
    for index in (1..batch.len()).rev() {
        if group(&batch[index - 1]) == group(&batch[index]) {
            ends[index - 1] = ends[index];
        }
    }
    ends
}

/// Settles the results together, or in parts if the database refuses or is late. Returns the results that are refused or
/// late alone, with the rest of a late one's group. If `hurried`, none of them waits long for a lock.
async fn settle_each(shared: &Arc<Shared>, batch: &[Settlement], hurried: bool) -> Vec<Refused> {
    let parts = Bisection::of(batch.len())
        .split_when_late(TIME_OUTS, &shared.store)
        .grouped(group_ends(batch))
        .hurried(hurried);
    let (mut refused, mut lessened) = (Vec::new(), Vec::new());
    for (items, error) in record(shared, batch, parts).await {
        if error.is_timed_out() {
            refused.push((items, error));
        } else if record_less(shared, &batch[items.start]).await {
            lessened.push((items.start, error));
        } else {
            refused.push((items, error));
        }
    }
    if let Some((first, error)) = lessened.first() {
        tracing::error!(
            %error,
            deliveries = lessened.len(),
            webhook = %batch[*first].key.webhook,
            event = %batch[*first].key.event,
            "the database refused what a receiver had answered; the attempt is recorded without it"
        );
    }
    refused
}

/// Records one result with less and less of its receiver's response. Returns whether it is recorded.
async fn record_less(shared: &Arc<Shared>, settlement: &Settlement) -> bool {
    for less in reduced::of(settlement) {
        let one = slice::from_ref(&less);
        let parts = Bisection::of(1).split_when_late(TIME_OUTS, &shared.store);
        if record(shared, one, parts).await.is_empty() {
            return true;
        }
    }
    false
}

/// Records a batch in these parts and does what follows from it. Returns the results that cannot be recorded. Tries as
/// long as the database is away, because the attempts have been made, and the lease tokens make a second try harmless.
async fn record(shared: &Arc<Shared>, batch: &[Settlement], mut parts: Bisection<'_>) -> Vec<Refused> {
    while let Some((part, lock_wait)) = parts.next() {
        let some = &batch[part];
        let written = write(shared, some, lock_wait).await;
        if let Some(recorded) = parts.done_in_time(written, &shared.clock, "results").await {
            follow(shared, some, recorded, lock_wait).await;
        }
    }
    parts.refused
}

/// Does what follows from a recorded batch. No error here may cause the batch to be recorded again.
async fn follow(shared: &Arc<Shared>, batch: &[Settlement], recorded: Recorded, lock_wait: Option<Duration>) {
    note(shared, batch.len(), recorded.won.len());
    shared.tallied.fetch_add(1, Ordering::Relaxed);
    let Recorded {
        won,
        mut moved,
        to_recover,
        to_reconcile,
    } = recorded;
    if !to_recover.is_empty() {
        let won = won.iter().filter_map(|index| batch.get(*index));
        moved.and(heal(shared, &to_recover, Some(&results_of(won)), lock_wait).await);
    }
    moved.and(heal(shared, &to_reconcile, None, lock_wait).await);
    let mark = moved.mark;
    if moved.owes {
        shared.owed.notify_one();
    }
    if !moved.webhooks.is_empty()
        && let Err(error) = shared.refresh(&moved.webhooks).await
    {
        // The changes feed names these webhooks too.
        tracing::warn!(%error, "webhooks could not be read after their health moved");
    }
    if let Some(mark) = mark.filter(|_| shared.clock.simulation().is_some()) {
        // Simulated time may move as soon as this process is idle: other processes must know of the change by then (B6).
        shared.feed.propagate_to_all(shared, &mark).await;
    }
    shared.hint(batch.iter().filter_map(|settlement| match settlement.then {
        Then::Retry(at) | Then::Release(at) => Some((settlement.key.lane, settlement.key.webhook, at)),
        Then::End(_) | Then::Drop { .. } => None,
    }));
}

fn note(shared: &Shared, asked: usize, won: usize) {
    shared.metrics.settled(asked, asked - won);
    if won < asked {
        tracing::warn!(
            lost = asked - won,
            "results came after their lease was lost and were dropped"
        );
    }
}
