//! Rate limits: each caller has token buckets that fill steadily, and each request takes one token.
//!
//! Guarantees:
//!
//! - No token uses more than its share of its company's or the platform's limit, and nobody more than their own.
//! - Publishing has its own buckets, so that reading cannot delay it.
//! - Operators are never refused.
//!
//! Uses the real clock, because simulated time stands still. Each process counts for itself: a caller's total is the
//! setting times the number of processes. Asking the database or other processes at every request would cost more
//! than the limits save.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_graphql::{Value, value};
use jiff::Timestamp;

use super::context::Session;
use super::token::TokenName;
use tenterhook_model::access::Caller;
use tenterhook_model::ids::{AppId, CompanyId, UserId};
use tenterhook_settings::ApiSettings;

/// Maximum number of buckets in memory. Beyond it full buckets are dropped, which changes nothing for their holders.
pub const MOST_BUCKETS: usize = 100_000;

/// The purpose of a request: which buckets it counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// `publishEvents`.
    Publishing,
    /// Everything else.
    Rest,
}

/// The holder of a bucket. Tokens of one user differ only by their app: a new token gives no new allowance.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Holder {
    Token(CompanyId, UserId, Option<AppId>),
    Company(CompanyId),
    PlatformToken(TokenName),
    PublishingToken(TokenName),
    Platform,
    Publishing,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

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

/// All buckets of this process.
pub struct Rates {
    per_token: f64,
    per_company: f64,
    per_platform_token: f64,
    per_publishing_token: f64,
    platform: f64,
    publishing: f64,
    /// Seconds that an empty bucket takes to fill.
    burst: f64,
    buckets: Mutex<HashMap<Holder, Bucket>>,
}

impl Rates {
    /// The limits of the settings. All buckets are full.
    pub fn new(settings: &ApiSettings) -> Self {
        Self {
            per_token: settings.rate_per_token.into(),
            per_company: settings.rate_per_company.into(),
            per_platform_token: settings.rate_per_platform_token.into(),
            per_publishing_token: settings.rate_per_publishing_token.into(),
            platform: settings.rate_of_platform.into(),
            publishing: settings.rate_of_publishing.into(),
            burst: settings.rate_burst.as_secs_f64(),
            buckets: Mutex::default(),
        }
    }

    fn holders(session: &Session, purpose: Purpose) -> Vec<Holder> {
        match (&session.caller, purpose) {
            (Caller::Operator, _) => Vec::new(),
            (Caller::Platform, Purpose::Publishing) => {
                vec![Holder::PublishingToken(session.token), Holder::Publishing]
            }
            (Caller::Platform, Purpose::Rest) => {
                vec![Holder::PlatformToken(session.token), Holder::Platform]
            }
            // A user who publishes gets an error, and the call counts like any other request.
            (Caller::User(user), _) => vec![
                Holder::Token(user.company, user.user, user.app.clone()),
                Holder::Company(user.company),
            ],
        }
    }

    fn rate(&self, holder: &Holder) -> f64 {
        match holder {
            Holder::Token(..) => self.per_token,
            Holder::Company(_) => self.per_company,
            Holder::PlatformToken(_) => self.per_platform_token,
            Holder::PublishingToken(_) => self.per_publishing_token,
            Holder::Platform => self.platform,
            Holder::Publishing => self.publishing,
        }
    }

