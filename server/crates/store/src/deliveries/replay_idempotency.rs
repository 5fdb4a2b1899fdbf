//! Idempotency keys of replays: the same key of the same caller replays once within its window (D12).
//!
//! The guarantees are those of [`crate::idempotency`], for everyone who may replay. A key belongs to its caller, so that an
//! app does not learn what its user has replayed. The created deliveries are stored as far as a response shows them.

use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Bytea, Integer, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;

use crate::deliveries::DeliveryPlace;
use crate::sql::{At, Time, statement, time, timestamp};
use crate::{Conn, StoreError};
use tenterhook_model::access::Caller;
use tenterhook_model::ids::{DeliveryKey, EventId, Lane, WebhookId};

/// A key and the hash of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayKey {
    lane: Lane,
    company: i64,
    user: i64,
    app: String,
    key: String,
    request_hash: Vec<u8>,
}

/// What a key that already exists stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// The hash of the request at that time.
    request_hash: Vec<u8>,
    /// The number of deliveries created at that time.
    pub count: usize,
    /// The first of these deliveries.
    pub first: Vec<DeliveryPlace>,
}

impl ReplayKey {
    /// The key that this caller has chosen for the request with this hash.
    pub fn new(chooser: &Caller, key: String, request_hash: Vec<u8>) -> Self {
        let (lane, company, user, app) = match chooser {
            Caller::User(user) => {
                let app = user.app.as_ref().map(ToString::to_string).unwrap_or_default();
                (Lane::of(user.company), user.company.get(), user.user.get(), app)
            }
            // Neither has a company, and the platform replays nothing.
            Caller::Operator | Caller::Platform => (Lane(0), 0, 0, String::new()),
        };
        Self {
            lane,
            company,
            user,
            app,
            key,
            request_hash,
        }
    }

    /// Whether the request with this key was the same.
    pub fn is_of(&self, remembered: &Remembered) -> bool {
        self.request_hash == remembered.request_hash
    }
}

/// An expired key is replaced.
const CLAIM: &str = "\
insert into replays as r (lane, company, user_id, app, key, request_hash, created_at, count, lanes, webhooks, events,
                          generations, expires_at)
values ($1, $2, $3, $4, $5, $6, $7, 0, '{}', '{}', '{}', '{}', $8)
on conflict (lane, company, user_id, app, key) do update
    set request_hash = excluded.request_hash, created_at = excluded.created_at, count = 0, lanes = '{}',
        webhooks = '{}', events = '{}', generations = '{}', expires_at = excluded.expires_at
    where r.expires_at <= $7";

const READ: &str = "\
select r.request_hash, r.created_at, r.count, r.lanes, r.webhooks, r.events, r.generations
from replays r
where r.lane = $1 and r.company = $2 and r.user_id = $3 and r.app = $4 and r.key = $5 and r.expires_at > $6";

const REMEMBER: &str = "\
update replays as r set count = $6, lanes = $7, webhooks = $8, events = $9, generations = $10
where r.lane = $1 and r.company = $2 and r.user_id = $3 and r.app = $4 and r.key = $5";

#[derive(QueryableByName)]
struct RememberedRow {
    #[diesel(sql_type = Bytea)]
    request_hash: Vec<u8>,
    #[diesel(sql_type = At)]
    created_at: Time,
    #[diesel(sql_type = Integer)]
    count: i32,
    #[diesel(sql_type = Array<Integer>)]
    lanes: Vec<i32>,
    #[diesel(sql_type = Array<SqlUuid>)]
    webhooks: Vec<uuid::Uuid>,
    #[diesel(sql_type = Array<SqlUuid>)]
    events: Vec<uuid::Uuid>,
    #[diesel(sql_type = Array<Integer>)]
    generations: Vec<i32>,
}

/// What the key stands for at `now`, if it already exists.
pub async fn find(
    conn: &mut Conn,
    key: &ReplayKey,
    now: Timestamp,
) -> Result<Option<Remembered>, StoreError> {
    let rows: Vec<RememberedRow> = statement(READ)
        .bind::<Integer, _>(key.lane.0)
        .bind::<BigInt, _>(key.company)
        .bind::<BigInt, _>(key.user)
        .bind::<Text, _>(&key.app)
        .bind::<Text, _>(&key.key)
        .bind::<At, _>(time(now))
        .load(conn)
        .await?;
    Ok(rows.into_iter().next().map(Remembered::from))
}

/// Stores the key until `expires_at`; if it already exists, returns what it stands for.
///
/// The snapshot of the second statement shows the row that the first has waited for.
pub async fn claim_in_tx(
    conn: &mut Conn,
    key: &ReplayKey,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<Option<Remembered>, StoreError> {
    let taken = statement(CLAIM)
        .bind::<Integer, _>(key.lane.0)
        .bind::<BigInt, _>(key.company)
        .bind::<BigInt, _>(key.user)
        .bind::<Text, _>(&key.app)
        .bind::<Text, _>(&key.key)
        .bind::<Bytea, _>(&key.request_hash)
        .bind::<At, _>(time(now))
        .bind::<At, _>(time(expires_at))
        .execute(conn)
        .await?;
    if taken == 1 {
        Ok(None)
    } else {
        find(conn, key, now).await
    }
}

/// Stores under the claimed key how many deliveries were created, and the first of them.
pub async fn remember_in_tx(
    conn: &mut Conn,
    key: &ReplayKey,
    count: usize,
    first: &[DeliveryKey],
) -> Result<(), StoreError> {
    statement(REMEMBER)
        .bind::<Integer, _>(key.lane.0)
        .bind::<BigInt, _>(key.company)
        .bind::<BigInt, _>(key.user)
        .bind::<Text, _>(&key.app)
        .bind::<Text, _>(&key.key)
        .bind::<Integer, _>(i32::try_from(count).unwrap_or(i32::MAX))
        .bind::<Array<Integer>, _>(first.iter().map(|made| made.lane.0).collect::<Vec<_>>())
        .bind::<Array<SqlUuid>, _>(first.iter().map(|made| made.webhook.0).collect::<Vec<_>>())
        .bind::<Array<SqlUuid>, _>(first.iter().map(|made| made.event.0).collect::<Vec<_>>())
        .bind::<Array<Integer>, _>(first.iter().map(|made| made.generation).collect::<Vec<_>>())
        .execute(conn)
        .await?;
    Ok(())
}

impl From<RememberedRow> for Remembered {
    fn from(row: RememberedRow) -> Self {
        let created_at = timestamp(row.created_at);
        let keys = row
            .lanes
            .into_iter()
            .zip(row.webhooks)
            .zip(row.events)
            .zip(row.generations);
        let place = |(((lane, webhook), event), generation)| DeliveryPlace {
            created_at,
            key: DeliveryKey {
                lane: Lane(lane),
                webhook: WebhookId(webhook),
                event: EventId(event),
                generation,
            },
        };
        Self {
            request_hash: row.request_hash,
            count: usize::try_from(row.count).unwrap_or_default(),
            first: keys.map(place).collect(),
        }
    }
}
