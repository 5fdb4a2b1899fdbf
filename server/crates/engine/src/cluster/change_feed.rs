//! The changes feed: reads within a tenth of a second what other processes did to webhooks.
//!
//! Guarantees:
//!
//! - This process never acts on knowledge older than [`LeaseTimings::stale`]. If a read or heartbeat is overdue, no attempt
//!   starts until both have succeeded again.
//! - [`Freshness::propagate_to_all`] returns only when every live process knows of a change or has stopped starting attempts by
//!   itself (W8, B6).

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use crate::cluster::timings::LeaseTimings;
use crate::live;
use crate::state::Shared;
use tenterhook_clock::Clock;
use tenterhook_model::ids::{Lane, WebhookId};
use tenterhook_store::changes::{self, Mark, Snapshot};
use tenterhook_store::{StoreError, nodes};

/// How often the feed is read, in real time. This and the read itself take well under B6's quarter of a second.
const READ_EVERY: Duration = Duration::from_millis(100);
/// How often to check whether the other processes know of a change.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// How far this process has read the feed.
pub struct Freshness {
    /// Start of the last successful read.
    read_at: Mutex<Instant>,
    /// Start of the last successful heartbeat.
    beat_at: Mutex<Instant>,
    current: Notify,
    wanted: Notify,
    seen: watch::Sender<Snapshot>,
    tempo: LeaseTimings,
}

impl Freshness {
    /// Reads from this snapshot on.
    pub fn new(clock: &Clock, from: Snapshot, tempo: LeaseTimings) -> Self {
        let now = clock.monotonic();
        Self {
            read_at: Mutex::new(now),
            beat_at: Mutex::new(now),
            current: Notify::new(),
            wanted: Notify::new(),
            seen: watch::Sender::new(from),
            tempo,
        }
    }

    /// The snapshot of the last read.
    pub fn snapshot(&self) -> Snapshot {
        self.seen.borrow().clone()
    }

    /// Whether this process's knowledge is recent enough to act on, and other processes still count it as live.
    pub fn is_current(&self, clock: &Clock) -> bool {
        let now = clock.monotonic();
        let age =
            |at: &Mutex<Instant>| now.duration_since(*at.lock().unwrap_or_else(PoisonError::into_inner));
        age(&self.read_at) < self.tempo.stale()
            && age(&self.beat_at) < self.tempo.dead_after() - self.tempo.stale()
    }

    /// Waits until [`is_current`](Self::is_current) holds.
    pub async fn until_current(&self, clock: &Clock) {
        loop {
            let current = self.current.notified();
            if self.is_current(clock) {
                return;
            }
            current.await;
        }
    }

    pub(crate) fn note_beat(&self, began: Instant) {
        *self.beat_at.lock().unwrap_or_else(PoisonError::into_inner) = began;
        self.current.notify_waiters();
    }

    /// Waits until every live process knows of the change.
    pub(crate) async fn propagate_to_all(&self, shared: &Shared, mark: &Mark) {
        let since = shared.clock.monotonic();
        let mut seen = self.seen.subscribe();
        self.wanted.notify_one();
        let here = seen.wait_for(|snapshot| snapshot.shows(mark));
        tokio::select! {
            _ = here => {}
            () = shared.clock.linger(shared.tempo.propagation_limit()) => return,
        }
        while shared.clock.monotonic().duration_since(since) < shared.tempo.propagation_limit() {
            match unaware(shared, mark).await {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "cannot see whether other processes know of a change"),
            }
            shared.clock.linger(ASK_EVERY).await;
        }
    }
}

async fn unaware(shared: &Shared, mark: &Mark) -> Result<i64, StoreError> {
    let mut conn = shared.store.conn().await?;
    nodes::unaware(
        &mut conn,
        shared.node(),
        shared.tempo.dead_after().as_secs_f64(),
        mark,
    )
    .await
}

/// Reads the feed until the process ends.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut handled: HashSet<i64> = HashSet::new();
    let mut failed = 0_u64;
    loop {
        tokio::select! {
            () = shared.clock.real_sleep(READ_EVERY) => {}
            () = shared.clock.park(shared.feed.wanted.notified()) => {}
        }
        let began = shared.clock.monotonic();
        match read(&shared, &mut handled).await {
            Ok(()) => {
                *shared.feed.read_at.lock().unwrap_or_else(PoisonError::into_inner) = began;
                shared.feed.current.notify_waiters();
                if std::mem::take(&mut failed) > 0 {
                    tracing::info!("the changes feed is read again");
                }
            }
            Err(error) => {
                // There are ten reads per second while the database is away: log the first failure, then every
                // hundredth.
                if failed.is_multiple_of(100) {
                    tracing::warn!(%error, before = failed, "the changes feed could not be read");
                }
                failed += 1;
            }
        }
    }
}

async fn read(shared: &Arc<Shared>, handled: &mut HashSet<i64>) -> Result<(), StoreError> {
    let from = shared.feed.seen.borrow().oldest_running();
    let mut conn = shared.store.conn().await?;
    let (snapshot, rows) = changes::read(&mut conn, from).await?;
    drop(conn);
    let fresh: Vec<_> = rows.iter().filter(|row| !handled.contains(&row.seq)).collect();
    let mut webhooks: Vec<(Lane, WebhookId)> = fresh.iter().filter_map(|row| row.webhook).collect();
    webhooks.sort_unstable();
    webhooks.dedup();
    if !webhooks.is_empty() {
        shared.refresh(&webhooks).await?;
    }
    // The last step that can fail, so that no subscriber gets a change twice. It comes before the rows count as handled.
    live::tell(shared, &webhooks).await?;
    let anything = !fresh.is_empty();
    let look_around = fresh.iter().any(|row| row.webhook.is_none());
    *handled = rows.iter().map(|row| row.seq).collect();
    shared.feed.seen.send_replace(snapshot);
    if look_around {
        // A process that stops also leaves notices that are due later.
        shared.owed.notify_one();
        crate::deliver::claimer::search(shared).await?;
    }
    if anything {
        crate::cluster::membership::beat(shared).await?;
    }
    Ok(())
}
