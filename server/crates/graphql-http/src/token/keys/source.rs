//! Fetches a key set from a URL, and decides how often.
//!
//! Guarantees:
//!
//! - Tokens with made-up key ids cannot cause more fetches: there is at least [`FETCH_PAUSE`] between two fetches, and
//!   more while fetching fails.
//! - A key that its owner has withdrawn is refused without a restart, at most [`LIFETIME`] later, unless the set
//!   cannot be fetched: then the current keys stay.
//! - A response is bounded in size and time.
//!
//! Uses the real clock, because the owner of the keys does.

use std::error::Error;
use std::iter::successors;
use std::time::{Duration, Instant};

use url::Url;

use super::{InvalidKeys, VerifyingKey, jwk};
use tenterhook_clock::Clock;

/// Minimum time between two fetches. A new key must be published this long before it signs.
pub const FETCH_PAUSE: Duration = Duration::from_secs(30);
/// Maximum time between two fetches: each failed fetch doubles the pause up to this. This is also the longest time
/// that a key rotation stays unnoticed if it happens together with the end of an outage.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(240);
/// An older set is fetched again even if it has the key.
pub const LIFETIME: Duration = Duration::from_secs(15 * 60);
/// Time-out of a fetch.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum size of a response in bytes: a few hundred keys.
pub const LARGEST_SET: usize = 64 * 1024;

/// The URL of a key set, with the history of fetching it.
pub struct Source {
    client: reqwest::Client,
    url: Url,
    clock: Clock,
    timeout: Duration,
    /// Locked during a fetch.
    pub(super) history: tokio::sync::Mutex<History>,
}

/// When the set was fetched.
#[derive(Debug, Clone, Copy)]
pub struct History {
    tried: Instant,
    succeeded: Instant,
    /// Number of failed fetches since.
    failures: u32,
}

impl History {
    /// The history of a set that was fetched now.
    pub fn new(now: Instant) -> Self {
        Self {
            tried: now,
            succeeded: now,
            failures: 0,
        }
    }

    /// Whether the set may be fetched for a token whose key is not in it.
    pub fn may_fetch(&self, now: Instant) -> bool {
        let doubled = FETCH_PAUSE.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        now.duration_since(self.tried) >= doubled.min(LONGEST_PAUSE)
    }

    /// Whether the set is so old that it should be fetched for any token.
    pub fn is_stale(&self, now: Instant) -> bool {
        now.duration_since(self.succeeded) >= LIFETIME && self.may_fetch(now)
    }

    fn note<T, E>(&mut self, now: Instant, fetched: &Result<T, E>) {
        self.tried = now;
        if fetched.is_ok() {
            *self = Self::new(now);
        } else {
            self.failures = self.failures.saturating_add(1);
        }
    }
}

impl Source {
    /// A source at this address. Fetches nothing yet.
    pub fn new(client: reqwest::Client, url: Url, clock: Clock, timeout: Duration) -> Self {
        Self {
            history: tokio::sync::Mutex::new(History::new(clock.monotonic())),
            client,
            url,
            clock,
            timeout,
        }
    }

    /// The clock for pauses.
    pub fn now(&self) -> Instant {
        self.clock.monotonic()
    }

    /// Fetches the set at `now`, and records the result.
    pub async fn fetch(&self, history: &mut History, now: Instant) -> Result<Vec<VerifyingKey>, InvalidKeys> {
        // Recorded before the fetch, because the request that caused it may be cancelled.
        history.tried = now;
        let fetched = tokio::select! {
            answer = self.answer() => answer.and_then(|json| jwk::read(&json)),
            () = self.clock.linger(self.timeout) => Err(InvalidKeys::NotFetched("no response in time".to_owned())),
        };
        history.note(now, &fetched);
        if let Err(error) = &fetched {
            tracing::warn!(%error, url = %self.url, failures = history.failures, "the key set was not fetched");
        }
        fetched
    }

    async fn answer(&self) -> Result<Vec<u8>, InvalidKeys> {
        let failed = |error: reqwest::Error| InvalidKeys::NotFetched(with_causes(&error));
        let answer = self.client.get(self.url.clone()).send().await;
        let mut answer = answer
            .and_then(reqwest::Response::error_for_status)
            .map_err(failed)?;
        let mut json = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if json.len() + chunk.len() > LARGEST_SET {
                return Err(InvalidKeys::TooLarge);
            }
            json.extend(chunk);
        }
        Ok(json)
    }
}

/// The HTTP client's own message does not give the reason: its causes do.
fn with_causes(error: &dyn Error) -> String {
    let causes = successors(Some(error), |error| (*error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
