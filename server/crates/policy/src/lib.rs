//! The rules of the webhook policy, as pure functions on values.
//!
//! Guarantees: the same values give the same result. The time is an argument; nothing is read or written. (Only [`sealing`]
//! and [`signing`] draw random bytes, for nonces and new secrets.) Numbers come from
//! [`PolicySettings`](tenterhook_settings::policy::PolicySettings). The store stores a result and the engine acts on it:
//! this module guarantees neither.

pub mod access;

pub mod health;
pub mod input_limits;
pub mod matching;
pub mod merge_events;
pub mod notice;
pub mod payload;
pub mod postponement;
pub mod redaction;
pub mod retry;
pub mod sameness;
#[cfg(test)]
mod samples;
pub mod sealing;
pub mod signing;

pub use tenterhook_model::time::after;
