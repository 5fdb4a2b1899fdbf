//! Settling: results become rows, batch by batch (D6, D7).
//!
//! A batch is whatever has come in while the one before was written, and under load a moment longer, so that it is small
//! when little happens and large then. A batch with failures locks its health rows first, in id order, and lets
//! [`crate::policy::health`] judge the results in the order their attempts ended; one of successes locks only the rows
//! whose window it ends, and where none is known to be open it is one statement and no more.
//!
//! Promises that each recorded attempt is judged once, in the transaction that records it; and that a batch which the
//! database refuses is [divided](super::parts) until the refused result is alone, which is then recorded with less of its
//! response ([`least`]) or set [aside](aside). Does not promise that a result is recorded at all: one whose lease was lost
//! is dropped, since another process holds the delivery.

mod aside;
mod least;

use std::collections::HashMap;
use std::mem;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use diesel_async::AsyncConnection;
use jiff::Timestamp;
use tokio::sync::mpsc;

use self::aside::Aside;
use super::parts::Parts;
use super::patience::Patience;
use super::shared::{Shared, Started};
use crate::model::delivery::DeliveryStatus;
use crate::model::ids::{Lane, WebhookId};
use crate::policy::health::{Judged, due, record};
use crate::store::health::{Locked, last_successes, lock_in_tx, write_in_tx};
use crate::store::settle::{self, Settled, Settlement, Then};
use crate::store::{Conn, StoreError, changes, health};

use super::transitions;

/// Results in one transaction at the most.
const BATCH: usize = 400;
/// How long to let results gather after a batch of several that was not full: a batch costs as much as thirty results, and
/// nobody waits for one but who reads it. A process that dies meanwhile leaves that much more to be sent again (D6).
const GATHER: Duration = Duration::from_millis(15);

/// One result on its way to be settled.
pub(super) struct Result {
    pub settlement: Settlement,
    /// The attempt it is of, if one was made.
    pub started: Option<Started>,
}

/// Settles what comes, until nothing can come any more.
pub(super) async fn run(shared: Arc<Shared>, mut results: mpsc::UnboundedReceiver<Result>) {
    let mut batch: Vec<Result> = Vec::with_capacity(BATCH);
    let mut aside = Aside::of(&shared);
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
        let (settlements, mut started): (Vec<_>, Vec<_>) = batch
            .drain(..)
            .map(|result| (result.settlement, result.started))
            .unzip();
        let refused = settle_each(&shared, &settlements).await;
        aside.add(&shared, &settlements, &mut started, refused);
        done(&shared, started.into_iter().flatten());
        if (2..BATCH).contains(&came) {
            shared.clock.gather(GATHER).await;
        }
    }
    aside.end(&shared).await;
}

/// Lets others start in the place of what is settled.
fn done(shared: &Arc<Shared>, attempts: impl Iterator<Item = Started>) {
    let attempts: Vec<Started> = attempts.collect();
    {
        let mut queue = shared.queue();
        attempts.iter().for_each(|(_, key)| queue.settle(key.webhook));
    }
    shared.unsettled.settle(attempts.into_iter());
    shared.pump();
}

/// A result that cannot be recorded, by its place in the batch, and what the database said of it.
type Refused = (usize, StoreError);

