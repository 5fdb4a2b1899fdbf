//! Leases: extends those of this process, and frees those of a process that is gone.
//!
//! Guarantees: one row never makes the others wait. A row that another transaction has locked is left as it is.

use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Integer};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;
use uuid::Uuid;

use crate::sql::unnest::{Arrays, sql_text, unnest};
use crate::sql::{At, statement, time};
use crate::{Conn, StoreError};
use tenterhook_model::ids::{DeliveryKey, Lane, NodeId};

unnest! {
    from 1;
    /// A lease: a delivery and the token.
    struct LeaseRow in Leases {
        lane: i32,
        webhook: Uuid,
        event: Uuid,
        generation: i32,
        token: i64,
    }
}

/// Extends rows that this process still holds. A row that another transaction has locked is skipped: waiting for it would
/// cost all other rows their leases.
const EXTEND: &str = sql_text!(
    "\
with item as (
    select * from unnest(",
    Leases::ARRAYS,
    ") with ordinality as i(",
    Leases::NAMES,
    ", n)
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
select n from extended"
);

/// The rows that are still held under these tokens, locked or not.
const HELD: &str = sql_text!(
    "select i.n from unnest(",
    Leases::ARRAYS,
    ") with ordinality as i(",
    Leases::NAMES,
    ", n)
join deliveries d on d.lane = i.lane and d.webhook = i.webhook and d.event = i.event
                 and d.generation = i.generation and d.token = i.token"
);

/// Frees the deliveries of processes that are gone. The token grows, so that those processes can no longer settle. A row
/// that another transaction has locked is skipped, so that no other row waits for it; it is free when its lease ends.
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

/// Extends the leases to `until` where this process still holds the row and no other transaction has locked it. Returns
/// their indexes.
pub async fn extend(
    conn: &mut Conn,
    leases: &[(DeliveryKey, i64)],
    until: Timestamp,
) -> Result<Vec<usize>, StoreError> {
    let rows: Vec<OrdinalRow> = statement(EXTEND)
        .arrays(&Leases::new(leases))
        .bind::<At, _>(time(until))
        .load(conn)
        .await?;
    Ok(OrdinalRow::indexes(rows))
}

/// The indexes of the leases that this process still holds.
pub async fn still_held(conn: &mut Conn, leases: &[(DeliveryKey, i64)]) -> Result<Vec<usize>, StoreError> {
    let rows: Vec<OrdinalRow> = statement(HELD).arrays(&Leases::new(leases)).load(conn).await?;
    Ok(OrdinalRow::indexes(rows))
}

impl OrdinalRow {
    fn indexes(rows: Vec<Self>) -> Vec<usize> {
        let index = |row: Self| usize::try_from(row.n - 1).ok();
        rows.into_iter().filter_map(index).collect()
    }
}

impl Leases {
    fn new(leases: &[(DeliveryKey, i64)]) -> Self {
        Self::of(leases.iter().map(|(key, token)| LeaseRow {
            lane: key.lane.0,
            webhook: key.webhook.0,
            event: key.event.0,
            generation: key.generation,
            token: *token,
        }))
    }
}

/// Frees the deliveries of these processes, except rows that another transaction has locked; returns how many.
pub async fn release_of(conn: &mut Conn, nodes: &[NodeId], now: Timestamp) -> Result<usize, StoreError> {
    Ok(statement(RELEASE_OF)
        .bind::<Array<Integer>, _>(Lane::all().map(|lane| lane.0).collect::<Vec<_>>())
        .bind::<Array<BigInt>, _>(nodes.iter().map(|node| node.0).collect::<Vec<_>>())
        .bind::<At, _>(time(now))
        .execute(conn)
        .await?)
}
