//! A separate database for each test, on one cluster for the whole test run.
//!
//! Data that many tests start with is created once, in a template: the schema, the partitions of their days, shared rows.
//! Each test gets a copy, which takes a few milliseconds; creating forty partitions takes a quarter of a second. Needs a
//! multi-threaded runtime.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use diesel_async::{AsyncConnection, RunQueryDsl, SimpleAsyncConnection};
use jiff::civil::Date;
use tokio::sync::{Mutex, OnceCell};

use super::connection::sqlstate::{self, Code};
use super::{Conn, Limits, Sessions, Store, StoreError, migrations, partitions};
use tenterhook_embedded_postgres::EmbeddedPostgres;

/// The template with only the schema.
const MIGRATED: &str = "template_of_tests";

static CLUSTER: OnceCell<EmbeddedPostgres> = OnceCell::const_new();
static COPYING: Mutex<()> = Mutex::const_new(());
/// The existing templates, by their content.
static TEMPLATES: Mutex<BTreeMap<String, String>> = Mutex::const_new(BTreeMap::new());
static NEXT: AtomicU32 = AtomicU32::new(0);

/// The URL of an empty database without any tables.
pub async fn empty_database() -> String {
    url_of(&copy_of("template0").await).await
}

/// Time limits for tests: a machine under full load is slow, and few tests are about limits.
pub const AMPLE: Limits = Limits {
    database: Some(Duration::from_secs(600)),
    ours: Duration::from_secs(602),
};

/// A migrated database with partitions for these days, and its URL.
pub async fn database(days: RangeInclusive<Date>) -> (Store, String) {
    database_within(AMPLE, days).await
}

/// Like [`database`], with these limits for the store's statements.
pub async fn database_within(limits: Limits, days: RangeInclusive<Date>) -> (Store, String) {
    Template::of_days(days).await.copy_within(limits).await
}

/// A database that is copied for tests.
pub struct Template(String);

impl Template {
    /// A migrated template with partitions for these days.
    pub async fn of_days(days: RangeInclusive<Date>) -> Self {
        let contents = format!("partitions from {} to {}", days.start(), days.end());
        let migrated = Self(MIGRATED.to_owned());
        let fill = async |conn: &mut Conn| {
            partitions::ensure(conn, *days.start(), *days.end())
                .await
                .expect("partitions can be made");
        };
        migrated.with(&contents, fill).await
    }

    /// This template plus the rows that `fill` adds. `contents` names them: they are added once, for all callers.
    pub async fn with(&self, contents: &str, fill: impl AsyncFnOnce(&mut Conn)) -> Self {
        let mut templates = TEMPLATES.lock().await;
        let contents = format!("{}, {contents}", self.0);
        if let Some(made) = templates.get(&contents) {
            return Self(made.clone());
        }
        let name = copy_of(&self.0).await;
        let mut conn = Conn::establish(&url_of(&name).await)
            .await
            .expect("the cluster runs");
        fill(&mut conn).await;
        // A template can be copied only while no session is connected to it.
        drop(conn);
        templates.insert(contents, name.clone());
        Self(name)
    }

    /// A copy of the template, and its URL.
    pub async fn copy(&self) -> (Store, String) {
        self.copy_within(AMPLE).await
    }

    async fn copy_within(&self, limits: Limits) -> (Store, String) {
        let url = url_of(&copy_of(&self.0).await).await;
        let sessions = Sessions { limits, reads: false };
        let store = Store::open(&url, 10, sessions, Arc::default()).expect("the cluster's URL is one");
        (store, url)
    }
}

async fn url_of(name: &str) -> String {
    CLUSTER.get_or_init(start).await.url(name)
}

/// The error of a statement that Postgres ends with this code.
pub fn error_of(code: Code) -> StoreError {
    sqlstate::coded(code, Box::new("an error of a test".to_owned())).into()
}

/// The name of a new database, a copy of this one.
async fn copy_of(template: &str) -> String {
    let cluster = CLUSTER.get_or_init(start).await;
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    // Postgres refuses to copy a database that another session is copying from.
    let _copying = COPYING.lock().await;
    execute(
        cluster,
        &format!("create database {name} template {template} strategy file_copy"),
    )
    .await;
    name
}

/// Sessions of the connection's database that wait for a lock, to be [counted](count).
pub const WAITING: &str = "pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";

/// The number of rows in `table`.
pub async fn count(conn: &mut Conn, table: &str) -> i64 {
    #[derive(diesel::QueryableByName)]
    struct Count {
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        count: i64,
    }
    let rows: Count = diesel::sql_query(format!("select count(*) as count from {table}"))
        .get_result(conn)
        .await
        .expect("a table can be counted");
    rows.count
}

/// The number of blocks read from each table and index, by name; those that were not used are missing.
pub type Touched = BTreeMap<String, i64>;

/// Counts the blocks that `work` reads, by the database's own counters for the transaction, and rolls back what it wrote.
/// Unlike an explained plan, this measures the actual statements, with their actual values and plans.
pub async fn touched<T>(conn: &mut Conn, work: impl AsyncFnOnce(&mut Conn) -> T) -> (T, Touched) {
    conn.batch_execute("begin").await.expect("a transaction begins");
    let before = blocks(conn).await;
    let result = work(conn).await;
    let mut touched = blocks(conn).await;
    conn.batch_execute("rollback").await.expect("a transaction ends");
    for (name, count) in &mut touched {
        *count -= before.get(name).copied().unwrap_or(0);
    }
    touched.retain(|_, count| *count > 0);
    (result, touched)
}

async fn blocks(conn: &mut Conn) -> Touched {
    #[derive(diesel::QueryableByName)]
    struct Blocks {
        #[diesel(sql_type = diesel::sql_types::Text)]
        name: String,
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        count: i64,
    }
    let rows: Vec<Blocks> = diesel::sql_query(
        "select relname::text as name, pg_stat_get_xact_blocks_fetched(oid) as count from pg_class
         where relnamespace = 'public'::regnamespace and relkind in ('r', 'i')",
    )
    .load(conn)
    .await
    .expect("the statistics can be read");
    rows.into_iter().map(|row| (row.name, row.count)).collect()
}

async fn start() -> EmbeddedPostgres {
    let cluster = EmbeddedPostgres::temporary()
        .await
        .expect("a cluster for tests starts");
    execute(
        &cluster,
        &format!("create database {MIGRATED} template template0"),
    )
    .await;
    migrations::run_pending(&cluster.url(MIGRATED))
        .await
        .expect("an empty database can be migrated");
    cluster
}

async fn execute(cluster: &EmbeddedPostgres, sql: &str) {
    let mut conn = Conn::establish(&cluster.url("postgres"))
        .await
        .expect("the cluster runs");
    conn.batch_execute(sql).await.expect("a database can be made");
}
