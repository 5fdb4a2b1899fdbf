//! What the API may ask of the engine, beside [`super::publisher::Publisher`].

use std::sync::Arc;

use url::Url;

use super::shared::Shared;
use super::transport::Transport;
use crate::policy::target::Blocked;
use crate::store::StoreError;
use crate::store::changes::Mark;
use crate::store::tallies::{self, Tally};

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

/// Looks at where a subscription URL leads (W10).
#[derive(Clone)]
pub struct Prober(pub(super) Transport);

impl Prober {
    /// Resolves the URL's host and refuses it if any address may not be called.
    ///
    /// A name that does not resolve is not refused: it may come to be, and an attempt looks again.
    pub async fn vet(&self, url: &Url) -> Result<(), Blocked> {
        self.0.vet_host(url).await
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
}

impl Gauges {
    /// Reads them.
    pub async fn read(&self) -> Result<Reading, StoreError> {
        let mut conn = self.0.store.conn().await?;
        let all = tallies::all(&mut conn).await?;
        let here = tallies::of(&mut conn, self.0.node()).await?;
        let (waiting, in_flight) = self.0.queue().sizes();
        Ok(Reading {
            all,
            here,
            waiting,
            in_flight,
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

    /// Whether the process takes work: not stopping, and current about what others did.
    pub fn takes_work(&self) -> bool {
        !self.0.is_stopping() && self.0.feed.is_current(&self.0.clock)
    }
}
