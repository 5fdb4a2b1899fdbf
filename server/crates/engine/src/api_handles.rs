//! The engine's interface for the API, together with [`Publisher`](crate::publish::publisher::Publisher),
//! [`Propagation`](crate::cluster::propagation::Propagation), [`Replayer`](crate::replay::Replayer) and
//! [`Live`](crate::live::Live).

use std::sync::Arc;

use jiff::SignedDuration;
use url::Url;

use crate::cluster::database_clock::{self, DatabaseClock};
use crate::cluster::freshness::Freshness;
use crate::cluster::process::ProcessState;
use crate::deliver::held_deliveries::HeldDeliveries;
use crate::metrics::{Metrics, Reading};
use crate::test_delivery::{NotTested, TestDeliveries, Tested};
use tenterhook_clock::Clock;
use tenterhook_model::ids::{Lane, WebhookId};
use tenterhook_outbound_http::target::Blocked;
use tenterhook_store::{Store, StoreError, delivery_counters, notice_queues, partitions};

/// Checks URLs and makes test deliveries. Cheap to clone.
#[derive(Clone)]
pub struct Prober(pub(crate) Arc<TestDeliveries>);

impl Prober {
    /// Resolves the URL's host and refuses it if any address is blocked.
    ///
    /// A name that does not resolve is not refused: it may resolve later, and every attempt resolves it again.
    pub async fn vet(&self, url: &Url) -> Result<(), Blocked> {
        self.0.vet(url).await
    }

    /// Makes a test delivery and returns its result (D12).
    pub async fn test(&self, webhook: (Lane, WebhookId)) -> Result<Tested, NotTested> {
        self.0.run(webhook).await
    }
}

/// Figures of the engine, for metrics and readiness. Cheap to clone.
#[derive(Clone)]
pub struct Gauges {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) process: Arc<ProcessState>,
    pub(crate) held: Arc<HeldDeliveries>,
    pub(crate) metrics: Metrics,
    pub(crate) database_clock: Arc<DatabaseClock>,
    pub(crate) freshness: Arc<Freshness>,
}

impl Gauges {
    /// Reads the figures, mostly from the database.
    pub async fn read(&self) -> Result<Reading, StoreError> {
        let mut conn = self.store.conn().await?;
        let all = delivery_counters::all(&mut conn).await?;
        let here = delivery_counters::of(&mut conn, self.process.node()).await?;
        let today = partitions::day(self.clock.now());
        let days_ahead = partitions::days_ahead(&mut conn, today).await?;
        let notices_waiting = notice_queues::waiting(&mut conn).await?;
        let (waiting, in_flight) = self.held.scheduler().sizes();
        Ok(Reading {
            all,
            here,
            waiting,
            in_flight,
            days_ahead,
            notices_waiting,
            database_ahead: self.database_clock.ahead(),
        })
    }

    /// The figures as Prometheus text.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn page(&self) -> Result<String, StoreError> {
        let reading = self.read().await?;
        // Writing into memory cannot fail.
        Ok(self.metrics.page(&reading).unwrap_or_default())
    }

    /// By how much the database's clock is ahead of this machine's, negative if it is behind. `None` if that is within
    /// the tolerance.
    pub fn clocks_apart(&self) -> Option<SignedDuration> {
        Some(self.database_clock.ahead()).filter(|ahead| database_clock::is_apart(*ahead))
    }

    /// Whether the process takes work: it is not stopping, and it is current with other processes' changes.
    pub fn takes_work(&self) -> bool {
        !self.process.is_stopping() && self.freshness.is_current()
    }
}
