//! Where a key set is fetched from, and how often.
//!
//! Promises that fetching is nobody else's to cause: at least [`FETCH_PAUSE`] lies between two fetches, whoever sends
//! tokens with made-up key ids, and longer while fetching fails. That a key which its owner has withdrawn ends without
//! a restart, at the latest [`LIFETIME`] after, unless the set cannot be fetched: then the keys there are stay. And that
//! an answer is bounded in size and time. Counts on the real clock: the owner of the keys knows no other.

use std::error::Error;
use std::iter::successors;
use std::time::{Duration, Instant};

use url::Url;

use super::{InvalidKeys, VerifyingKey, jwk};
use tenterhook_clock::Clock;

/// What lies at least between two fetches. A new key must be published so long before it signs.
pub const FETCH_PAUSE: Duration = Duration::from_secs(30);
/// The longest pause: each fetch that fails doubles it up to here. As long at the most is a rotation overlooked that
/// falls together with the end of an outage.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(240);
/// A set that is older is fetched anew although it has the key.
pub const LIFETIME: Duration = Duration::from_secs(15 * 60);
/// How long a fetch may take.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest answer that is read: some hundred keys.
pub const LARGEST_SET: usize = 64 * 1024;

/// Where a key set is fetched from.
pub struct Source {
    client: reqwest::Client,
    url: Url,
    clock: Clock,
    timeout: Duration,
    /// Locked while it is fetched.
    pub(super) history: tokio::sync::Mutex<History>,
}

/// When the set was fetched.
#[derive(Debug, Clone, Copy)]
pub struct History {
    tried: Instant,
    succeeded: Instant,
    /// Fetches that have failed since.
    failures: u32,
}

impl History {
    /// Of a set that was fetched now.
    pub fn new(now: Instant) -> Self {
        Self {
            tried: now,
            succeeded: now,
            failures: 0,
        }
    }

    /// Whether it may be fetched for a token whose key is not in it.
    pub fn may_fetch(&self, now: Instant) -> bool {
        let doubled = FETCH_PAUSE.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        now.duration_since(self.tried) >= doubled.min(LONGEST_PAUSE)
    }

    /// Whether it should be fetched for any token.
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
    /// The set at this address, none of it fetched yet.
    pub fn new(client: reqwest::Client, url: Url, clock: Clock, timeout: Duration) -> Self {
        Self {
            history: tokio::sync::Mutex::new(History::new(clock.monotonic())),
            client,
            url,
            clock,
            timeout,
        }
    }

    /// The time that pauses are counted by.
    pub fn now(&self) -> Instant {
        self.clock.monotonic()
    }

    /// Fetches the set at `now`, and notes how that went.
    pub async fn fetch(&self, history: &mut History, now: Instant) -> Result<Vec<VerifyingKey>, InvalidKeys> {
        // Noted before: whoever caused it may leave while it is under way.
        history.tried = now;
        let fetched = tokio::select! {
            answer = self.answer() => answer.and_then(|json| jwk::read(&json)),
            () = self.clock.linger(self.timeout) => Err(InvalidKeys::NotFetched("no answer in time".to_owned())),
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

/// The HTTP client's own text does not say why: its causes do.
fn with_causes(error: &dyn Error) -> String {
    let causes = successors(Some(error), |error| (*error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
