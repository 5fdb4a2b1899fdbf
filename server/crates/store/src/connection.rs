//! A connection to the database. All of the server's statements use it.
//!
//! Guarantees: no statement waits longer than the connection's [`limit`](Limits), in real time and whatever the network
//! does. A connection is not used again if it exceeds the limit, if the database has ended it, or if the database refuses
//! changes on it. The kind of an error follows from [`sqlstate`] and Postgres's code, whatever the language of the message.
//!
//! Wraps Diesel's connection, which has neither time limits nor codes.

pub(crate) mod dial;
mod line;
mod pulse;
pub mod sqlstate;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use diesel::connection::{CacheSize, Instrumentation};
use diesel::pg::Pg;
use diesel::query_builder::{AsQuery, QueryFragment, QueryId};
use diesel::{ConnectionError, ConnectionResult, QueryResult};
use diesel_async::pooled_connection::PoolableConnection;
use diesel_async::{
    AnsiTransactionManager, AsyncConnection, AsyncConnectionCore, AsyncPgConnection, SimpleAsyncConnection,
};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

use self::line::Line;
pub use self::pulse::Pulse;
use super::address::Address;
use tenterhook_clock as clock;

/// The time limit for a statement in the database, unless a pool sets another.
pub(crate) const STATEMENT: Duration = Duration::from_secs(10);
/// How much longer than the database the client waits, so that the database's time-out message can arrive.
const BEYOND: Duration = Duration::from_secs(2);

/// Time limits of a connection's statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// When the database itself cancels a statement, or ends an idle transaction. None: never.
    pub database: Option<Duration>,
    /// When the client gives up the connection.
    pub ours: Duration,
}

impl Limits {
    /// The database cancels after `statement`, and the client gives up a little later: by then the database does not answer
    /// at all.
    pub fn of(statement: Duration) -> Self {
        Self {
            database: Some(statement),
            ours: statement.saturating_add(BEYOND),
        }
    }

    /// For statements that rewrite tables: the database has no limit, and the client gives up after `limit`.
    pub fn long(limit: Duration) -> Self {
        Self {
            database: None,
            ours: limit,
        }
    }

    /// The statements that set the database's limits in a session. The second one is for a transaction whose client no
    /// longer answers: without it, its locks would stay until Postgres notices.
    fn statements(self) -> String {
        let milliseconds = self.database.map_or(0, |limit| limit.as_millis());
        format!(
            "set statement_timeout = {milliseconds}; set idle_in_transaction_session_timeout = {milliseconds}"
        )
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::of(STATEMENT)
    }
}

/// How a connection is protected on the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protection {
    /// A Unix socket: nothing leaves the machine.
    Local,
    /// Plain text, and the reason.
    None(&'static str),
    /// TLS.
    Tls {
        /// The protocol's version, such as `TLSv1.3`.
        protocol: String,
        /// The cipher suite's name.
        cipher: String,
        /// What was checked in the certificate.
        checked: &'static str,
    },
}

impl std::fmt::Display for Protection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local => f.write_str("by a Unix socket"),
            Self::None(why) => write!(f, "not encrypted ({why})"),
            Self::Tls {
                protocol,
                cipher,
                checked,
            } => write!(f, "encrypted ({protocol}, {cipher}; {checked})"),
        }
    }
}

/// One connection, in the pool or outside of it.
pub struct Conn {
    inner: AsyncPgConnection,
    line: Arc<Line>,
    protection: Protection,
}

impl Conn {
    fn new(inner: AsyncPgConnection, line: Arc<Line>, protection: Protection) -> Self {
        Self {
            inner,
            line,
            protection,
        }
    }

    /// Connects and sets the time limits of the session.
    pub async fn open(address: &Address, limits: Limits, pulse: Arc<Pulse>) -> ConnectionResult<Self> {
        let mut conn = dial::dial(address, limits.ours, pulse).await?;
        conn.batch_execute(&limits.statements())
            .await
            .map_err(ConnectionError::CouldntSetupConfiguration)?;
        Ok(conn)
    }

    /// How it is protected.
    pub fn protection(&self) -> &Protection {
        &self.protection
    }

    /// Whether the connection will not be used again.
    pub(crate) fn is_given_up(&self) -> bool {
        self.line.is_given_up()
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        self.line.close();
    }
}

impl SimpleAsyncConnection for Conn {
    async fn batch_execute(&mut self, query: &str) -> QueryResult<()> {
        self.line.statement(self.inner.batch_execute(query)).await
    }
}

impl AsyncConnectionCore for Conn {
    type ExecuteFuture<'conn, 'query> = BoxFuture<'conn, QueryResult<usize>>;
    type LoadFuture<'conn, 'query> = BoxFuture<'conn, QueryResult<Self::Stream<'conn, 'query>>>;
    type Stream<'conn, 'query> = BoxStream<'static, QueryResult<Self::Row<'conn, 'query>>>;
    type Row<'conn, 'query> = <AsyncPgConnection as AsyncConnectionCore>::Row<'conn, 'query>;
    type Backend = Pg;

    fn load<'conn, 'query, T>(&'conn mut self, source: T) -> Self::LoadFuture<'conn, 'query>
    where
        T: AsQuery + 'query,
        T::Query: QueryFragment<Self::Backend> + QueryId + 'query,
    {
        let line = self.line.clone();
        let loading = AsyncConnectionCore::load(&mut self.inner, source);
        Box::pin(async move {
            let began = clock::monotonic();
            let rows = line.statement(loading).await?;
            Ok(line.rows(rows, began).boxed())
        })
    }

    fn execute_returning_count<'conn, 'query, T>(
        &'conn mut self,
        source: T,
    ) -> Self::ExecuteFuture<'conn, 'query>
    where
        T: QueryFragment<Self::Backend> + QueryId + 'query,
    {
        let line = self.line.clone();
        let executing = AsyncConnectionCore::execute_returning_count(&mut self.inner, source);
        Box::pin(async move { line.statement(executing).await })
    }
}

impl AsyncConnection for Conn {
    type TransactionManager = AnsiTransactionManager;

    async fn establish(database_url: &str) -> ConnectionResult<Self> {
        let address = Address::parse(database_url)
            .map_err(|error| ConnectionError::InvalidConnectionUrl(error.to_string()))?;
        Self::open(&address, Limits::default(), Arc::default()).await
    }

    fn transaction_state(&mut self) -> &mut AnsiTransactionManager {
        self.inner.transaction_state()
    }

    fn instrumentation(&mut self) -> &mut dyn Instrumentation {
        self.inner.instrumentation()
    }

    fn set_instrumentation(&mut self, instrumentation: impl Instrumentation) {
        self.inner.set_instrumentation(instrumentation);
    }

    fn set_prepared_statement_cache_size(&mut self, size: CacheSize) {
        self.inner.set_prepared_statement_cache_size(size);
    }
}

impl PoolableConnection for Conn {
    fn is_broken(&mut self) -> bool {
        self.is_given_up() || self.line.is_suspect() || self.inner.is_broken()
    }
}

#[cfg(test)]
mod tests;
