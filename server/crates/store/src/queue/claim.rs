//! Claiming: how a process takes deliveries that it did not publish itself, such as retries, overflow and recovered ones.
//!
//! Guarantees: at most one worker at a time holds a delivery (D6). The backlog of one webhook never hides that of another
//! (D8): rows are read webhook by webhook, along `deliveries_due`. Claims never wait for each other. Not guaranteed: any
//! order between webhooks. The engine is responsible for fairness.
//!
//! Statements that look for due times contain `vis_at > '-infinity'`, which is always true: without it the index
//! `deliveries_due` cannot be used (see its migration).

use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, SmallInt, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;
use uuid::Uuid;

use crate::event_row::{EventRow, event_columns};
use crate::sql::unnest::WebhookKeys;
use crate::sql::{At, MaybeAt, Rows, Time, maybe_timestamp, statement, time, timestamp, unknown};
use crate::{Conn, StoreError};
use tenterhook_model::delivery::{DeliveryReason, DeliveryStatus, Lease, Leased};
use tenterhook_model::event::Event;
use tenterhook_model::ids::{CompanyId, DeliveryKey, EventId, Lane, NodeId, WebhookId, WebhookKey};

/// The statement that claims the rows of one lane that `picked` selects.
macro_rules! claim {
    ($picked:literal) => {
        concat!(
            "with picked as (",
            $picked,
            "
), weighed as (
    select p.webhook, p.event, p.generation,
           sum(coalesce(octet_length(e.data), 0) + coalesce(octet_length(e.previous), 0)) over (rows unbounded preceding)
           - coalesce(octet_length(e.data), 0) - coalesce(octet_length(e.previous), 0) as before
    from picked p join events e on e.lane = $1 and e.id = p.event and e.accepted_at = p.event_at
), taken as (
    update deliveries as d set owner = $5, vis_at = $6, token = d.token + 1
    from weighed p
    where p.before < $7 and d.lane = $1 and d.webhook = p.webhook and d.event = p.event and d.generation = p.generation
    returning d.lane, d.webhook, d.event, d.generation, d.company, d.number, d.created_at, d.event_at, d.due_at, d.token
)
select t.webhook, t.event, t.generation, t.company, t.number, t.created_at, t.due_at, t.token, ",
            event_columns!(),
            "
from taken t join events e on e.lane = $1 and e.id = t.event and e.accepted_at = t.event_at
order by t.due_at"
        )
    };
}

/// One lane, webhook by webhook; a second claimer skips rows that the first has locked.
///
/// The arrays are subqueries, so that the planner does not see their length. With the length it would find a plan for few
/// webhooks cheaper than the general one and plan every claim again, and planning looks at every stored day of events.
const CLAIM: &str = claim!(
    "
    select d.webhook, d.event, d.generation, d.event_at
    from unnest((select $2::uuid[]), (select $3::int[])) as w(webhook, room)
    cross join lateral (
        select webhook, event, generation, event_at from deliveries
        where lane = $1 and webhook = w.webhook and vis_at > '-infinity' and vis_at <= $4
        order by vis_at limit w.room for update skip locked
    ) d"
);

/// One delivery, by its key.
const CLAIM_ONE: &str = claim!(
    "
    select webhook, event, generation, event_at from deliveries
    where lane = $1 and webhook = $2 and event = $3 and generation = $8 and vis_at <= $4 for update skip locked"
);

/// Only the keys that a claim would take.
const VISIBLE: &str = "\
select event, generation from deliveries
where lane = $1 and webhook = $2 and vis_at > '-infinity' and vis_at <= $3 order by vis_at limit $4";

/// Uses only the queue, because it is for a delivery whose event cannot be read.
const PUT_BACK: &str = "\
update deliveries as d set owner = null, vis_at = $5, token = d.token + 1
where d.lane = $1 and d.webhook = $2 and d.event = $3 and d.generation = $4 and d.vis_at <= $6";

/// When the next row of each of these webhooks becomes visible.
const NEXT: &str = "\
select w.webhook, (select d.vis_at from deliveries d where d.lane = w.lane and d.webhook = w.webhook
                   and d.vis_at > '-infinity' order by d.vis_at limit 1) as vis_at
from unnest($1::int[], $2::uuid[]) as w(lane, webhook)";

/// Every webhook with open deliveries, and its earliest time: steps from webhook to webhook, not from row to row.
const DISCOVER: &str = "\
with recursive walk as (
    (select l.lane, d.webhook, d.vis_at from unnest($1::int[]) as l(lane)
     cross join lateral (select webhook, vis_at from deliveries where lane = l.lane and vis_at > '-infinity'
                         order by webhook, vis_at limit 1) d)
    union all
    (select w.lane, d.webhook, d.vis_at from walk w
     cross join lateral (select webhook, vis_at from deliveries where lane = w.lane and webhook > w.webhook
                         and vis_at > '-infinity' order by webhook, vis_at limit 1) d)
)
select lane, webhook, vis_at from walk order by vis_at limit $2";

