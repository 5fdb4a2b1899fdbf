//! Idempotency keys: the same key of the same company publishes once within its window (E1).

use std::collections::HashMap;

use diesel::sql_types::{Array, BigInt, Bytea, Integer, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;

use super::event_row::{EventRow, event_columns};
use super::sql::{At, Time, statement, time};
use super::{Conn, StoreError};
use tenterhook_model::event::Event;
use tenterhook_model::ids::{CompanyId, EventId, Lane};

/// A key, its event, and the hash of the request.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The tenant.
    pub company: CompanyId,
    /// The platform's key.
    pub key: String,
    /// The event; for a merge, the survivor's.
    pub event: EventId,
    /// SHA-256 over the request's content.
    pub request_hash: Vec<u8>,
}

/// What a key that already exists stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The event that was stored first.
    pub event: EventId,
    /// The hash of the request at that time.
    pub request_hash: Vec<u8>,
    /// The number of deliveries made at that time.
    pub deliveries: u32,
}

/// Keys are inserted in sorted order, so that two callers never deadlock. An expired key is replaced.
const CLAIM: &str = "\
insert into idempotency as i (lane, company, key, event, request_hash, deliveries, expires_at)
select k.lane, k.company, k.key, k.event, k.request_hash, 0, $6
from unnest($1::int[], $2::bigint[], $3::text[], $4::uuid[], $5::bytea[]) as k(lane, company, key, event, request_hash)
order by k.lane, k.company, k.key
on conflict (lane, company, key) do update
    set event = excluded.event, request_hash = excluded.request_hash, deliveries = 0, expires_at = excluded.expires_at
    where i.expires_at <= $7
returning i.company, i.key";

/// A separate statement, so that its snapshot shows the row of the transaction that the insert waited for.
const READ: &str = "\
select i.company, i.key, i.event, i.request_hash, i.deliveries
from unnest($1::int[], $2::bigint[], $3::text[]) as k(lane, company, key)
join idempotency i on i.lane = k.lane and i.company = k.company and i.key = k.key";

const COUNT: &str = "\
update idempotency as i set deliveries = k.deliveries
from unnest($1::int[], $2::bigint[], $3::text[], $4::int[]) as k(lane, company, key, deliveries)
where i.lane = k.lane and i.company = k.company and i.key = k.key";

const EVENTS: &str = concat!(
    "select ",
    event_columns!(),
    " from unnest($1::int[], $2::uuid[], $3::timestamptz[]) as k(lane, id, at)
      join events e on e.lane = k.lane and e.id = k.id and e.accepted_at = k.at"
);

#[derive(diesel::QueryableByName)]
struct KeyRow {
    #[diesel(sql_type = BigInt)]
    company: i64,
    #[diesel(sql_type = Text)]
    key: String,
}

#[derive(diesel::QueryableByName)]
struct TakenRow {
    #[diesel(sql_type = BigInt)]
    company: i64,
    #[diesel(sql_type = Text)]
    key: String,
    #[diesel(sql_type = SqlUuid)]
    event: uuid::Uuid,
    #[diesel(sql_type = Bytea)]
    request_hash: Vec<u8>,
    #[diesel(sql_type = Integer)]
    deliveries: i32,
}

/// Stores the keys until `expires_at`; returns those that already existed, by company and key.
///
/// Each (company, key) must occur only once in the claims.
pub async fn claim_in_tx(
    conn: &mut Conn,
    claims: &[Claim],
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<HashMap<(CompanyId, String), Taken>, StoreError> {
    let lanes: Vec<i32> = claims.iter().map(|c| Lane::of(c.company).0).collect();
    let companies: Vec<i64> = claims.iter().map(|c| c.company.get()).collect();
    let keys: Vec<&str> = claims.iter().map(|c| c.key.as_str()).collect();
    let fresh: Vec<KeyRow> = statement(CLAIM)
        .bind::<Array<Integer>, _>(&lanes)
        .bind::<Array<BigInt>, _>(&companies)
        .bind::<Array<Text>, _>(&keys)
        .bind::<Array<SqlUuid>, _>(claims.iter().map(|c| c.event.0).collect::<Vec<_>>())
        .bind::<Array<Bytea>, _>(
            claims
                .iter()
                .map(|c| c.request_hash.as_slice())
                .collect::<Vec<_>>(),
        )
        .bind::<At, _>(time(expires_at))
        .bind::<At, _>(time(now))
        .load(conn)
        .await?;
    if fresh.len() == claims.len() {
        return Ok(HashMap::new());
    }
    let rows: Vec<TakenRow> = statement(READ)
        .bind::<Array<Integer>, _>(&lanes)
        .bind::<Array<BigInt>, _>(&companies)
        .bind::<Array<Text>, _>(&keys)
        .load(conn)
        .await?;
    let mut taken: HashMap<(i64, String), Taken> = rows
        .into_iter()
        .map(|row| {
            let deliveries = u32::try_from(row.deliveries).unwrap_or(0);
            let taken = Taken {
                event: EventId(row.event),
                request_hash: row.request_hash,
                deliveries,
            };
            ((row.company, row.key), taken)
        })
        .collect();
    for row in fresh {
        taken.remove(&(row.company, row.key));
    }
    Ok(claims
        .iter()
        .filter_map(|c| {
            Some((
                (c.company, c.key.clone()),
                taken.remove(&(c.company.get(), c.key.clone()))?,
            ))
        })
        .collect())
}

/// Stores the number of deliveries of the events with keys, for the response to a duplicate.
pub async fn count_in_tx(conn: &mut Conn, counts: &[(CompanyId, String, u32)]) -> Result<(), StoreError> {
    statement(COUNT)
        .bind::<Array<Integer>, _>(counts.iter().map(|c| Lane::of(c.0).0).collect::<Vec<_>>())
        .bind::<Array<BigInt>, _>(counts.iter().map(|c| c.0.get()).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(counts.iter().map(|c| c.1.as_str()).collect::<Vec<_>>())
        .bind::<Array<Integer>, _>(
            counts
                .iter()
                .map(|c| i32::try_from(c.2).unwrap_or(i32::MAX))
                .collect::<Vec<_>>(),
        )
        .execute(conn)
        .await?;
    Ok(())
}

/// The events of these ids, by id; events that retention has dropped are missing.
pub async fn events(conn: &mut Conn, ids: &[(Lane, EventId)]) -> Result<HashMap<EventId, Event>, StoreError> {
    let at: Vec<Time> = ids.iter().map(|(_, id)| time(id.accepted_at())).collect();
    let rows: Vec<EventRow> = statement(EVENTS)
        .bind::<Array<Integer>, _>(ids.iter().map(|(lane, _)| lane.0).collect::<Vec<_>>())
        .bind::<Array<SqlUuid>, _>(ids.iter().map(|(_, id)| id.0).collect::<Vec<_>>())
        .bind::<Array<At>, _>(at)
        .load(conn)
        .await?;
    rows.into_iter()
        .map(|row| Event::try_from(row).map(|event| (event.id, event)))
        .collect()
}
