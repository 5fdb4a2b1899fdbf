//! This process among the others: heartbeats, the database's time, and the leases of dead processes.
//!
//! Guarantees: a process that was declared dead holds nothing any more before it starts an attempt. It notices at its
//! next heartbeat, and without a recent heartbeat nothing starts (see [`crate::cluster::change_feed::Freshness::is_current`]).

use std::sync::Arc;
use std::time::Duration;

use diesel_async::AsyncConnection;

use crate::deliver::claimer;
use crate::state::Shared;
use tenterhook_store::settle::Then;
use tenterhook_store::{StoreError, leases, nodes};

/// How often the clock is compared with the database's.
const CLOCK_EVERY: Duration = Duration::from_secs(1);

/// Writes heartbeats and follows the database's clock until the process ends.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut beats_until_heartbeat = 0;
    loop {
        shared.clock.real_sleep(CLOCK_EVERY).await;
        if shared.clock.simulation().is_none()
            && let Err(error) = follow_database_clock(&shared).await
        {
            tracing::warn!(%error, "the database's time could not be read");
        }
        beats_until_heartbeat += 1;
        if CLOCK_EVERY * beats_until_heartbeat < shared.tempo.heartbeat() {
            continue;
        }
        beats_until_heartbeat = 0;
        if let Err(error) = beat_and_evict(&shared).await {
            tracing::warn!(%error, "no heartbeat could be written");
        }
    }
}

/// Adopts the database's time and compares it with the machine's.
pub(crate) async fn follow_database_clock(shared: &Shared) -> Result<(), StoreError> {
    let mut conn = shared.store.conn().await?;
    let asked = shared.clock.monotonic();
    let database_now = nodes::database_time(&mut conn).await?;
    let answered = shared.clock.monotonic();
    let ahead = shared.clock.follow(database_now, asked, answered);
    shared.database_clock.note(ahead, answered);
    Ok(())
}

/// Writes a heartbeat: that the process is live, how far it has read the feed, and through when its results are settled.
pub(crate) async fn beat(shared: &Arc<Shared>) -> Result<(), StoreError> {
    let mut conn = shared.store.conn().await?;
    let began = shared.clock.monotonic();
    let snapshot = shared.feed.snapshot();
    let settled = shared.unsettled.settled_through(shared.clock.now());
    let is_known = nodes::beat(&mut conn, shared.node(), Some(snapshot.text()), settled).await?;
    shared.store.takes_changes();
    if is_known {
        shared.feed.note_beat(began);
        return Ok(());
    }
    tracing::warn!(
        "this process was silent for too long and was declared dead; it starts anew with empty hands"
    );
    shared.registry.forget();
    // Rows of the feed may have been pruned before they were read.
    shared.live.missed_everything();
    let node = nodes::register(&mut conn, settled).await?;
    shared.set_node(node);
    shared.feed.note_beat(began);
    // Other processes have released this process's leases. They do not know of leases taken after that.
    let now = shared.clock.now();
    for held in shared.take_all() {
        shared.release(&held, Then::Release(now));
    }
    Ok(())
}

async fn beat_and_evict(shared: &Arc<Shared>) -> Result<(), StoreError> {
    beat(shared).await?;
    if evict_dead(shared, shared.tempo.dead_after()).await? {
        claimer::search(shared).await?;
    }
    Ok(())
}

/// Deletes processes that were silent for `dead_after` and releases their leases. Returns whether there were any.
pub(crate) async fn evict_dead(shared: &Shared, dead_after: Duration) -> Result<bool, StoreError> {
    let now = shared.clock.now();
    let node = shared.node();
    let mut conn = shared.store.conn().await?;
    let mut freeing = true;
    let (dead, freed) = loop {
        let released = conn
            .transaction(async |conn| {
                let dead = nodes::bury_in_tx(conn, node, dead_after.as_secs_f64()).await?;
                let freed = match dead.as_slice() {
                    [] => 0,
                    dead if freeing => leases::release_of(conn, dead, now).await?,
                    _ => 0,
                };
                Ok::<_, StoreError>((dead, freed))
            })
            .await;
        match released {
            Err(error) if freeing && !error.is_away() && !error.is_transient() => {
                // A row that cannot be written must not keep silent processes registered. Their leases end by
                // themselves.
                tracing::error!(%error, "leases of silent processes cannot be released; they end by themselves");
                freeing = false;
            }
            released => break released?,
        }
    };
    if !dead.is_empty() {
        tracing::info!(
            processes = dead.len(),
            deliveries = freed,
            "took over what silent processes held"
        );
    }
    Ok(!dead.is_empty())
}
