//! When a postponed delivery is due again: this server could not make its request, so it does not count as an attempt (D13).

use std::time::Duration;

use jiff::Timestamp;

use super::after;

/// The delay when a delivery is postponed for the first time; each later time it is [`NEXT_WAIT`].
const FIRST_WAIT: Duration = Duration::from_secs(5);
const NEXT_WAIT: Duration = Duration::from_secs(30);

/// When a delivery that was postponed at `ended_at` is due again. `again`: it was also postponed the time before.
pub fn postponed_until(ended_at: Timestamp, again: bool) -> Timestamp {
    after(ended_at, if again { NEXT_WAIT } else { FIRST_WAIT })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d13_a_delivery_is_postponed_by_five_seconds_and_then_by_thirty() {
        let at = Timestamp::UNIX_EPOCH;
        assert_eq!(postponed_until(at, false).as_second(), 5);
        assert_eq!(postponed_until(at, true).as_second(), 30);
        assert_eq!(postponed_until(Timestamp::MAX, true), Timestamp::MAX);
    }
}
