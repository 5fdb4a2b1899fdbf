//! The costs of a load: CPU, memory, WAL and statements of servers, Postgres, callers and receivers.
//!
//! The numbers are counters of the operating system and of Postgres at two moments, never samples. All processes of
//! Postgres count, also those that ended in between. Of this process only the threads of callers and receivers count.
//! Numbers that cannot be read here are left out.

use std::collections::BTreeMap;

use serde::Serialize;
use tokio_postgres::{Client, NoTls};

use tenterhook_harness::realtime::{self, Stopwatch};

use super::{publishing, receiver};
use crate::system::{self, Resident};

const MIB: f64 = 1_048_576.0;
/// The name of every process of Postgres.
const POSTGRES: &str = "postgres";
/// Number of statements in the list of the costliest.
const COSTLIEST: usize = 10;

const COUNTS: &str = "\
select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint, xact_commit + xact_rollback
from pg_stat_database where datname = $1";
const STATEMENTS: &str = "\
select queryid, min(query), sum(calls)::bigint, sum(total_exec_time)
from pg_stat_statements s join pg_database d on d.oid = s.dbid
where d.datname = $1 and queryid is not null group by queryid";

/// A connection that reads the statistics of a database.
pub struct Statistics {
    client: Client,
    database: String,
    postmaster: Option<u32>,
    has_statements: bool,
}

impl Statistics {
    /// Connects to any database of the same Postgres.
    ///
    /// # Errors
    ///
    /// If it cannot be reached.
    pub async fn look(url: &str, database: &str) -> anyhow::Result<Self> {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        realtime::spawn(async move { drop(connection.await) });
        let extension =
            "select pg_backend_pid(), exists (select from pg_extension where extname = 'pg_stat_statements')";
        let row = client.query_one(extension, &[]).await?;
        Ok(Self {
            postmaster: postmaster(row.get(0)),
            has_statements: row.get(1),
            client,
            database: database.to_owned(),
        })
    }

    /// Runs a checkpoint, so that writes from before are not counted later.
    ///
    /// # Errors
    ///
    /// If the connection has no right to.
    pub async fn checkpoint(&self) -> anyhow::Result<()> {
        Ok(self.client.batch_execute("checkpoint").await?)
    }
}

/// The parent process of this backend, if Postgres runs on this machine.
fn postmaster(backend: i32) -> Option<u32> {
    let (parent, name) = system::parent(u32::try_from(backend).ok()?).ok()?;
    let (_, parent_name) = system::parent(parent).ok()?;
    (name == POSTGRES && parent_name == POSTGRES).then_some(parent)
}

/// The counters at one moment.
#[derive(Debug, Clone)]
pub struct Count {
    /// Seconds on the run's stopwatch.
    pub at: f64,
    server_cpu: Option<f64>,
    postgres_cpu: Option<f64>,
    caller_cpu: Option<f64>,
    receiver_cpu: Option<f64>,
    wal_bytes: Option<i64>,
    transactions: Option<i64>,
    statements: Option<BTreeMap<i64, Statement>>,
}

/// The executions of one statement.
#[derive(Debug, Clone, Serialize)]
pub struct Statement {
    /// Number of executions.
    pub calls: i64,
    /// Total milliseconds.
    pub total_ms: f64,
    /// The text, without its constants.
    pub text: String,
}

impl Count {
    /// Reads the counters, with servers of these process ids.
    ///
    /// # Errors
    ///
    /// If the database does not respond.
    pub async fn now(
        watch: Stopwatch,
        servers: &[u32],
        statistics: Option<&Statistics>,
    ) -> anyhow::Result<Self> {
        let (mut wal_bytes, mut transactions, mut statements) = (None, None, None);
        if let Some(statistics) = statistics {
            if statistics.has_statements {
                let rows = statistics
                    .client
                    .query(STATEMENTS, &[&statistics.database])
                    .await?;
                let statement = |row: &tokio_postgres::Row| {
                    let statement = Statement {
                        text: row.get(1),
                        calls: row.get(2),
                        total_ms: row.get(3),
                    };
                    (row.get(0), statement)
                };
                statements = Some(rows.iter().map(statement).collect());
            }
            let row = statistics
                .client
                .query_one(COUNTS, &[&statistics.database])
                .await?;
            (wal_bytes, transactions) = (Some(row.get(0)), Some(row.get(1)));
        }
        let callers = [publishing::THREAD, publishing::PACER];
        Ok(Self {
            at: watch.seconds(),
            server_cpu: servers.iter().map(|process| system::cpu(*process).ok()).sum(),
            postgres_cpu: statistics
                .and_then(|statistics| statistics.postmaster)
                .and_then(|postmaster| system::cpu(postmaster).ok()),
            caller_cpu: callers.iter().map(|name| system::cpu_of_threads(name).ok()).sum(),
            receiver_cpu: system::cpu_of_threads(receiver::THREAD).ok(),
            wal_bytes,
            transactions,
            statements,
        })
    }
}

