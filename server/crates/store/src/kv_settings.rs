//! The table `settings`: values of the database as a whole, by key.

use diesel::QueryableByName;
use diesel::sql_types::Text;
use diesel_async::RunQueryDsl;

use super::sql::statement;
use super::{Conn, StoreError};

const READ: &str = "select value from settings where key = $1";
const WRITE: &str = "\
insert into settings (key, value) values ($1, $2) on conflict (key) do update set value = excluded.value";

/// The key of the number of lanes, stored by the first migration.
pub const LANES: &str = "lanes";
/// The key of the day since when events are kept for late attempts, such as `2026-12-01`. Stored by a migration, but not in a
/// database that had no events then.
pub const EVENTS_KEPT_SINCE: &str = "events_kept_since";
/// The key of the simulated time, an ISO 8601 instant. A restart continues from it.
pub const SIMULATED_NOW: &str = "simulated_now";

#[derive(QueryableByName)]
struct ValueRow {
    #[diesel(sql_type = Text)]
    value: String,
}

/// Returns a stored value.
pub async fn get(conn: &mut Conn, key: &str) -> Result<Option<String>, StoreError> {
    let rows: Vec<ValueRow> = statement(READ).bind::<Text, _>(key).load(conn).await?;
    Ok(rows.into_iter().next().map(|row| row.value))
}

/// Stores or replaces a value.
pub async fn put(conn: &mut Conn, key: &str, value: &str) -> Result<(), StoreError> {
    statement(WRITE)
        .bind::<Text, _>(key)
        .bind::<Text, _>(value)
        .execute(conn)
        .await?;
    Ok(())
}
