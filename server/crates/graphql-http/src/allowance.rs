//! The state of a caller's rate limits, for responses.

use std::time::Duration;

use async_graphql::{Value, value};
use jiff::Timestamp;

/// State of the caller's tightest limit: the one that it will reach first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Maximum number of requests at once, after a while without requests.
    pub limit: u64,
    /// Number of requests left now.
    pub remaining: u64,
    /// Time until all of them are available again.
    pub full_in: Duration,
    /// Time until the next one is available; zero if one is available now.
    pub retry_in: Duration,
}

impl Allowance {
    /// Its form in `extensions.rateLimit`.
    pub fn shown(&self, now: Timestamp) -> Value {
        let reset = now.checked_add(self.full_in).unwrap_or(Timestamp::MAX);
        value!({
            "limit": self.limit,
            "remaining": self.remaining,
            "resetAt": format!("{reset:.3}"),
        })
    }

    /// The value of `Retry-After`: whole seconds, at least one.
    pub fn retry_after(&self) -> u64 {
        self.retry_in.as_secs_f64().ceil().max(1.0) as u64
    }
}
