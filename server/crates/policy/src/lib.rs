//! What should happen: every rule of the webhook policy as a pure function on values.
//!
//! Promises that the same values give the same answer: the time is an argument, nothing is read or written.
//! (Only [`sealing`] and [`signing`] draw random bytes, for nonces and new secrets.) Numbers come from
//! [`PolicySettings`](tenterhook_settings::policy::PolicySettings). Does not promise that an answer is acted on:
//! storing it is the store's part, acting the engine's.

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
pub mod target;

use std::time::Duration;

use jiff::Timestamp;

/// `at` plus `wait`. Past the end of representable time it stays there: a boundary in the year 9999
/// that never comes is right, a panic is not.
pub fn after(at: Timestamp, wait: Duration) -> Timestamp {
    at.checked_add(wait).unwrap_or(Timestamp::MAX)
}
