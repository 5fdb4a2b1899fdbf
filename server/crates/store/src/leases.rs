//! Leases: what this process holds is held for longer, and what a process that is gone held is freed.
//!
//! Promises that no row keeps the others waiting: one that somebody else keeps locked is left as it is.

use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Integer, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;
use uuid::Uuid;

use super::sql::{At, statement, time};
use super::{Conn, StoreError};
use tenterhook_model::ids::{DeliveryKey, Lane, NodeId};

/// Held rows get more time, where we still hold them. One that somebody else keeps locked is passed over: waiting for it would
/// cost all the others their leases.
const EXTEND: &str = "\
with item as (
    select * from unnest($1::int[], $2::uuid[], $3::uuid[], $4::int[], $5::bigint[]) with ordinality
         as i(lane, webhook, event, generation, token, n)
), locked as (
    select i.n, d.lane, d.webhook, d.event, d.generation from item i
    join deliveries d on d.lane = i.lane and d.webhook = i.webhook and d.event = i.event
         and d.generation = i.generation and d.token = i.token
    order by d.lane, d.webhook, d.event, d.generation for update of d skip locked
), extended as (
    update deliveries as d set vis_at = $6 from locked l
    where d.lane = l.lane and d.webhook = l.webhook and d.event = l.event and d.generation = l.generation
    returning l.n
)
select n from extended";

/// Which rows are still held under these tokens, locked or not.
const HELD: &str = "\
select i.n from unnest($1::int[], $2::uuid[], $3::uuid[], $4::int[], $5::bigint[]) with ordinality
                as i(lane, webhook, event, generation, token, n)
join deliveries d on d.lane = i.lane and d.webhook = i.webhook and d.event = i.event
                 and d.generation = i.generation and d.token = i.token";

/// What a process that is gone held is anybody's again; the token moves on, so it can settle nothing any more. A row that
/// somebody else keeps locked is left to its lease's end, so that no other waits for it.
const RELEASE_OF: &str = "\
with picked as (
    select lane, webhook, event, generation from deliveries
    where lane = any($1) and owner = any($2) for update skip locked
)
update deliveries as d set owner = null, vis_at = $3, token = d.token + 1
from picked p
where d.lane = p.lane and d.webhook = p.webhook and d.event = p.event and d.generation = p.generation";

#[derive(QueryableByName)]
struct OrdinalRow {
    #[diesel(sql_type = BigInt)]
    n: i64,
}

/// Extends the leases to `until`, of rows that we still hold and that nobody else keeps locked; returns their indexes.
pub async fn extend(
    conn: &mut Conn,
    leases: &[(DeliveryKey, i64)],
    until: Timestamp,
) -> Result<Vec<usize>, StoreError> {
    let columns = Leases::of(leases);
    let rows: Vec<OrdinalRow> = statement(EXTEND)
        .bind::<Array<Integer>, _>(columns.lanes)
        .bind::<Array<SqlUuid>, _>(columns.webhooks)
        .bind::<Array<SqlUuid>, _>(columns.events)
        .bind::<Array<Integer>, _>(columns.generations)
        .bind::<Array<BigInt>, _>(columns.tokens)
        .bind::<At, _>(time(until))
        .load(conn)
        .await?;
    Ok(OrdinalRow::indexes(rows))
}

/// The indexes of the leases that we still hold.
pub async fn still_held(conn: &mut Conn, leases: &[(DeliveryKey, i64)]) -> Result<Vec<usize>, StoreError> {
    let columns = Leases::of(leases);
    let rows: Vec<OrdinalRow> = statement(HELD)
        .bind::<Array<Integer>, _>(columns.lanes)
        .bind::<Array<SqlUuid>, _>(columns.webhooks)
        .bind::<Array<SqlUuid>, _>(columns.events)
        .bind::<Array<Integer>, _>(columns.generations)
        .bind::<Array<BigInt>, _>(columns.tokens)
        .load(conn)
        .await?;
    Ok(OrdinalRow::indexes(rows))
}

impl OrdinalRow {
    fn indexes(rows: Vec<Self>) -> Vec<usize> {
        let index = |row: Self| usize::try_from(row.n - 1).ok();
        rows.into_iter().filter_map(index).collect()
    }
}

/// Leases, column by column.
#[derive(Default)]
struct Leases {
    lanes: Vec<i32>,
    webhooks: Vec<Uuid>,
    events: Vec<Uuid>,
    generations: Vec<i32>,
    tokens: Vec<i64>,
}

impl Leases {
    fn of(leases: &[(DeliveryKey, i64)]) -> Self {
        let mut columns = Self::default();
        for (key, token) in leases {
            columns.lanes.push(key.lane.0);
            columns.webhooks.push(key.webhook.0);
            columns.events.push(key.event.0);
            columns.generations.push(key.generation);
            columns.tokens.push(*token);
        }
        columns
    }
}

/// Frees what these processes held, except rows that somebody else keeps locked; returns how many deliveries that was.
pub async fn release_of(conn: &mut Conn, nodes: &[NodeId], now: Timestamp) -> Result<usize, StoreError> {
    Ok(statement(RELEASE_OF)
        .bind::<Array<Integer>, _>(Lane::all().map(|lane| lane.0).collect::<Vec<_>>())
        .bind::<Array<BigInt>, _>(nodes.iter().map(|node| node.0).collect::<Vec<_>>())
        .bind::<At, _>(time(now))
        .execute(conn)
        .await?)
}
