//! The connection of the daily maintenance.

use std::time::Duration;

use diesel_async::pooled_connection::PoolableConnection;

use crate::connection::{Conn, Limits};
use crate::{Store, StoreError};

/// How long Postgres may work on one statement of the daily maintenance.
const UPKEEP: Duration = Duration::from_secs(300);

/// A connection outside the pool, which is opened when it is first used and replaced when it breaks. A new session costs
/// Postgres 60 ms of CPU, because it reads the catalogue again; so the steps of one day share one.
pub struct UpkeepConnection<'a> {
    store: &'a Store,
    open: Option<Conn>,
}

impl Store {
    /// A connection for statements that may take minutes: making partitions, and deleting data past its retention.
    pub fn for_upkeep(&self) -> UpkeepConnection<'_> {
        UpkeepConnection {
            store: self,
            open: None,
        }
    }
}

impl UpkeepConnection<'_> {
    /// The connection.
    ///
    /// # Errors
    ///
    /// If a new connection is needed and the database cannot be reached.
    pub async fn get(&mut self) -> Result<&mut Conn, StoreError> {
        if self.open.as_mut().is_some_and(PoolableConnection::is_broken) {
            self.open = None;
        }
        let conn = match self.open.take() {
            Some(conn) => conn,
            None => {
                let pulse = self.store.pulse.clone();
                Conn::open(&self.store.address, Limits::of(UPKEEP), pulse).await?
            }
        };
        Ok(self.open.insert(conn))
    }
}
