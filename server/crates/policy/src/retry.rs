//! When a failed delivery is tried again (D4).
//!
//! Only the schedule. A retry that is due during a ban or a pause is lost: [`verdict`](super::health::verdict) decides that.
//! `Retry-After` and 410 are ignored everywhere (D4).

use jiff::Timestamp;

use super::after;
use tenterhook_settings::policy::PolicySettings;

/// The attempt after the failed attempt `number`, and when it is due, counted from the *end* of the failed one. `None` after
/// the last attempt: the delivery has failed (D4).
pub fn next_attempt(number: u8, ended_at: Timestamp, settings: &PolicySettings) -> Option<(u8, Timestamp)> {
    let delay = settings.retry_delays.get(usize::from(number.checked_sub(1)?))?;
    Some((number.checked_add(1)?, after(ended_at, *delay)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn schedule(settings: &PolicySettings) -> Vec<(u8, i64)> {
        let mut at = Timestamp::UNIX_EPOCH;
        let mut number = 1;
        let mut all = Vec::new();
        while let Some((next, due)) = next_attempt(number, at, settings) {
            all.push((next, due.duration_since(at).as_secs()));
            (number, at) = (next, due);
        }
        all
    }

    #[test]
    fn d4_retries_come_3_30_and_150_seconds_after_the_end_of_the_attempt_before() {
        assert_eq!(schedule(&PolicySettings::default()), [(2, 3), (3, 30), (4, 150)]);
    }

    #[test]
    fn d4_the_settings_decide_how_many_retries_there_are() {
        let none = PolicySettings {
            retry_delays: vec![],
            ..Default::default()
        };
        assert_eq!(schedule(&none), []);
        let one = PolicySettings {
            retry_delays: vec![Duration::from_secs(7)],
            ..Default::default()
        };
        assert_eq!(schedule(&one), [(2, 7)]);
    }

    #[test]
    fn attempt_numbers_and_times_at_their_limits_cause_no_panic() {
        let settings = PolicySettings::default();
        assert_eq!(next_attempt(0, Timestamp::UNIX_EPOCH, &settings), None);
        assert_eq!(next_attempt(u8::MAX, Timestamp::UNIX_EPOCH, &settings), None);
        assert_eq!(
            next_attempt(1, Timestamp::MAX, &settings),
            Some((2, Timestamp::MAX))
        );
    }
}
