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
//! - A batch that the database refuses, or does not write in time, is [divided](crate::bisection) until the bad result
//!   is alone. A refused result is recorded with less of its response ([`reduced`]) or set [aside](set_aside). A late
//!   result is set aside; for example, another transaction may have a row of its webhook locked.
//!
//! Not guaranteed: that a result is recorded. If its lease was lost, it is dropped, because another process holds the
//! delivery.

mod judgement;
mod record;
mod reduced;
mod set_aside;

use std::slice;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::{Instrument, debug_span};

pub(crate) use self::judgement::Judge;
use self::judgement::results_of;
use self::record::Recorded;
pub(crate) use self::record::Recorder;
use self::set_aside::SetAside;
use crate::bisection::{Bisection, Refused, TIME_OUTS};
use crate::cluster::apply_changes::ChangeApplier;
use crate::cluster::process::ProcessState;
use crate::cluster::propagation::Propagation;
use crate::cluster::timings::LeaseTimings;
use crate::deliver::held_deliveries::HeldDeliveries;
use crate::deliver::wake_schedule::WakeSchedule;
use crate::metrics::Metrics;
use crate::settle::counter_activity::CounterActivity;
use crate::settle::in_flight_attempts::InFlightAttempts;
use crate::settle::notice_writer::NoticeWriter;
use crate::settle::settlement::{AttemptResult, Started};
use tenterhook_clock::Clock;
use tenterhook_model::ids::{Lane, WebhookId};
use tenterhook_store::Store;
use tenterhook_store::settle::{Action, Settlement};

/// At most this number of results in one transaction.
const BATCH: usize = 400;
/// How long results gather after a batch of several that was not full. A batch costs as much as thirty results, and only
/// someone reading the attempt log notices the delay. If the process crashes in this time, the attempts of these results
/// are made again (D6).
const GATHER: Duration = Duration::from_millis(15);

/// Settles results. One task runs for each inbox of the [`ResultQueue`](super::settlement::ResultQueue).
pub(crate) struct Settler {
    pub store: Store,
    pub clock: Clock,
    pub timings: LeaseTimings,
    pub process: Arc<ProcessState>,
    pub recorder: Recorder,
    pub held: Arc<HeldDeliveries>,
    pub in_flight: Arc<InFlightAttempts>,
    pub counters: Arc<CounterActivity>,
    pub changes: Arc<ChangeApplier>,
    pub propagation: Propagation,
    pub notices: Arc<NoticeWriter>,
    pub wakes: Arc<WakeSchedule>,
    pub metrics: Metrics,
}

impl Settler {
    /// Settles results until no more can arrive.
    pub async fn run(self: Arc<Self>, mut results: mpsc::UnboundedReceiver<AttemptResult>) {
        let mut batch: Vec<AttemptResult> = Vec::with_capacity(BATCH);
        let mut aside = SetAside::for_lease(self.timings.lease());
        loop {
            let came = tokio::select! {
                came = self.clock.park(results.recv_many(&mut batch, BATCH)) => came,
                () = aside.due(&self.clock) => {
                    aside.settle_again(&self).await;
                    continue;
                }
            };
            if came == 0 {
                break;
            }
            aside.join(&self.in_flight, &mut batch);
            // Results of one webhook are next to each other: if one is late, all of them are.
            batch.sort_by_key(|result| group(&result.settlement));
            let (settlements, mut started): (Vec<_>, Vec<_>) = batch
                .drain(..)
                .map(|result| (result.settlement, result.started))
                .unzip();
            // If something is known to be locked, or the process stops, there is no time for long lock waits.
            let hurried = aside.has_late() || self.process.is_stopping();
            let span = debug_span!("settle batch", results = settlements.len());
            let refused = self.settle_each(&settlements, hurried).instrument(span).await;
            aside.add(&self, settlements, &mut started, refused);
            self.done(started.into_iter().flatten());
            if (2..BATCH).contains(&came) {
                self.clock.gather(GATHER).await;
            }
        }
        aside.end(&self).await;
    }

