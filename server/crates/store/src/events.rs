//! Reads events. [`super::queue::publish`] writes them.

use std::collections::{HashMap, HashSet};

use diesel::QueryableByName;
use diesel::sql_types::{Array, Integer, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;
use uuid::Uuid;

use super::event_row::{EventRow, event_columns};
use super::sql::unnest::{Arrays, sql_text, unnest};
use super::sql::{At, Time, statement, time};
use super::{Conn, StoreError};
use tenterhook_model::event::Event;
use tenterhook_model::ids::{EventId, Lane};

unnest! {
    from 1;
    /// The key of an event.
    struct EventKeyRow in EventKeys {
        lane: i32,
        id: Uuid,
        accepted_at: Time,
    }
}

/// The id decides the partition.
const FIND: &str = sql_text!(
    "select ",
    event_columns!(),
    " from unnest(",
    EventKeys::ARRAYS,
    ") as k(",
    EventKeys::NAMES,
    ")
      cross join lateral (select * from events e
                          where e.lane = k.lane and e.id = k.id and e.accepted_at = k.accepted_at) e"
);

/// What the condition on its age says is in the migration of the two indexes: an event that was accepted long ago is
/// referred to by nothing else.
const REFERRED: &str = "\
select k.id from unnest($1::int[], $2::uuid[]) as k(lane, id)
where exists (select from attempts a
              where a.lane = k.lane and a.event = k.id and (a.generation > 0 or a.ended_at - a.created_at > interval '1 day')
                and a.ended_at > $3)
   or exists (select from outcomes o
              where o.lane = k.lane and o.event = k.id and (o.generation > 0 or o.at - o.created_at > interval '1 day')
                and o.at > $3)";

#[derive(QueryableByName)]
struct IdRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
}

#[derive(QueryableByName)]
struct FoundRow {
    #[diesel(embed)]
    event: EventRow,
}

/// The existing events with these ids.
pub async fn find(conn: &mut Conn, keys: &[(Lane, EventId)]) -> Result<HashMap<EventId, Event>, StoreError> {
    let keys = EventKeys::of(keys.iter().map(|(lane, id)| EventKeyRow {
        lane: lane.0,
        id: id.0,
        accepted_at: time(id.accepted_at()),
    }));
    let rows: Vec<FoundRow> = statement(FIND).arrays(&keys).load(conn).await?;
    rows.into_iter()
        .map(|row| {
            let event = Event::try_from(row.event)?;
            Ok((event.id, event))
        })
        .collect()
}

/// Which of these events an attempt or an ended delivery refers to that ended after `since`: late ones and replays, which end
/// more than a day after the event was accepted.
pub async fn referred(
    conn: &mut Conn,
    keys: &[(Lane, EventId)],
    since: Timestamp,
) -> Result<HashSet<EventId>, StoreError> {
    let (lanes, ids): (Vec<i32>, Vec<Uuid>) = keys.iter().map(|(lane, id)| (lane.0, id.0)).unzip();
    let rows: Vec<IdRow> = statement(REFERRED)
        .bind::<Array<Integer>, _>(lanes)
        .bind::<Array<SqlUuid>, _>(ids)
        .bind::<At, _>(time(since))
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(|row| EventId(row.id)).collect())
}
