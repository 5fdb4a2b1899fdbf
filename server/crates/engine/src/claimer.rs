//! The claimer: takes retries, overflow and what others left behind, when they are due and there is room.
//!
//! What comes due for a webhook that may get nothing is ended in bulk, without being taken (B4, W8, W13).
//!
//! Promises that a webhook, a delivery or an event which the database cannot read or write, or not in time, delays no other: a
//! claim that is refused is [divided](super::parts), down to single deliveries, and what cannot be taken is tried again after
//! [`UNUSABLE_WAIT`]. Rows that somebody else keeps locked are passed over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::attempt::{UNUSABLE_WAIT, later};
use super::calendar::MOST_NOTED;
use super::parts::{FIRST_TIME_OUT, Parts};
use super::queue::Held;
use super::shared::{Shared, drop_as};
use tenterhook_model::delivery::Leased;
use tenterhook_model::event::Event;
use tenterhook_model::ids::{DeliveryKey, Lane, NodeId, WebhookId};
use tenterhook_policy::health::Verdict;
use tenterhook_store::claim::{self, Unsent};
use tenterhook_store::settle::Then;
use tenterhook_store::sql::Rows;
use tenterhook_store::{Conn, StoreError};

/// Webhooks looked at in one round.
const WEBHOOKS: usize = 16;
/// Deliveries claimed in one round, shared out over the webhooks that are looked at. It bounds how many a round brings into
/// memory; the queue's room in bytes bounds how large they are.
const DELIVERIES: usize = 2_048;
/// Deliveries ended unsent in one statement.
const UNSENT: i64 = 1_000;
/// How often, in real time, all lanes are searched for deliveries nobody here knows of. A search costs an index
/// probe per webhook with open deliveries: see [`SEARCH_SHARE`].
const SEARCH_EVERY: Duration = Duration::from_secs(5);
/// The next search waits at least this many times as long as the last one took, so that it stays under 2 %.
const SEARCH_SHARE: u32 = 50;
/// How long a webhook waits whose rows another transaction was changing.
const CROSSED_WAIT: SignedDuration = SignedDuration::from_secs(1);
/// How long to wait after an error of the database.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// Claims as long as the process takes work.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut search_after = Duration::ZERO;
    let mut searched_at = shared.clock.monotonic();
    while !shared.is_stopping() {
        let round = async {
            let began = shared.clock.monotonic();
            if began.duration_since(searched_at) >= search_after {
                search(&shared).await?;
                searched_at = shared.clock.monotonic();
                search_after = pause_after(searched_at.duration_since(began));
            }
            claim_due(&shared).await
        };
        match round.await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%error, "deliveries could not be claimed; trying again");
                shared.clock.linger(RETRY_AFTER).await;
                continue;
            }
        }
        let next = shared.calendar().next();
        tokio::select! {
            () = shared.clock.park(shared.look.notified()) => {}
            () = shared.clock.sleep_until(next.unwrap_or(Timestamp::MAX)), if next.is_some() => {}
            () = shared.clock.real_sleep(search_after) => {}
        }
    }
}

/// How long after a search that took so long the next one is due.
fn pause_after(took: Duration) -> Duration {
    SEARCH_EVERY.max(took.min(SEARCH_EVERY) * SEARCH_SHARE)
}

/// Finds every webhook with open deliveries, whoever made them.
pub(super) async fn search(shared: &Shared) -> Result<(), StoreError> {
    let mut conn = shared.store.conn().await?;
    let open = claim::discover(&mut conn, MOST_NOTED as i64).await?;
    drop(conn);
    shared.hint(open);
    Ok(())
}

/// One round over what is due; answers whether there was anything.
async fn claim_due(shared: &Arc<Shared>) -> Result<bool, StoreError> {
    let now = shared.clock.now();
    let due = {
        let queue = shared.queue();
        shared
            .calendar()
            .take_due(now, WEBHOOKS, |webhook| queue.room_for(webhook))
    };
    if due.is_empty() {
        return Ok(false);
    }
    let looked = look_at(shared, &due, now).await;
    if looked.is_err() {
        // Nothing may be forgotten: what was not claimed is due still.
        shared.hint(due.iter().map(|(lane, webhook, _)| (*lane, *webhook, now)));
    }
    looked.map(|()| true)
}

