//! Extends the leases of what waits here at half of their life, in one statement for all that need it. If the database
//! refuses to extend one, or somebody else keeps its row locked, the delivery is dropped here: the first process that claims
//! it after the lease's end takes it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::parts::Parts;
use super::shared::Shared;
use tenterhook_store::{StoreError, leases};

/// How long to wait after an error of the database. A lease has half of its life left then.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Extends leases as long as the process lives.
pub(super) async fn run(shared: Arc<Shared>) {
    loop {
        let first = shared.queue().first_lease_end();
        let Some(first) = first else {
            shared.clock.park(shared.waiting.notified()).await;
            continue;
        };
        shared
            .clock
            .sleep_until(first.saturating_sub(shared.tempo.lease() / 2).unwrap_or(first))
            .await;
        if let Err(error) = extend(&shared).await {
            tracing::warn!(%error, "leases could not be extended; trying again");
            shared.clock.linger(RETRY_AFTER).await;
        }
    }
}

async fn extend(shared: &Shared) -> Result<(), StoreError> {
    let (now, lease) = (shared.clock.now(), shared.tempo.lease());
    let ending = shared
        .queue()
        .ending_before(now.saturating_add(lease * 3 / 4).unwrap_or(Timestamp::MAX));
    if ending.is_empty() {
        return Ok(());
    }
    let until = now.saturating_add(lease).unwrap_or(Timestamp::MAX);
    let mut conn = shared.store.conn().await?;
    // It waits for no row: if it takes too long, that is not because of one of them.
    let mut parts = Parts::of(ending.len());
    while let Some((part, _)) = parts.next() {
        let some = &ending[part];
        if let Some(kept) = parts.done(leases::extend(&mut conn, some, until).await)? {
            shared.queue().extended(some, &kept, until);
        }
    }
    for (items, error) in parts.refused {
        let (webhook, event) = (ending[items.start].0.webhook, ending[items.start].0.event);
        tracing::error!(%error, %webhook, %event, "a lease cannot be extended; its delivery is dropped here");
        shared.queue().extended(&ending[items], &[], until);
    }
    Ok(())
}
