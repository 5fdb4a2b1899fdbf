//! All SQL, and nothing but SQL.
//!
//! Every function takes a connection and the moment `now` where time matters, and returns model types. A
//! function named `_in_tx` must run inside a transaction; the others are whole by themselves. No policy
//! number stands here: limits, cut-offs and due times arrive as values. No statement calls `now()`; the
//! database's own clock is read by the statements of [`nodes`] alone.
//!
//! `diesel_async::RunQueryDsl` is imported only below this module: its blanket `execute` would shadow
//! async-graphql's.

pub mod apps;
pub mod attempts;
pub mod changes;
pub mod claim;
pub mod compose;
pub mod creation_keys;
pub mod deliveries;
pub mod distribution;
pub mod event_row;
pub mod events;
pub mod facts;
pub mod health;
pub mod idempotency;
pub mod installations;
pub mod live;
pub mod migrations;
pub mod nodes;
pub mod notice_queues;
pub mod notices;
pub mod page;
pub mod partitions;
pub mod publish;
#[cfg(test)]
mod queue_tests;
pub mod reach;
pub mod removal;
pub mod replay;
pub mod replay_keys;
mod schema;
pub mod sealed;
pub mod settle;
pub mod sql;
pub mod stats;
pub mod tallies;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod touch_tests;
mod transaction;
pub mod users;
pub mod vitals;
pub mod webhook_list;
pub mod webhook_row;
pub mod webhooks;

use std::time::Duration;

use diesel::ConnectionError;
use diesel_async::pooled_connection::deadpool::{Object, Pool, PoolError};
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod};
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};

/// One connection, checked out of the pool or not.
pub type Conn = AsyncPgConnection;

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No connection could be had: the database is away or too busy.
    #[error("the database cannot be reached: {0}")]
    Unavailable(String),
    /// A statement failed.
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
    /// Another transaction took first what this one was about to take; run again, it sees that.
    #[error("another transaction was quicker")]
    Overtaken,
    /// A row holds something no version of the server writes.
    #[error("inconsistent row in {table}: {what}")]
    Inconsistent {
        /// Where it stands.
        table: &'static str,
        /// What is wrong with it.
        what: String,
    },
}

impl StoreError {
    /// Whether the same transaction may succeed when run again: after a deadlock or a serialization failure, or if it was
    /// overtaken.
    pub fn is_transient(&self) -> bool {
        use diesel::result::{DatabaseErrorKind, Error};
        matches!(
            self,
            Self::Overtaken
                | Self::Database(Error::DatabaseError(DatabaseErrorKind::SerializationFailure, _))
        ) || matches!(self, Self::Database(Error::DatabaseError(_, info)) if info.message().contains("deadlock"))
    }

    /// Whether the database was away, rather than the statement wrong.
    pub fn is_unavailable(&self) -> bool {
        use diesel::result::{DatabaseErrorKind, Error};
        match self {
            Self::Unavailable(_) => true,
            // By their words where Diesel does not tell the SQLSTATE: Postgres ends a connection by saying so.
            Self::Database(Error::DatabaseError(kind, info)) => {
                matches!(
                    kind,
                    DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand
                ) || info.message().contains("statement timeout")
                    || info.message().starts_with("terminating connection")
            }
            Self::Database(Error::BrokenTransactionManager) => true,
            Self::Database(_) | Self::Overtaken | Self::Inconsistent { .. } => false,
        }
    }
}

impl From<PoolError> for StoreError {
    fn from(error: PoolError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// The database, as a pool of connections. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pool: Pool<Conn>,
}

impl Store {
    /// A pool of at most `connections` on `url`; connects when first asked.
    ///
    /// A checkout runs no query: a broken connection shows at its first statement.
    pub fn new(url: &str, connections: usize) -> Result<Self, StoreError> {
        let mut config = ManagerConfig::default();
        config.recycling_method = RecyclingMethod::Fast;
        Self::of(url, connections, config)
    }

    /// As [`new`](Self::new), but the database gives up a statement after `timeout`: what a caller waits for.
    ///
    /// And it does not sort what an index gives in order: it takes a webhook's rows in a day for one or two, since it does not
    /// know that a webhook lies in one lane, and would rather read and sort all of them than merge the days. Nor does it
    /// compile: statements that run for milliseconds would take longer to compile.
    pub fn with_statement_timeout(
        url: &str,
        connections: usize,
        timeout: Duration,
    ) -> Result<Self, StoreError> {
        let mut config = ManagerConfig::default();
        config.recycling_method = RecyclingMethod::Fast;
        let set = format!(
            "set statement_timeout = {}; set enable_sort = off; set jit = off",
            timeout.as_millis()
        );
        config.custom_setup = Box::new(move |url| {
            let set = set.clone();
            Box::pin(async move {
                let mut conn = Conn::establish(url).await?;
                conn.batch_execute(&set)
                    .await
                    .map_err(ConnectionError::CouldntSetupConfiguration)?;
                Ok(conn)
            })
        });
        Self::of(url, connections, config)
    }

    fn of(url: &str, connections: usize, config: ManagerConfig<Conn>) -> Result<Self, StoreError> {
        let manager = AsyncDieselConnectionManager::<Conn>::new_with_config(url, config);
        let pool = Pool::builder(manager)
            .max_size(connections)
            .build()
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(Self { pool })
    }

    /// A connection of the pool; waits while all are out.
    pub async fn conn(&self) -> Result<Object<Conn>, StoreError> {
        Ok(self.pool.get().await?)
    }

    /// Closes the pool; connections that are out are closed when they come back.
    pub fn close(&self) {
        self.pool.close();
    }
}
