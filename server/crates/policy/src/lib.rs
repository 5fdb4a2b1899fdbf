//! The rules of the webhook policy, as pure functions on values.
//!
//! Guarantees: the same values give the same result. The time is an argument; nothing is read or written. (Only [`sealing`]
//! and [`signing`] draw random bytes, for nonces and new secrets.) Numbers come from
//! [`PolicySettings`](tenterhook_settings::policy::PolicySettings). The store stores a result and the engine acts on it:
//! this module guarantees neither.

pub mod access;
pub mod echoes;
pub mod health;
pub mod limits;
pub mod matching;
pub mod merging;
pub mod notice;
pub mod payload;
pub mod postponement;
pub mod retry;
pub mod sameness;
#[cfg(test)]
mod samples;
pub mod sealing;
pub mod signing;

use std::time::Duration;

use jiff::Timestamp;

/// `at` plus `wait`, but at most [`Timestamp::MAX`]: a boundary that is never reached is correct there, and a panic is not.
pub fn after(at: Timestamp, wait: Duration) -> Timestamp {
    at.checked_add(wait).unwrap_or(Timestamp::MAX)
}
