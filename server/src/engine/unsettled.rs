//! Attempts that have started and whose result is not in the database yet.
//!
//! The sweeper asks before it writes a transition: results are judged by when their attempt ended, so one that may
//! have ended before the boundary must be settled first (T3). An attempt counts from its start, since how it ends
//! is known only later.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use tokio::sync::Notify;

use crate::model::ids::{DeliveryKey, WebhookId};

/// The attempts of this process between their start and the commit of their result.
#[derive(Debug, Default)]
pub struct Unsettled {
    started: Mutex<BTreeSet<(Timestamp, DeliveryKey)>>,
    settled: Notify,
}

impl Unsettled {
    /// An attempt starts.
    pub fn start(&self, at: Timestamp, key: DeliveryKey) {
        self.lock().insert((at, key));
    }

    /// Its result is committed, or will never be.
    pub fn settle(&self, attempts: impl Iterator<Item = (Timestamp, DeliveryKey)>) {
        let mut started = self.lock();
        for attempt in attempts {
            started.remove(&attempt);
        }
        self.settled.notify_waiters();
    }

    /// Every attempt that ended before this moment is settled; at most `now`.
    pub fn settled_through(&self, now: Timestamp) -> Timestamp {
        self.lock().first().map_or(now, |(at, _)| now.min(*at))
    }

    /// Whether an attempt for the webhook started before `boundary` and is not settled.
    pub fn has(&self, webhook: WebhookId, boundary: Timestamp) -> bool {
        self.lock()
            .iter()
            .take_while(|(at, _)| *at < boundary)
            .any(|(_, key)| key.webhook == webhook)
    }

    /// Told when something was settled.
    pub fn settled(&self) -> &Notify {
        &self.settled
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<(Timestamp, DeliveryKey)>> {
        self.started.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
