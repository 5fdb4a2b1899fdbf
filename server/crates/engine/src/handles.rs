//! The engine's interface for the API, together with [`super::publisher::Publisher`].

use std::sync::Arc;

use jiff::SignedDuration;
use url::Url;

use super::database_clock;
use super::replays::{self, Replayed};
use super::shared::Shared;
use super::test_delivery::{self, NotTested, Tested};
use tenterhook_model::ids::{DeliveryKey, Lane, WebhookId};
use tenterhook_outbound_http::target::Blocked;
use tenterhook_store::changes::Mark;
use tenterhook_store::replay_keys::ReplayKey;
use tenterhook_store::tallies::{self, Tally};
use tenterhook_store::{StoreError, notice_queues, partitions};

/// Makes sure that every process knows of a change before the API responds (W8, D9).
#[derive(Clone)]
pub struct Propagation(pub(super) Arc<Shared>);

impl Propagation {
    /// Waits until every live process knows of the change or has stopped starting attempts by itself, at most six
    /// seconds.
    pub async fn everywhere(&self, mark: Mark) {
        self.0.feed.everywhere(&self.0, &mark).await;
    }
}

/// Checks URLs and makes test deliveries.
#[derive(Clone)]
pub struct Prober(pub(super) Arc<Shared>);

impl Prober {
    /// Resolves the URL's host and refuses it if any address is blocked.
    ///
    /// A name that does not resolve is not refused: it may resolve later, and every attempt resolves it again.
    pub async fn vet(&self, url: &Url) -> Result<(), Blocked> {
        self.0.transport.vet_host(url).await
    }

    /// Makes a test delivery and returns its result (D12).
    pub async fn test(&self, webhook: (Lane, WebhookId)) -> Result<Tested, NotTested> {
        test_delivery::run(&self.0, webhook).await
    }
}

/// Makes new deliveries of old events (D12).
#[derive(Clone)]
pub struct Replayer(pub(super) Arc<Shared>);

impl Replayer {
    /// Makes one new delivery per event and webhook of these deliveries, or none at all. A key makes them only once.
    pub async fn replay(
        &self,
        deliveries: &[DeliveryKey],
        key: Option<&ReplayKey>,
    ) -> Result<Replayed, StoreError> {
        replays::replay(&self.0, deliveries, key).await
    }
}

/// Figures of the engine, for metrics and readiness.
#[derive(Clone)]
pub struct Gauges(pub(super) Arc<Shared>);

/// The engine's figures at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// D7's identity over all processes.
    pub all: Tally,
    /// D7's counts of this process.
    pub here: Tally,
    /// Deliveries that wait in this process.
    pub waiting: usize,
    /// Requests in flight from this process.
    pub in_flight: usize,
    /// Number of days after today that have partitions.
    pub days_ahead: usize,
    /// Notices not yet delivered to the platform's endpoint (R4).
    pub notices_waiting: i64,
    /// By how much the database's clock is ahead of this machine's.
    pub database_ahead: SignedDuration,
}

impl Gauges {
    /// Reads the figures, mostly from the database.
    pub async fn read(&self) -> Result<Reading, StoreError> {
        let mut conn = self.0.store.conn().await?;
        let all = tallies::all(&mut conn).await?;
        let here = tallies::of(&mut conn, self.0.node()).await?;
        let today = partitions::day(self.0.clock.now());
        let days_ahead = partitions::days_ahead(&mut conn, today).await?;
        let notices_waiting = notice_queues::waiting(&mut conn).await?;
        let (waiting, in_flight) = self.0.queue().sizes();
        Ok(Reading {
            all,
            here,
            waiting,
            in_flight,
            days_ahead,
            notices_waiting,
            database_ahead: self.0.database_clock.ahead(),
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
        Ok(self.0.metrics.page(&reading).unwrap_or_default())
    }

    /// By how much the database's clock is ahead of this machine's, negative if it is behind. `None` if that is within
    /// the tolerance.
    pub fn clocks_apart(&self) -> Option<SignedDuration> {
        Some(self.0.database_clock.ahead()).filter(|ahead| database_clock::is_apart(*ahead))
    }

    /// Whether the process takes work: it is not stopping, and it is current with other processes' changes.
    pub fn takes_work(&self) -> bool {
        !self.0.is_stopping() && self.0.feed.is_current(&self.0.clock)
    }
}
