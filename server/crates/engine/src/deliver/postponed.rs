//! Deliveries that were postponed because this machine lacked a resource (D13): which were postponed repeatedly, and what
//! is logged.
//!
//! Guarantees bounded memory and few log lines, however many deliveries wait. Other processes' deliveries are not known
//! here: if another process has postponed one, it waits the shorter time again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use tenterhook_model::ids::DeliveryKey;
use tenterhook_outbound_http::Lack;
use tenterhook_policy::postponement::postponed_until;

/// Bound on remembered deliveries. If there is no room for another one, it counts as postponed before.
const REMEMBERED: usize = 100_000;
/// How long, in real time, a postponed delivery is remembered: longer than until the end of its next attempt.
const REMEMBERED_FOR: Duration = Duration::from_secs(120);
/// How long, in real time, nothing more is logged after a line.
const LOG_EVERY: Duration = Duration::from_secs(30);

/// Deliveries that this process postponed.
#[derive(Debug, Default)]
pub(crate) struct Postponed(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    deliveries: HashMap<DeliveryKey, Instant>,
    means: LogThrottle,
    name_servers: LogThrottle,
}

/// What was logged about one missing resource.
#[derive(Debug, Default)]
struct LogThrottle {
    logged_at: Option<Instant>,
    unlogged: u64,
}

impl LogThrottle {
    /// Counts one more postponed attempt. Returns the number to log, if it is time to log.
    fn more(&mut self, now: Instant) -> Option<u64> {
        self.unlogged += 1;
        let is_quiet = self
            .logged_at
            .is_some_and(|at| now.saturating_duration_since(at) < LOG_EVERY);
        if is_quiet {
            return None;
        }
        self.logged_at = Some(now);
        Some(std::mem::take(&mut self.unlogged))
    }
}

impl Postponed {
    /// When a delivery that could not be attempted is due again, counted from `ended_at`. `now` is the monotonic time.
    pub(crate) fn postpone(
        &self,
        key: DeliveryKey,
        lack: Lack,
        ended_at: Timestamp,
        now: Instant,
    ) -> Timestamp {
        let mut known = self.known();
        match lack {
            Lack::Means => {
                if let Some(postponed) = known.means.more(now) {
                    tracing::warn!(
                        postponed,
                        "no file descriptor or memory was left to call a receiver; attempts are postponed and not \
                         counted"
                    );
                }
            }
            Lack::NameServers => {
                if let Some(postponed) = known.name_servers.more(now) {
                    tracing::warn!(
                        postponed,
                        "no name server responds; attempts are postponed and not counted"
                    );
                }
            }
        }
        let again = known.remember(key, now);
        postponed_until(ended_at, again)
    }

    /// Forgets the delivery, because it has had an attempt.
    pub(crate) fn forget(&self, key: DeliveryKey) {
        let mut known = self.known();
        if !known.deliveries.is_empty() {
            known.deliveries.remove(&key);
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Whether the delivery was postponed before.
    fn remember(&mut self, key: DeliveryKey, now: Instant) -> bool {
        if self.deliveries.len() >= REMEMBERED && !self.deliveries.contains_key(&key) {
            self.deliveries
                .retain(|_, at| now.saturating_duration_since(*at) < REMEMBERED_FOR);
            if self.deliveries.len() >= REMEMBERED {
                return true;
            }
        }
        self.deliveries.insert(key, now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenterhook_clock::Clock;
    use tenterhook_model::ids::{EventId, Lane, WebhookId};

    fn key(generation: i32) -> DeliveryKey {
        let now = Timestamp::UNIX_EPOCH;
        DeliveryKey {
            lane: Lane(0),
            webhook: WebhookId::new(now),
            event: EventId::new(now),
            generation,
        }
    }

    fn wait(postponed: &Postponed, key: DeliveryKey, now: Instant) -> i64 {
        let at = Timestamp::UNIX_EPOCH;
        postponed.postpone(key, Lack::NameServers, at, now).as_second()
    }

    #[test]
    fn d13_a_delivery_waits_five_seconds_then_thirty_until_it_has_had_an_attempt() {
        let (postponed, now) = (Postponed::default(), Clock::system().monotonic());
        let (first, second) = (key(0), key(1));
        assert_eq!(
            [wait(&postponed, first, now), wait(&postponed, first, now)],
            [5, 30]
        );
        assert_eq!(
            [wait(&postponed, second, now), wait(&postponed, first, now)],
            [5, 30]
        );
        postponed.forget(first);
        assert_eq!(
            [wait(&postponed, first, now), wait(&postponed, second, now)],
            [5, 30]
        );
    }

    #[test]
    fn deliveries_are_remembered_up_to_a_limit() {
        let (postponed, now) = (Postponed::default(), Clock::system().monotonic());
        let one = key(0);
        let keys = (0..).map(|generation| DeliveryKey { generation, ..one });
        for key in keys.take(REMEMBERED) {
            assert_eq!(wait(&postponed, key, now), 5);
        }
        let more = DeliveryKey {
            generation: -1,
            ..one
        };
        assert_eq!(wait(&postponed, more, now), 30, "there is no place for it");
        assert_eq!(
            wait(&postponed, more, now + REMEMBERED_FOR),
            5,
            "the others are forgotten"
        );
        assert_eq!(postponed.known().deliveries.len(), 1);
    }

    #[test]
    fn a_line_is_logged_at_most_every_thirty_seconds() {
        let (postponed, now) = (Postponed::default(), Clock::system().monotonic());
        for after in [0, 1, 29] {
            wait(&postponed, key(0), now + Duration::from_secs(after));
        }
        assert_eq!(postponed.known().name_servers.unlogged, 2);
        wait(&postponed, key(0), now + LOG_EVERY);
        assert_eq!(postponed.known().name_servers.unlogged, 0);
    }
}
