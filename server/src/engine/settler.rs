//! Settling: results become rows, batch by batch (D6, D7).
//!
//! A batch is whatever has come in while the one before was written, and under load a moment longer, so that it is small
//! when little happens and large then. A batch with failures locks its health rows first, in id order, and lets
//! [`crate::policy::health`] judge the results in the order their attempts ended; one of successes locks only the rows
//! whose window it ends, and where none is known to be open it is one statement and no more.
//!
//! Promises that each recorded attempt is judged once, in the transaction that records it. Does not promise that a
//! result is recorded at all: one whose lease was lost is dropped, since somebody else holds the delivery.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use diesel_async::AsyncConnection;
use jiff::Timestamp;
use tokio::sync::mpsc;

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
/// How long to wait before a batch is tried again that the database could not take.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// One result on its way to be settled.
pub(super) struct Result {
    pub settlement: Settlement,
    /// The attempt it is of, if one was made.
    pub started: Option<Started>,
}

/// Settles what comes, until nothing can come any more.
pub(super) async fn run(shared: Arc<Shared>, mut results: mpsc::UnboundedReceiver<Result>) {
    let mut batch: Vec<Result> = Vec::with_capacity(BATCH);
    while shared.clock.park(results.recv_many(&mut batch, BATCH)).await > 0 {
        let started: Vec<Started> = batch.iter().filter_map(|result| result.started).collect();
        let settlements: Vec<Settlement> = batch.drain(..).map(|result| result.settlement).collect();
        settle(&shared, &settlements).await;
        {
            let mut queue = shared.queue();
            started.iter().for_each(|(_, key)| queue.settle(key.webhook));
        }
        shared.unsettled.settle(started.into_iter());
        shared.pump();
        if (2..BATCH).contains(&settlements.len()) {
            shared.clock.gather(GATHER).await;
        }
    }
}

/// Tries until the database has taken the batch: what is in it happened, and the fence makes trying again harmless.
async fn settle(shared: &Arc<Shared>, batch: &[Settlement]) {
    loop {
        match write(shared, batch).await {
            Ok(()) => return,
            Err(error) if error.is_transient() => {}
            Err(error) => {
                tracing::error!(%error, results = batch.len(), "results could not be settled; trying again");
                shared.clock.linger(RETRY_AFTER).await;
            }
        }
    }
}

async fn write(shared: &Arc<Shared>, batch: &[Settlement]) -> std::result::Result<(), StoreError> {
    let mut conn = shared.store.conn().await?;
    let (mut moved, failing) = if batch.iter().any(is_failure) {
        let mut moved = judged(shared, &mut conn, batch).await?;
        let opened = mem::take(&mut moved.opened);
        (moved, opened)
    } else {
        let moved = succeeded(shared, &mut conn, batch).await?;
        (
            moved,
            health::failing(&mut conn, &webhooks_of(batch.iter())).await?,
        )
    };
    if !failing.is_empty() {
        moved.and(reconcile(shared, &mut conn, &failing).await?);
    }
    drop(conn);
    shared.tallied.fetch_add(1, Ordering::Relaxed);
    let mark = moved.mark;
    if moved.owes {
        shared.owed.notify_one();
    }
    if !moved.webhooks.is_empty() {
        shared.refresh(&moved.webhooks).await?;
    }
    if let Some(mark) = mark.filter(|_| shared.clock.simulation().is_some()) {
        // Simulated time may move as soon as we are idle: other processes must know by then (B6).
        shared.feed.everywhere(shared, &mark).await;
    }
    shared.hint(batch.iter().filter_map(|settlement| match settlement.then {
        Then::Retry(at) | Then::Release(at) => Some((settlement.key.lane, settlement.key.webhook, at)),
        Then::End(_) | Then::Drop { .. } => None,
    }));
    Ok(())
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
) -> std::result::Result<Moved, StoreError> {
    conn.transaction(async |conn| {
        let rows = lock_in_tx(conn, &webhooks_of(batch.iter())).await?;
        let settled = settled(shared, conn, batch).await?;
        let results = results_of(settled.won.iter().filter_map(|index| batch.get(*index)));
        judge(shared, conn, rows, results).await
    })
    .await
}

/// Settles a batch of successes and ends the windows that were open when they were recorded.
///
/// In one transaction where a window or counter is known that a success may end: a process that ends between the two would
/// leave it, until the sweeper looks. Otherwise in one statement; a window of which the changes feed has not told yet, or
/// that opens at the same moment, is ended after it. Should the database fail in between, a counter stays (B3's setting).
async fn succeeded(
    shared: &Shared,
    conn: &mut Conn,
    batch: &[Settlement],
) -> std::result::Result<Moved, StoreError> {
    let counts = shared.policy.success_resets_counter;
    let is_well = |(_, webhook): &(Lane, WebhookId)| shared.registry.is_well(*webhook, counts);
    if webhooks_of(batch.iter()).iter().all(is_well) {
        let settled = settled(shared, conn, batch).await?;
        if settled.to_recover.is_empty() {
            return Ok(Moved::default());
        }
        // What is settled must not be settled again for a deadlock here: nothing of it would hold any more.
        loop {
            let recovered = conn
                .transaction(async |conn| recovered(shared, conn, batch, &settled).await)
                .await;
            if !recovered.as_ref().is_err_and(StoreError::is_transient) {
                return recovered;
            }
        }
    }
    conn.transaction(async |conn| {
        let settled = settled(shared, conn, batch).await?;
        recovered(shared, conn, batch, &settled).await
    })
    .await
}

async fn settled(
    shared: &Shared,
    conn: &mut Conn,
    batch: &[Settlement],
) -> std::result::Result<Settled, StoreError> {
    let settled = settle::batch(conn, batch, shared.node(), shared.policy.success_resets_counter).await?;
    note(shared, batch.len(), settled.won.len());
    Ok(settled)
}

/// Ends what the successes of a settled batch may end.
async fn recovered(
    shared: &Shared,
    conn: &mut Conn,
    batch: &[Settlement],
    settled: &Settled,
) -> std::result::Result<Moved, StoreError> {
    if settled.to_recover.is_empty() {
        return Ok(Moved::default());
    }
    let rows = lock_in_tx(conn, &settled.to_recover).await?;
    let results = results_of(settled.won.iter().filter_map(|index| batch.get(*index)));
    judge(shared, conn, rows, results).await
}

/// Ends the windows that a success has ended whose transaction ran beside the one that opened them, so that neither
/// saw the other: a batch of successes locks no health row. Both look once more when they have committed, and the later
/// of them sees both.
async fn reconcile(
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

fn webhooks_of<'a>(settlements: impl Iterator<Item = &'a Settlement>) -> Vec<(Lane, WebhookId)> {
    let mut webhooks: Vec<(Lane, WebhookId)> = settlements
        .filter(|s| s.attempt.is_some())
        .map(|s| (s.key.lane, s.key.webhook))
        .collect();
    webhooks.sort_unstable();
    webhooks.dedup();
    webhooks
}
