//! Reads events. [`super::publish`] writes them.

use std::collections::HashMap;

use diesel::QueryableByName;
use diesel::sql_types::{Array, Integer, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;

use super::event_row::{EventRow, event_columns};
use super::sql::{Ats, statement, time};
use super::{Conn, StoreError};
use tenterhook_model::event::Event;
use tenterhook_model::ids::{EventId, Lane};

/// The id decides the partition.
const FIND: &str = concat!(
    "select ",
    event_columns!(),
    " from unnest($1::int[], $2::uuid[], $3::timestamptz[]) as k(lane, id, accepted_at)
      cross join lateral (select * from events e
                          where e.lane = k.lane and e.id = k.id and e.accepted_at = k.accepted_at) e"
);

#[derive(QueryableByName)]
struct FoundRow {
    #[diesel(embed)]
    event: EventRow,
}

/// The existing events with these ids.
pub async fn find(conn: &mut Conn, keys: &[(Lane, EventId)]) -> Result<HashMap<EventId, Event>, StoreError> {
    let rows: Vec<FoundRow> = statement(FIND)
        .bind::<Array<Integer>, _>(keys.iter().map(|(lane, _)| lane.0).collect::<Vec<_>>())
        .bind::<Array<SqlUuid>, _>(keys.iter().map(|(_, id)| id.0).collect::<Vec<_>>())
        .bind::<Ats, _>(
            keys.iter()
                .map(|(_, id)| time(id.accepted_at()))
                .collect::<Vec<_>>(),
        )
        .load(conn)
        .await?;
    rows.into_iter()
        .map(|row| {
            let event = Event::try_from(row.event)?;
            Ok((event.id, event))
        })
        .collect()
}
