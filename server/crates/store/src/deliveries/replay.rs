//! Replays: new deliveries of old events (D12).
//!
//! Guarantees: the statement that creates a replay also counts it as accepted (D7). Its generation is one more than the
//! highest existing one of its event and webhook. If two transactions use the same number, the primary key accepts one, and
//! the other fails as [overtaken](StoreError::Overtaken). Only other replays wait for the rows that it locks.

use std::collections::BTreeSet;

use diesel::QueryableByName;
use diesel::result::{DatabaseErrorKind, Error};
use diesel::sql_types::{Array, BigInt, Integer, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;
use uuid::Uuid;

use crate::sql::unnest::{Arrays, sql_text, unnest};
use crate::sql::{At, Time, statement, time, unknown};
use crate::{Conn, StoreError};
use tenterhook_model::delivery::{Delivery, DeliveryStatus};
use tenterhook_model::ids::{CompanyId, DeliveryKey, EventId, Lane, NodeId, WebhookId, WebhookKey};

unnest! {
    from 1;
    /// An event to replay to a webhook.
    struct EventRow in Events {
        lane: i32,
        webhook: Uuid,
        event: Uuid,
        accepted_at: Time,
    }
}

/// The new deliveries have no lease: any process may claim them. An event that no longer exists gets no delivery.
///
/// The highest open generation is the last key that is not greater than the highest possible key. If the statement used
/// equality and `max` instead, a planner without statistics would take the smaller index over due times, and read all
/// deliveries of the webhook in it for each event.
const REPLAY: &str = sql_text!(
    "\
with old as materialized (
    select k.n, k.lane, k.webhook, k.event, e.company, e.accepted_at,
           1 + greatest(
               coalesce((select case when d.webhook = k.webhook and d.event = k.event then d.generation end
                         from deliveries d
                         where d.lane = k.lane
                           and (d.webhook, d.event, d.generation) <= (k.webhook, k.event, 2147483647)
                         order by d.webhook desc, d.event desc, d.generation desc limit 1), 0),
               coalesce((select max(a.generation) from attempts a
                         where a.lane = k.lane and a.webhook = k.webhook and a.event = k.event and a.generation > 0), 0),
               coalesce((select max(o.generation) from outcomes o
                         where o.lane = k.lane and o.webhook = k.webhook and o.event = k.event and o.generation > 0), 0)
           ) as generation
    from unnest(",
    Events::ARRAYS,
    ") with ordinality as k(",
    Events::NAMES,
    ", n)
    cross join lateral (select e.company, e.accepted_at from events e
                        where e.lane = k.lane and e.id = k.event and e.accepted_at = k.accepted_at) e
), queued as (
    insert into deliveries as d (lane, webhook, event, generation, company, number, created_at, event_at, due_at,
                                 vis_at, owner, token)
    select lane, webhook, event, generation, company, 1, $5, accepted_at, $5, $5, null, 0 from old
), tallied as (
    insert into tallies as t (lane, node, accepted, succeeded, failed, lost, cancelled)
    select lane, $6, count(*), 0, 0, 0, 0 from old group by lane
)
select lane, webhook, event, generation, company from old order by n"
);

#[derive(QueryableByName)]
struct MadeRow {
    #[diesel(sql_type = Integer)]
    lane: i32,
    #[diesel(sql_type = SqlUuid)]
    webhook: Uuid,
    #[diesel(sql_type = SqlUuid)]
    event: Uuid,
    #[diesel(sql_type = Integer)]
    generation: i32,
    #[diesel(sql_type = BigInt)]
    company: i64,
}

/// In the order of the keys, so that two calls never deadlock.
const TAKE_TURNS: &str = "select pg_advisory_xact_lock(k.key) from unnest($1::bigint[]) as k(key)";

/// Waits until no other transaction replays deliveries of these webhooks, and keeps others waiting until this one has ended.
///
/// This only makes overtaking rare: the nodes of a Citus cluster do not share these locks.
pub async fn take_turns_in_tx(conn: &mut Conn, webhooks: &BTreeSet<WebhookKey>) -> Result<(), StoreError> {
    // If two webhooks have the same key, their replays wait for each other without need. There is no other effect.
    let keys: BTreeSet<i64> = webhooks
        .iter()
        .map(|(_, id)| id.0.as_u64_pair().1 as i64)
        .collect();
    statement(TAKE_TURNS)
        .bind::<Array<BigInt>, _>(keys.into_iter().collect::<Vec<_>>())
        .execute(conn)
        .await?;
    Ok(())
}

/// Creates a new delivery, due at `now`, of each of these events to its webhook, and returns them in that order.
///
/// No event may occur twice for one webhook.
pub async fn insert_in_tx(
    conn: &mut Conn,
    events: &[(Lane, WebhookId, EventId)],
    now: Timestamp,
    node: NodeId,
) -> Result<Vec<Delivery>, StoreError> {
    let events = events.iter().map(|(lane, webhook, event)| EventRow {
        lane: lane.0,
        webhook: webhook.0,
        event: event.0,
        accepted_at: time(event.accepted_at()),
    });
    let rows: Vec<MadeRow> = statement(REPLAY)
        .arrays(&Events::of(events))
        .bind::<At, _>(time(now))
        .bind::<BigInt, _>(node.0)
        .load(conn)
        .await
        .map_err(|error| match error {
            Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _) => StoreError::Overtaken,
            error => error.into(),
        })?;
    rows.into_iter()
        .map(|row| {
            Ok(Delivery {
                key: DeliveryKey {
                    lane: Lane(row.lane),
                    webhook: WebhookId(row.webhook),
                    event: EventId(row.event),
                    generation: row.generation,
                },
                company: CompanyId::new(row.company)
                    .map_err(|_| unknown("events", "company", row.company))?,
                status: DeliveryStatus::Pending,
                reason: None,
                created_at: now,
                next_attempt_at: Some(now),
                finished_at: None,
            })
        })
        .collect()
}