async fn look_at(
    shared: &Arc<Shared>,
    due: &[(Lane, WebhookId, usize)],
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut conn = shared.store.conn().await?;
    let webhooks: Vec<(Lane, WebhookId)> = due.iter().map(|(lane, webhook, _)| (*lane, *webhook)).collect();
    shared.registry.ensure(&mut conn, &webhooks).await?;
    let share = DELIVERIES / due.len().max(1);
    let mut to_claim: BTreeMap<Lane, Vec<(WebhookId, i32)>> = BTreeMap::new();
    // When to look again at those that cannot be worked on now.
    let mut stuck: BTreeMap<WebhookId, Timestamp> = BTreeMap::new();
    for (lane, webhook, room) in due {
        if shared.registry.is_unreadable(*webhook) {
            stuck.insert(*webhook, later(now, UNUSABLE_WAIT));
            continue;
        }
        // A webhook that is gone altogether was removed: whatever is left for it is cancelled.
        let target = shared.registry.get(*webhook);
        let verdict = target.map_or(Verdict::Cancel, |target| target.verdict(now, now, &shared.policy));
        match drop_as(verdict, now) {
            Some(then) => match end_unsent(shared, &mut conn, (*lane, *webhook), &then, now).await {
                Ok(()) => {}
                Err(error) if error.is_away() => return Err(error),
                Err(error) => {
                    tracing::error!(%error, %webhook, "a webhook's open deliveries cannot be ended; it is tried again");
                    stuck.insert(*webhook, wait_after(&error, now));
                }
            },
            None if verdict == Verdict::AwaitRemoval => shared.moved.notify_one(),
            None => {
                let room = i32::try_from((*room).min(share)).unwrap_or(i32::MAX);
                to_claim.entry(*lane).or_default().push((*webhook, room));
            }
        }
    }
    let lease_until = now.saturating_add(shared.tempo.lease()).unwrap_or(Timestamp::MAX);
    for (lane, webhooks) in &to_claim {
        stuck.extend(claim_each(shared, &mut conn, *lane, webhooks, now, lease_until).await?);
    }
    let next = match claim::next_visible(&mut conn, &webhooks).await {
        // Whichever webhook it is, none waits longer than a moment for its next look.
        Err(error) if error.is_timed_out() => webhooks
            .iter()
            .map(|(_, id)| (*id, later(now, CROSSED_WAIT)))
            .collect(),
        next => next?,
    };
    let awaits = |webhook: WebhookId| {
        let target = shared.registry.get(webhook);
        target.is_some_and(|target| target.verdict(now, now, &shared.policy) == Verdict::AwaitRemoval)
    };
    shared.hint(due.iter().filter_map(|(lane, webhook, _)| {
        if let Some(until) = stuck.get(webhook) {
            return Some((*lane, *webhook, *until));
        }
        let (_, at) = next.iter().find(|(id, _)| id == webhook)?;
        // The sweeper's decision brings a webhook back that awaits it.
        (!awaits(*webhook)).then_some((*lane, *webhook, *at))
    }));
    Ok(())
}

/// Claims of these webhooks of one lane, together or in parts where the database refuses that. Returns the webhooks that
/// cannot be worked on, and until when.
async fn claim_each(
    shared: &Arc<Shared>,
    conn: &mut Conn,
    lane: Lane,
    webhooks: &[(WebhookId, i32)],
    now: Timestamp,
    lease_until: Timestamp,
) -> Result<Vec<(WebhookId, Timestamp)>, StoreError> {
    let mut parts = Parts::of(webhooks.len()).apart_when_late(FIRST_TIME_OUT, &shared.store);
    while let Some((part, _)) = parts.next() {
        let claimed = claim_some(shared, conn, lane, &webhooks[part], now, lease_until).await;
        parts.done(claimed)?;
    }
    let mut stuck = Vec::new();
    for (items, error) in parts.refused {
        let (webhook, room) = webhooks[items.start];
        tracing::debug!(%error, %webhook, "a webhook's deliveries are claimed one by one");
        match claim_around(shared, conn, (lane, webhook, room), now, lease_until).await {
            Ok(None) => {}
            Ok(Some(until)) => stuck.push((webhook, until)),
            Err(error) if error.is_away() => return Err(error),
            Err(error) => {
                tracing::error!(%error, %webhook, "a webhook's deliveries cannot be claimed; it is tried again");
                stuck.push((webhook, wait_after(&error, now)));
            }
        }
    }
    Ok(stuck)
}