/// Ends deliveries of a webhook without sending them: rows that are visible, and with `$6` also later rows without an owner.
///
/// `vis_at` is also bounded outside of the `or`: a condition that is checked row by row would read all deliveries of the
/// webhook.
const DROP: &str = "\
with picked as (
    select event, generation from deliveries
    where lane = $1 and webhook = $2 and vis_at > '-infinity' and vis_at <= case when $6 then 'infinity' else $3::timestamptz end
      and (vis_at <= $3 or owner is null)
    order by vis_at limit $4 for update skip locked
), gone as (
    delete from deliveries d using picked p
    where d.lane = $1 and d.webhook = $2 and d.event = p.event and d.generation = p.generation
    returning d.event, d.generation, d.company, d.created_at
), dropped as (
    insert into outcomes as o (lane, webhook, event, generation, company, created_at, at, status, reason, ban_episode)
    select $1, $2, event, generation, company, created_at, $10, $7, $8, $9 from gone
), tallied as (
    insert into tallies as t (lane, node, accepted, succeeded, failed, lost, cancelled)
    select $1, $5, 0, 0, 0, case $7::smallint when 3 then count(*) else 0 end,
           case $7::smallint when 4 then count(*) else 0 end
    from gone having count(*) > 0
)
select event from gone";

#[derive(QueryableByName)]
struct ClaimedRow {
    #[diesel(sql_type = SqlUuid)]
    webhook: Uuid,
    #[diesel(sql_type = SqlUuid)]
    event: Uuid,
    #[diesel(sql_type = Integer)]
    generation: i32,
    #[diesel(sql_type = BigInt)]
    company: i64,
    #[diesel(sql_type = SmallInt)]
    number: i16,
    #[diesel(sql_type = At)]
    created_at: Time,
    #[diesel(sql_type = At)]
    due_at: Time,
    #[diesel(sql_type = BigInt)]
    token: i64,
    #[diesel(embed)]
    event_row: EventRow,
}

#[derive(QueryableByName)]
struct KeyRow {
    #[diesel(sql_type = SqlUuid)]
    event: Uuid,
    #[diesel(sql_type = Integer)]
    generation: i32,
}

#[derive(QueryableByName)]
struct NextRow {
    #[diesel(sql_type = SqlUuid)]
    webhook: Uuid,
    #[diesel(sql_type = MaybeAt)]
    vis_at: Option<Time>,
}

#[derive(QueryableByName)]
struct OpenRow {
    #[diesel(sql_type = Integer)]
    lane: i32,
    #[diesel(sql_type = SqlUuid)]
    webhook: Uuid,
    #[diesel(sql_type = At)]
    vis_at: Time,
}

#[derive(QueryableByName)]
struct EventIdRow {
    #[diesel(sql_type = SqlUuid)]
    #[expect(dead_code, reason = "only the number of rows counts")]
    event: Uuid,
}

/// Claims rows of these webhooks of one lane that are visible at `now`, for each up to its room, until `lease_until`.
///
/// The payloads of all rows together may have `most_bytes`. The last row may exceed that, so that there is always one,
/// however large. Rows that cannot be read are claimed too, and stay leased until the lease ends.
pub async fn claim(
    conn: &mut Conn,
    lane: Lane,
    webhooks: &[(WebhookId, i32)],
    now: Timestamp,
    node: NodeId,
    lease_until: Timestamp,
    most_bytes: usize,
) -> Result<Rows<(Leased, Event), DeliveryKey>, StoreError> {
    let rows: Vec<ClaimedRow> = statement(CLAIM)
        .bind::<Integer, _>(lane.0)
        .bind::<Array<SqlUuid>, _>(webhooks.iter().map(|(id, _)| id.0).collect::<Vec<_>>())
        .bind::<Array<Integer>, _>(webhooks.iter().map(|(_, room)| *room).collect::<Vec<_>>())
        .bind::<At, _>(time(now))
        .bind::<BigInt, _>(node.0)
        .bind::<At, _>(time(lease_until))
        .bind::<BigInt, _>(i64::try_from(most_bytes.max(1)).unwrap_or(i64::MAX))
        .load(conn)
        .await?;
    Ok(held(lane, lease_until, rows))
}

/// Like [`claim`], for one delivery, if it is visible.
pub async fn claim_one(
    conn: &mut Conn,
    key: &DeliveryKey,
    now: Timestamp,
    node: NodeId,
    lease_until: Timestamp,
) -> Result<Rows<(Leased, Event), DeliveryKey>, StoreError> {
    let rows: Vec<ClaimedRow> = statement(CLAIM_ONE)
        .bind::<Integer, _>(key.lane.0)
        .bind::<SqlUuid, _>(key.webhook.0)
        .bind::<SqlUuid, _>(key.event.0)
        .bind::<At, _>(time(now))
        .bind::<BigInt, _>(node.0)
        .bind::<At, _>(time(lease_until))
        .bind::<BigInt, _>(1)
        .bind::<Integer, _>(key.generation)
        .load(conn)
        .await?;
    Ok(held(key.lane, lease_until, rows))
}