/// Settles the results together, or in parts where the database refuses that; returns those that it refuses alone.
async fn settle_each(shared: &Arc<Shared>, batch: &[Settlement]) -> Vec<Refused> {
    let (mut refused, mut lessened) = (Vec::new(), Vec::new());
    let mut parts = Parts::of(batch.len());
    while let Some(part) = parts.next() {
        let some = &batch[part.clone()];
        match record_when_there(shared, some).await {
            Ok(recorded) => follow(shared, some, recorded).await,
            Err(error) if parts.take_apart(&part) => {
                tracing::debug!(%error, results = some.len(), "results are refused and taken apart");
            }
            Err(error) => match record_less(shared, &batch[part.start]).await {
                Ok(true) => lessened.push((part.start, error)),
                Ok(false) => refused.push((part.start, error)),
                Err(error) => refused.push((part.start, error)),
            },
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
async fn record_less(shared: &Arc<Shared>, settlement: &Settlement) -> std::result::Result<bool, StoreError> {
    let mut refused = Ok(false);
    for less in least::of(settlement) {
        let less = slice::from_ref(&less);
        match record_when_there(shared, less).await {
            Ok(recorded) => {
                follow(shared, less, recorded).await;
                return Ok(true);
            }
            Err(error) => refused = Err(error),
        }
    }
    refused
}

/// Tries for as long as the database is away: what is in the batch happened, and the fence makes trying again harmless.
async fn record_when_there(
    shared: &Arc<Shared>,
    batch: &[Settlement],
) -> std::result::Result<Recorded, StoreError> {
    let mut patience = Patience::with("results");
    loop {
        match write(shared, batch).await {
            Ok(recorded) => return Ok(recorded),
            Err(error) if patience.allows(&shared.clock, &error).await => {}
            Err(error) => return Err(error),
        }
    }
}

/// What is recorded of a batch, and what is left to do.
#[derive(Default)]
struct Recorded {
    /// Indexes of those that held.
    won: Vec<usize>,
    moved: Moved,
    /// Webhooks whose window or counter its successes may end.
    to_recover: Vec<(Lane, WebhookId)>,
    /// Webhooks that may have an open window although a success recorded at the same moment has ended it.
    to_reconcile: Vec<(Lane, WebhookId)>,
}

/// Nothing of the batch is recorded, or all of it that still holds.
async fn write(shared: &Arc<Shared>, batch: &[Settlement]) -> std::result::Result<Recorded, StoreError> {
    let mut conn = shared.store.conn().await?;
    if batch.iter().any(is_failure) {
        judged(shared, &mut conn, batch).await
    } else {
        succeeded(shared, &mut conn, batch).await
    }
}

/// Does what follows from a batch that is recorded. No error here may lead to the batch being recorded again.
async fn follow(shared: &Arc<Shared>, batch: &[Settlement], recorded: Recorded) {
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
        moved.and(heal(shared, &to_recover, Some(&results_of(won))).await);
    }
    moved.and(heal(shared, &to_reconcile, None).await);
    let mark = moved.mark;
    if moved.owes {
        shared.owed.notify_one();
    }
    if !moved.webhooks.is_empty()
        && let Err(error) = shared.refresh(&moved.webhooks).await
    {
        // The changes feed tells of them too.
        tracing::warn!(%error, "webhooks could not be read after their health moved");
    }
    if let Some(mark) = mark.filter(|_| shared.clock.simulation().is_some()) {
        // Simulated time may move as soon as we are idle: other processes must know by then (B6).
        shared.feed.everywhere(shared, &mark).await;
    }
    shared.hint(batch.iter().filter_map(|settlement| match settlement.then {
        Then::Retry(at) | Then::Release(at) => Some((settlement.key.lane, settlement.key.webhook, at)),
        Then::End(_) | Then::Drop { .. } => None,
    }));
}

/// Ends the windows and counters that these successes end, or without `results` those that the attempt log shows: for all
/// the webhooks together, or in parts where the database refuses that. A webhook that it refuses alone keeps its window; the
/// sweeper reads the attempt log before it removes the webhook.
async fn heal(
    shared: &Shared,
    webhooks: &[(Lane, WebhookId)],
    results: Option<&HashMap<WebhookId, Vec<Judged>>>,
) -> Moved {
    let mut healed = Moved::default();
    let mut parts = Parts::of(webhooks.len());
    let mut patience = Patience::with("windows");
    while let Some(part) = parts.next() {
        let some = &webhooks[part.clone()];
        let error = loop {
            let healing = async {
                let mut conn = shared.store.conn().await?;
                match results {
                    Some(results) => recovered(shared, &mut conn, some, results).await,
                    None => reconciled(shared, &mut conn, some).await,
                }
            };
            match healing.await {
                Ok(moved) => {
                    healed.and(moved);
                    break None;
                }
                Err(error) if patience.allows(&shared.clock, &error).await => {}
                Err(error) => break Some(error),
            }
        };
        if let Some(error) = error
            && !parts.take_apart(&part)
        {
            let webhook = some[0].1;
            tracing::error!(%error, %webhook, "a success could not end a window or counter; the next one may");
        }
    }
    healed
}

fn is_failure(settlement: &Settlement) -> bool {
    settlement
        .attempt
        .as_ref()
        .is_some_and(|attempt| !attempt.outcome.succeeded())
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

/// Webhooks whose health a transaction moved, and the transaction, if it announced them.
#[derive(Default)]
struct Moved {
    webhooks: Vec<(Lane, WebhookId)>,
    /// Those whose window it opened.
    opened: Vec<(Lane, WebhookId)>,
    /// Whether the platform's endpoint is owed a notice.
    owes: bool,
    mark: Option<changes::Mark>,
}

impl Moved {
    fn and(&mut self, later: Self) {
        self.webhooks.extend(later.webhooks);
        self.owes |= later.owes;
        self.mark = later.mark.or(self.mark.take());
    }
}

/// Settles a batch with failures: lock, fence, judge, write, in one transaction.
async fn judged(
    shared: &Shared,
    conn: &mut Conn,
    batch: &[Settlement],
) -> std::result::Result<Recorded, StoreError> {
    let (won, mut moved) = conn
        .transaction(async |conn| {
            let rows = lock_in_tx(conn, &webhooks_of(batch)).await?;
            let settled = settled(shared, conn, batch).await?;
            let won = settled.won.iter().filter_map(|index| batch.get(*index));
            let moved = judge(shared, conn, rows, results_of(won)).await?;
            Ok::<_, StoreError>((settled.won, moved))
        })
        .await?;
    Ok(Recorded {
        won,
        to_reconcile: mem::take(&mut moved.opened),
        moved,
        to_recover: Vec::new(),
    })
}

/// Settles a batch of successes and ends the windows that were open when they were recorded.
///
/// In one transaction where a window or counter is known that a success may end: a process that ends between the two would
/// leave it, until the sweeper looks. Otherwise in one statement; a window of which the changes feed has not told yet, or
/// that opens at the same moment, is ended after it. Should the process end in between, a counter stays (B3's setting).
async fn succeeded(
    shared: &Shared,
    conn: &mut Conn,
    batch: &[Settlement],
) -> std::result::Result<Recorded, StoreError> {
    let counts = shared.policy.success_resets_counter;
    let is_well = |(_, webhook): &(Lane, WebhookId)| shared.registry.is_well(*webhook, counts);
    let webhooks = webhooks_of(batch);
    if webhooks.iter().all(is_well) {
        let settled = settled(shared, conn, batch).await?;
        return Ok(Recorded {
            won: settled.won,
            moved: Moved::default(),
            to_recover: settled.to_recover,
            to_reconcile: failing(conn, &webhooks).await,
        });
    }
    let (won, moved) = conn
        .transaction(async |conn| {
            let settled = settled(shared, conn, batch).await?;
            if settled.to_recover.is_empty() {
                return Ok((settled.won, Moved::default()));
            }
            let won = settled.won.iter().filter_map(|index| batch.get(*index));
            let results = results_of(won);
            let rows = lock_in_tx(conn, &settled.to_recover).await?;
            let moved = judge(shared, conn, rows, results).await?;
            Ok::<_, StoreError>((settled.won, moved))
        })
        .await?;
    Ok(Recorded {
        won,
        moved,
        to_recover: Vec::new(),
        to_reconcile: failing(conn, &webhooks).await,
    })
}

async fn settled(
    shared: &Shared,
    conn: &mut Conn,
    batch: &[Settlement],
) -> std::result::Result<Settled, StoreError> {
    settle::batch(conn, batch, shared.node(), shared.policy.success_resets_counter).await
}

/// Which of these have a window open; all of them if that cannot be read. The batch is recorded already, so there is no
/// way back from here.
async fn failing(conn: &mut Conn, webhooks: &[(Lane, WebhookId)]) -> Vec<(Lane, WebhookId)> {
    match health::failing(conn, webhooks).await {
        Ok(failing) => failing,
        Err(error) => {
            tracing::debug!(%error, "cannot see which windows are open");
            webhooks.to_vec()
        }
    }
}

/// Ends what these successes may end.
async fn recovered(
    shared: &Shared,
    conn: &mut Conn,
    webhooks: &[(Lane, WebhookId)],
    results: &HashMap<WebhookId, Vec<Judged>>,
) -> std::result::Result<Moved, StoreError> {
    conn.transaction(async |conn| {
        let rows = lock_in_tx(conn, webhooks).await?;
        judge(shared, conn, rows, results.clone()).await
    })
    .await
}

/// Ends the windows that a success has ended whose transaction ran beside the one that opened them, so that neither
/// saw the other: a batch of successes locks no health row. Both look once more when they have committed, and the later
/// of them sees both.
async fn reconciled(
    shared: &Shared,
    conn: &mut Conn,
    webhooks: &[(Lane, WebhookId)],
) -> std::result::Result<Moved, StoreError> {
    conn.transaction(async |conn| {
        let rows = lock_in_tx(conn, webhooks).await?;
        let windows: Vec<_> = rows
            .iter()
            .filter_map(|row| Some((row.lane, row.webhook, row.health.failing_since?, Timestamp::MAX)))
            .collect();
        let successes = last_successes(conn, &windows).await?;
        let results = successes
            .into_iter()
            .map(|(webhook, at)| (webhook, vec![success_at(at)]))
            .collect();
        judge(shared, conn, rows, results).await
    })
    .await
}

/// A success as the policy judges it, of whichever attempt.
fn success_at(ended_at: Timestamp) -> Judged {
    Judged {
        ended_at,
        number: 1,
        succeeded: true,
    }
}

/// Judges each webhook's results in the order their attempts ended, and writes what moved.
async fn judge(
    shared: &Shared,
    conn: &mut Conn,
    rows: Vec<Locked>,
    mut results: HashMap<WebhookId, Vec<Judged>>,
) -> std::result::Result<Moved, StoreError> {
    add_later_successes(conn, &rows, &mut results).await?;
    let (mut written, mut opened, mut taken) = (Vec::new(), Vec::new(), Vec::new());
    for mut row in rows {
        let Some(mut judged) = results.remove(&row.webhook) else {
            continue;
        };
        // A tie goes to the webhook: R1 does not say.
        judged.sort_by_key(|result| (result.ended_at, result.succeeded, result.number));
        let before = row.health.clone();
        for result in &judged {
            let steps = record(&mut row.health, result, &shared.policy);
            taken.extend(
                steps
                    .into_iter()
                    .map(|step| (row.lane, row.webhook, row.company, step)),
            );
        }
        if row.health.failing_since.is_some() && row.health.failing_since != before.failing_since {
            opened.push((row.lane, row.webhook));
        }
        if row.health != before {
            let next = due(&row.health, &shared.policy);
            written.push((row, next));
        }
    }
    let now = shared.clock.now();
    let webhooks: Vec<(Lane, WebhookId)> = written.iter().map(|(row, _)| (row.lane, row.webhook)).collect();
    write_in_tx(conn, &written).await?;
    let owes = transitions::notify_in_tx(shared, conn, &taken).await?;
    let mark = changes::announce_in_tx(conn, now, &webhooks).await?;
    Ok(Moved {
        webhooks,
        opened,
        owes,
        mark,
    })
}

/// A failure that is about to open a window may have been followed by a success that another worker settled first,
/// and that moved no health: history knows it.
async fn add_later_successes(
    conn: &mut Conn,
    rows: &[Locked],
    results: &mut HashMap<WebhookId, Vec<Judged>>,
) -> std::result::Result<(), StoreError> {
    let opening: Vec<(Lane, WebhookId, Timestamp, Timestamp)> = rows
        .iter()
        .filter(|row| row.health.failing_since.is_none())
        .filter_map(|row| {
            let failures = results
                .get(&row.webhook)?
                .iter()
                .filter(|result| !result.succeeded);
            Some((
                row.lane,
                row.webhook,
                failures.map(|result| result.ended_at).min()?,
                Timestamp::MAX,
            ))
        })
        .collect();
    for (webhook, ended_at) in last_successes(conn, &opening).await? {
        results.entry(webhook).or_default().push(success_at(ended_at));
    }
    Ok(())
}

/// The attempts among settlements, by webhook.
fn results_of<'a>(settlements: impl Iterator<Item = &'a Settlement>) -> HashMap<WebhookId, Vec<Judged>> {
    let mut results: HashMap<WebhookId, Vec<Judged>> = HashMap::new();
    for settlement in settlements {
        let Some(attempt) = settlement.attempt.as_deref() else {
            continue;
        };
        results.entry(settlement.key.webhook).or_default().push(Judged {
            ended_at: attempt.ended_at,
            number: attempt.number,
            succeeded: attempt.ending == Some(DeliveryStatus::Succeeded),
        });
    }
    results
}

fn webhooks_of(settlements: &[Settlement]) -> Vec<(Lane, WebhookId)> {
    let mut webhooks: Vec<(Lane, WebhookId)> = settlements
        .iter()
        .filter(|s| s.attempt.is_some())
        .map(|s| (s.key.lane, s.key.webhook))
        .collect();
    webhooks.sort_unstable();
    webhooks.dedup();
    webhooks
}
