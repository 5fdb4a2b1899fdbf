//! The schema's history, embedded in the binary. Rules: migrations/README.md.
//!
//! Promises that only running a migration needs rights to create anything: looking at what is pending needs the right to read
//! one table.

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

/// Held while migrations run, until the connection ends: of two who migrate at once, the second finds nothing to do. A
/// session's lock on one node is enough here, since migrations run on the coordinator.
const LOCK: &str = "select pg_advisory_lock(8386658469646862187)";

/// Whether there is a list of what has run, in the schemas that are looked at.
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

/// How long a migration may take, and how long to wait for another process that runs them, unless the settings say otherwise.
pub const LIMIT: Duration = Duration::from_secs(3600);

/// Runs what is pending and names it; waits for whoever is at it. Needs a multi-threaded runtime: Diesel's migrations block.
///
/// # Errors
///
/// [`StoreError::Unusable`] for a database that cannot be used, and whatever Postgres refuses.
pub async fn run_pending(url: &str) -> Result<Vec<String>, StoreError> {
    run_pending_within(url, LIMIT).await
}

/// As [`run_pending`], where no statement may be without an answer for longer than `limit`.
pub async fn run_pending_within(url: &str, limit: Duration) -> Result<Vec<String>, StoreError> {
    let mut conn = connect(url, Limits::long(limit)).await?;
    preconditions::check(&mut conn).await?;
    diesel::sql_query(LOCK).execute(&mut conn).await?;
    if lacking(&mut conn).await? == 0 {
        // The library would create its table first, for which a role may lack the right.
        return Ok(Vec::new());
    }
    let mut harness = AsyncMigrationHarness::new(conn);
    let ran = harness.run_pending_migrations(MIGRATIONS).map_err(failed)?;
    Ok(ran.iter().map(ToString::to_string).collect())
}

/// Takes every migration back, for the test of `up`, `down`, `up`.
pub async fn revert_all(url: &str) -> Result<(), StoreError> {
    let mut harness = AsyncMigrationHarness::new(connect(url, Limits::long(LIMIT)).await?);
    harness.revert_all_migrations(MIGRATIONS).map_err(failed)?;
    Ok(())
}

/// How many migrations of this binary the database lacks. A statement may take `statement`.
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

/// What Postgres said, wherever it said something.
fn failed(error: Box<dyn std::error::Error + Send + Sync>) -> StoreError {
    match error.downcast::<diesel::result::Error>() {
        Ok(refused) => StoreError::Database(*refused),
        Err(error) => StoreError::Migration(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
