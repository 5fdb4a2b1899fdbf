//! The sweeper: writes what time alone has brought to webhooks (B7, R3, R4), each dated at its boundary.
//!
//! Nobody waits for it: state is read as a function of the row and the moment (T3). It writes a transition only after
//! attempts that ended before the boundary are settled, here and in every other live process, and looks into history
//! for a success the row does not know of before it removes anything.
//!
//! Promises that a webhook whose transition the database refuses delays no other: the batch is [divided](super::parts), and
//! that webhook is tried again with a growing pause. Readers see its right state meanwhile (T3); its notice comes late.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel_async::AsyncConnection;
use jiff::Timestamp;

use super::parts::Parts;
use super::patience::{Patience, Pause};
use super::shared::Shared;
use super::transitions;
use crate::model::ids::{Lane, WebhookId};
use crate::model::webhook::RemoveReason;
use crate::policy::health::{Transition, advance, due, recover};
use crate::store::health::{Locked, last_successes, lock_in_tx, remove_in_tx, write_in_tx};
use crate::store::{Conn, StoreError, changes, health, nodes};

/// Webhooks in one transaction.
const BATCH: i64 = 200;
/// How often to look without being told, in real time: other processes move health too.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often to look again while other processes have yet to settle.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How often to look again in simulated time before it may move: several times as long as others take to answer.
const LINGERS: u32 = 10;
/// How long to wait after an error of the database.
const RETRY_AFTER: Duration = Duration::from_millis(200);
/// The longest pause before a transition is tried again that the database refuses.
const REFUSED_AGAIN: Duration = Duration::from_secs(300);

/// The webhooks whose transition the database refuses: when each is tried again, and the pause after that.
type Stuck = HashMap<WebhookId, (Instant, Pause)>;

/// What a round left to do.
enum Round {
    /// More is due.
    More,
    /// Something is due, but attempts of this process that may change it are not settled yet.
    Waits,
    /// The same, of other processes.
    WaitsForOthers,
    /// Nothing is due before this moment, if ever.
    Until(Option<Timestamp>),
}

/// Sweeps as long as the process lives.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut lingered = 0;
    let mut stuck = Stuck::new();
    loop {
        match round(&shared, &mut stuck).await {
            Ok(Round::More) => lingered = 0,
            // Not idle: an advance answers when what was due on the way is written. But not for ever: an attempt that
            // another has on the wire may need time to move before it ends.
            Ok(Round::WaitsForOthers) if shared.clock.simulation().is_some() && lingered < LINGERS => {
                lingered += 1;
                shared.clock.linger(LOOK_AGAIN).await;
                continue;
            }
            Ok(Round::Waits | Round::WaitsForOthers) => tokio::select! {
                () = shared.clock.park(shared.unsettled.settled().notified()) => {}
                () = shared.clock.real_sleep(LOOK_AGAIN) => {}
            },
            Ok(Round::Until(next)) => {
                lingered = 0;
                tokio::select! {
                    () = shared.clock.park(shared.moved.notified()) => {}
                    () = shared.clock.sleep_until(next.unwrap_or(Timestamp::MAX)), if next.is_some() => {}
                    () = shared.clock.real_sleep(LOOK_EVERY) => {}
                }
            }
            Err(error) => {
                tracing::warn!(%error, "due transitions could not be written; trying again");
                shared.clock.linger(RETRY_AFTER).await;
            }
        }
    }
}

