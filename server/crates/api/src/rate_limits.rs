//! The rate limits of each caller.
//!
//! Guarantees:
//!
//! - No token uses more than its share of its company's or the platform's limit, and nobody more than their own.
//! - Publishing has its own buckets, so that reading cannot delay it.
//! - Operators are never refused.

use tenterhook_graphql_http::RateClass;
use tenterhook_graphql_http::rate_limits::RateLimit;

use crate::session::Session;
use crate::token::TokenName;
use tenterhook_model::access::Caller;
use tenterhook_model::ids::{AppId, CompanyId, UserId};
use tenterhook_settings::ApiSettings;

/// The holder of a bucket. Tokens of one user differ only by their app: a new token gives no new allowance.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Holder {
    /// A user's token.
    Token(CompanyId, UserId, Option<AppId>),
    /// All tokens of a company.
    Company(CompanyId),
    /// One of the platform's tokens, other than publishing.
    PlatformToken(TokenName),
    /// One of the platform's tokens, publishing.
    PublishingToken(TokenName),
    /// All of the platform's tokens, other than publishing.
    Platform,
    /// All of the platform's tokens, publishing.
    Publishing,
}

/// The buckets that an operation of the class counts in. [`RateClass::Bulk`] is publishing.
pub fn limits(settings: &ApiSettings, session: &Session, class: RateClass) -> Vec<RateLimit<Holder>> {
    let limit = |holder, rate: u32| RateLimit {
        holder,
        rate: rate.into(),
    };
    match (&session.caller, class) {
        (Caller::Operator, _) => Vec::new(),
        (Caller::Platform, RateClass::Bulk) => vec![
            limit(
                Holder::PublishingToken(session.token),
                settings.rate_per_publishing_token,
            ),
            limit(Holder::Publishing, settings.rate_of_publishing),
        ],
        (Caller::Platform, RateClass::Ordinary) => vec![
            limit(
                Holder::PlatformToken(session.token),
                settings.rate_per_platform_token,
            ),
            limit(Holder::Platform, settings.rate_of_platform),
        ],
        // A user who publishes gets an error, and the call counts like any other request.
        (Caller::User(user), _) => vec![
            limit(
                Holder::Token(user.company, user.user, user.app.clone()),
                settings.rate_per_token,
            ),
            limit(Holder::Company(user.company), settings.rate_per_company),
        ],
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use jiff::Timestamp;
    use tenterhook_graphql_http::Allowance;
    use tenterhook_graphql_http::rate_limits::RateLimits;

    use super::*;
    use tenterhook_clock::Clock;
    use tenterhook_model::access::{UserCaller, UserRole};
    use tenterhook_policy::access::AppAccess;
    use tenterhook_settings::AppSees;

    struct Rates {
        settings: ApiSettings,
        buckets: RateLimits<Holder>,
        now: Instant,
    }

    impl Rates {
        fn new() -> Self {
            let settings = ApiSettings {
                rate_per_token: 2,
                rate_per_company: 3,
                rate_per_platform_token: 4,
                rate_per_publishing_token: 1,
                rate_of_platform: 5,
                rate_of_publishing: 2,
                rate_burst: Duration::from_secs(2),
                ..ApiSettings::default()
            };
            Self {
                buckets: RateLimits::new(settings.rate_burst),
                settings,
                now: Clock::system().monotonic(),
            }
        }

        fn take(&self, session: &Session, class: RateClass) -> Result<Option<Allowance>, Allowance> {
            self.buckets
                .take(limits(&self.settings, session, class), self.now)
        }

        /// How many of 50 requests are allowed.
        fn taken(&self, session: &Session, class: RateClass) -> usize {
            (0..50).filter(|_| self.take(session, class).is_ok()).count()
        }
    }

    /// The session of a token whose name is made from `says`.
    fn session(caller: Caller, says: &str) -> Session {
        Session {
            caller,
            token: TokenName::of(says),
            app: AppAccess {
                installed: false,
                sees: AppSees::Application,
            },
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
    fn the_same_user_number_in_two_companies_has_two_buckets() {
        let rates = Rates::new();
        assert_eq!(rates.taken(&user(1, 1), RateClass::Ordinary), 4);
        let other = rates.take(&user(2, 1), RateClass::Ordinary).unwrap();
        assert!(other.is_some_and(|allowance| allowance.remaining == 3));
    }

    #[test]
    fn a_company_has_a_limit_over_all_its_tokens() {
        let rates = Rates::new();
        let taken = |caller| rates.taken(&user(1, caller), RateClass::Ordinary);
        assert_eq!([taken(1), taken(2), taken(3)], [4, 2, 0]);
        assert!(rates.take(&user(2, 1), RateClass::Ordinary).is_ok());
    }

    #[test]
    fn publishing_has_own_limits_per_token_and_operators_have_none() {
        let rates = Rates::new();
        let taken = |caller: Caller, says: &str, class| rates.taken(&session(caller, says), class);
        assert_eq!(taken(Caller::Platform, "a", RateClass::Bulk), 2);
        assert_eq!(taken(Caller::Platform, "a", RateClass::Ordinary), 8);
        assert_eq!(taken(Caller::Operator, "a", RateClass::Ordinary), 50);
        let operator = session(Caller::Operator, "a");
        assert_eq!(rates.take(&operator, RateClass::Ordinary), Ok(None));
        // One token cannot use up the whole limit of the platform, and all together not more than the limit.
        assert_eq!(taken(Caller::Platform, "b", RateClass::Bulk), 2);
        assert_eq!(taken(Caller::Platform, "c", RateClass::Bulk), 0);
        assert_eq!(taken(Caller::Platform, "b", RateClass::Ordinary), 2);
    }
}
