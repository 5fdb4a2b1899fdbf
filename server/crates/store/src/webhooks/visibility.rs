//! Which webhooks a statement may read: those that the caller sees (W4–W6) and that still exist at the time of reading (T3).

use diesel::sql_types::{BigInt, Integer, Text};
use jiff::Timestamp;

use crate::sql::query_builder::QueryBuilder;
use crate::sql::{At, time};
use tenterhook_model::access::{GeneralScope, WebhookScope};
use tenterhook_model::ids::Lane;

/// The time of reading, and earlier times computed from the periods of the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cutoffs {
    /// The time of reading.
    pub now: Timestamp,
    /// A window that opened at this time or before has removed its webhook (R1).
    pub window_opened: Timestamp,
    /// A webhook that was removed at this time or before can no longer be read (W12).
    pub removed: Timestamp,
    /// What ended at this time or before can no longer be read (D10): attempts and deliveries. Nor can an event that was
    /// accepted by then, unless an attempt or a delivery refers to it that can be read.
    pub history: Timestamp,
    /// What ended can no longer be read either if its event was accepted at this time or before: the event perhaps does not
    /// exist any more, because it was dropped before events were kept for late attempts. At or before `history`.
    pub event_dropped: Timestamp,
}

/// Adds a condition on webhooks `w`: they are within the scope.
pub fn within(statement: QueryBuilder, scope: &WebhookScope) -> QueryBuilder {
    let WebhookScope::Company {
        company,
        general,
        application_of,
    } = scope
    else {
        return statement.sql(if *scope == WebhookScope::Everything {
            "true"
        } else {
            "false"
        });
    };
    let statement = statement
        .sql("w.lane = ")
        .value::<Integer, _>(Lane::of(*company).0)
        .sql(" and w.company = ")
        .value::<BigInt, _>(company.get())
        .sql(" and (");
    let statement = match general {
        GeneralScope::All => statement.sql("w.app is null"),
        GeneralScope::Of(user) => statement
            .sql("w.app is null and w.user_id = ")
            .value::<BigInt, _>(user.get()),
        GeneralScope::Nothing => statement.sql("false"),
    };
    let statement = match application_of {
        Some((app, user)) => statement
            .sql(" or w.app = ")
            .value::<Text, _>(app.to_string())
            .sql(" and w.user_id = ")
            .value::<BigInt, _>(user.get()),
        None => statement,
    };
    statement.sql(")")
}

/// Adds a condition on webhooks `w`: they are not removed, or recently enough to be read.
pub fn readable(statement: QueryBuilder, cutoffs: &Cutoffs) -> QueryBuilder {
    statement
        .sql("(w.removed_at is null or w.removed_at > ")
        .value::<At, _>(time(cutoffs.removed))
        .sql(")")
}

/// Adds a condition on webhooks `w` with health `h`: they are removed, by somebody or by their window, written or not.
pub fn gone(statement: QueryBuilder, cutoffs: &Cutoffs) -> QueryBuilder {
    statement
        .sql("(w.removed_at is not null or coalesce(h.failing_since <= ")
        .value::<At, _>(time(cutoffs.window_opened))
        .sql(", false))")
}