async fn round(shared: &Arc<Shared>, stuck: &mut Stuck) -> Result<Round, StoreError> {
    let now = shared.clock.now();
    let mut conn = shared.store.conn().await?;
    // What is stuck has been due longest, so it comes first: more rows are asked for, so that it takes no other's place.
    let most = BATCH.saturating_add(i64::try_from(stuck.len()).unwrap_or(i64::MAX));
    let mut due = health::due(&mut conn, now, most).await?;
    stuck.retain(|webhook, _| due.iter().any(|(_, id, _)| id == webhook));
    let real_now = shared.clock.monotonic();
    due.retain(|(_, webhook, _)| {
        stuck
            .get(webhook)
            .is_none_or(|(again_at, _)| *again_at <= real_now)
    });
    if due.is_empty() {
        return Ok(Round::Until(health::next_due(&mut conn, now).await?));
    }
    let all_settled = others_have_settled(shared, &mut conn, now).await?;
    let ready: Vec<(Lane, WebhookId)> = due
        .iter()
        .filter(|(_, webhook, boundary)| all_settled && !shared.unsettled.has(*webhook, *boundary))
        .map(|(lane, webhook, _)| (*lane, *webhook))
        .collect();
    if ready.is_empty() {
        return Ok(if all_settled {
            Round::Waits
        } else {
            Round::WaitsForOthers
        });
    }
    let mut mark = None;
    let mut parts = Parts::of(ready.len());
    while let Some(part) = parts.next() {
        let some = &ready[part.clone()];
        match sweep(shared, &mut conn, some, now).await {
            Ok((announced, owes)) => {
                mark = announced.or(mark);
                if owes {
                    shared.owed.notify_one();
                }
                stuck.retain(|webhook, _| some.iter().all(|(_, swept)| swept != webhook));
            }
            Err(error) if error.is_unavailable() => return Err(error),
            Err(_) if parts.take_apart(&part) => {}
            Err(error) => set_back(stuck, some[0].1, shared.clock.monotonic(), &error),
        }
    }
    drop(conn);
    shared.refresh(&ready).await?;
    if let Some(mark) = mark.filter(|_| shared.clock.simulation().is_some()) {
        // As in the settler: simulated time may move as soon as we are idle.
        shared.feed.everywhere(shared, &mark).await;
    }
    Ok(Round::More)
}

/// All of these webhooks or none.
async fn sweep(
    shared: &Arc<Shared>,
    conn: &mut Conn,
    webhooks: &[(Lane, WebhookId)],
    now: Timestamp,
) -> Result<(Option<changes::Mark>, bool), StoreError> {
    let mut patience = Patience::with("due transitions");
    loop {
        let swept = conn
            .transaction(async |conn| sweep_in_tx(shared, conn, webhooks, now).await)
            .await;
        match swept {
            Err(error) if patience.is_crossed(&error) => {}
            swept => return swept,
        }
    }
}

/// Notes when a webhook is tried again whose transition is refused; the log names it once.
fn set_back(stuck: &mut Stuck, webhook: WebhookId, now: Instant, error: &StoreError) {
    if !stuck.contains_key(&webhook) {
        tracing::error!(%error, %webhook, "a due transition cannot be written; it is tried again");
    }
    let fresh = || (now, Pause::up_to(REFUSED_AGAIN));
    let (again_at, pause) = stuck.entry(webhook).or_insert_with(fresh);
    *again_at = now + pause.grow();
}

/// Whether no other live process can have an unsettled result from before `now`; asks them if it is not known.
async fn others_have_settled(shared: &Shared, conn: &mut Conn, now: Timestamp) -> Result<bool, StoreError> {
    let lapse = shared.tempo.lapse().as_secs_f64();
    if nodes::behind(conn, shared.node(), lapse, now).await? == 0 {
        return Ok(true);
    }
    changes::ask(conn, now).await?;
    Ok(false)
}

/// Answers the mark of what moved, and whether the platform's endpoint is owed a notice.
async fn sweep_in_tx(
    shared: &Shared,
    conn: &mut Conn,
    webhooks: &[(Lane, WebhookId)],
    now: Timestamp,
) -> Result<(Option<changes::Mark>, bool), StoreError> {
    let rows = lock_in_tx(conn, webhooks).await?;
    // A success at or after the boundary is too late, and must not hide one before it.
    let window = shared.policy.removal_window;
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
            .and_then(|at| recover(&mut row.health, at, &shared.policy))
            .into_iter()
            .chain(advance(&mut row.health, now, &shared.policy));
        for step in steps.collect::<Vec<_>>() {
            if let Transition::Removed { at, .. } = step {
                removed.push((row.lane, row.webhook, at));
            }
            taken.push((row.lane, row.webhook, row.company, step));
        }
        written.push(with_due(shared, row));
    }
    write_in_tx(conn, &written).await?;
    remove_in_tx(conn, &removed, RemoveReason::NoSuccessfulDelivery).await?;
    let owes = transitions::notify_in_tx(shared, conn, &taken).await?;
    Ok((changes::announce_in_tx(conn, now, webhooks).await?, owes))
}

fn with_due(shared: &Shared, row: Locked) -> (Locked, Option<Timestamp>) {
    let next = due(&row.health, &shared.policy);
    (row, next)
}
