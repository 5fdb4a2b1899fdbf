//! The numbers of the policy.

use jiff::SignedDuration;

/// The bold numbers of docs/policy.md, and the retry delays of D4. The default has the values of the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbers {
    /// Number of failed first tries that cause a ban (B2).
    pub ban_threshold: u32,
    /// Duration of a ban, from the end of the failed first try that caused it (B2).
    pub ban: SignedDuration,
    /// Longest window without a success (R1).
    pub window: SignedDuration,
    /// Times of the warnings, from the beginning of the window, in ascending order (R4).
    pub warnings: [SignedDuration; 3],
    /// The waits between the end of an attempt and the start of the next (D4).
    pub retry_delays: Vec<SignedDuration>,
    /// The deadline of an attempt, from its start (D2).
    pub timeout: SignedDuration,
    /// Most webhooks of one type that a user may have. Application webhooks count per app (W3).
    pub webhook_limit: u32,
    /// How long an idempotency key is remembered (E1).
    pub idempotency: SignedDuration,
    /// How long the previous secret still signs after a rotation (E7).
    pub secret_overlap: SignedDuration,
    /// How long a removed webhook stays readable (W12).
    pub removed_retention: SignedDuration,
    /// If lookups got no response for this long before an attempt ended, the delivery is postponed, and the attempt does
    /// not count as failed (D13).
    pub dns_silence: SignedDuration,
    /// After a silence of this length, attempts count as failures even if no name server responds (D13).
    pub dns_give_up: SignedDuration,
    /// Delays of a postponed delivery: the first, and every later one (D13).
    pub postponements: [SignedDuration; 2],
}

impl Default for Numbers {
    fn default() -> Self {
        Self {
            ban_threshold: 10,
            ban: SignedDuration::from_mins(30),
            window: SignedDuration::from_hours(72),
            warnings: [24, 48, 71].map(SignedDuration::from_hours),
            retry_delays: [3, 30, 150].map(SignedDuration::from_secs).to_vec(),
            timeout: SignedDuration::from_secs(10),
            webhook_limit: 40,
            idempotency: SignedDuration::from_hours(24),
            secret_overlap: SignedDuration::from_hours(24),
            removed_retention: SignedDuration::from_hours(30 * 24),
            dns_silence: SignedDuration::from_secs(10),
            dns_give_up: SignedDuration::from_mins(15),
            postponements: [5, 30].map(SignedDuration::from_secs),
        }
    }
}
