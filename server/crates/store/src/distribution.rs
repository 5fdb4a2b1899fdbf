//! Distribution: where the tables are on a Citus cluster, and the statements that distribute them in place.
//!
//! Guarantees: every table has a placement (a test compares with the migrated database), so that no migration can forget
//! one. Tables that are already distributed are skipped, so a second run distributes the rest. Everything happens in one
//! transaction, or nothing does. Rows and foreign keys stay.
//!
//! It does not make the database faster: it is for a database that has outgrown one machine. Nothing can be served during
//! the distribution, because each table is locked until the end. It cannot be undone.

use diesel::QueryableByName;
use diesel::sql_types::{Array, Bool, Text};
use diesel_async::{AsyncConnection, RunQueryDsl, SimpleAsyncConnection};

use super::sql::statement;
use super::{Conn, StoreError};

/// Where a table is on a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// By `lane`, in the same place as the shards of all other such tables: the rows of a lane are on one machine, and one
    /// transaction there writes them.
    ByLane,
    /// A copy on every machine: small, rarely written, and joined with distributed tables.
    Everywhere,
    /// Stays on the coordinator, unknown to Citus. The changes feed counts transactions, whose numbers differ between
    /// machines. Which processes are alive is decided by the database's clock, and Citus does not allow statements on its
    /// tables to read it.
    Coordinator,
}

/// Every table, in the order of placement: a table that foreign keys refer to comes before the tables with these keys.
/// Partitions follow their table.
pub const TABLES: [(&str, Placement); 18] = [
    ("settings", Placement::Coordinator),
    ("nodes", Placement::Coordinator),
    ("changes", Placement::Coordinator),
    ("apps", Placement::Everywhere),
    ("webhooks", Placement::ByLane),
    ("webhook_health", Placement::ByLane),
    ("users", Placement::ByLane),
    ("installations", Placement::ByLane),
    ("events", Placement::ByLane),
    ("idempotency", Placement::ByLane),
    ("deliveries", Placement::ByLane),
    ("attempts", Placement::ByLane),
    ("outcomes", Placement::ByLane),
    ("notices", Placement::ByLane),
    ("notice_queues", Placement::ByLane),
    ("tallies", Placement::ByLane),
    ("replays", Placement::ByLane),
    ("creations", Placement::ByLane),
];

/// The table that all others are placed next to.
const FIRST: &str = "webhooks";

const HAS_CITUS: &str = "select exists (select from pg_extension where extname = 'citus') as yes";

/// Read from the catalogue of Citus, whose views exist only with Citus.
const PLACED: &str = "\
select c.relname::text as name from pg_dist_partition p join pg_class c on c.oid = p.logicalrelid
where c.relnamespace = (select oid from pg_namespace where nspname = current_schema()) and c.relname = any($1)";

#[derive(QueryableByName)]
struct YesRow {
    #[diesel(sql_type = Bool)]
    yes: bool,
}

#[derive(QueryableByName)]
struct NameRow {
    #[diesel(sql_type = Text)]
    name: String,
}

/// The statements that distribute the tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Statements for one transaction, in this order.
    pub placing: Vec<String>,
    /// Statements for afterwards: they drop the rows left in the original place.
    pub emptying: Vec<String>,
}

impl Plan {
    /// For a cluster on which these tables are already placed. `shards` matters only before the first table is placed.
    pub fn new(placed: &[String], shards: u16) -> Self {
        let left = TABLES
            .iter()
            .filter(|(table, _)| !placed.iter().any(|name| name == table));
        let (mut placing, mut emptying) = (Vec::new(), Vec::new());
        for (table, placement) in left {
            placing.push(match placement {
                Placement::Coordinator => continue,
                Placement::Everywhere => format!("select create_reference_table('{table}')"),
                Placement::ByLane if *table == FIRST => format!(
                    "select create_distributed_table('{table}', 'lane', colocate_with => 'none', shard_count => {shards})"
                ),
                Placement::ByLane => {
                    format!("select create_distributed_table('{table}', 'lane', colocate_with => '{FIRST}')")
                }
            });
            emptying.push(format!(
                "select truncate_local_data_after_distributing_table('{table}')"
            ));
        }
        Self { placing, emptying }
    }

    /// Whether every table is already in its place.
    pub fn is_empty(&self) -> bool {
        self.placing.is_empty()
    }
}

/// Whether the database has the extension.
pub async fn has_citus(conn: &mut Conn) -> Result<bool, StoreError> {
    Ok(statement(HAS_CITUS).get_result::<YesRow>(conn).await?.yes)
}

/// The tables that are already placed. Fails without the extension.
pub async fn placed(conn: &mut Conn) -> Result<Vec<String>, StoreError> {
    let tables: Vec<&str> = TABLES.iter().map(|(table, _)| *table).collect();
    let rows: Vec<NameRow> = statement(PLACED)
        .bind::<Array<Text>, _>(tables)
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(|row| row.name).collect())
}

/// Executes the plan.
pub async fn carry_out(conn: &mut Conn, plan: &Plan) -> Result<(), StoreError> {
    conn.transaction(async |conn| {
        for statement in &plan.placing {
            conn.batch_execute(statement).await?;
        }
        Ok::<_, StoreError>(())
    })
    .await?;
    for statement in &plan.emptying {
        conn.batch_execute(statement).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
