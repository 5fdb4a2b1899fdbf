//! Leases: extends those of this process, and frees those of a process that has ended.
//!
//! Guarantees: one row never makes the others wait. A row that another transaction has locked is left as it is, and the
//! caller can see that it was.

use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Integer, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;
use uuid::Uuid;

use crate::sql::unnest::{Arrays, sql_text, unnest};
use crate::sql::{At, statement, time};
use crate::{Conn, StoreError};
use tenterhook_model::ids::{DeliveryKey, EventId, Lane, NodeId, WebhookId};

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

/// What these processes hold, locked or not.
const HELD_BY: &str = "\
select lane, webhook, event, generation, token from deliveries where lane = any($1) and owner = any($2)";

/// Frees rows that are still held under these tokens. The token grows, so that their processes can no longer settle. A row
/// that another transaction has locked is skipped, so that no other row waits for it.
const RELEASE: &str = sql_text!(
    "\
with item as (
    select * from unnest(",
    Leases::ARRAYS,
    ") as i(",
    Leases::NAMES,
    ")
), locked as (
    select d.lane, d.webhook, d.event, d.generation from item i
    join deliveries d on d.lane = i.lane and d.webhook = i.webhook and d.event = i.event
         and d.generation = i.generation and d.token = i.token
    order by d.lane, d.webhook, d.event, d.generation for update of d skip locked
)
update deliveries as d set owner = null, vis_at = $6, token = d.token + 1 from locked l
where d.lane = l.lane and d.webhook = l.webhook and d.event = l.event and d.generation = l.generation"
);

/// The result of a release.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Released {
    /// How many deliveries are free now.
    pub freed: usize,
    /// The leases that are left, because another transaction has their rows locked.
    pub locked: Vec<(DeliveryKey, i64)>,
}

#[derive(QueryableByName)]
struct HeldRow {
    #[diesel(sql_type = Integer)]
    lane: i32,
    #[diesel(sql_type = SqlUuid)]
    webhook: Uuid,
    #[diesel(sql_type = SqlUuid)]
    event: Uuid,
    #[diesel(sql_type = Integer)]
    generation: i32,
    #[diesel(sql_type = BigInt)]
    token: i64,
}

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

/// Frees the deliveries of these processes. See [`release`].
pub async fn release_of(conn: &mut Conn, nodes: &[NodeId], now: Timestamp) -> Result<Released, StoreError> {
    let held: Vec<HeldRow> = statement(HELD_BY)
        .bind::<Array<Integer>, _>(Lane::all().map(|lane| lane.0).collect::<Vec<_>>())
        .bind::<Array<BigInt>, _>(nodes.iter().map(|node| node.0).collect::<Vec<_>>())
        .load(conn)
        .await?;
    let leases: Vec<_> = held.into_iter().map(HeldRow::lease).collect();
    release(conn, &leases, now).await
}

/// Frees the deliveries of leases that are still valid, except rows that another transaction has locked.
///
/// The transaction may be one of the holder's own that has failed: Postgres reports the error of a statement before it
/// frees the statement's locks. So a caller that needs all rows free releases the locked ones again.
pub async fn release(
    conn: &mut Conn,
    leases: &[(DeliveryKey, i64)],
    now: Timestamp,
) -> Result<Released, StoreError> {
    let freed = statement(RELEASE)
        .arrays(&Leases::new(leases))
        .bind::<At, _>(time(now))
        .execute(conn)
        .await?;
    let left = still_held(conn, leases).await?;
    let locked = left.into_iter().filter_map(|index| leases.get(index).copied());
    Ok(Released {
        freed,
        locked: locked.collect(),
    })
}

impl HeldRow {
    fn lease(self) -> (DeliveryKey, i64) {
        let key = DeliveryKey {
            lane: Lane(self.lane),
            webhook: WebhookId(self.webhook),
            event: EventId(self.event),
            generation: self.generation,
        };
        (key, self.token)
    }
}