fn held(lane: Lane, lease_until: Timestamp, rows: Vec<ClaimedRow>) -> Rows<(Leased, Event), DeliveryKey> {
    let held = |key: DeliveryKey, row: ClaimedRow| {
        let leased = Leased {
            key,
            company: CompanyId::new(row.company)
                .map_err(|_| unknown("deliveries", "company", row.company))?,
            attempt: u8::try_from(row.number).map_err(|_| unknown("deliveries", "number", row.number))?,
            due_at: timestamp(row.due_at),
            created_at: timestamp(row.created_at),
            lease: Lease {
                token: row.token,
                until: lease_until,
            },
        };
        Ok((leased, Event::try_from(row.event_row)?))
    };
    let rows = rows.into_iter().map(|row| {
        let key = DeliveryKey {
            lane,
            webhook: WebhookId(row.webhook),
            event: EventId(row.event),
            generation: row.generation,
        };
        (key, held(key, row))
    });
    rows.collect()
}

/// The keys of the first `most` deliveries of a webhook that are visible at `now`.
pub async fn visible(
    conn: &mut Conn,
    (lane, webhook): WebhookKey,
    now: Timestamp,
    most: i32,
) -> Result<Vec<DeliveryKey>, StoreError> {
    let rows: Vec<KeyRow> = statement(VISIBLE)
        .bind::<Integer, _>(lane.0)
        .bind::<SqlUuid, _>(webhook.0)
        .bind::<At, _>(time(now))
        .bind::<BigInt, _>(i64::from(most))
        .load(conn)
        .await?;
    let key = |row: KeyRow| DeliveryKey {
        lane,
        webhook,
        event: EventId(row.event),
        generation: row.generation,
    };
    Ok(rows.into_iter().map(key).collect())
}

/// Puts back a delivery that is visible at `now` until `until`, without reading its event.
pub async fn put_back(
    conn: &mut Conn,
    key: &DeliveryKey,
    now: Timestamp,
    until: Timestamp,
) -> Result<(), StoreError> {
    statement(PUT_BACK)
        .bind::<Integer, _>(key.lane.0)
        .bind::<SqlUuid, _>(key.webhook.0)
        .bind::<SqlUuid, _>(key.event.0)
        .bind::<Integer, _>(key.generation)
        .bind::<At, _>(time(until))
        .bind::<At, _>(time(now))
        .execute(conn)
        .await?;
    Ok(())
}

/// When each webhook's next row becomes visible. Webhooks without open rows are left out.
pub async fn next_visible(
    conn: &mut Conn,
    webhooks: &[WebhookKey],
) -> Result<Vec<(WebhookId, Timestamp)>, StoreError> {
    let rows: Vec<NextRow> = statement(NEXT)
        .arrays(&WebhookKeys::new(webhooks))
        .load(conn)
        .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| Some((WebhookId(row.webhook), maybe_timestamp(row.vis_at)?)))
        .collect())
}

/// The `most` webhooks whose open deliveries are due first, each with the time when its earliest is visible. Costs one index
/// probe per webhook with open deliveries.
pub async fn discover(conn: &mut Conn, most: i64) -> Result<Vec<(Lane, WebhookId, Timestamp)>, StoreError> {
    let rows: Vec<OpenRow> = statement(DISCOVER)
        .bind::<Array<Integer>, _>(Lane::all().map(|lane| lane.0).collect::<Vec<_>>())
        .bind::<BigInt, _>(most)
        .load(conn)
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| (Lane(row.lane), WebhookId(row.webhook), timestamp(row.vis_at)))
        .collect())
}

/// How deliveries of a webhook end without being sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsent {
    /// `Lost` or `Cancelled`.
    pub status: DeliveryStatus,
    /// Why they end without success.
    pub reason: DeliveryReason,
    /// The ban in which they were due, if it was a ban.
    pub ban_episode: Option<i32>,
    /// When they end.
    pub at: Timestamp,
}

/// Ends up to `limit` deliveries of a webhook without sending them; returns how many.
///
/// Takes those that are due at `now`; for a removed webhook (cancelled) also those that are due later. Rows that another
/// worker holds are left to it.
pub async fn drop_unsent(
    conn: &mut Conn,
    (lane, webhook): WebhookKey,
    unsent: Unsent,
    now: Timestamp,
    node: NodeId,
    limit: i64,
) -> Result<usize, StoreError> {
    let rows: Vec<EventIdRow> = statement(DROP)
        .bind::<Integer, _>(lane.0)
        .bind::<SqlUuid, _>(webhook.0)
        .bind::<At, _>(time(now))
        .bind::<BigInt, _>(limit)
        .bind::<BigInt, _>(node.0)
        .bind::<Bool, _>(unsent.status == DeliveryStatus::Cancelled)
        .bind::<SmallInt, _>(unsent.status.code())
        .bind::<SmallInt, _>(unsent.reason.code())
        .bind::<Nullable<Integer>, _>(unsent.ban_episode)
        .bind::<At, _>(time(unsent.at))
        .load(conn)
        .await?;
    Ok(rows.len())
}
