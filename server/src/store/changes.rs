//! The changes feed: how processes tell each other which webhooks moved.
//!
//! A row is written in the transaction of the move, so it is there exactly when the move is. Rows are read by
//! transaction, not by sequence: a reader that remembers its snapshot's `xmin` and asks for rows at or after it
//! misses none, however long a writer took to commit.

use diesel::sql_types::{Array, Integer, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;

use super::sql::{At, statement, time};
use super::{Conn, StoreError};
use crate::model::ids::{Lane, WebhookId};

/// The transaction that announced a change: a process whose snapshot shows it knows of the change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark(pub String);

/// One row per webhook that moved; `unnest` keeps it one statement however many.
const ANNOUNCE: &str = "insert into changes (at, lane, webhook) \
     select $1, u.lane, u.webhook from unnest($2::int[], $3::uuid[]) as u(lane, webhook) \
     returning xid::text as xid";

#[derive(diesel::QueryableByName)]
struct XidRow {
    #[diesel(sql_type = Text)]
    xid: String,
}

/// Announces that these webhooks moved; `None` if there are none.
///
/// The caller commits, then waits for the mark with the engine's `Propagation`.
pub async fn announce_in_tx(
    conn: &mut Conn,
    now: Timestamp,
    webhooks: &[(Lane, WebhookId)],
) -> Result<Option<Mark>, StoreError> {
    if webhooks.is_empty() {
        return Ok(None);
    }
    let lanes: Vec<i32> = webhooks.iter().map(|(lane, _)| lane.0).collect();
    let ids: Vec<uuid::Uuid> = webhooks.iter().map(|(_, id)| id.0).collect();
    let rows: Vec<XidRow> = statement(ANNOUNCE)
        .bind::<At, _>(time(now))
        .bind::<Array<Integer>, _>(lanes)
        .bind::<Array<SqlUuid>, _>(ids)
        .load(conn)
        .await?;
    Ok(rows.into_iter().next().map(|row| Mark(row.xid)))
}
