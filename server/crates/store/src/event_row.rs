//! A row of `events`, read the same way in every join.

use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, SmallInt, Text, Uuid as SqlUuid};

use super::StoreError;
use super::sql::{At, MaybeAt, Time, maybe_timestamp, timestamp, unknown};
use tenterhook_model::event::{ChangeSource, Event, Merge};
use tenterhook_model::ids::{CompanyId, EventId, Lane, UserId};
use tenterhook_model::webhook::EventAction;

/// The columns that [`EventRow`] reads, from a table or alias `e`, with names that no other table uses.
macro_rules! event_columns {
    () => {
        "e.lane as event_lane, e.id as event_id, e.accepted_at, e.company as event_company, \
         e.action as event_action, e.object as event_object, e.object_id, e.user_id as event_user, e.data, \
         e.previous, e.permitted, e.change_source, e.is_bulk_edit, e.merged_from, e.merged_to, e.correlation_id, \
         e.host, e.occurred_at"
    };
}
pub(crate) use event_columns;

/// A row of `events` under the names of `event_columns!`.
#[derive(Debug, diesel::QueryableByName)]
pub struct EventRow {
    #[diesel(sql_type = Integer)]
    event_lane: i32,
    #[diesel(sql_type = SqlUuid)]
    event_id: uuid::Uuid,
    #[diesel(sql_type = At)]
    accepted_at: Time,
    #[diesel(sql_type = BigInt)]
    event_company: i64,
    #[diesel(sql_type = SmallInt)]
    event_action: i16,
    #[diesel(sql_type = Text)]
    event_object: String,
    #[diesel(sql_type = Text)]
    object_id: String,
    #[diesel(sql_type = BigInt)]
    event_user: i64,
    #[diesel(sql_type = Nullable<Text>)]
    data: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    previous: Option<String>,
    #[diesel(sql_type = Nullable<Array<BigInt>>)]
    permitted: Option<Vec<i64>>,
    #[diesel(sql_type = SmallInt)]
    change_source: i16,
    #[diesel(sql_type = Bool)]
    is_bulk_edit: bool,
    #[diesel(sql_type = Nullable<Text>)]
    merged_from: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    merged_to: Option<String>,
    #[diesel(sql_type = Text)]
    correlation_id: String,
    #[diesel(sql_type = Nullable<Text>)]
    host: Option<String>,
    #[diesel(sql_type = MaybeAt)]
    occurred_at: Option<Time>,
}

impl TryFrom<EventRow> for Event {
    type Error = StoreError;

    fn try_from(row: EventRow) -> Result<Self, StoreError> {
        let merge = match (row.merged_from, row.merged_to) {
            (Some(other), _) => Some(Merge::From(object_id(&other)?)),
            (None, Some(other)) => Some(Merge::To(object_id(&other)?)),
            (None, None) => None,
        };
        Ok(Self {
            lane: Lane(row.event_lane),
            id: EventId(row.event_id),
            company: CompanyId::new(row.event_company)
                .map_err(|_| unknown("events", "company", row.event_company))?,
            action: EventAction::from_code(row.event_action)
                .ok_or_else(|| unknown("events", "action", row.event_action))?,
            object: row.event_object,
            object_id: object_id(&row.object_id)?,
            user: user(row.event_user)?,
            data: row.data.map(Into::into),
            previous: row.previous.map(Into::into),
            permitted: row
                .permitted
                .map(|users| users.into_iter().map(user).collect())
                .transpose()?,
            change_source: ChangeSource::from_code(row.change_source)
                .ok_or_else(|| unknown("events", "change_source", row.change_source))?,
            is_bulk_edit: row.is_bulk_edit,
            merge,
            correlation_id: row.correlation_id,
            host: row.host,
            occurred_at: maybe_timestamp(row.occurred_at),
            accepted_at: timestamp(row.accepted_at),
        })
    }
}

fn object_id(text: &str) -> Result<tenterhook_model::ids::ObjectId, StoreError> {
    text.parse().map_err(|_| unknown("events", "object id", text))
}

fn user(id: i64) -> Result<UserId, StoreError> {
    UserId::new(id).map_err(|_| unknown("events", "user", id))
}
