//! This process among the others: heartbeats, the database's time, and the leases of dead processes.
//!
//! Guarantees: a process that was declared dead holds nothing any more before it starts an attempt. It notices at its
//! next heartbeat, and without a recent heartbeat nothing starts (see
//! [`Freshness::is_current`](super::freshness::Freshness::is_current)).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use diesel_async::AsyncConnection;

use crate::cluster::database_clock::DatabaseClock;
use crate::cluster::freshness::Freshness;
use crate::cluster::process::ProcessState;
use crate::cluster::timings::LeaseTimings;
use crate::cluster::webhook_cache::WebhookCache;
use crate::deliver::claimer;
use crate::deliver::held_deliveries::HeldDeliveries;
use crate::deliver::wake_schedule::WakeSchedule;
use crate::live::Hub;
use crate::settle::in_flight_attempts::InFlightAttempts;
use crate::settle::settlement::ResultQueue;
use tenterhook_clock::Clock;
use tenterhook_model::ids::DeliveryKey;
use tenterhook_store::leases::Released;
use tenterhook_store::settle::Action;
use tenterhook_store::{Store, StoreError, leases, nodes};

/// How often the clock is compared with the database's.
const CLOCK_EVERY: Duration = Duration::from_secs(1);

/// Keeps this process registered, and takes over from processes that died.
pub(crate) struct Membership {
    pub store: Store,
    pub clock: Clock,
    pub timings: LeaseTimings,
    pub process: Arc<ProcessState>,
    pub freshness: Arc<Freshness>,
    pub in_flight: Arc<InFlightAttempts>,
    pub database_clock: Arc<DatabaseClock>,
    /// What a process that was declared dead must give up.
    pub webhooks: Arc<WebhookCache>,
    pub live: Arc<Hub>,
    pub held: Arc<HeldDeliveries>,
    pub results: Arc<ResultQueue>,
    pub wakes: Arc<WakeSchedule>,
    /// Leases of dead processes that were not released, because another transaction has locked their rows.
    pub locked: Mutex<Vec<(DeliveryKey, i64)>>,
}

impl Membership {
    /// Writes heartbeats and follows the database's clock until the process ends.
    pub async fn run(self: Arc<Self>) {
        let mut rounds_since_heartbeat = 0;
        loop {
            self.clock.real_sleep(CLOCK_EVERY).await;
            if self.clock.simulation().is_none()
                && let Err(error) = self.follow_database_clock().await
            {
                tracing::warn!(%error, "the database's time could not be read");
            }
            rounds_since_heartbeat += 1;
            if CLOCK_EVERY * rounds_since_heartbeat < self.timings.heartbeat() {
                continue;
            }
            rounds_since_heartbeat = 0;
            if let Err(error) = self.beat_and_evict().await {
                tracing::warn!(%error, "no heartbeat could be written");
            }
        }
    }

    /// Adopts the database's time and compares it with the machine's.
    async fn follow_database_clock(&self) -> Result<(), StoreError> {
        let mut conn = self.store.conn().await?;
        let asked = self.clock.monotonic();
        let database_now = nodes::database_time(&mut conn).await?;
        let answered = self.clock.monotonic();
        let ahead = self.clock.follow(database_now, asked, answered);
        self.database_clock.note(ahead, answered);
        Ok(())
    }

    /// Writes a heartbeat: that the process is live, how far it has read the feed, and through when its results are
    /// settled.
    pub async fn beat(&self) -> Result<(), StoreError> {
        let mut conn = self.store.conn().await?;
        let began = self.clock.monotonic();
        let snapshot = self.freshness.snapshot();
        let settled = self.in_flight.settled_through(self.clock.now());
        let is_known = nodes::beat(&mut conn, self.process.node(), Some(snapshot.text()), settled).await?;
        self.store.takes_changes();
        if is_known {
            self.freshness.note_beat(began);
            return Ok(());
        }
        tracing::warn!(
            "other servers declared this process dead, because its heartbeats were missing; it registers again and \
             releases its deliveries"
        );
        self.webhooks.forget();
        // Rows of the feed may have been pruned before they were read.
        self.live.report_gap_to_all();
        let node = nodes::register(&mut conn, settled).await?;
        self.process.set_node(node);
        self.freshness.note_beat(began);
        // Other processes have released this process's leases. They do not know of leases taken after that.
        let now = self.clock.now();
        for held in self.held.take_all() {
            self.results.release(&held, Action::Release(now));
        }
        Ok(())
    }

    async fn beat_and_evict(&self) -> Result<(), StoreError> {
        self.beat().await?;
        let released = self.release_locked().await?;
        if self.evict_dead(self.timings.dead_after()).await? || released {
            claimer::search(&self.store, &self.wakes).await?;
        }
        Ok(())
    }

    /// Tries again to release the leases that evictions skipped. Returns whether any was released. A lease that has ended
    /// is forgotten once another process has claimed its delivery.
    async fn release_locked(&self) -> Result<bool, StoreError> {
        let locked = self.locked().clone();
        if locked.is_empty() {
            return Ok(false);
        }
        let mut conn = self.store.conn().await?;
        match leases::release(&mut conn, &locked, self.clock.now()).await {
            Ok(released) => {
                *self.locked() = released.locked;
                Ok(released.freed > 0)
            }
            Err(error) if error.is_away() || error.is_transient() => Err(error),
            Err(error) => {
                tracing::error!(%error, "leases of dead processes cannot be released; they will expire");
                self.locked().clear();
                Ok(false)
            }
        }
    }

    fn locked(&self) -> MutexGuard<'_, Vec<(DeliveryKey, i64)>> {
        self.locked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Deletes processes that sent no heartbeat for `dead_after` and releases their leases. Returns whether there were
    /// any. A dead process's last transaction may still have rows locked. Those leases are released at a later heartbeat.
    pub async fn evict_dead(&self, dead_after: Duration) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let node = self.process.node();
        let mut conn = self.store.conn().await?;
        let mut freeing = true;
        let (dead, released) = loop {
            let evicted = conn
                .transaction(async |conn| {
                    let dead = nodes::evict_dead_in_tx(conn, node, dead_after.as_secs_f64()).await?;
                    let released = match dead.as_slice() {
                        [] => Released::default(),
                        dead if freeing => leases::release_of(conn, dead, now).await?,
                        _ => Released::default(),
                    };
                    Ok::<_, StoreError>((dead, released))
                })
                .await;
            match evicted {
                Err(error) if freeing && !error.is_away() && !error.is_transient() => {
                    // A row that cannot be written must not keep dead processes registered. Their leases end by
                    // themselves.
                    tracing::error!(%error, "leases of dead processes cannot be released; they will expire");
                    freeing = false;
                }
                evicted => break evicted?,
            }
        };
        if !dead.is_empty() {
            tracing::info!(
                processes = dead.len(),
                deliveries = released.freed,
                locked = released.locked.len(),
                "dead processes were removed and their leases released"
            );
        }
        self.locked().extend(released.locked);
        Ok(!dead.is_empty())
    }
}
