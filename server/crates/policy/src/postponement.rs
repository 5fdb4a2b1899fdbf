//! When a delivery is tried again whose request this server could not make, so that it does not count as an attempt (D13).

use std::time::Duration;

use jiff::Timestamp;

use super::after;

/// The delay when a delivery is put back for the first time; each later time it is [`NEXT_WAIT`].
const FIRST_WAIT: Duration = Duration::from_secs(5);
const NEXT_WAIT: Duration = Duration::from_secs(30);

/// When a delivery is due again that was put back at `ended_at`. `again`: it was also put back the time before.
pub fn put_back(ended_at: Timestamp, again: bool) -> Timestamp {
    after(ended_at, if again { NEXT_WAIT } else { FIRST_WAIT })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d13_a_delivery_is_put_back_by_five_seconds_and_then_by_thirty() {
        let at = Timestamp::UNIX_EPOCH;
        assert_eq!(put_back(at, false).as_second(), 5);
        assert_eq!(put_back(at, true).as_second(), 30);
        assert_eq!(put_back(Timestamp::MAX, true), Timestamp::MAX);
    }
}
