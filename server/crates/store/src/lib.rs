//! All SQL statements, and nothing else.
//!
//! Every function takes a connection, and the time `now` where time matters, and returns model types. A function whose name
//! ends in `_in_tx` must run inside a transaction; the others are complete by themselves. There are no policy numbers here:
//! limits, cut-offs and due times are arguments. No statement calls `now()`; only the statements of [`nodes`] read the
//! database's own clock.
//!
//! `diesel_async::RunQueryDsl` is imported only below this module: its blanket `execute` would shadow that of async-graphql.

pub(crate) mod address;
pub mod apps;
pub mod changes;
pub(crate) mod connection;
pub mod deliveries;
pub mod delivery_counters;
pub mod distribution;
pub(crate) mod event_row;
pub mod events;
pub mod health;
pub mod idempotency;
pub mod installations;
pub mod kv_settings;
pub mod live;
pub mod migrations;
pub mod nodes;
pub mod notice_queues;
pub mod notices;
pub mod partitions;
pub mod preconditions;
mod queue;
pub mod retention;
mod schema;
pub mod sql;
pub mod stats;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod tls;
mod transaction;
mod upkeep;
pub mod users;
pub mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use diesel::ConnectionError;
use diesel_async::SimpleAsyncConnection;
use diesel_async::pooled_connection::deadpool::{Object, Pool, PoolError};
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod};

use self::address::Address;
use self::connection::sqlstate::{self, Meaning};
pub use self::connection::{Conn, Limits, Protection, Pulse};
pub use self::deliveries::{attempts, replay};
pub use self::queue::{claim, leases, publish, settle};
pub use self::sql::page;
pub use self::transaction::limit_lock_waits_in_tx;
pub use self::upkeep::UpkeepConnection;
pub use self::webhooks::{creation_keys, list as webhook_list, removal, row as webhook_row, sealed};
use tenterhook_clock as clock;

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No connection is available: the database is unreachable or too busy.
    #[error("the database cannot be reached: {0}")]
    Unavailable(String),
    /// The connection string cannot be used.
    #[error("the connection string of the database cannot be used: {0}")]
    Address(String),
    /// A statement failed.
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
    /// Another transaction took the same thing first. A new run of this transaction sees that.
    #[error("another transaction stored the same first")]
    Overtaken,
    /// The database cannot be used: it has another encoding, or accepts no writes.
    #[error(transparent)]
    Unusable(#[from] preconditions::Unusable),
    /// A migration could not run, for a reason other than a statement that Postgres refused.
    #[error("the schema's migrations cannot be run: {0}")]
    Migration(String),
    /// A row holds a value that no version of the server writes.
    #[error("inconsistent row in {table}: {what}")]
    Inconsistent {
        /// The name of the table.
        table: &'static str,
        /// What is wrong with the row.
        what: String,
    },
}

impl StoreError {
    /// Whether the same transaction may succeed when it is run again: after a deadlock or a serialization failure, or if it
    /// was overtaken.
    pub fn is_transient(&self) -> bool {
        use diesel::result::{DatabaseErrorKind, Error};
        matches!(
            self,
            Self::Overtaken
                | Self::Database(Error::DatabaseError(DatabaseErrorKind::SerializationFailure, _))
        )
    }

    /// Whether the database was unreachable, accepts no writes or took too long, and the statement itself is not at fault.
    /// An error that is neither this nor [transient](Self::is_transient) occurs again with the same values.
    ///
    /// Decided by Diesel's kinds, which [`connection`] sets from Postgres's codes, never by the text of a message. The error
    /// is then either [away](Self::is_away) or [timed out](Self::is_timed_out).
    pub fn is_unavailable(&self) -> bool {
        use diesel::result::{DatabaseErrorKind, Error};
        match self {
            Self::Unavailable(_) => true,
            Self::Database(Error::DatabaseError(kind, _)) => matches!(
                kind,
                DatabaseErrorKind::ClosedConnection
                    | DatabaseErrorKind::UnableToSendCommand
                    | DatabaseErrorKind::ReadOnlyTransaction
            ),
            Self::Database(Error::RollbackErrorOnCommit { .. } | Error::BrokenTransactionManager) => true,
            Self::Database(_)
            | Self::Overtaken
            | Self::Unusable(_)
            | Self::Migration(_)
            | Self::Inconsistent { .. }
            | Self::Address(_) => false,
        }
    }
}

impl StoreError {
    /// Whether the database is unreachable or accepts no writes: any other statement would have failed too.
    pub fn is_away(&self) -> bool {
        self.is_unavailable() && !self.is_timed_out()
    }

    /// Whether the database ended the statement because it took too long, or waited too long for a lock. The database is
    /// reachable and has stored nothing; a row that another transaction has locked may be the reason.
    pub fn is_timed_out(&self) -> bool {
        self.is_unavailable()
            && self
                .code()
                .is_some_and(|code| sqlstate::meaning(code) == Meaning::TimedOut)
    }

    /// Whether the statement waited for a lock longer than `lock_timeout`.
    pub fn is_locked_out(&self) -> bool {
        self.is_timed_out() && self.code() == Some(sqlstate::LOCK_NOT_AVAILABLE)
    }

