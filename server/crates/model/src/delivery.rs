//! A delivery: one event owed to one webhook.

use jiff::Timestamp;

use super::ids::{CompanyId, DeliveryKey};
use super::stored_enum;

stored_enum!(
    /// Where a delivery stands. It ends in exactly one of the last four (D7).
    DeliveryStatus {
        /// Waiting for an attempt, or on the wire.
        Pending = 0,
        /// A receiver answered 2xx.
        Succeeded = 1,
        /// All four attempts failed.
        Failed = 2,
        /// Came due for a banned or paused webhook (B4, W13).
        Lost = 3,
        /// Its webhook was removed.
        Cancelled = 4,
    }
);

stored_enum!(
    /// Why a delivery ended without success.
    DeliveryReason {
        /// All four attempts failed (D4).
        Exhausted = 1,
        /// Came due in a ban (B4).
        Banned = 2,
        /// Came due while paused (W13).
        Paused = 3,
        /// Its webhook was removed.
        WebhookRemoved = 4,
    }
);

/// A delivery as the API shows it, whichever table it was read from.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Which one.
    pub key: DeliveryKey,
    /// The tenant.
    pub company: CompanyId,
    /// Where it stands.
    pub status: DeliveryStatus,
    /// Why it ended, unless it succeeded.
    pub reason: Option<DeliveryReason>,
    /// The publication, or the replay's moment.
    pub created_at: Timestamp,
    /// When the next attempt can start: when it is due, or later if it was put back (D13). Of one that a process holds, when it
    /// was due. `None` once it has ended.
    pub next_attempt_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// The right of one process to work on a delivery for a while: every write is fenced by the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Counts up with each change of hands.
    pub token: i64,
    /// Until when nobody else takes it.
    pub until: Timestamp,
}

/// A delivery in a worker's hands.
#[derive(Debug, Clone, PartialEq)]
pub struct Leased {
    /// Which one.
    pub key: DeliveryKey,
    /// The tenant, for fairness.
    pub company: CompanyId,
    /// The attempt to make: 1 to 4.
    pub attempt: u8,
    /// When that attempt was due (B4 judges by it).
    pub due_at: Timestamp,
    /// When the delivery was made.
    pub created_at: Timestamp,
    /// The right to work on it.
    pub lease: Lease,
}
