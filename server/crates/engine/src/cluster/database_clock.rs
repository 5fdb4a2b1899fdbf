//! Warns when the clocks of the database and of this machine differ.
//!
//! The server follows the database's clock, so that all processes agree. Requests are signed with the database's time,
//! even when it is wrong. Receivers compare it with their own clock; most refuse a signature whose time differs by five
//! minutes. A difference stops nothing here, because it does not show which of the two clocks is wrong. A server that
//! went out of service would take the API down, while other servers would still send requests with the same wrong time.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::SignedDuration;

/// The largest difference without a warning: a tenth of what verifiers of signatures usually tolerate.
pub const TOLERANCE: SignedDuration = SignedDuration::from_secs(30);
/// How often the warning is repeated while the difference lasts.
const REPEAT_EVERY: Duration = Duration::from_secs(60);

/// The last measured difference, and when it was logged.
#[derive(Debug, Default)]
pub(crate) struct DatabaseClock(Mutex<Offset>);

#[derive(Debug, Default)]
struct Offset {
    ahead: SignedDuration,
    /// When the warning was last logged; `None` while the difference is tolerated.
    warned: Option<Instant>,
}

/// What to log.
#[derive(Debug, PartialEq, Eq)]
enum Report {
    Nothing,
    Differ,
    Agree,
}

impl Offset {
    fn note(&mut self, ahead: SignedDuration, now: Instant) -> Report {
        self.ahead = ahead;
        match self.warned {
            None if is_apart(ahead) => self.warned = Some(now),
            None => return Report::Nothing,
            Some(_) if !is_apart(ahead) => {
                self.warned = None;
                return Report::Agree;
            }
            Some(last) if now.saturating_duration_since(last) >= REPEAT_EVERY => self.warned = Some(now),
            Some(_) => return Report::Nothing,
        }
        Report::Differ
    }
}

impl DatabaseClock {
    /// Notes by how much the database's clock was ahead at `now`. Logs when the difference exceeds the tolerance, every
    /// minute while it does, and when it ends.
    pub(crate) fn note(&self, ahead: SignedDuration, now: Instant) {
        let report = self.offset(|offset| offset.note(ahead, now));
        let ahead_seconds = ahead.as_secs_f64();
        match report {
            Report::Nothing => {}
            Report::Differ => tracing::warn!(
                ahead_seconds,
                "the database's clock and this machine's differ, and requests are signed with the database's time: \
                 receivers refuse signatures that differ by minutes from their time. Correct the clock that is wrong"
            ),
            Report::Agree => tracing::info!(
                ahead_seconds,
                "the database's clock and this machine's agree again"
            ),
        }
    }

    /// By how much the database's clock was ahead at the last reading; negative if it was behind.
    pub(crate) fn ahead(&self) -> SignedDuration {
        self.offset(|offset| offset.ahead)
    }

    /// A panic while the lock is held leaves nothing half done: each change is one assignment.
    fn offset<T>(&self, look: impl FnOnce(&mut Offset) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whether two clocks differ by more than [`TOLERANCE`].
pub fn is_apart(ahead: SignedDuration) -> bool {
    ahead.abs() > TOLERANCE
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenterhook_clock::Clock;

    #[test]
    fn a_difference_is_reported_at_its_start_each_minute_and_its_end() {
        let (mut seen, start) = (Offset::default(), Clock::system().monotonic());
        let mut note = |ahead: i64, at: u64| {
            seen.note(SignedDuration::from_secs(ahead), start + Duration::from_secs(at))
        };
        assert_eq!(note(30, 0), Report::Nothing, "at the tolerance");
        assert_eq!(note(-30, 1), Report::Nothing);
        assert_eq!(note(31, 2), Report::Differ, "past it");
        assert_eq!(note(600, 3), Report::Nothing);
        assert_eq!(note(600, 61), Report::Nothing);
        assert_eq!(note(600, 62), Report::Differ, "a minute later");
        assert_eq!(note(600, 121), Report::Nothing);
        assert_eq!(note(-31, 122), Report::Differ);
        assert_eq!(note(0, 123), Report::Agree);
        assert_eq!(note(0, 124), Report::Nothing);
        assert_eq!(note(-31, 125), Report::Differ, "again");
        assert_eq!(seen.ahead, SignedDuration::from_secs(-31));
    }
}