/// Use of CPU.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Cpu {
    /// Number of cores that it kept busy on average.
    pub cores: f64,
    /// Microseconds per delivery; `None` if there was no delivery.
    pub micros_per_delivery: Option<f64>,
}

/// A server's resident memory.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Memory {
    /// MiB at the end.
    pub end: f64,
    /// The most since the process started, in MiB.
    pub peak: f64,
}

/// The costs of a load. `None` for what could not be read.
#[derive(Debug, Clone, Serialize)]
pub struct Costs {
    /// The time between the two moments, in seconds.
    pub seconds: f64,
    /// Deliveries in that time.
    pub deliveries: u64,
    /// All server processes.
    pub server: Option<Cpu>,
    /// All processes of Postgres.
    pub postgres: Option<Cpu>,
    /// The sum of these two.
    pub server_and_postgres: Option<Cpu>,
    /// The threads that publish.
    pub callers: Option<Cpu>,
    /// The thread that receives.
    pub receiver: Option<Cpu>,
    /// Per server process.
    pub memory: Vec<Memory>,
    /// Bytes of WAL per delivery.
    pub wal_bytes_per_delivery: Option<f64>,
    /// Transactions per delivery. Postgres may count them some seconds late.
    pub transactions_per_delivery: Option<f64>,
    /// Statements per delivery, if Postgres counts them.
    pub statements_per_delivery: Option<f64>,
    /// Milliseconds that the disk needs to write a page durably: the least time of a commit.
    pub sync_ms: Option<f64>,
    /// The statements with the longest total time.
    pub costliest: Vec<Costly>,
}

/// A statement with a long total time.
#[derive(Debug, Clone, Serialize)]
pub struct Costly {
    /// The statement and its executions.
    #[serde(flatten)]
    pub statement: Statement,
    /// Mean milliseconds of an execution.
    pub mean_ms: f64,
    /// Fraction of the total time of all statements, from 0 to 1.
    pub share: f64,
}

impl Costs {
    /// The costs between two moments, with this number of deliveries.
    pub fn between(
        start: &Count,
        end: &Count,
        deliveries: u64,
        servers: &[u32],
        sync_ms: Option<f64>,
    ) -> Self {
        let seconds = end.at - start.at;
        let each = |amount: f64| (deliveries > 0).then(|| amount / deliveries as f64);
        let cpu = |taken: fn(&Count) -> Option<f64>| {
            // The counter of an ended thread is lost, so the difference can be negative.
            let taken = (taken(end)? - taken(start)?).max(0.0);
            Some(Cpu {
                cores: taken / seconds,
                micros_per_delivery: each(taken * 1e6),
            })
        };
        let count = |counted: fn(&Count) -> Option<i64>| each((counted(end)? - counted(start)?) as f64);
        let statements = difference(start, end);
        let executed: i64 = statements.iter().flatten().map(|statement| statement.calls).sum();
        let has_servers = !servers.is_empty();
        Self {
            seconds,
            deliveries,
            server: has_servers.then(|| cpu(|count| count.server_cpu)).flatten(),
            postgres: cpu(|count| count.postgres_cpu),
            server_and_postgres: has_servers
                .then(|| cpu(|count| Some(count.server_cpu? + count.postgres_cpu?)))
                .flatten(),
            callers: cpu(|count| count.caller_cpu),
            receiver: cpu(|count| count.receiver_cpu),
            memory: servers
                .iter()
                .filter_map(|process| memory(*process).ok())
                .collect(),
            wal_bytes_per_delivery: count(|count| count.wal_bytes),
            transactions_per_delivery: count(|count| count.transactions),
            statements_per_delivery: statements.as_ref().and_then(|_| each(executed as f64)),
            sync_ms,
            costliest: costliest(statements.unwrap_or_default()),
        }
    }
}

fn memory(process: u32) -> anyhow::Result<Memory> {
    let mib = |which| anyhow::Ok(system::memory(process, which)? as f64 / MIB);
    Ok(Memory {
        end: mib(Resident::Now)?,
        peak: mib(Resident::Peak)?,
    })
}

/// The executions between two moments.
fn difference(start: &Count, end: &Count) -> Option<Vec<Statement>> {
    let (start, end) = (start.statements.as_ref()?, end.statements.as_ref()?);
    let since = end.iter().map(|(id, statement)| {
        let before = start
            .get(id)
            .map_or((0, 0.0), |before| (before.calls, before.total_ms));
        Statement {
            calls: statement.calls - before.0,
            total_ms: statement.total_ms - before.1,
            text: statement.text.clone(),
        }
    });
    Some(since.filter(|statement| statement.calls > 0).collect())
}

fn costliest(mut statements: Vec<Statement>) -> Vec<Costly> {
    let all: f64 = statements.iter().map(|statement| statement.total_ms).sum();
    statements.sort_by(|one, other| other.total_ms.total_cmp(&one.total_ms));
    statements.truncate(COSTLIEST);
    let costly = |statement: Statement| Costly {
        mean_ms: statement.total_ms / statement.calls as f64,
        share: statement.total_ms / all,
        statement,
    };
    statements.into_iter().map(costly).collect()
}
