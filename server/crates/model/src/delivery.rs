//! A delivery: one event for one webhook.

use jiff::Timestamp;

use super::ids::{CompanyId, DeliveryKey};
use super::stored_enum;

stored_enum!(
    /// The status of a delivery. It ends in exactly one of the last four (D7).
    DeliveryStatus {
        /// Waiting for an attempt, or an attempt is in flight.
        Pending = 0,
        /// A receiver returned 2xx.
        Succeeded = 1,
        /// All four attempts failed.
        Failed = 2,
        /// It was due while the webhook was banned or paused (B4, W13).
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
        /// It was due during a ban (B4).
        Banned = 2,
        /// It was due while the webhook was paused (W13).
        Paused = 3,
        /// Its webhook was removed.
        WebhookRemoved = 4,
    }
);

/// A delivery as the API shows it, from whichever table.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Its key.
    pub key: DeliveryKey,
    /// The tenant.
    pub company: CompanyId,
    /// Its status.
    pub status: DeliveryStatus,
    /// The reason why it ended, unless it succeeded.
    pub reason: Option<DeliveryReason>,
    /// When it was published or replayed.
    pub created_at: Timestamp,
    /// When the next attempt can start: when it is due, or later if it was postponed (D13). If a process holds the delivery,
    /// when it was due. `None` once the delivery has ended.
    pub next_attempt_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// The right of one process to work on a delivery for a limited time. Every write checks the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Grows with each change of owner.
    pub token: i64,
    /// No other process takes the delivery before this time.
    pub until: Timestamp,
}

/// A delivery that this process holds a lease on.
#[derive(Debug, Clone, PartialEq)]
pub struct Leased {
    /// Its key.
    pub key: DeliveryKey,
    /// The tenant, so that the engine can be fair between tenants.
    pub company: CompanyId,
    /// The attempt to make: 1 to 4.
    pub attempt: u8,
    /// When that attempt was due. B4 is decided by this time.
    pub due_at: Timestamp,
    /// When the delivery was created.
    pub created_at: Timestamp,
    /// The right to work on it.
    pub lease: Lease,
}
