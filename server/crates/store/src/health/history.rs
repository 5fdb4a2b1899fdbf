//! Reads the parts of a webhook's health that are not in its health row (R5).
//!
//! The row is not written for every delivery. So the last attempt and the last success are read from the attempts, and the
//! number of deliveries lost in a ban from the outcomes.

use std::collections::HashMap;

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Nullable, SmallInt, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;

use crate::sql::unnest::WebhookKeys;
use crate::sql::{At, MaybeAt, Time, maybe_timestamp, statement, time, unknown};
use crate::{Conn, StoreError};
use tenterhook_model::attempt::AttemptErrorClass;
use tenterhook_model::ids::{WebhookId, WebhookKey};

/// What the history of a webhook shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// The end of the last attempt that succeeded.
    pub last_success_at: Option<Timestamp>,
    /// The end of the last attempt.
    pub last_attempt_at: Option<Timestamp>,
    /// The status of the last attempt's response.
    pub last_status: Option<u16>,
    /// The error of the last attempt.
    pub last_error: Option<AttemptErrorClass>,
    /// Deliveries lost in the current or last ban.
    pub lost: i64,
}

/// Both subqueries on attempts read an index backwards and stop at the first row.
const READ: &str = "\
select k.id, last.ended_at, last.status, last.error_class, success.ended_at as success_at,
       (select count(*) from outcomes o
        where o.lane = h.lane and o.webhook = h.webhook and o.ban_episode = h.ban_episode) as lost
from unnest($1::int[], $2::uuid[]) as k(lane, id)
join webhook_health h on h.lane = k.lane and h.webhook = k.id
left join lateral (select a.ended_at, a.status, a.error_class from attempts a
                   where a.lane = h.lane and a.webhook = h.webhook and a.ended_at > $3
                   order by a.ended_at desc limit 1) last on true
left join lateral (select a.ended_at from attempts a
                   where a.lane = h.lane and a.webhook = h.webhook and a.ended_at > $3 and a.error_class is null
                   order by a.ended_at desc limit 1) success on true";

#[derive(QueryableByName)]
struct HistoryRow {
    #[diesel(sql_type = SqlUuid)]
    id: uuid::Uuid,
    #[diesel(sql_type = MaybeAt)]
    ended_at: Option<Time>,
    #[diesel(sql_type = Nullable<SmallInt>)]
    status: Option<i16>,
    #[diesel(sql_type = Nullable<SmallInt>)]
    error_class: Option<i16>,
    #[diesel(sql_type = MaybeAt)]
    success_at: Option<Time>,
    #[diesel(sql_type = BigInt)]
    lost: i64,
}

/// The history of these webhooks, from attempts that ended after `since`.
pub async fn read(
    conn: &mut Conn,
    webhooks: &[WebhookKey],
    since: Timestamp,
) -> Result<HashMap<WebhookId, History>, StoreError> {
    let rows: Vec<HistoryRow> = statement(READ)
        .arrays(&WebhookKeys::new(webhooks))
        .bind::<At, _>(time(since))
        .load(conn)
        .await?;
    let class =
        |code| AttemptErrorClass::from_code(code).ok_or_else(|| unknown("attempts", "error_class", code));
    rows.into_iter()
        .map(|row| {
            let history = History {
                last_success_at: maybe_timestamp(row.success_at),
                last_attempt_at: maybe_timestamp(row.ended_at),
                last_status: row.status.and_then(|status| u16::try_from(status).ok()),
                last_error: row.error_class.map(class).transpose()?,
                lost: row.lost,
            };
            Ok((WebhookId(row.id), history))
        })
        .collect()
}