/// Claims of these webhooks of one lane, all or nothing.
async fn claim_some(
    shared: &Arc<Shared>,
    conn: &mut Conn,
    lane: Lane,
    webhooks: &[(WebhookId, i32)],
    now: Timestamp,
    lease_until: Timestamp,
) -> Result<(), StoreError> {
    let node = shared.node();
    let bytes = shared.queue().room_in_bytes();
    let claimed = claim::claim(conn, lane, webhooks, now, node, lease_until, bytes).await?;
    hold(shared, node, claimed);
    Ok(())
}

fn hold(shared: &Arc<Shared>, node: NodeId, claimed: Rows<(Leased, Event), DeliveryKey>) {
    if let Some((first, error)) = claimed.bad.first() {
        tracing::error!(
            %error,
            deliveries = claimed.bad.len(),
            webhook = %first.webhook,
            event = %first.event,
            "deliveries cannot be read; they are left alone until their lease ends"
        );
    }
    let hold = |(leased, event)| Held {
        leased,
        event: Arc::new(event),
        node,
    };
    shared.take_in(claimed.good.into_iter().map(hold).collect());
}

/// Claims the deliveries of a webhook one by one, since one of them cannot be taken, and puts that one back. Returns until
/// when the webhook waits if it cannot be put back either, or takes as long as a statement may: then those behind it have
/// their turn after the other webhooks.
async fn claim_around(
    shared: &Arc<Shared>,
    conn: &mut Conn,
    (lane, webhook, room): (Lane, WebhookId, i32),
    now: Timestamp,
    lease_until: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    let (mut refused, mut stuck) = (0, None);
    for key in claim::visible(conn, (lane, webhook), now, room).await? {
        if shared.queue().room_in_bytes() == 0 {
            break;
        }
        let node = shared.node();
        let error = match claim::claim_one(conn, &key, now, node, lease_until).await {
            Ok(claimed) => {
                hold(shared, node, claimed);
                continue;
            }
            Err(error) if error.is_away() => return Err(error),
            Err(error) => error,
        };
        let until = wait_after(&error, now);
        refused += 1;
        if refused == 1 {
            tracing::error!(%error, %webhook, event = %key.event, "a delivery cannot be taken; it is put back");
        }
        match claim::put_back(conn, &key, now, until).await {
            Ok(()) => {}
            Err(error) if error.is_away() => return Err(error),
            Err(_) => stuck = Some(until),
        }
        if error.is_timed_out() {
            return Ok(stuck.or(Some(later(now, CROSSED_WAIT))));
        }
    }
    Ok(stuck)
}

/// Until when a webhook waits after this error.
fn wait_after(error: &StoreError, now: Timestamp) -> Timestamp {
    let wait = if error.is_transient() {
        CROSSED_WAIT
    } else {
        UNUSABLE_WAIT
    };
    later(now, wait)
}

/// Ends what is due, in batches: a webhook may have any number of deliveries.
async fn end_unsent(
    shared: &Shared,
    conn: &mut Conn,
    webhook: (Lane, WebhookId),
    then: &Then,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Then::Drop {
        status,
        reason,
        ban_episode,
        at,
    } = *then
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
        let ended = claim::drop_unsent(conn, webhook, unsent, now, shared.node(), UNSENT).await?;
        shared.tallied.fetch_add(1, Ordering::Relaxed);
        if i64::try_from(ended).unwrap_or(i64::MAX) < UNSENT {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_is_followed_by_fifty_times_its_length_or_five_seconds() {
        let pause = |took| pause_after(Duration::from_millis(took)).as_millis();
        assert_eq!([pause(0), pause(100), pause(101)], [5_000, 5_000, 5_050]);
        assert_eq!([pause(5_000), pause(60_000)], [250_000, 250_000]);
    }
}
