//! Idempotency keys: the same key of the same company publishes once within its window (E1).

use std::collections::HashMap;

use diesel::sql_types::{BigInt, Bytea, Integer, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;
use uuid::Uuid;

use super::event_row::{EventRow, event_columns};
use super::sql::unnest::{Arrays, sql_text, unnest};
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

unnest! {
    from 1;
    /// A key to store, with its event.
    struct ClaimRow<'a> in Claims {
        lane: i32,
        company: i64,
        key: &'a str,
        event: Uuid,
        request_hash: &'a [u8],
    }
}

unnest! {
    from 1;
    /// A key to read.
    struct KeyRow<'a> in Keys {
        lane: i32,
        company: i64,
        key: &'a str,
    }
}

unnest! {
    from 1;
    /// The number of deliveries of a key's event.
    struct CountRow<'a> in Counts {
        lane: i32,
        company: i64,
        key: &'a str,
        deliveries: i32,
    }
}

unnest! {
    from 1;
    /// An event to read.
    struct EventKeyRow in EventKeys {
        lane: i32,
        id: Uuid,
        at: Time,
    }
}

/// Keys are inserted in sorted order, so that two callers never deadlock. An expired key is replaced.
const CLAIM: &str = sql_text!(
    "\
insert into idempotency as i (lane, company, key, event, request_hash, deliveries, expires_at)
select k.lane, k.company, k.key, k.event, k.request_hash, 0, $6
from unnest(",
    Claims::ARRAYS,
    ") as k(",
    Claims::NAMES,
    ")
order by k.lane, k.company, k.key
on conflict (lane, company, key) do update
    set event = excluded.event, request_hash = excluded.request_hash, deliveries = 0, expires_at = excluded.expires_at
    where i.expires_at <= $7
returning i.company, i.key"
);

/// A separate statement, so that its snapshot shows the row of the transaction that the insert waited for.
const READ: &str = sql_text!(
    "\
select i.company, i.key, i.event, i.request_hash, i.deliveries
from unnest(",
    Keys::ARRAYS,
    ") as k(",
    Keys::NAMES,
    ")
join idempotency i on i.lane = k.lane and i.company = k.company and i.key = k.key"
);

const COUNT: &str = sql_text!(
    "\
update idempotency as i set deliveries = k.deliveries
from unnest(",
    Counts::ARRAYS,
    ") as k(",
    Counts::NAMES,
    ")
where i.lane = k.lane and i.company = k.company and i.key = k.key"
);

const EVENTS: &str = sql_text!(
    "select ",
    event_columns!(),
    " from unnest(",
    EventKeys::ARRAYS,
    ") as k(",
    EventKeys::NAMES,
    ")
      join events e on e.lane = k.lane and e.id = k.id and e.accepted_at = k.at"
);

#[derive(diesel::QueryableByName)]
struct FreshRow {
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
    event: Uuid,
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
    let new = claims.iter().map(|claim| ClaimRow {
        lane: Lane::of(claim.company).0,
        company: claim.company.get(),
        key: &claim.key,
        event: claim.event.0,
        request_hash: &claim.request_hash,
    });
    let fresh: Vec<FreshRow> = statement(CLAIM)
        .arrays(&Claims::of(new))
        .bind::<At, _>(time(expires_at))
        .bind::<At, _>(time(now))
        .load(conn)
        .await?;
    if fresh.len() == claims.len() {
        return Ok(HashMap::new());
    }
    let keys = claims.iter().map(|claim| KeyRow {
        lane: Lane::of(claim.company).0,
        company: claim.company.get(),
        key: &claim.key,
    });
    let rows: Vec<TakenRow> = statement(READ).arrays(&Keys::of(keys)).load(conn).await?;
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
    let counts = counts.iter().map(|(company, key, deliveries)| CountRow {
        lane: Lane::of(*company).0,
        company: company.get(),
        key,
        deliveries: i32::try_from(*deliveries).unwrap_or(i32::MAX),
    });
    statement(COUNT).arrays(&Counts::of(counts)).execute(conn).await?;
    Ok(())
}

/// The events of these ids, by id; events that retention has dropped are missing.
pub async fn events(conn: &mut Conn, ids: &[(Lane, EventId)]) -> Result<HashMap<EventId, Event>, StoreError> {
    let keys = ids.iter().map(|(lane, id)| EventKeyRow {
        lane: lane.0,
        id: id.0,
        at: time(id.accepted_at()),
    });
    let rows: Vec<EventRow> = statement(EVENTS).arrays(&EventKeys::of(keys)).load(conn).await?;
    rows.into_iter()
        .map(|row| Event::try_from(row).map(|event| (event.id, event)))
        .collect()
}
