//! Reads events. [`super::queue::publish`] writes them.

use std::collections::HashMap;

use diesel::QueryableByName;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::event_row::{EventRow, event_columns};
use super::sql::unnest::{Arrays, sql_text, unnest};
use super::sql::{Time, statement, time};
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
