//! The sweeper: writes the transitions that time alone causes (B7, R3, R4), each dated at its boundary.
//!
//! Readers do not depend on it: they compute the state from the row and the time (T3). It writes a transition only after
//! the results of attempts that ended before the boundary are settled, in this process and every other live one. Before
//! it removes a webhook, it searches the attempt log for a success that the row does not contain.
//!
//! Guarantees: a webhook whose transition the database refuses, or whose row another transaction has locked, delays no
//! other. The batch is [divided](crate::bisection), and that webhook is tried again with a growing pause. Meanwhile readers
//! see its right state (T3), but its notice is late.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use diesel_async::AsyncConnection;
use jiff::Timestamp;

use crate::backoff::WebhookBackoffs;
use crate::bisection::{Bisection, TIME_OUTS};
use crate::settle::notice_writer;
use crate::state::Shared;
use tenterhook_model::ids::{Lane, WebhookId};
use tenterhook_model::webhook::RemoveReason;
use tenterhook_policy::health::{Transition, advance, due, recover};
use tenterhook_store::health::{Locked, last_successes, lock_in_tx, remove_in_tx, write_in_tx};
use tenterhook_store::{Conn, StoreError, changes, health, limit_lock_waits_in_tx, nodes};

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

/// Sweeps until the process ends.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut lingered = 0;
    let mut set_back = WebhookBackoffs::up_to(REFUSED_AGAIN);
    loop {
        match round(&shared, &mut set_back).await {
            Ok(Round::More) => lingered = 0,
            // Not idle: an advance of simulated time returns only when the transitions due on the way are written. The
            // number of tries is bounded, because another process's attempt in flight may need time to move before it
            // ends.
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

async fn round(shared: &Arc<Shared>, set_back: &mut WebhookBackoffs) -> Result<Round, StoreError> {
    let now = shared.clock.now();
    let mut conn = shared.store.conn().await?;
    // Webhooks that are set back have been due longest, so they come first. More rows are read, so that they do not
    // displace others.
    let most = BATCH.saturating_add(i64::try_from(set_back.len()).unwrap_or(i64::MAX));
    let mut due = health::due(&mut conn, now, most).await?;
    let all: HashSet<WebhookId> = due.iter().map(|(_, webhook, _)| *webhook).collect();
    set_back.retain(|webhook| all.contains(&webhook));
    let real_now = shared.clock.monotonic();
    due.retain(|(_, webhook, _)| set_back.is_due(*webhook, real_now));
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
    let mark = sweep_each(shared, &mut conn, &ready, now, set_back).await?;
    drop(conn);
    shared.refresh(&ready).await?;
    if let Some(mark) = mark.filter(|_| shared.clock.simulation().is_some()) {
        // As in the settler: simulated time may move as soon as this process is idle.
        shared.feed.propagate_to_all(shared, &mark).await;
    }
    Ok(Round::More)
}

/// Sweeps these webhooks together or in parts, and sets back those that the database refuses alone. Returns the mark of
/// the changes.
async fn sweep_each(
    shared: &Arc<Shared>,
    conn: &mut Conn,
    webhooks: &[(Lane, WebhookId)],
    now: Timestamp,
    set_back: &mut WebhookBackoffs,
) -> Result<Option<changes::Mark>, StoreError> {
    let mut mark = None;
    let mut parts = Bisection::of(webhooks.len())
        .split_when_late(TIME_OUTS, &shared.store)
        // A webhook that was set back may still be locked.
        .hurried(webhooks.iter().any(|(_, webhook)| set_back.has(*webhook)));
    while let Some((part, lock_wait)) = parts.next() {
        let some = &webhooks[part];
        let swept = conn.transaction(async |conn| {
            limit_lock_waits_in_tx(conn, lock_wait).await?;
            sweep_in_tx(shared, conn, some, now).await
        });
        let Some((announced, owes)) = parts.done(swept.await)? else {
            continue;
        };
        mark = announced.or(mark);
        if owes {
            shared.owed.notify_one();
        }
        set_back.retain(|webhook| some.iter().all(|(_, swept)| *swept != webhook));
    }
    for (items, error) in parts.refused {
        let webhook = webhooks[items.start].1;
        if set_back.add(webhook, shared.clock.monotonic()) {
            tracing::error!(%error, %webhook, "a due transition cannot be written; it is tried again");
        }
    }
    Ok(mark)
}

/// Whether no other live process can have an unsettled result from before `now`. If that is not known, asks the others
/// to report.
async fn others_have_settled(shared: &Shared, conn: &mut Conn, now: Timestamp) -> Result<bool, StoreError> {
    let dead_after = shared.tempo.dead_after().as_secs_f64();
    if nodes::behind(conn, shared.node(), dead_after, now).await? == 0 {
        return Ok(true);
    }
    changes::ask(conn, now).await?;
    Ok(false)
}

/// Returns the mark of the changes, and whether there is a notice for the platform's endpoint.
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
    let owes = notice_writer::notify_in_tx(shared, conn, &taken).await?;
    Ok((changes::announce_in_tx(conn, now, webhooks).await?, owes))
}

fn with_due(shared: &Shared, row: Locked) -> (Locked, Option<Timestamp>) {
    let next = due(&row.health, &shared.policy);
    (row, next)
}
