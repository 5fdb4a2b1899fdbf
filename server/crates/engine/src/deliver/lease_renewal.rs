//! Extends the leases of waiting deliveries at half of their time, in one statement for all that need it. If the
//! database refuses to extend a lease, or another transaction has its row locked, this process drops the delivery. Any
//! process may claim it after the lease's end.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::bisection::Bisection;
use crate::cluster::timings::LeaseTimings;
use crate::deliver::held_deliveries::HeldDeliveries;
use tenterhook_clock::Clock;
use tenterhook_store::{Store, StoreError, leases};

/// How long to wait after a database error. Half of the lease is left then.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Extends the leases of waiting deliveries.
pub(crate) struct LeaseRenewal {
    pub store: Store,
    pub clock: Clock,
    pub timings: LeaseTimings,
    pub held: Arc<HeldDeliveries>,
}

impl LeaseRenewal {
    /// Extends leases until the process ends.
    pub async fn run(self) {
        loop {
            let first = self.held.scheduler().first_lease_end();
            let Some(first) = first else {
                self.clock.park(self.held.added()).await;
                continue;
            };
            self.clock
                .sleep_until(first.saturating_sub(self.timings.lease() / 2).unwrap_or(first))
                .await;
            if let Err(error) = self.extend().await {
                tracing::warn!(%error, "leases could not be extended; trying again");
                self.clock.linger(RETRY_AFTER).await;
            }
        }
    }

    async fn extend(&self) -> Result<(), StoreError> {
        let (now, lease) = (self.clock.now(), self.timings.lease());
        let ending = self
            .held
            .scheduler()
            .ending_before(now.saturating_add(lease * 3 / 4).unwrap_or(Timestamp::MAX));
        if ending.is_empty() {
            return Ok(());
        }
        let until = now.saturating_add(lease).unwrap_or(Timestamp::MAX);
        let mut conn = self.store.conn().await?;
        // The statement waits for no row, so if it takes too long, no single row is the cause.
        let mut parts = Bisection::of(ending.len());
        while let Some((part, _)) = parts.next() {
            let some = &ending[part];
            if let Some(kept) = parts.done(leases::extend(&mut conn, some, until).await)? {
                self.held.scheduler().extended(some, &kept, until);
            }
        }
        for (items, error) in parts.refused {
            let (webhook, event) = (ending[items.start].0.webhook, ending[items.start].0.event);
            tracing::error!(
                %error, %webhook, %event,
                "a lease cannot be extended; this process drops the delivery, and any process claims it when the lease ends"
            );
            self.held.scheduler().extended(&ending[items], &[], until);
        }
        Ok(())
    }
}
