//! The server processes: which are alive, what each knows of the changes feed, and the database's own time.
//!
//! Whether a process is alive depends on real time, even if the policy's time is simulated, and on one clock for all
//! processes. So these statements, and no others, read the database's clock.

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Double, Nullable, Text};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;

use super::changes::Mark;
use super::sql::{At, Time, statement, time, timestamp};
use super::{Conn, StoreError};
use tenterhook_model::ids::NodeId;

/// The database's own time. `SystemClock` follows it, so that processes agree even if the clocks of their machines differ.
const DATABASE_TIME: &str = "select clock_timestamp() as at";

const REGISTER: &str = "\
insert into nodes (started_at, heartbeat_at, settled_through)
values (clock_timestamp(), clock_timestamp(), $1) returning id";

/// If the row is missing, another process has declared this one dead.
const BEAT: &str = "\
update nodes set heartbeat_at = clock_timestamp(), feed_snapshot = coalesce($2, feed_snapshot),
                 settled_through = greatest(settled_through, $3)
where id = $1 returning id";

const OTHERS: &str = "\
select id from nodes where id <> $1 and heartbeat_at > clock_timestamp() - make_interval(secs => $2)";

/// A process's row is deleted and its deliveries are freed in one transaction.
const EVICT_DEAD: &str = "\
delete from nodes where id <> $1 and heartbeat_at <= clock_timestamp() - make_interval(secs => $2) returning id";

const LEAVE: &str = "delete from nodes where id = $1";

/// A process that has not read the feed has no snapshot: it does not know of the change.
const UNAWARE: &str = "\
select count(*) as count from nodes
where id <> $1 and heartbeat_at > clock_timestamp() - make_interval(secs => $2)
  and not coalesce(pg_visible_in_snapshot($3::xid8, feed_snapshot::pg_snapshot), false)";

const BEHIND: &str = "\
select count(*) as count from nodes
where id <> $1 and heartbeat_at > clock_timestamp() - make_interval(secs => $2) and settled_through < $3";

#[derive(QueryableByName)]
struct AtRow {
    #[diesel(sql_type = At)]
    at: Time,
}

#[derive(QueryableByName)]
struct IdRow {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

#[derive(QueryableByName)]
struct CountRow {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// The present time by the database's own clock.
pub async fn database_time(conn: &mut Conn) -> Result<Timestamp, StoreError> {
    Ok(timestamp(
        statement(DATABASE_TIME).get_result::<AtRow>(conn).await?.at,
    ))
}

/// Registers this process. No results before `now` are unsettled.
pub async fn register(conn: &mut Conn, now: Timestamp) -> Result<NodeId, StoreError> {
    Ok(NodeId(
        statement(REGISTER)
            .bind::<At, _>(time(now))
            .get_result::<IdRow>(conn)
            .await?
            .id,
    ))
}

/// Writes a heartbeat: this process is alive, what it knows of the feed, and until when its results are settled.
///
/// Returns false if the process was declared dead: the deliveries that it held are no longer its own.
pub async fn beat(
    conn: &mut Conn,
    node: NodeId,
    feed_snapshot: Option<&str>,
    settled_through: Timestamp,
) -> Result<bool, StoreError> {
    let rows: Vec<IdRow> = statement(BEAT)
        .bind::<BigInt, _>(node.0)
        .bind::<Nullable<Text>, _>(feed_snapshot)
        .bind::<At, _>(time(settled_through))
        .load(conn)
        .await?;
    Ok(!rows.is_empty())
}

/// The other processes whose last heartbeat is younger than `lapse_seconds`.
pub async fn others(conn: &mut Conn, node: NodeId, lapse_seconds: f64) -> Result<Vec<NodeId>, StoreError> {
    let rows: Vec<IdRow> = statement(OTHERS)
        .bind::<BigInt, _>(node.0)
        .bind::<Double, _>(lapse_seconds)
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(|row| NodeId(row.id)).collect())
}

/// Deletes the processes whose heartbeat has lapsed, and returns them.
///
/// The caller frees their deliveries with [`super::queue::leases::release_of`], in the same transaction.
pub async fn evict_dead_in_tx(
    conn: &mut Conn,
    node: NodeId,
    lapse_seconds: f64,
) -> Result<Vec<NodeId>, StoreError> {
    let rows: Vec<IdRow> = statement(EVICT_DEAD)
        .bind::<BigInt, _>(node.0)
        .bind::<Double, _>(lapse_seconds)
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(|row| NodeId(row.id)).collect())
}

/// Deregisters this process when it stops.
pub async fn leave(conn: &mut Conn, node: NodeId) -> Result<(), StoreError> {
    statement(LEAVE).bind::<BigInt, _>(node.0).execute(conn).await?;
    Ok(())
}

/// The number of other live processes that do not know of the marked change yet.
pub async fn unaware(
    conn: &mut Conn,
    node: NodeId,
    lapse_seconds: f64,
    mark: &Mark,
) -> Result<i64, StoreError> {
    let row: CountRow = statement(UNAWARE)
        .bind::<BigInt, _>(node.0)
        .bind::<Double, _>(lapse_seconds)
        .bind::<Text, _>(&mark.0)
        .get_result(conn)
        .await?;
    Ok(row.count)
}

/// The number of other live processes that may still have unsettled results of attempts that ended before `boundary` (T3).
pub async fn behind(
    conn: &mut Conn,
    node: NodeId,
    lapse_seconds: f64,
    boundary: Timestamp,
) -> Result<i64, StoreError> {
    let row: CountRow = statement(BEHIND)
        .bind::<BigInt, _>(node.0)
        .bind::<Double, _>(lapse_seconds)
        .bind::<At, _>(time(boundary))
        .get_result(conn)
        .await?;
    Ok(row.count)
}
