//! Reads for transitions by time: what is due, and what the history says about a webhook that is to be removed.

use std::collections::HashMap;

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Integer, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;
use uuid::Uuid;

use super::MovedRow;
use crate::sql::unnest::{Arrays, WebhookKeys, sql_text, unnest};
use crate::sql::{At, MaybeAt, Time, maybe_timestamp, statement, time, timestamp};
use crate::{Conn, StoreError};
use tenterhook_model::ids::{Lane, WebhookId, WebhookKey};

unnest! {
    from 1;
    /// A webhook, and the time in which its last success is looked for.
    struct StretchRow in Stretches {
        lane: i32,
        webhook: Uuid,
        since: Time,
        before: Time,
    }
}

const DUE: &str = "\
select lane, webhook, next_transition_at as at from webhook_health
where next_transition_at <= $1 order by next_transition_at limit $2";

const NEXT_DUE: &str =
    "select min(next_transition_at) as at from webhook_health where next_transition_at > $1";

/// The last success of each webhook between two times. The history has successes that were not written to the health row.
const LAST_SUCCESS: &str = sql_text!(
    "\
select u.webhook, (select max(a.ended_at) from attempts a
                   where a.lane = u.lane and a.webhook = u.webhook and a.ended_at >= u.since and a.ended_at < u.before
                     and a.ending = 1) as at
from unnest(",
    Stretches::ARRAYS,
    ") as u(",
    Stretches::NAMES,
    ")"
);

/// The webhooks among these that have an open window.
const FAILING: &str = "\
select h.lane, h.webhook from unnest($1::int[], $2::uuid[]) as k(lane, id)
join webhook_health h on h.lane = k.lane and h.webhook = k.id
where h.failing_since is not null";

#[derive(QueryableByName)]
struct DueRow {
    #[diesel(sql_type = Integer)]
    lane: i32,
    #[diesel(sql_type = SqlUuid)]
    webhook: Uuid,
    #[diesel(sql_type = At)]
    at: Time,
}

#[derive(QueryableByName)]
struct NextRow {
    #[diesel(sql_type = MaybeAt)]
    at: Option<Time>,
}

#[derive(QueryableByName)]
struct SuccessRow {
    #[diesel(sql_type = SqlUuid)]
    webhook: Uuid,
    #[diesel(sql_type = MaybeAt)]
    at: Option<Time>,
}

/// Webhooks whose next transition by time is due at `now`, earliest first, with its time.
pub async fn due(
    conn: &mut Conn,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<(Lane, WebhookId, Timestamp)>, StoreError> {
    let rows: Vec<DueRow> = statement(DUE)
        .bind::<At, _>(time(now))
        .bind::<BigInt, _>(limit)
        .load(conn)
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| (Lane(row.lane), WebhookId(row.webhook), timestamp(row.at)))
        .collect())
}

/// The next time after `now` at which a transition by time is due, for all webhooks.
pub async fn next_due(conn: &mut Conn, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    let next = statement(NEXT_DUE).bind::<At, _>(time(now));
    Ok(maybe_timestamp(next.get_result::<NextRow>(conn).await?.at))
}

/// The webhooks among these that have an open window, as committed.
pub async fn failing(conn: &mut Conn, webhooks: &[WebhookKey]) -> Result<Vec<WebhookKey>, StoreError> {
    let rows: Vec<MovedRow> = statement(FAILING)
        .arrays(&WebhookKeys::new(webhooks))
        .load(conn)
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| (Lane(row.lane), WebhookId(row.webhook)))
        .collect())
}

/// The last recorded success of each webhook from the first time until before the second. Webhooks without one are missing.
pub async fn last_successes(
    conn: &mut Conn,
    webhooks: &[(Lane, WebhookId, Timestamp, Timestamp)],
) -> Result<HashMap<WebhookId, Timestamp>, StoreError> {
    if webhooks.is_empty() {
        return Ok(HashMap::new());
    }
    let stretches = webhooks.iter().map(|(lane, webhook, since, before)| StretchRow {
        lane: lane.0,
        webhook: webhook.0,
        since: time(*since),
        before: time(*before),
    });
    let rows: Vec<SuccessRow> = statement(LAST_SUCCESS)
        .arrays(&Stretches::of(stretches))
        .load(conn)
        .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| Some((WebhookId(row.webhook), maybe_timestamp(row.at)?)))
        .collect())
}
