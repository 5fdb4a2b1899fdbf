//! The migrations of the schema, embedded in the binary. Rules: migrations/README.md.
//!
//! Guarantees: only running a migration needs rights to create anything. To see what is pending, the right to read one table
//! is enough.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use diesel::QueryableByName;
use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel::sql_types::{Bool, Text};
use diesel_async::{AsyncMigrationHarness, RunQueryDsl};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::address::Address;
use super::sql::statement;
use super::{Conn, Limits, StoreError, preconditions};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../../migrations");

/// Held while migrations run, until the connection ends: if two processes migrate at once, the second finds nothing to do. A
/// session lock on one node is enough on Citus too, because migrations run on the coordinator.
const LOCK: &str = "select pg_advisory_lock(8386658469646862187)";

/// Whether the table of executed migrations exists in the search path.
const IS_LISTED: &str = "select to_regclass('__diesel_schema_migrations') is not null as is_listed";
const LISTED: &str = "select version::text as version from __diesel_schema_migrations";

#[derive(QueryableByName)]
struct IsListedRow {
    #[diesel(sql_type = Bool)]
    is_listed: bool,
}

#[derive(QueryableByName)]
struct VersionRow {
    #[diesel(sql_type = Text)]
    version: String,
}

/// The time limit for a migration, and for waiting for another process that runs them, unless the settings set another.
pub const LIMIT: Duration = Duration::from_secs(3600);

/// Runs the pending migrations and returns their names. Waits for another process that is running them. Needs a
/// multi-threaded runtime: Diesel's migrations block.
///
/// # Errors
///
/// [`StoreError::Unusable`] for a database that cannot be used, and any error of Postgres.
pub async fn run_pending(url: &str) -> Result<Vec<String>, StoreError> {
    run_pending_within(url, LIMIT).await
}

/// Like [`run_pending`], but gives up if a statement takes longer than `limit`.
pub async fn run_pending_within(url: &str, limit: Duration) -> Result<Vec<String>, StoreError> {
    let mut conn = connect(url, Limits::long(limit)).await?;
    preconditions::check(&mut conn).await?;
    diesel::sql_query(LOCK).execute(&mut conn).await?;
    if lacking(&mut conn).await? == 0 {
        // The library would first create its table, and some roles do not have the right to do that.
        return Ok(Vec::new());
    }
    let mut harness = AsyncMigrationHarness::new(conn);
    let ran = harness.run_pending_migrations(MIGRATIONS).map_err(failed)?;
    Ok(ran.iter().map(ToString::to_string).collect())
}

/// Reverts every migration, for the test of `up`, `down`, `up`.
pub async fn revert_all(url: &str) -> Result<(), StoreError> {
    let mut harness = AsyncMigrationHarness::new(connect(url, Limits::long(LIMIT)).await?);
    harness.revert_all_migrations(MIGRATIONS).map_err(failed)?;
    Ok(())
}

/// The number of migrations of this binary that the database lacks. `statement` is the time limit of a statement.
pub async fn pending(url: &str, statement: Duration) -> Result<usize, StoreError> {
    lacking(&mut connect(url, Limits::of(statement)).await?).await
}

async fn lacking(conn: &mut Conn) -> Result<usize, StoreError> {
    let there = statement(IS_LISTED)
        .get_result::<IsListedRow>(conn)
        .await?
        .is_listed;
    let ran: BTreeSet<String> = if there {
        let rows: Vec<VersionRow> = statement(LISTED).load(conn).await?;
        rows.into_iter().map(|row| row.version).collect()
    } else {
        BTreeSet::new()
    };
    let ours: Vec<Box<dyn Migration<Pg>>> = MIGRATIONS.migrations().map_err(failed)?;
    let versions = ours
        .iter()
        .map(|migration| migration.name().version().to_string());
    Ok(versions.filter(|version| !ran.contains(version)).count())
}

async fn connect(url: &str, limits: Limits) -> Result<Conn, StoreError> {
    let address = Address::parse(url)?;
    Ok(Conn::open(&address, limits, Arc::default()).await?)
}

/// Postgres's error, if it is one.
fn failed(error: Box<dyn std::error::Error + Send + Sync>) -> StoreError {
    match error.downcast::<diesel::result::Error>() {
        Ok(refused) => StoreError::Database(*refused),
        Err(error) => StoreError::Migration(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
