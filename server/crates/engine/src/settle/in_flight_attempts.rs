//! Attempts that have started and whose result is not in the database yet.
//!
//! The sweeper checks this before it writes a transition. Results are judged by the end of their attempt, so an attempt
//! that may have ended before the boundary must be settled first (T3). An attempt counts from its start, because its end
//! is not known in advance.
//!
//! An attempt whose result the database refuses is set aside. It still counts, so that memory is bounded, but it does
//! not hold back `settled_through`, because that would stop the sweepers of all processes.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use tokio::sync::Notify;

use tenterhook_model::ids::{DeliveryKey, WebhookId};

/// Bound on ended attempts whose result is not settled, in addition to those in flight. Their results are kept in
/// memory, and a slow database must not make that grow.
const ENDED: usize = 2_048;

/// This process's attempts between their start and the commit of their result.
#[derive(Debug)]
pub struct InFlightAttempts {
    most: usize,
    attempts: Mutex<Attempts>,
    settled: Notify,
}

#[derive(Debug, Default)]
struct Attempts {
    started: BTreeSet<(Timestamp, DeliveryKey)>,
    aside: usize,
}

impl InFlightAttempts {
    /// No attempts yet. `places` is the number of requests that may be in flight.
    pub fn new(places: usize) -> Self {
        Self {
            most: places + ENDED,
            attempts: Mutex::default(),
            settled: Notify::new(),
        }
    }

    /// Notes that an attempt starts.
    pub fn start(&self, at: Timestamp, key: DeliveryKey) {
        self.lock().started.insert((at, key));
    }

    /// Notes that the results of these attempts are committed, or never will be.
    pub fn settle(&self, attempts: impl Iterator<Item = (Timestamp, DeliveryKey)>) {
        let mut all = self.lock();
        for attempt in attempts {
            all.started.remove(&attempt);
        }
        self.settled.notify_waiters();
    }

    /// Notes that the database refuses the result of this attempt.
    pub fn set_aside(&self, attempt: (Timestamp, DeliveryKey)) {
        let mut all = self.lock();
        all.aside += usize::from(all.started.remove(&attempt));
        self.settled.notify_waiters();
    }

    /// Notes that this number of set-aside attempts are settled, or never will be.
    pub fn bring_back(&self, attempts: usize) {
        let mut all = self.lock();
        all.aside = all.aside.saturating_sub(attempts);
    }

    /// Every attempt that ended before the returned moment is settled. At most `now`.
    pub fn settled_through(&self, now: Timestamp) -> Timestamp {
        self.lock().started.first().map_or(now, |(at, _)| now.min(*at))
    }

    /// Whether an attempt for the webhook started before `boundary` and is not settled.
    pub fn has(&self, webhook: WebhookId, boundary: Timestamp) -> bool {
        self.lock()
            .started
            .iter()
            .take_while(|(at, _)| *at < boundary)
            .any(|(_, key)| key.webhook == webhook)
    }

    /// Whether the bound is reached, so that no attempt may start.
    pub fn is_full(&self) -> bool {
        let all = self.lock();
        all.started.len() + all.aside >= self.most
    }

    /// Notified when attempts are settled.
    pub fn settled(&self) -> &Notify {
        &self.settled
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenterhook_model::ids::{EventId, Lane};

    fn key(at: Timestamp) -> DeliveryKey {
        DeliveryKey {
            lane: Lane(0),
            webhook: WebhookId::new(at),
            event: EventId::new(at),
            generation: 0,
        }
    }

    #[test]
    fn unsettled_attempts_are_bounded_until_one_is_settled() {
        let at = "2026-11-23T00:00:00Z".parse().unwrap();
        let unsettled = InFlightAttempts::new(2);
        let started: Vec<_> = (0..2 + ENDED)
            .map(|_| {
                assert!(!unsettled.is_full());
                let key = key(at);
                unsettled.start(at, key);
                (at, key)
            })
            .collect();
        assert!(unsettled.is_full());
        unsettled.settle(started.iter().copied().take(1));
        assert!(!unsettled.is_full());
    }

    #[test]
    fn a_result_set_aside_uses_a_place_but_delays_nothing() {
        let at: Timestamp = "2026-11-23T00:00:00Z".parse().unwrap();
        let later = at + jiff::SignedDuration::from_secs(1);
        let unsettled = InFlightAttempts::new(2);
        let started: Vec<_> = (0..2 + ENDED).map(|_| (at, key(at))).collect();
        for (at, key) in &started {
            unsettled.start(*at, *key);
        }
        assert_eq!(unsettled.settled_through(later), at);
        assert!(unsettled.has(started[0].1.webhook, later));
        started.iter().for_each(|attempt| unsettled.set_aside(*attempt));
        assert_eq!(unsettled.settled_through(later), later);
        assert!(!unsettled.has(started[0].1.webhook, later));
        assert!(unsettled.is_full());
        unsettled.bring_back(1);
        assert!(!unsettled.is_full());
    }
}
