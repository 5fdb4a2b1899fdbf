//! The changes feed: how processes tell each other which webhooks changed.
//!
//! A row is written in the transaction of the change, so both become visible together. Rows are read by transaction, not by
//! sequence: a reader that remembers the `xmin` of its snapshot and reads rows at or after it misses none, however long a
//! writer takes to commit.

use diesel::sql_types::{BigInt, Integer, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;

use super::sql::unnest::WebhookKeys;
use super::sql::{At, statement, time, unknown};
use super::{Conn, StoreError};
use tenterhook_model::ids::{Lane, WebhookId, WebhookKey};

/// The transaction that announced a change. A process knows of the change if its snapshot shows this transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark(pub String);

/// One row per webhook that changed; with `unnest` it is one statement for any number.
const ANNOUNCE: &str = "insert into changes (at, lane, webhook) \
     select $1, u.lane, u.webhook from unnest($2::int[], $3::uuid[]) as u(lane, webhook) \
     returning xid::text as xid";

#[derive(diesel::QueryableByName)]
struct XidRow {
    #[diesel(sql_type = Text)]
    xid: String,
}

/// Announces that these webhooks changed; `None` if there are none.
///
/// The caller commits and then waits for the mark, with the engine's `Propagation`.
pub async fn announce_in_tx(
    conn: &mut Conn,
    now: Timestamp,
    webhooks: &[WebhookKey],
) -> Result<Option<Mark>, StoreError> {
    if webhooks.is_empty() {
        return Ok(None);
    }
    let rows: Vec<XidRow> = statement(ANNOUNCE)
        .bind::<At, _>(time(now))
        .arrays(&WebhookKeys::new(webhooks))
        .load(conn)
        .await?;
    Ok(rows.into_iter().next().map(|row| Mark(row.xid)))
}

/// What a read of the feed has seen: everything visible in its snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    text: String,
    xmin: u64,
    xmax: u64,
    running: Vec<u64>,
}

impl Snapshot {
    /// Reads Postgres's text form, `xmin:xmax:running,…`.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let xmin = parts.next()?.parse().ok()?;
        let xmax = parts.next()?.parse().ok()?;
        let running = parts.next()?.split(',').filter(|id| !id.is_empty());
        let running = running.map(|id| id.parse().ok()).collect::<Option<Vec<u64>>>()?;
        Some(Self {
            text: text.to_owned(),
            xmin,
            xmax,
            running,
        })
    }

    /// Whether the marked transaction had committed when the snapshot was taken.
    pub fn shows(&self, mark: &Mark) -> bool {
        mark.0
            .parse()
            .is_ok_and(|xid: u64| xid < self.xmin || (xid < self.xmax && !self.running.contains(&xid)))
    }

    /// The snapshot in Postgres's text form.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The transaction at which the next read must start: every earlier one had ended.
    pub fn oldest_running(&self) -> u64 {
        self.xmin
    }
}

/// One row of the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Identifies the row, to recognise one that was read before.
    pub seq: i64,
    /// The webhook that changed; `None` asks every process to report and to look for work, see [`ask`].
    pub webhook: Option<WebhookKey>,
}

/// The snapshot is returned even if nothing has changed.
const READ: &str = "\
select s.snapshot::text as snapshot, c.seq, c.lane, c.webhook
from (select pg_current_snapshot() as snapshot) s left join changes c on c.xid >= $1::xid8 order by c.seq";

const SNAPSHOT: &str = "select pg_current_snapshot()::text as snapshot";

/// Every process reads from the oldest running transaction of its last snapshot, so earlier rows are not needed. A row that
/// is visible although its transaction is in the future was restored from another cluster with another count of
/// transactions. No process waits for such a row, but every read would return it until this cluster's count reaches it.
const PRUNE: &str = "\
delete from changes where xid < (select min(pg_snapshot_xmin(feed_snapshot::pg_snapshot)) from nodes)
                       or xid >= pg_snapshot_xmax(pg_current_snapshot())";

/// A row without a webhook: its readers report how far they have settled, and look for deliveries without an owner.
const ASK: &str = "insert into changes (at, lane, webhook) values ($1, 0, null) returning xid::text as xid";

#[derive(diesel::QueryableByName)]
struct ChangeRow {
    #[diesel(sql_type = Text)]
    snapshot: String,
    #[diesel(sql_type = Nullable<BigInt>)]
    seq: Option<i64>,
    #[diesel(sql_type = Nullable<Integer>)]
    lane: Option<i32>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    webhook: Option<uuid::Uuid>,
}

#[derive(diesel::QueryableByName)]
struct SnapshotRow {
    #[diesel(sql_type = Text)]
    snapshot: String,
}

/// The current snapshot, without reading any row: a starting process follows the feed from here.
pub async fn present(conn: &mut Conn) -> Result<Snapshot, StoreError> {
    let row: SnapshotRow = statement(SNAPSHOT).get_result(conn).await?;
    Snapshot::parse(&row.snapshot).ok_or_else(|| unknown("changes", "snapshot", &row.snapshot))
}

/// Every row of a transaction at or after `from`, and the snapshot of this read. Some of the rows may have been read before.
pub async fn read(conn: &mut Conn, from: u64) -> Result<(Snapshot, Vec<Change>), StoreError> {
    let rows: Vec<ChangeRow> = statement(READ)
        .bind::<Text, _>(from.to_string())
        .load(conn)
        .await?;
    let text = rows.as_slice().first().map_or("", |row| row.snapshot.as_str());
    let snapshot = Snapshot::parse(text).ok_or_else(|| unknown("changes", "snapshot", text))?;
    let changes = rows.into_iter().filter_map(|row| {
        Some(Change {
            seq: row.seq?,
            webhook: row
                .lane
                .zip(row.webhook)
                .map(|(lane, id)| (Lane(lane), WebhookId(id))),
        })
    });
    Ok((snapshot, changes.collect()))
}

/// Deletes rows that every process has read.
pub async fn prune(conn: &mut Conn) -> Result<(), StoreError> {
    statement(PRUNE).execute(conn).await?;
    Ok(())
}

/// Asks every process to report at once until when its results are settled, and to look for deliveries without an owner.
pub async fn ask(conn: &mut Conn, now: Timestamp) -> Result<Mark, StoreError> {
    Ok(Mark(
        statement(ASK)
            .bind::<At, _>(time(now))
            .get_result::<XidRow>(conn)
            .await?
            .xid,
    ))
}
