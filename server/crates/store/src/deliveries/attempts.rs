//! Reads the attempt log (D10). [`crate::queue::settle`] writes it.

use diesel::QueryableByName;
use diesel::sql_types::{Bool, Integer, Nullable, SmallInt, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;
use uuid::Uuid;

use crate::sql::unnest::{Arrays, sql_text, unnest};
use crate::sql::{At, Time, statement, time, timestamp, unknown};
use crate::{Conn, StoreError};
use tenterhook_model::attempt::{Attempt, AttemptErrorClass, Outcome, Timings};
use tenterhook_model::delivery::DeliveryStatus;
use tenterhook_model::ids::{DeliveryKey, EventId, Lane, WebhookId};

unnest! {
    from 1;
    /// A delivery whose attempts are read.
    struct DeliveryRow in Deliveries {
        lane: i32,
        webhook: Uuid,
        event: Uuid,
        generation: i32,
        created_at: Time,
    }
}

/// An attempt ends after its delivery was created, which prunes partitions. Because the clocks of two processes differ, it
/// may seem to end earlier: one hour is allowed for that. `$6` repeats this bound for all deliveries together, so that any
/// plan prunes: with small partitions the plan may read them completely. The time of creation is compared as a range of one
/// moment, so that rows of that index have an order. The index over ends has no such order, but seems as good to the
/// planner: with it every attempt since then was read (120,000 blocks for 20 deliveries of a webhook with 250,000 attempts,
/// now 1,130).
const OF: &str = sql_text!(
    "\
select a.lane, a.webhook, a.event, a.generation, a.number, a.started_at, a.ended_at, a.duration_us, a.dns_us,
       a.connect_us, a.first_byte_us, a.url, a.auth_sent, a.status, a.error_class, a.error_message,
       a.response_headers, a.response_body, a.response_truncated, a.ending
from unnest(",
    Deliveries::ARRAYS,
    ") as k(",
    Deliveries::NAMES,
    ")
cross join lateral (
    select * from attempts a
    where a.lane = k.lane and a.webhook = k.webhook and a.created_at >= k.created_at and a.created_at <= k.created_at
      and a.event = k.event and a.generation = k.generation and a.ended_at >= k.created_at - interval '1 hour'
      and a.ended_at >= $6::timestamptz - interval '1 hour'
    order by a.created_at, a.event, a.generation
) a
order by a.number, a.ended_at"
);

#[derive(QueryableByName)]
struct AttemptRow {
    #[diesel(sql_type = Integer)]
    lane: i32,
    #[diesel(sql_type = SqlUuid)]
    webhook: Uuid,
    #[diesel(sql_type = SqlUuid)]
    event: Uuid,
    #[diesel(sql_type = Integer)]
    generation: i32,
    #[diesel(sql_type = SmallInt)]
    number: i16,
    #[diesel(sql_type = At)]
    started_at: Time,
    #[diesel(sql_type = At)]
    ended_at: Time,
    #[diesel(sql_type = Integer)]
    duration_us: i32,
    #[diesel(sql_type = Nullable<Integer>)]
    dns_us: Option<i32>,
    #[diesel(sql_type = Nullable<Integer>)]
    connect_us: Option<i32>,
    #[diesel(sql_type = Nullable<Integer>)]
    first_byte_us: Option<i32>,
    #[diesel(sql_type = Text)]
    url: String,
    #[diesel(sql_type = Bool)]
    auth_sent: bool,
    #[diesel(sql_type = Nullable<SmallInt>)]
    status: Option<i16>,
    #[diesel(sql_type = Nullable<SmallInt>)]
    error_class: Option<i16>,
    #[diesel(sql_type = Nullable<Text>)]
    error_message: Option<String>,
    #[diesel(sql_type = Text)]
    response_headers: String,
    #[diesel(sql_type = Nullable<Text>)]
    response_body: Option<String>,
    #[diesel(sql_type = Bool)]
    response_truncated: bool,
    #[diesel(sql_type = Nullable<SmallInt>)]
    ending: Option<i16>,
}

/// The attempts of these deliveries, oldest first. Each delivery comes with its time of creation.
pub async fn of(
    conn: &mut Conn,
    deliveries: &[(DeliveryKey, Timestamp)],
) -> Result<Vec<Attempt>, StoreError> {
    let Some(earliest) = deliveries.iter().map(|(_, created_at)| *created_at).min() else {
        return Ok(Vec::new());
    };
    let deliveries = Deliveries::of(deliveries.iter().map(|(key, created_at)| DeliveryRow {
        lane: key.lane.0,
        webhook: key.webhook.0,
        event: key.event.0,
        generation: key.generation,
        created_at: time(*created_at),
    }));
    let rows: Vec<AttemptRow> = statement(OF)
        .arrays(&deliveries)
        .bind::<At, _>(time(earliest))
        .load(conn)
        .await?;
    rows.into_iter().map(Attempt::try_from).collect()
}

impl TryFrom<AttemptRow> for Attempt {
    type Error = StoreError;

    fn try_from(row: AttemptRow) -> Result<Self, StoreError> {
        let class =
            |code| AttemptErrorClass::from_code(code).ok_or_else(|| unknown("attempts", "error_class", code));
        let ending =
            |code| DeliveryStatus::from_code(code).ok_or_else(|| unknown("attempts", "ending", code));
        Ok(Self {
            delivery: DeliveryKey {
                lane: Lane(row.lane),
                webhook: WebhookId(row.webhook),
                event: EventId(row.event),
                generation: row.generation,
            },
            number: u8::try_from(row.number).map_err(|_| unknown("attempts", "number", row.number))?,
            started_at: timestamp(row.started_at),
            ended_at: timestamp(row.ended_at),
            duration_us: row.duration_us,
            url: row.url,
            auth_sent: row.auth_sent,
            outcome: Outcome {
                status: row.status.and_then(|status| u16::try_from(status).ok()),
                error_class: row.error_class.map(class).transpose()?,
                error_message: row.error_message,
                timings: Timings {
                    dns_us: row.dns_us,
                    connect_us: row.connect_us,
                    first_byte_us: row.first_byte_us,
                },
                response_headers: serde_json::from_str(&row.response_headers)
                    .map_err(|error| unknown("attempts", "response_headers", error))?,
                response_body: row.response_body,
                response_truncated: row.response_truncated,
            },
            ending: row.ending.map(ending).transpose()?,
        })
    }
}
