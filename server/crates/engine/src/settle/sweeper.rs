//! The sweeper: writes the transitions that time alone causes (B7, R3, R4), each dated at its boundary.
//!
//! Readers do not depend on it: they compute the state from the row and the time (T3). It writes a transition only after
//! the results of attempts that ended before the boundary are settled, in this process and every other live one. Before
//! it removes a webhook, it searches the attempt log for a success that the row does not contain.
//!
//! Guarantees: a webhook whose transition the database refuses, or whose row another transaction has locked, delays no
//! other. The batch is [divided](crate::bisection), and that webhook is tried again with a growing pause. Meanwhile
//! readers see its right state (T3), but its notice is late.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use diesel_async::AsyncConnection;
use jiff::Timestamp;
use tokio::sync::Notify;

use crate::backoff::WebhookBackoffs;
use crate::bisection::{Bisection, TIME_OUTS};
use crate::cluster::apply_changes::ChangeApplier;
use crate::cluster::process::ProcessState;
use crate::cluster::propagation::Propagation;
use crate::cluster::timings::LeaseTimings;
use crate::settle::in_flight_attempts::InFlightAttempts;
use crate::settle::notice_writer::NoticeWriter;
use tenterhook_clock::Clock;
use tenterhook_model::ids::{Lane, WebhookId};
use tenterhook_model::webhook::RemoveReason;
use tenterhook_policy::health::{Transition, advance, due, recover};
use tenterhook_settings::policy::PolicySettings;
use tenterhook_store::health::{Locked, last_successes, lock_in_tx, remove_in_tx, write_in_tx};
use tenterhook_store::{Conn, Store, StoreError, changes, health, limit_lock_waits_in_tx, nodes};

/// Webhooks in one transaction.
const BATCH: i64 = 200;
/// How often to look without a notification, in real time: other processes change health too.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often to look again while other processes have unsettled results.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How many times to look again before simulated time may move: several times as long as other processes take to
/// respond.
const LINGERS: u32 = 10;
/// How long to wait after a database error.
const RETRY_AFTER: Duration = Duration::from_millis(200);
/// The longest pause before a transition that the database refuses is tried again.
const REFUSED_AGAIN: Duration = Duration::from_secs(300);

/// What to do after a round.
enum Round {
    More,
    /// A transition is due, but unsettled attempts of this process may change it.
    Waits,
    /// The same, with unsettled attempts of other processes.
    WaitsForOthers,
    /// Nothing is due before this moment, if at all.
    Until(Option<Timestamp>),
}

/// Writes transitions that are due.
pub(crate) struct Sweeper {
    pub store: Store,
    pub clock: Clock,
    pub policy: Arc<PolicySettings>,
    pub timings: LeaseTimings,
    pub process: Arc<ProcessState>,
    pub in_flight: Arc<InFlightAttempts>,
    pub changes: Arc<ChangeApplier>,
    pub propagation: Propagation,
    pub notices: Arc<NoticeWriter>,
    /// Notified when a webhook's health has changed, or a delivery waits for a decision.
    pub sweep: Arc<Notify>,
}

impl Sweeper {
    /// Sweeps until the process ends.
    pub async fn run(self) {
        let mut lingered = 0;
        let mut set_back = WebhookBackoffs::up_to(REFUSED_AGAIN);
        loop {
            match self.round(&mut set_back).await {
                Ok(Round::More) => lingered = 0,
                // Not idle: an advance of simulated time returns only when the transitions that became due are written.
                // The number of tries is bounded, because another process's attempt in flight may need time to move
                // before it ends.
                Ok(Round::WaitsForOthers) if self.clock.simulation().is_some() && lingered < LINGERS => {
                    lingered += 1;
                    self.clock.linger(LOOK_AGAIN).await;
                    continue;
                }
                Ok(Round::Waits | Round::WaitsForOthers) => tokio::select! {
                    () = self.clock.park(self.in_flight.settled().notified()) => {}
                    () = self.clock.real_sleep(LOOK_AGAIN) => {}
                },
                Ok(Round::Until(next)) => {
                    lingered = 0;
                    tokio::select! {
                        () = self.clock.park(self.sweep.notified()) => {}
                        () = self.clock.sleep_until(next.unwrap_or(Timestamp::MAX)), if next.is_some() => {}
                        () = self.clock.real_sleep(LOOK_EVERY) => {}
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "due transitions could not be written; trying again");
                    self.clock.linger(RETRY_AFTER).await;
                }
            }
        }
    }

