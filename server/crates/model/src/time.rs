//! Arithmetic on times that cannot fail.

use std::time::Duration;

use jiff::Timestamp;

/// `at` plus `wait`, but at most [`Timestamp::MAX`]: a boundary that is never reached is correct there, and a panic is not.
pub fn after(at: Timestamp, wait: Duration) -> Timestamp {
    at.checked_add(wait).unwrap_or(Timestamp::MAX)
}