    /// Frees the places of settled attempts, so that others can start.
    fn done(&self, attempts: impl Iterator<Item = Started>) {
        let attempts: Vec<Started> = attempts.collect();
        {
            let mut scheduler = self.held.scheduler();
            attempts.iter().for_each(|(_, key)| scheduler.settle(key.webhook));
        }
        self.in_flight.settle(attempts.into_iter());
        self.held.notify_capacity();
    }

    /// Settles the results together, or in parts if the database refuses or is late. Returns the results that are
    /// refused or late alone, with the rest of a late one's group. If `hurried`, none of them waits long for a lock.
    async fn settle_each(&self, batch: &[Settlement], hurried: bool) -> Vec<Refused> {
        let parts = Bisection::of(batch.len())
            .split_when_late(TIME_OUTS, &self.store)
            .grouped(group_ends(batch))
            .hurried(hurried);
        let (mut refused, mut lessened) = (Vec::new(), Vec::new());
        for (items, error) in self.record(batch, parts).await {
            if error.is_timed_out() {
                refused.push((items, error));
            } else if self.record_less(&batch[items.start]).await {
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
                "the database refused a receiver's response; the attempt is recorded without it"
            );
        }
        refused
    }

    /// Records one result with less and less of its receiver's response. Returns whether it is recorded.
    async fn record_less(&self, settlement: &Settlement) -> bool {
        for less in reduced::of(settlement) {
            let one = slice::from_ref(&less);
            let parts = Bisection::of(1).split_when_late(TIME_OUTS, &self.store);
            if self.record(one, parts).await.is_empty() {
                return true;
            }
        }
        false
    }

    /// Records a batch in these parts and does what follows from it. Returns the results that cannot be recorded. Tries
    /// for as long as the database is unavailable, because the attempts have been made, and the lease tokens make a
    /// second try harmless.
    async fn record(&self, batch: &[Settlement], mut parts: Bisection<'_>) -> Vec<Refused> {
        while let Some((part, lock_wait)) = parts.next() {
            let some = &batch[part];
            let written = self.recorder.write(some, lock_wait).await;
            if let Some(recorded) = parts.done_in_time(written, &self.clock, "results").await {
                self.follow(some, recorded, lock_wait).await;
            }
        }
        parts.refused
    }

    /// Does what follows from a recorded batch. No error here may cause the batch to be recorded again.
    async fn follow(&self, batch: &[Settlement], recorded: Recorded, lock_wait: Option<Duration>) {
        self.note(batch.len(), recorded.won.len());
        self.counters.note();
        let Recorded {
            won,
            mut moved,
            to_recover,
            to_reconcile,
        } = recorded;
        if !to_recover.is_empty() {
            let won = won.iter().filter_map(|index| batch.get(*index));
            moved.and(
                self.recorder
                    .judge
                    .heal(&to_recover, Some(&results_of(won)), lock_wait)
                    .await,
            );
        }
        moved.and(self.recorder.judge.heal(&to_reconcile, None, lock_wait).await);
        let mark = moved.mark;
        if moved.has_notices {
            self.notices.wake_notifier();
        }
        if !moved.webhooks.is_empty()
            && let Err(error) = self.changes.apply(&moved.webhooks).await
        {
            // The changes feed names these webhooks too.
            tracing::warn!(%error, "webhooks could not be read after their health changed");
        }
        if let Some(mark) = mark.filter(|_| self.clock.simulation().is_some()) {
            // Simulated time may move as soon as this process is idle: other processes must know of the change by then
            // (B6).
            self.propagation.propagate_to_all(&mark).await;
        }
        self.wakes
            .schedule(batch.iter().filter_map(|settlement| match settlement.action {
                Action::Retry(at) | Action::Release(at) => {
                    Some((settlement.key.lane, settlement.key.webhook, at))
                }
                Action::Finish(_) | Action::Discard { .. } => None,
            }));
    }

    fn note(&self, asked: usize, won: usize) {
        self.metrics.settled(asked, asked - won);
        if won < asked {
            tracing::warn!(
                lost = asked - won,
                "results were dropped because their lease had ended"
            );
        }
    }
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
