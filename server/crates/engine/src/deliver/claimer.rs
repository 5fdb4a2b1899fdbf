//! The claimer: leases due deliveries from the table when there is room. These are retries, overflow, and deliveries
//! that other processes released or lost.
//!
//! If a webhook may get nothing, its due deliveries are ended in bulk, without a lease (B4, W8, W13).
//!
//! Guarantees: a webhook, delivery or event that the database cannot read or write, or not in time, delays no other. A
//! refused claim is [divided](crate::bisection), down to single deliveries. A delivery that cannot be claimed is tried
//! again after [`UNUSABLE_WAIT`]. Rows that another transaction has locked are skipped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

use crate::bisection::{Bisection, FIRST_TIME_OUT};
use crate::cluster::process::ProcessState;
use crate::cluster::timings::LeaseTimings;
use crate::cluster::webhook_cache::WebhookCache;
use crate::deliver::attempt::{UNUSABLE_WAIT, later};
use crate::deliver::held_deliveries::HeldDeliveries;
use crate::deliver::scheduler::HeldDelivery;
use crate::deliver::wake_schedule::MAX_SCHEDULED;
use crate::deliver::wake_schedule::WakeSchedule;
use crate::settle::counter_activity::CounterActivity;
use crate::settle::settlement::end_by;
use tenterhook_clock::Clock;
use tenterhook_model::delivery::Leased;
use tenterhook_model::event::Event;
use tenterhook_model::ids::{DeliveryKey, Lane, NodeId, WebhookId};
use tenterhook_policy::health::Verdict;
use tenterhook_settings::policy::PolicySettings;
use tenterhook_store::claim::{self, Unsent};
use tenterhook_store::settle::Action;
use tenterhook_store::sql::Rows;
use tenterhook_store::{Conn, Store, StoreError};

/// Webhooks per round.
const WEBHOOKS: usize = 16;
/// Deliveries claimed per round, divided equally among its webhooks. This bounds how many deliveries a round reads into
/// memory. The scheduler's room in bytes bounds their size.
const DELIVERIES: usize = 2_048;
/// Deliveries ended without a request in one statement.
const UNSENT: i64 = 1_000;
/// How often, in real time, all lanes are searched for deliveries without a hint here. A search costs an index probe per
/// webhook with open deliveries: see [`SEARCH_SHARE`].
const SEARCH_EVERY: Duration = Duration::from_secs(5);
/// The next search waits at least this many times the duration of the last one, so that searching takes less than 2 % of
/// the time.
const SEARCH_SHARE: u32 = 50;
/// How long a webhook waits after a conflict with another transaction or a statement that took too long.
const CONFLICT_WAIT: SignedDuration = SignedDuration::from_secs(1);
/// How long to wait after a database error.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// Claims due deliveries.
pub(crate) struct Claimer {
    pub store: Store,
    pub clock: Clock,
    pub policy: Arc<PolicySettings>,
    pub timings: LeaseTimings,
    pub process: Arc<ProcessState>,
    pub webhooks: Arc<WebhookCache>,
    pub held: Arc<HeldDeliveries>,
    pub wakes: Arc<WakeSchedule>,
    pub counters: Arc<CounterActivity>,
    /// Wakes the sweeper.
    pub sweep: Arc<Notify>,
}