    async fn round(&self, set_back: &mut WebhookBackoffs) -> Result<Round, StoreError> {
        let now = self.clock.now();
        let mut conn = self.store.conn().await?;
        // Webhooks that are set back have been due longest, so they come first. More rows are read, so that they do not
        // displace others.
        let most = BATCH.saturating_add(i64::try_from(set_back.len()).unwrap_or(i64::MAX));
        let mut due = health::due(&mut conn, now, most).await?;
        let all: HashSet<WebhookId> = due.iter().map(|(_, webhook, _)| *webhook).collect();
        set_back.retain(|webhook| all.contains(&webhook));
        let real_now = self.clock.monotonic();
        due.retain(|(_, webhook, _)| set_back.is_due(*webhook, real_now));
        if due.is_empty() {
            return Ok(Round::Until(health::next_due(&mut conn, now).await?));
        }
        let all_settled = self.others_have_settled(&mut conn, now).await?;
        let ready: Vec<(Lane, WebhookId)> = due
            .iter()
            .filter(|(_, webhook, boundary)| all_settled && !self.in_flight.has(*webhook, *boundary))
            .map(|(lane, webhook, _)| (*lane, *webhook))
            .collect();
        if ready.is_empty() {
            return Ok(if all_settled {
                Round::Waits
            } else {
                Round::WaitsForOthers
            });
        }
        let mark = self.sweep_each(&mut conn, &ready, now, set_back).await?;
        drop(conn);
        self.changes.apply(&ready).await?;
        if let Some(mark) = mark.filter(|_| self.clock.simulation().is_some()) {
            // As in the settler: simulated time may move as soon as this process is idle.
            self.propagation.propagate_to_all(&mark).await;
        }
        Ok(Round::More)
    }

    /// Sweeps these webhooks together or in parts, and sets back those that the database refuses alone. Returns the
    /// mark of the changes.
    async fn sweep_each(
        &self,
        conn: &mut Conn,
        webhooks: &[(Lane, WebhookId)],
        now: Timestamp,
        set_back: &mut WebhookBackoffs,
    ) -> Result<Option<changes::Mark>, StoreError> {
        let mut mark = None;
        let mut parts = Bisection::of(webhooks.len())
            .split_when_late(TIME_OUTS, &self.store)
            // A webhook that was set back may still be locked.
            .hurried(webhooks.iter().any(|(_, webhook)| set_back.has(*webhook)));
        while let Some((part, lock_wait)) = parts.next() {
            let some = &webhooks[part];
            let swept = conn.transaction(async |conn| {
                limit_lock_waits_in_tx(conn, lock_wait).await?;
                self.sweep_in_tx(conn, some, now).await
            });
            let Some((announced, has_notices)) = parts.done(swept.await)? else {
                continue;
            };
            mark = announced.or(mark);
            if has_notices {
                self.notices.wake_notifier();
            }
            set_back.retain(|webhook| some.iter().all(|(_, swept)| *swept != webhook));
        }
        for (items, error) in parts.refused {
            let webhook = webhooks[items.start].1;
            if set_back.add(webhook, self.clock.monotonic()) {
                tracing::error!(%error, %webhook, "a due transition cannot be written; trying again");
            }
        }
        Ok(mark)
    }

    /// Whether no other live process can have an unsettled result from before `now`. If that is not known, asks the
    /// others to report.
    async fn others_have_settled(&self, conn: &mut Conn, now: Timestamp) -> Result<bool, StoreError> {
        let dead_after = self.timings.dead_after().as_secs_f64();
        if nodes::behind(conn, self.process.node(), dead_after, now).await? == 0 {
            return Ok(true);
        }
        changes::ask(conn, now).await?;
        Ok(false)
    }

    /// Returns the mark of the changes, and whether there is a notice for the platform's endpoint.
    async fn sweep_in_tx(
        &self,
        conn: &mut Conn,
        webhooks: &[(Lane, WebhookId)],
        now: Timestamp,
    ) -> Result<(Option<changes::Mark>, bool), StoreError> {
        let rows = lock_in_tx(conn, webhooks).await?;
        // A success at or after the boundary is too late, and must not hide one before it.
        let window = self.policy.removal_window;
        let end = |since: Timestamp| since.saturating_add(window).unwrap_or(Timestamp::MAX);
        let windows: Vec<(Lane, WebhookId, Timestamp, Timestamp)> = rows
            .iter()
            .filter_map(|row| {
                let since = row.health.failing_since?;
                Some((row.lane, row.webhook, since, end(since)))
            })
            .collect();
        let successes = last_successes(conn, &windows).await?;
        let (mut written, mut taken, mut removed) = (Vec::new(), Vec::new(), Vec::new());
        for mut row in rows {
            let success = successes.get(&row.webhook).copied();
            let steps = success
                .and_then(|at| recover(&mut row.health, at, &self.policy))
                .into_iter()
                .chain(advance(&mut row.health, now, &self.policy));
            for step in steps.collect::<Vec<_>>() {
                if let Transition::Removed { at, .. } = step {
                    removed.push((row.lane, row.webhook, at));
                }
                taken.push((row.lane, row.webhook, row.company, step));
            }
            written.push(self.with_due(row));
        }
        write_in_tx(conn, &written).await?;
        remove_in_tx(conn, &removed, RemoveReason::NoSuccessfulDelivery).await?;
        let has_notices = self.notices.write_in_tx(conn, &taken).await?;
        Ok((changes::announce_in_tx(conn, now, webhooks).await?, has_notices))
    }

    fn with_due(&self, row: Locked) -> (Locked, Option<Timestamp>) {
        let next = due(&row.health, &self.policy);
        (row, next)
    }
}
