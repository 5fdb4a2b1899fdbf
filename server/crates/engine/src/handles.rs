//! What the API may ask of the engine, beside [`super::publisher::Publisher`].

use std::sync::Arc;

use jiff::SignedDuration;
use url::Url;

use super::database_clock;
use super::replays::{self, Replayed};
use super::shared::Shared;
use super::test_delivery::{self, NotTested, Tested};
use tenterhook_model::ids::{DeliveryKey, Lane, WebhookId};
use tenterhook_policy::target::Blocked;
use tenterhook_store::changes::Mark;
use tenterhook_store::replay_keys::ReplayKey;
use tenterhook_store::tallies::{self, Tally};
use tenterhook_store::{StoreError, notice_queues, partitions};

/// Makes sure that every process knows of a change before it is answered (W8, D9).
#[derive(Clone)]
pub struct Propagation(pub(super) Arc<Shared>);

impl Propagation {
    /// Waits until every live process knows of the change, or has stopped starting attempts by itself; at most six
    /// seconds.
    pub async fn everywhere(&self, mark: Mark) {
        self.0.feed.everywhere(&self.0, &mark).await;
    }
}

/// Calls receivers for whoever asks whether they can be called.
#[derive(Clone)]
pub struct Prober(pub(super) Arc<Shared>);

impl Prober {
    /// Resolves the URL's host and refuses it if any address may not be called.
    ///
    /// A name that does not resolve is not refused: it may come to be, and an attempt looks again.
    pub async fn vet(&self, url: &Url) -> Result<(), Blocked> {
        self.0.transport.vet_host(url).await
    }

    /// Sends a webhook a test delivery, and answers how it went (D12).
    pub async fn test(&self, webhook: (Lane, WebhookId)) -> Result<Tested, NotTested> {
        test_delivery::run(&self.0, webhook).await
    }
}

/// Makes new deliveries of old events (D12).
#[derive(Clone)]
pub struct Replayer(pub(super) Arc<Shared>);

impl Replayer {
    /// Makes a new delivery of each of these, once for each event and webhook, or none at all; under a key once.
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

/// The engine's figures at a moment.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// D7's identity over all processes.
    pub all: Tally,
    /// What this process counted.
    pub here: Tally,
    /// Deliveries that wait in this process.
    pub waiting: usize,
    /// Requests in flight from this process.
    pub in_flight: usize,
    /// Days after today for which there are partitions.
    pub days_ahead: usize,
    /// Notices that the platform's endpoint has yet to get (R4).
    pub notices_waiting: i64,
    /// By how much the database's clock is ahead of this machine's.
    pub database_ahead: SignedDuration,
}

impl Gauges {
    /// Reads them.
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
    /// When the database cannot be read.
    pub async fn page(&self) -> Result<String, StoreError> {
        let reading = self.read().await?;
        // Writing into memory cannot fail.
        Ok(self.0.metrics.page(&reading).unwrap_or_default())
    }

    /// By how much the database's clock is ahead of this machine's, negative if it is behind; `None` while that is within the
    /// tolerance.
    pub fn clocks_apart(&self) -> Option<SignedDuration> {
        Some(self.0.database_clock.ahead()).filter(|ahead| database_clock::is_apart(*ahead))
    }

    /// Whether the process takes work: not stopping, and current about what others did.
    pub fn takes_work(&self) -> bool {
        !self.0.is_stopping() && self.0.feed.is_current(&self.0.clock)
    }
}