    /// Counts a request at `now`, on the monotonic clock. `Err` if it exceeds a limit: then nothing is counted.
    /// `None` if the caller has no limit.
    pub fn take(
        &self,
        session: &Session,
        purpose: Purpose,
        now: Instant,
    ) -> Result<Option<Allowance>, Allowance> {
        let holders = Self::holders(session, purpose);
        // The map has only numbers, so a panic leaves nothing half done.
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() + holders.len() > MOST_BUCKETS {
            self.forget(&mut buckets, now);
        }
        let mut tightest: Option<Allowance> = None;
        let mut filled = Vec::with_capacity(holders.len());
        for holder in holders {
            let rate = self.rate(&holder);
            let capacity = self.capacity(rate);
            let tokens = buckets
                .get(&holder)
                .map_or(capacity, |bucket| refilled(bucket, rate, capacity, now));
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
            filled.push((
                holder,
                Bucket {
                    tokens: left,
                    at: now,
                },
            ));
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
    fn forget(&self, buckets: &mut HashMap<Holder, Bucket>, now: Instant) {
        buckets.retain(|holder, bucket| {
            let rate = self.rate(holder);
            let capacity = self.capacity(rate);
            refilled(bucket, rate, capacity, now) < capacity
        });
        if buckets.len() >= MOST_BUCKETS / 2 {
            buckets.clear();
        }
    }
}

fn refilled(bucket: &Bucket, rate: f64, capacity: f64, now: Instant) -> f64 {
    let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
    (bucket.tokens + passed * rate).min(capacity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenterhook_clock::Clock;
    use tenterhook_model::access::{UserCaller, UserRole};

    fn rates() -> Rates {
        Rates::new(&ApiSettings {
            rate_per_token: 2,
            rate_per_company: 3,
            rate_per_platform_token: 4,
            rate_per_publishing_token: 1,
            rate_of_platform: 5,
            rate_of_publishing: 2,
            rate_burst: Duration::from_secs(2),
            ..ApiSettings::default()
        })
    }

    /// The session of a token whose name is made from `says`.
    fn session(caller: Caller, says: &str) -> Session {
        Session {
            caller,
            token: TokenName::of(says),
            app_installed: false,
            expires_at: Timestamp::MAX,
        }
    }

    fn user(company: u64, user: u64) -> Session {
        let caller = Caller::User(UserCaller {
            company: company.to_string().parse().unwrap(),
            user: user.to_string().parse().unwrap(),
            role: UserRole::Regular,
            app: None,
            may_read: true,
            may_write: true,
            has_admin_scope: false,
        });
        session(caller, &user.to_string())
    }

    #[test]
    fn a_token_has_its_limit_and_one_past_it_is_refused_until_the_bucket_fills() {
        let (rates, now) = (rates(), Clock::system().monotonic());
        let ann = user(1, 1);
        for left in (0..4).rev() {
            let allowance = rates.take(&ann, Purpose::Rest, now).unwrap().unwrap();
            assert_eq!((allowance.limit, allowance.remaining), (4, left));
        }
        let refused = rates.take(&ann, Purpose::Rest, now).unwrap_err();
        assert_eq!(refused.retry_in, Duration::from_millis(500));
        assert_eq!(refused.full_in, Duration::from_secs(2));
        assert_eq!(refused.retry_after(), 1);
        let later = now + Duration::from_millis(500);
        assert!(rates.take(&ann, Purpose::Rest, later).is_ok());
        assert!(rates.take(&ann, Purpose::Rest, later).is_err());
        assert!(
            rates
                .take(&user(2, 1), Purpose::Rest, now)
                .unwrap()
                .is_some_and(|allowance| allowance.remaining == 3),
            "another company's user of the same number has a bucket of its own"
        );
    }

    #[test]
    fn a_company_has_a_limit_over_all_its_tokens() {
        let (rates, now) = (rates(), Clock::system().monotonic());
        let taken = |caller: u64| {
            (0..10)
                .filter(|_| rates.take(&user(1, caller), Purpose::Rest, now).is_ok())
                .count()
        };
        assert_eq!([taken(1), taken(2), taken(3)], [4, 2, 0]);
        assert!(rates.take(&user(2, 1), Purpose::Rest, now).is_ok());
    }

    #[test]
    fn publishing_is_apart_each_token_has_its_share_and_operators_are_exempt() {
        let (rates, now) = (rates(), Clock::system().monotonic());
        let taken = |caller: Caller, says: &str, purpose| {
            let session = session(caller, says);
            (0..50)
                .filter(|_| rates.take(&session, purpose, now).is_ok())
                .count()
        };
        assert_eq!(taken(Caller::Platform, "a", Purpose::Publishing), 2);
        assert_eq!(taken(Caller::Platform, "a", Purpose::Rest), 8);
        assert_eq!(taken(Caller::Operator, "a", Purpose::Rest), 50);
        let operator = session(Caller::Operator, "a");
        assert_eq!(rates.take(&operator, Purpose::Rest, now), Ok(None));
        // One token cannot use up the whole limit of the platform, and all together not more than the limit.
        assert_eq!(taken(Caller::Platform, "b", Purpose::Publishing), 2);
        assert_eq!(taken(Caller::Platform, "c", Purpose::Publishing), 0);
        assert_eq!(taken(Caller::Platform, "b", Purpose::Rest), 2);
    }

    #[test]
    fn buckets_are_bounded() {
        let (rates, now) = (rates(), Clock::system().monotonic());
        let kept = || rates.buckets.lock().unwrap().len();
        // Two per user: the token's and the company's.
        let most = MOST_BUCKETS as u64 / 2;
        for company in 1..=most {
            rates.take(&user(company, 1), Purpose::Rest, now).unwrap();
        }
        assert_eq!(kept(), MOST_BUCKETS);
        let later = now + Duration::from_secs(2);
        rates.take(&user(1, 1), Purpose::Rest, later).unwrap();
        assert_eq!(kept(), 2, "all were full again");
        for company in 1..=most {
            rates.take(&user(company, 1), Purpose::Rest, later).unwrap();
        }
        rates.take(&user(most + 1, 1), Purpose::Rest, later).unwrap();
        assert_eq!(kept(), 2, "none was, and still no more are kept");
    }
}
