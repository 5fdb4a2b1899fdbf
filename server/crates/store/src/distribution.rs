//! Distribution: how the tables lie on a Citus cluster, and the statements that bring them there in place.
//!
//! Promises a verdict on every table (a test compares with the migrated database), so that no migration adds one that is
//! forgotten; that what is distributed already is left alone, so that running again does what is left; and that all of it
//! happens in one transaction or none of it. Rows and foreign keys stay.
//!
//! Does not promise that anything is faster there: it is for a database that has outgrown a machine. Nothing can be
//! served meanwhile, since each table is locked until the end, and nothing brings the tables back.

use diesel::QueryableByName;
use diesel::sql_types::{Array, Bool, Text};
use diesel_async::{AsyncConnection, RunQueryDsl, SimpleAsyncConnection};

use super::sql::statement;
use super::{Conn, StoreError};

/// How a table lies on a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// By `lane`, its shards beside those of every other such table: what belongs to one lane is on one machine, and
    /// written by one transaction there.
    ByLane,
    /// A copy on every machine: small, seldom written, and joined with tables that are distributed.
    Everywhere,
    /// Left on the coordinator, unknown to Citus: the changes feed counts transactions, and one machine's are not
    /// another's; and who is alive is told by the database's clock, which Citus lets no statement about its tables ask.
    Coordinator,
}

/// Every table, in the order in which they are placed: one that a foreign key refers to comes before the one that has it.
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

/// The table beside whose shards those of all others lie.
const FIRST: &str = "webhooks";

const HAS_CITUS: &str = "select exists (select from pg_extension where extname = 'citus') as yes";

/// Read from the catalogue of Citus, whose views are only there with it.
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

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// In one transaction, in this order.
    pub placing: Vec<String>,
    /// Afterwards: the rows that are left behind where they lay before are given up.
    pub emptying: Vec<String>,
}

impl Plan {
    /// For a cluster on which these tables are placed already; `shards` only counts before the first one is.
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

    /// Whether every table is where it belongs.
    pub fn is_empty(&self) -> bool {
        self.placing.is_empty()
    }
}

/// Whether the database has the extension.
pub async fn has_citus(conn: &mut Conn) -> Result<bool, StoreError> {
    Ok(statement(HAS_CITUS).get_result::<YesRow>(conn).await?.yes)
}

/// Which tables are placed already. Fails without the extension.
pub async fn placed(conn: &mut Conn) -> Result<Vec<String>, StoreError> {
    let tables: Vec<&str> = TABLES.iter().map(|(table, _)| *table).collect();
    let rows: Vec<NameRow> = statement(PLACED)
        .bind::<Array<Text>, _>(tables)
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(|row| row.name).collect())
}

/// Carries the plan out.
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
