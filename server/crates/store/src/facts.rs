//! Facts about this database as a whole, and the deletions that only age decides.

use diesel::QueryableByName;
use diesel::sql_types::{Bool, Text};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;

use super::sql::{At, statement, time};
use super::{Conn, StoreError};

const READ: &str = "select value from settings where key = $1";
const WRITE: &str = "\
insert into settings (key, value) values ($1, $2) on conflict (key) do update set value = excluded.value";

/// Health and notices go with the webhook's row by the server's rule, the history by its partitions. Where `$2` says so a
/// webhook stays as long as the platform's endpoint is owed a notice about it.
const FORGET_WEBHOOKS: &str = "\
with gone as (
    delete from webhooks w
    where removed_at <= $1 and not ($2 and exists (select from notice_queues o where o.lane = w.lane and o.webhook = w.id
                                                   and o.vis_at is not null))
    returning lane, id
), unqueued as (
    delete from notice_queues q using gone g where q.lane = g.lane and q.webhook = g.id
)
delete from notices n using gone g where n.lane = g.lane and n.webhook = g.id";

const FORGET_KEYS: &str = "\
with replayed as (delete from replays where expires_at <= $1),
created as (delete from creations where expires_at <= $1)
delete from idempotency where expires_at <= $1";

/// The key of the number of lanes, pinned by the first migration.
pub const LANES: &str = "lanes";
/// The key under which simulated time is kept, as an ISO 8601 instant, so that a restart resumes it.
pub const SIMULATED_NOW: &str = "simulated_now";

#[derive(QueryableByName)]
struct ValueRow {
    #[diesel(sql_type = Text)]
    value: String,
}

/// A stored fact.
pub async fn get(conn: &mut Conn, key: &str) -> Result<Option<String>, StoreError> {
    let rows: Vec<ValueRow> = statement(READ).bind::<Text, _>(key).load(conn).await?;
    Ok(rows.into_iter().next().map(|row| row.value))
}

/// Stores a fact, or replaces it.
pub async fn put(conn: &mut Conn, key: &str, value: &str) -> Result<(), StoreError> {
    statement(WRITE)
        .bind::<Text, _>(key)
        .bind::<Text, _>(value)
        .execute(conn)
        .await?;
    Ok(())
}

/// Deletes webhooks that were removed at or before `removed_by` (W12); with `keep_owed` not those of which the platform's
/// endpoint has yet to be told something (R4).
pub async fn forget_webhooks(
    conn: &mut Conn,
    removed_by: Timestamp,
    keep_owed: bool,
) -> Result<(), StoreError> {
    statement(FORGET_WEBHOOKS)
        .bind::<At, _>(time(removed_by))
        .bind::<Bool, _>(keep_owed)
        .execute(conn)
        .await?;
    Ok(())
}

/// Deletes idempotency keys that have expired at `now`: of publishing (E1), of replays (D12) and of creations.
pub async fn forget_keys(conn: &mut Conn, now: Timestamp) -> Result<(), StoreError> {
    statement(FORGET_KEYS)
        .bind::<At, _>(time(now))
        .execute(conn)
        .await?;
    Ok(())
}
