//! What a load costs: CPU, memory, log and statements of servers, Postgres, callers and receivers.
//!
//! Promises counts of the operating system and of Postgres between two moments, never samples. Of Postgres all processes
//! count, those that have ended meanwhile too; of this process only the threads of callers and receivers. What cannot be
//! known from here is left out.

use std::collections::BTreeMap;

use serde::Serialize;
use tokio_postgres::{Client, NoTls};

use super::{publishing, receiver};
use crate::realtime::{self, Stopwatch};
use crate::system::{self, Resident};

const MIB: f64 = 1_048_576.0;
/// The name of every process of a Postgres.
const POSTGRES: &str = "postgres";
/// How many of the costliest statements are told.
const COSTLIEST: usize = 10;

const COUNTS: &str = "\
select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint, xact_commit + xact_rollback
from pg_stat_database where datname = $1";
const STATEMENTS: &str = "\
select queryid, min(query), sum(calls)::bigint, sum(total_exec_time)
from pg_stat_statements s join pg_database d on d.oid = s.dbid
where d.datname = $1 and queryid is not null group by queryid";

/// A look at what a database counts.
pub struct Statistics {
    client: Client,
    database: String,
    postmaster: Option<u32>,
    has_statements: bool,
}

impl Statistics {
    /// Connects to any database of its Postgres.
    ///
    /// # Errors
    ///
    /// When it cannot be reached.
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

    /// Writes what is not written yet, so that the work of before is not counted as that of after.
    ///
    /// # Errors
    ///
    /// When the connection has no right to.
    pub async fn checkpoint(&self) -> anyhow::Result<()> {
        Ok(self.client.batch_execute("checkpoint").await?)
    }
}

/// The process that started this one of Postgres, if it is on this machine.
fn postmaster(backend: i32) -> Option<u32> {
    let (parent, name) = system::parent(u32::try_from(backend).ok()?).ok()?;
    let (_, parent_name) = system::parent(parent).ok()?;
    (name == POSTGRES && parent_name == POSTGRES).then_some(parent)
}

/// What has been counted until a moment.
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

/// One statement's executions.
#[derive(Debug, Clone, Serialize)]
pub struct Statement {
    /// How often.
    pub calls: i64,
    /// Milliseconds in all.
    pub total_ms: f64,
    /// Its text, with its constants left out.
    pub text: String,
}

impl Count {
    /// Until now, with servers of these process ids.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
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

/// Seconds of CPU, in all and shared out.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Cpu {
    /// Of how many cores it has kept busy.
    pub cores: f64,
    /// Microseconds for each delivery; nothing when there was none.
    pub micros_per_delivery: Option<f64>,
}

/// A server's resident memory.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Memory {
    /// At the end, in MiB.
    pub end: f64,
    /// The most since it started, in MiB.
    pub peak: f64,
}

/// What a load cost. What could not be known is `None`.
#[derive(Debug, Clone, Serialize)]
pub struct Costs {
    /// For how long it was counted, in seconds.
    pub seconds: f64,
    /// Deliveries in that time.
    pub deliveries: u64,
    /// All server processes.
    pub server: Option<Cpu>,
    /// All processes of Postgres.
    pub postgres: Option<Cpu>,
    /// Those two.
    pub server_and_postgres: Option<Cpu>,
    /// The threads that publish.
    pub callers: Option<Cpu>,
    /// The thread that receives.
    pub receiver: Option<Cpu>,
    /// Of each server process.
    pub memory: Vec<Memory>,
    /// Bytes of write-ahead log for each delivery.
    pub wal_bytes_per_delivery: Option<f64>,
    /// Transactions for each delivery; Postgres may count some seconds late.
    pub transactions_per_delivery: Option<f64>,
    /// Statements for each delivery, where Postgres counts them.
    pub statements_per_delivery: Option<f64>,
    /// Milliseconds that the disk takes to keep a page: what a commit takes at least.
    pub sync_ms: Option<f64>,
    /// The statements that took longest.
    pub costliest: Vec<Costly>,
}

/// A statement that took long.
#[derive(Debug, Clone, Serialize)]
pub struct Costly {
    /// What was executed, and how often.
    #[serde(flatten)]
    pub statement: Statement,
    /// Milliseconds each time.
    pub mean_ms: f64,
    /// Its part of the time of all statements, of 1.
    pub share: f64,
}

impl Costs {
    /// Between two moments, in which there were so many deliveries.
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
            // A thread that has ended takes what it had with it.
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

/// What was executed between the two.
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