impl Claimer {
    /// Claims until the process stops.
    pub async fn run(self) {
        let mut search_after = Duration::ZERO;
        let mut searched_at = self.clock.monotonic();
        while !self.process.is_stopping() {
            let round = async {
                let began = self.clock.monotonic();
                if began.duration_since(searched_at) >= search_after {
                    search(&self.store, &self.wakes).await?;
                    searched_at = self.clock.monotonic();
                    search_after = pause_after(searched_at.duration_since(began));
                }
                self.claim_due().await
            };
            match round.await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(%error, "deliveries could not be claimed; trying again");
                    self.clock.linger(RETRY_AFTER).await;
                    continue;
                }
            }
            let next = self.wakes.next();
            tokio::select! {
                () = self.clock.park(self.wakes.changed()) => {}
                () = self.clock.sleep_until(next.unwrap_or(Timestamp::MAX)), if next.is_some() => {}
                () = self.clock.real_sleep(search_after) => {}
            }
        }
    }

    /// One round over the due webhooks. Returns whether there were any.
    async fn claim_due(&self) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let due = {
            let scheduler = self.held.scheduler();
            self.wakes
                .take_due(now, WEBHOOKS, |webhook| scheduler.room_for(webhook))
        };
        if due.is_empty() {
            return Ok(false);
        }
        let looked = self.look_at(&due, now).await;
        if looked.is_err() {
            // Keep the hints: deliveries that were not claimed are still due.
            self.wakes
                .schedule(due.iter().map(|(lane, webhook, _)| (*lane, *webhook, now)));
        }
        looked.map(|()| true)
    }

    async fn look_at(&self, due: &[(Lane, WebhookId, usize)], now: Timestamp) -> Result<(), StoreError> {
        let mut conn = self.store.conn().await?;
        let webhooks: Vec<(Lane, WebhookId)> =
            due.iter().map(|(lane, webhook, _)| (*lane, *webhook)).collect();
        self.webhooks.ensure(&mut conn, &webhooks).await?;
        let share = DELIVERIES / due.len().max(1);
        let mut to_claim: BTreeMap<Lane, Vec<(WebhookId, i32)>> = BTreeMap::new();
        // Webhooks that cannot be worked on now, and when to look at each again.
        let mut stuck: BTreeMap<WebhookId, Timestamp> = BTreeMap::new();
        for (lane, webhook, room) in due {
            if self.webhooks.is_unreadable(*webhook) {
                stuck.insert(*webhook, later(now, UNUSABLE_WAIT));
                continue;
            }
            // A webhook without a row was removed: all its remaining deliveries are cancelled.
            let target = self.webhooks.get(*webhook);
            let verdict = target.map_or(Verdict::Cancel, |target| target.verdict(now, now, &self.policy));
            match end_by(verdict, now) {
                Some(action) => match self.end_unsent(&mut conn, (*lane, *webhook), &action, now).await {
                    Ok(()) => {}
                    Err(error) if error.is_away() => return Err(error),
                    Err(error) => {
                        tracing::error!(%error, %webhook, "a webhook's open deliveries cannot be ended; trying again");
                        stuck.insert(*webhook, wait_after(&error, now));
                    }
                },
                None if verdict == Verdict::AwaitRemoval => self.sweep.notify_one(),
                None => {
                    let room = i32::try_from((*room).min(share)).unwrap_or(i32::MAX);
                    to_claim.entry(*lane).or_default().push((*webhook, room));
                }
            }
        }
        let lease_until = now.saturating_add(self.timings.lease()).unwrap_or(Timestamp::MAX);
        for (lane, webhooks) in &to_claim {
            stuck.extend(
                self.claim_each(&mut conn, *lane, webhooks, now, lease_until)
                    .await?,
            );
        }
        let next = match claim::next_visible(&mut conn, &webhooks).await {
            // The statement does not say which webhook was too slow. So all are looked at again after a short wait.
            Err(error) if error.is_timed_out() => webhooks
                .iter()
                .map(|(_, id)| (*id, later(now, CONFLICT_WAIT)))
                .collect(),
            next => next?,
        };
        let awaits = |webhook: WebhookId| {
            let target = self.webhooks.get(webhook);
            target.is_some_and(|target| target.verdict(now, now, &self.policy) == Verdict::AwaitRemoval)
        };
        self.wakes.schedule(due.iter().filter_map(|(lane, webhook, _)| {
            if let Some(until) = stuck.get(webhook) {
                return Some((*lane, *webhook, *until));
            }
            let (_, at) = next.iter().find(|(id, _)| id == webhook)?;
            // If the webhook awaits the sweeper's decision, that decision adds the next hint.
            (!awaits(*webhook)).then_some((*lane, *webhook, *at))
        }));
        Ok(())
    }

    /// Claims deliveries of these webhooks of one lane, together or in parts if the database refuses. Returns the
    /// webhooks that cannot be worked on, and until when.
    async fn claim_each(
        &self,
        conn: &mut Conn,
        lane: Lane,
        webhooks: &[(WebhookId, i32)],
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Vec<(WebhookId, Timestamp)>, StoreError> {
        let mut parts = Bisection::of(webhooks.len()).split_when_late(FIRST_TIME_OUT, &self.store);
        while let Some((part, _)) = parts.next() {
            let claimed = self
                .claim_some(conn, lane, &webhooks[part], now, lease_until)
                .await;
            parts.done(claimed)?;
        }
        let mut stuck = Vec::new();
        for (items, error) in parts.refused {
            let (webhook, room) = webhooks[items.start];
            tracing::debug!(%error, %webhook, "a webhook's deliveries are claimed one by one");
            match self
                .claim_around(conn, (lane, webhook, room), now, lease_until)
                .await
            {
                Ok(None) => {}
                Ok(Some(until)) => stuck.push((webhook, until)),
                Err(error) if error.is_away() => return Err(error),
                Err(error) => {
                    tracing::error!(%error, %webhook, "a webhook's deliveries cannot be claimed; trying again");
                    stuck.push((webhook, wait_after(&error, now)));
                }
            }
        }
        Ok(stuck)
    }

    /// Claims deliveries of these webhooks of one lane: all or nothing.
    async fn claim_some(
        &self,
        conn: &mut Conn,
        lane: Lane,
        webhooks: &[(WebhookId, i32)],
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<(), StoreError> {
        let node = self.process.node();
        let bytes = self.held.scheduler().room_in_bytes();
        let claimed = claim::claim(conn, lane, webhooks, now, node, lease_until, bytes).await?;
        self.hold(node, claimed);
        Ok(())
    }

    fn hold(&self, node: NodeId, claimed: Rows<(Leased, Event), DeliveryKey>) {
        if let Some((first, error)) = claimed.bad.first() {
            tracing::error!(
                %error,
                deliveries = claimed.bad.len(),
                webhook = %first.webhook,
                event = %first.event,
                "deliveries cannot be read; they are not attempted until their lease ends"
            );
        }
        let hold = |(leased, event)| HeldDelivery {
            leased,
            event: Arc::new(event),
            node,
        };
        self.held.accept(claimed.good.into_iter().map(hold).collect());
    }

    /// Claims a webhook's deliveries one by one, because one of them cannot be claimed, and puts that one back. Returns
    /// until when the webhook must wait, if a delivery cannot be put back either or took as long as a statement may. In
    /// that case other webhooks go first.
    async fn claim_around(
        &self,
        conn: &mut Conn,
        (lane, webhook, room): (Lane, WebhookId, i32),
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let (mut refused, mut stuck) = (0, None);
        for key in claim::visible(conn, (lane, webhook), now, room).await? {
            if self.held.scheduler().room_in_bytes() == 0 {
                break;
            }
            let node = self.process.node();
            let error = match claim::claim_one(conn, &key, now, node, lease_until).await {
                Ok(claimed) => {
                    self.hold(node, claimed);
                    continue;
                }
                Err(error) if error.is_away() => return Err(error),
                Err(error) => error,
            };
            let until = wait_after(&error, now);
            refused += 1;
            if refused == 1 {
                tracing::error!(%error, %webhook, event = %key.event, "a delivery cannot be claimed; trying again later");
            }
            match claim::put_back(conn, &key, now, until).await {
                Ok(()) => {}
                Err(error) if error.is_away() => return Err(error),
                Err(_) => stuck = Some(until),
            }
            if error.is_timed_out() {
                return Ok(stuck.or(Some(later(now, CONFLICT_WAIT))));
            }
        }
        Ok(stuck)
    }

    /// Ends the due deliveries in batches, because a webhook may have any number of them.
    async fn end_unsent(
        &self,
        conn: &mut Conn,
        webhook: (Lane, WebhookId),
        action: &Action,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let Action::Discard {
            status,
            reason,
            ban_episode,
            at,
        } = *action
        else {
            return Ok(());
        };
        let unsent = Unsent {
            status,
            reason,
            ban_episode,
            at,
        };
        loop {
            let ended = claim::drop_unsent(conn, webhook, unsent, now, self.process.node(), UNSENT).await?;
            self.counters.note();
            if i64::try_from(ended).unwrap_or(i64::MAX) < UNSENT {
                return Ok(());
            }
        }
    }
}

/// Finds every webhook with open deliveries, of all processes, and schedules it.
pub(crate) async fn search(store: &Store, wakes: &WakeSchedule) -> Result<(), StoreError> {
    let mut conn = store.conn().await?;
    let open = claim::discover(&mut conn, MAX_SCHEDULED as i64).await?;
    drop(conn);
    wakes.schedule(open);
    Ok(())
}

/// The pause before the next search, from the duration of the last one.
fn pause_after(took: Duration) -> Duration {
    SEARCH_EVERY.max(took.min(SEARCH_EVERY) * SEARCH_SHARE)
}

/// Until when a webhook waits after this error.
fn wait_after(error: &StoreError, now: Timestamp) -> Timestamp {
    let wait = if error.is_transient() {
        CONFLICT_WAIT
    } else {
        UNUSABLE_WAIT
    };
    later(now, wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_is_50_times_the_search_and_at_least_5_seconds() {
        let pause = |took| pause_after(Duration::from_millis(took)).as_millis();
        assert_eq!([pause(0), pause(100), pause(101)], [5_000, 5_000, 5_050]);
        assert_eq!([pause(5_000), pause(60_000)], [250_000, 250_000]);
    }
}