    fn code(&self) -> Option<sqlstate::Code> {
        match self {
            Self::Database(error) => sqlstate::code_of(error),
            _ => None,
        }
    }
}

impl From<PoolError> for StoreError {
    fn from(error: PoolError) -> Self {
        use diesel_async::pooled_connection::PoolError as Inner;
        match error {
            PoolError::Backend(Inner::ConnectionError(error)) => error.into(),
            PoolError::Backend(Inner::QueryError(error)) => error.into(),
            error => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<ConnectionError> for StoreError {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::InvalidConnectionUrl(why) => Self::Address(why),
            ConnectionError::CouldntSetupConfiguration(error) => error.into(),
            error => Self::Unavailable(error.to_string()),
        }
    }
}

/// The database, as a pool of connections. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pool: Pool<Conn>,
    address: Arc<Address>,
    pulse: Arc<Pulse>,
    /// The maximum wait for a connection, including the time to open it.
    checkout: Duration,
}

/// What the connections of a pool are used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sessions {
    /// The time limits of a statement.
    pub limits: Limits,
    /// Whether they read for callers.
    ///
    /// If so, the database does not sort rows that an index returns in order. The planner does not know that a webhook
    /// belongs to one lane and expects one or two rows per webhook and day, so it would read and sort all rows instead of
    /// merging the days. JIT compilation is off too: for statements of a few milliseconds it takes longer than it saves.
    pub reads: bool,
}

/// A caller waits this much longer for a connection than for a statement or for connecting, so that the error names what
/// took too long.
const CHECKOUT: Duration = Duration::from_secs(1);
/// The settings of a session for reads.
const FOR_READS: &str = "set enable_sort = off; set jit = off";

impl Store {
    /// One connection to `url` with the time limit `statement`, for a command or a check at the start. It connects on first
    /// use.
    ///
    /// # Errors
    ///
    /// [`StoreError::Address`] if `url` is not a connection string.
    pub fn single(url: &str, statement: Duration) -> Result<Self, StoreError> {
        let sessions = Sessions {
            limits: Limits::of(statement),
            reads: false,
        };
        Self::open(url, 1, sessions, Arc::default())
    }

    /// A pool of at most `connections` to `url`; connects on first use. Pools of the same database share their `pulse`.
    ///
    /// A checkout runs no query: a broken connection fails at its first statement. A connection that has received nothing
    /// since another one stopped answering is replaced.
    ///
    /// # Errors
    ///
    /// [`StoreError::Address`] if `url` is not a connection string.
    pub fn open(
        url: &str,
        connections: usize,
        sessions: Sessions,
        pulse: Arc<Pulse>,
    ) -> Result<Self, StoreError> {
        let address = Arc::new(Address::parse(url)?);
        let mut config = ManagerConfig::default();
        config.recycling_method = RecyclingMethod::Fast;
        let connecting = connection::dial::altogether(&address, sessions.limits.ours);
        let checkout = connecting.max(sessions.limits.ours) + CHECKOUT;
        let (there, shared) = (address.clone(), pulse.clone());
        config.custom_setup = Box::new(move |_| {
            let (address, pulse) = (there.clone(), shared.clone());
            Box::pin(async move {
                let mut conn = Conn::open(&address, sessions.limits, pulse.clone()).await?;
                pulse.protected(conn.protection());
                if sessions.reads {
                    conn.batch_execute(FOR_READS)
                        .await
                        .map_err(ConnectionError::CouldntSetupConfiguration)?;
                }
                Ok(conn)
            })
        });
        let manager = AsyncDieselConnectionManager::<Conn>::new_with_config(url, config);
        let pool = Pool::builder(manager)
            .max_size(connections)
            .build()
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(Self {
            pool,
            address,
            pulse,
            checkout,
        })
    }

    /// A connection of the pool. If all are in use, waits at most as long as a statement may take.
    pub async fn conn(&self) -> Result<Object<Conn>, StoreError> {
        match clock::within(self.checkout, self.pool.get()).await {
            Ok(conn) => Ok(conn?),
            Err(_) => Err(StoreError::Unavailable(format!(
                "no connection was free within {:?}",
                self.checkout
            ))),
        }
    }

    /// The maximum wait for a statement's result, or for a connection.
    pub fn patience(&self) -> Duration {
        self.checkout
    }

    /// For how long the database has not answered; `None` if it answers.
    pub fn silence(&self) -> Option<Duration> {
        self.pulse.silence()
    }

    /// Whether the database has refused a change because it is read-only, and has accepted none since.
    pub fn refused_changes(&self) -> bool {
        self.pulse.refused_changes()
    }

    /// Records that the database has accepted a change.
    pub fn takes_changes(&self) {
        self.pulse.takes_changes();
    }

    /// Whether new transactions of this connection are read-only. Records the result, for the log.
    pub async fn is_read_only(&self, conn: &mut Conn) -> Result<bool, StoreError> {
        let is_read_only = preconditions::is_read_only(conn).await?;
        self.pulse.found_read_only(is_read_only);
        Ok(is_read_only)
    }

    /// Closes the pool; connections in use are closed when they are returned.
    pub fn close(&self) {
        self.pool.close();
    }
}
