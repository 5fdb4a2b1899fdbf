//! Transactions that are run again after a deadlock or serialization failure, and limits for lock waits.

use std::time::Duration;

use diesel::sql_types::Text;
use diesel_async::{AsyncConnection, RunQueryDsl, TransactionManager};

use super::sql::statement;
use super::{Conn, Store, StoreError};

const LIMIT_WAITS: &str = "select set_config('lock_timeout', $1, true)";

/// The maximum of runs of a transaction. Deadlocks and serialization failures are rare and random; one that occurs this
/// often is not.
const RUNS: u32 = 5;

type Manager = <Conn as AsyncConnection>::TransactionManager;

/// An async closure over a connection whose future is `Send`: `AsyncFn` alone cannot express that.
pub trait Work<C, R>: Fn(C) -> <Self as Work<C, R>>::Doing {
    /// The future of the closure.
    type Doing: Future<Output = R>;
}

impl<F, C, Doing, R> Work<C, R> for F
where
    F: Fn(C) -> Doing,
    Doing: Future<Output = R>,
{
    type Doing = Doing;
}

impl Store {
    /// Runs `work` in a transaction on a connection of the pool and commits it if it succeeds. After a deadlock or a
    /// serialization failure it is run again from the start, so it must do nothing except use its connection.
    pub async fn in_tx<'a, T, F>(&'a self, work: F) -> Result<T, StoreError>
    where
        for<'c> F: AsyncFn(&'c mut Conn) -> Result<T, StoreError>
            + Work<&'c mut Conn, Result<T, StoreError>, Doing: Send>
            + Send
            + Sync
            + 'a,
        T: Send + 'a,
    {
        let mut conn = self.conn().await?;
        let mut run = 1;
        loop {
            match once(&mut conn, &work).await {
                Err(error) if error.is_transient() && run < RUNS => {
                    tracing::debug!(%error, run, "running a transaction again");
                    run += 1;
                }
                answer => return answer,
            }
        }
    }
}

async fn once<T, F>(conn: &mut Conn, work: &F) -> Result<T, StoreError>
where
    for<'c> F: AsyncFn(&'c mut Conn) -> Result<T, StoreError>
        + Work<&'c mut Conn, Result<T, StoreError>, Doing: Send>
        + Sync,
    T: Send,
{
    Manager::begin_transaction(conn).await?;
    match work(conn).await {
        Ok(value) => {
            Manager::commit_transaction(conn).await?;
            Ok(value)
        }
        Err(error) => {
            // If the rollback fails too, the connection is broken and the pool drops it. The first error is more
            // informative.
            Manager::rollback_transaction(conn).await.ok();
            Err(error)
        }
    }
}

/// For the rest of the transaction, a statement fails if it waits for one lock longer than `limit`. `None`: the time limit
/// of statements applies.
pub async fn limit_lock_waits_in_tx(conn: &mut Conn, limit: Option<Duration>) -> Result<(), StoreError> {
    let Some(limit) = limit else { return Ok(()) };
    statement(LIMIT_WAITS)
        .bind::<Text, _>(format!("{}ms", limit.as_millis()))
        .execute(conn)
        .await?;
    Ok(())
}
