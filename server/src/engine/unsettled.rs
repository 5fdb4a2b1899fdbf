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

/// Attempts that may have ended and not be settled while all places are taken: their results are kept in memory, and a
/// database that is slow must not make that grow.
const ENDED: usize = 2_048;

/// The attempts of this process between their start and the commit of their result.
#[derive(Debug)]
pub struct Unsettled {
    most: usize,
    started: Mutex<BTreeSet<(Timestamp, DeliveryKey)>>,
    settled: Notify,
}

impl Unsettled {
    /// None yet, of so many that may be on the wire.
    pub fn new(places: usize) -> Self {
        Self {
            most: places + ENDED,
            started: Mutex::default(),
            settled: Notify::new(),
        }
    }

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

    /// Whether there are so many that no other is to start.
    pub fn is_full(&self) -> bool {
        self.lock().len() >= self.most
    }

    /// Told when something was settled.
    pub fn settled(&self) -> &Notify {
        &self.settled
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<(Timestamp, DeliveryKey)>> {
        self.started.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::{EventId, Lane};

    #[test]
    fn so_many_are_unsettled_and_no_other_starts_until_one_is_settled() {
        let at = "2026-11-23T00:00:00Z".parse().unwrap();
        let unsettled = Unsettled::new(2);
        let started: Vec<_> = (0..2 + ENDED)
            .map(|_| {
                assert!(!unsettled.is_full());
                let key = DeliveryKey {
                    lane: Lane(0),
                    webhook: WebhookId::new(at),
                    event: EventId::new(at),
                    generation: 0,
                };
                unsettled.start(at, key);
                (at, key)
            })
            .collect();
        assert!(unsettled.is_full());
        unsettled.settle(started.into_iter().take(1));
        assert!(!unsettled.is_full());
    }
}
