//! The schema's history, embedded in the binary. Rules: migrations/README.md.

use diesel_async::{AsyncConnection, AsyncMigrationHarness, RunQueryDsl};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::{Conn, StoreError};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../migrations");

/// Held while migrations run, until the connection ends: of two who migrate at once, the second finds nothing to do. A
/// session's lock on one node is enough here, since migrations run on the coordinator.
const LOCK: &str = "select pg_advisory_lock(8386658469646862187)";

/// Runs what is pending and names it; waits for whoever is at it. Needs a multi-threaded runtime: Diesel's migrations block.
pub async fn run_pending(url: &str) -> Result<Vec<String>, StoreError> {
    let mut conn = connect(url).await?;
    diesel::sql_query(LOCK).execute(&mut conn).await?;
    let mut harness = AsyncMigrationHarness::new(conn);
    let ran = harness.run_pending_migrations(MIGRATIONS).map_err(failed)?;
    Ok(ran.iter().map(ToString::to_string).collect())
}

/// Takes every migration back, for the test of `up`, `down`, `up`.
pub async fn revert_all(url: &str) -> Result<(), StoreError> {
    let mut harness = AsyncMigrationHarness::new(connect(url).await?);
    harness.revert_all_migrations(MIGRATIONS).map_err(failed)?;
    Ok(())
}

/// How many migrations of this binary the database lacks.
pub async fn pending(url: &str) -> Result<usize, StoreError> {
    let mut harness = AsyncMigrationHarness::new(connect(url).await?);
    Ok(harness.pending_migrations(MIGRATIONS).map_err(failed)?.len())
}

async fn connect(url: &str) -> Result<Conn, StoreError> {
    Conn::establish(url)
        .await
        .map_err(|error| StoreError::Unavailable(error.to_string()))
}

fn failed(error: Box<dyn std::error::Error + Send + Sync>) -> StoreError {
    StoreError::Inconsistent {
        table: "__diesel_schema_migrations",
        what: error.to_string(),
    }
}

#[cfg(test)]
mod tests;
