//! Rate limits: token buckets that fill steadily, and each request takes one token from each bucket of its caller.
//!
//! The app says which buckets a request counts in. A caller without buckets is never refused.
//!
//! Uses the real clock, because simulated time stands still. Each process counts for itself: a caller's total is the
//! rate times the number of processes. Asking the database or other processes at every request would cost more than
//! the limits save.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::allowance::Allowance;

/// Maximum number of buckets in memory. Beyond it full buckets are dropped, which changes nothing for their holders.
pub const MOST_BUCKETS: usize = 100_000;

/// A bucket that a request counts in.
#[derive(Debug, Clone, PartialEq)]
pub struct RateLimit<K> {
    /// The holder of the bucket.
    pub holder: K,
    /// Requests per second.
    pub rate: f64,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
    rate: f64,
}

/// All buckets of this process.
pub struct RateLimits<K> {
    /// Seconds that an empty bucket takes to fill.
    burst: f64,
    buckets: Mutex<HashMap<K, Bucket>>,
}

impl<K: Eq + Hash> RateLimits<K> {
    /// All buckets are full. An empty one takes `burst` to fill.
    pub fn new(burst: Duration) -> Self {
        Self {
            burst: burst.as_secs_f64(),
            buckets: Mutex::default(),
        }
    }

    /// Counts a request at `now`, on the monotonic clock. Returns the state of the tightest limit; `None` if there is
    /// no limit.
    ///
    /// # Errors
    ///
    /// If it exceeds a limit: then nothing is counted.
    pub fn take(&self, limits: Vec<RateLimit<K>>, now: Instant) -> Result<Option<Allowance>, Allowance> {
        // The map has only numbers, so a panic leaves nothing half done.
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() + limits.len() > MOST_BUCKETS {
            self.forget(&mut buckets, now);
        }
        let mut tightest: Option<Allowance> = None;
        let mut filled = Vec::with_capacity(limits.len());
        for RateLimit { holder, rate } in limits {
            let capacity = self.capacity(rate);
            let tokens = buckets
                .get(&holder)
                .map_or(capacity, |bucket| refilled(bucket, capacity, now));
            let has_one = tokens >= 1.0;
            let left = if has_one { tokens - 1.0 } else { tokens };
            let allowance = Allowance {
                limit: capacity as u64,
                remaining: left as u64,
                full_in: Duration::from_secs_f64((capacity - left) / rate),
                retry_in: Duration::from_secs_f64(if has_one { 0.0 } else { (1.0 - tokens) / rate }),
            };
            if !has_one {
                return Err(allowance);
            }
            if tightest.is_none_or(|other| allowance.remaining < other.remaining) {
                tightest = Some(allowance);
            }
            let bucket = Bucket {
                tokens: left,
                at: now,
                rate,
            };
            filled.push((holder, bucket));
        }
        buckets.extend(filled);
        Ok(tightest)
    }

    /// At least one request at once, however low the rate.
    fn capacity(&self, rate: f64) -> f64 {
        (rate * self.burst).floor().max(1.0)
    }

    /// Drops full buckets. If half of the maximum is still in use, drops all: a flood of holders must not cost memory,
    /// and refusing callers who did nothing wrong would be worse.
    fn forget(&self, buckets: &mut HashMap<K, Bucket>, now: Instant) {
        buckets.retain(|_, bucket| {
            let capacity = self.capacity(bucket.rate);
            refilled(bucket, capacity, now) < capacity
        });
        if buckets.len() >= MOST_BUCKETS / 2 {
            buckets.clear();
        }
    }
}

fn refilled(bucket: &Bucket, capacity: f64, now: Instant) -> f64 {
    let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
    (bucket.tokens + passed * bucket.rate).min(capacity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenterhook_clock::Clock;

    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    enum Holder {
        User(u64),
        Tenant(u64),
    }

    fn rates() -> RateLimits<Holder> {
        RateLimits::new(Duration::from_secs(2))
    }

    fn user(tenant: u64, user: u64) -> Vec<RateLimit<Holder>> {
        vec![
            RateLimit {
                holder: Holder::User(user),
                rate: 2.0,
            },
            RateLimit {
                holder: Holder::Tenant(tenant),
                rate: 3.0,
            },
        ]
    }

    #[test]
    fn a_request_over_the_limit_is_refused_until_the_bucket_fills() {
        let (rates, now) = (rates(), Clock::system().monotonic());
        for left in (0..4).rev() {
            let allowance = rates.take(user(1, 1), now).unwrap().unwrap();
            assert_eq!((allowance.limit, allowance.remaining), (4, left));
        }
        let refused = rates.take(user(1, 1), now).unwrap_err();
        assert_eq!(refused.retry_in, Duration::from_millis(500));
        assert_eq!(refused.full_in, Duration::from_secs(2));
        assert_eq!(refused.retry_after(), 1);
        let later = now + Duration::from_millis(500);
        assert!(rates.take(user(1, 1), later).is_ok());
        assert!(rates.take(user(1, 1), later).is_err());
        let other = rates.take(user(2, 2), now).unwrap();
        assert!(other.is_some_and(|allowance| allowance.remaining == 3));
    }

    #[test]
    fn a_bucket_that_several_callers_share_limits_all_of_them_together() {
        let (rates, now) = (rates(), Clock::system().monotonic());
        let taken = |caller: u64| {
            (0..10)
                .filter(|_| rates.take(user(1, caller), now).is_ok())
                .count()
        };
        assert_eq!([taken(1), taken(2), taken(3)], [4, 2, 0]);
        assert!(rates.take(user(2, 4), now).is_ok());
    }

    #[test]
    fn a_caller_without_buckets_has_no_limit() {
        let (rates, now) = (rates(), Clock::system().monotonic());
        assert_eq!(rates.take(Vec::new(), now), Ok(None));
    }

    #[test]
    fn buckets_are_bounded() {
        let (rates, now) = (rates(), Clock::system().monotonic());
        let kept = || rates.buckets.lock().unwrap().len();
        // Two per user.
        let most = MOST_BUCKETS as u64 / 2;
        for tenant in 1..=most {
            rates.take(user(tenant, tenant), now).unwrap();
        }
        assert_eq!(kept(), MOST_BUCKETS);
        let later = now + Duration::from_secs(2);
        rates.take(user(1, 1), later).unwrap();
        assert_eq!(kept(), 2, "all were full again");
        for tenant in 1..=most {
            rates.take(user(tenant, tenant), later).unwrap();
        }
        rates.take(user(most + 1, most + 1), later).unwrap();
        assert_eq!(kept(), 2, "none was, and still no more are kept");
    }
}
