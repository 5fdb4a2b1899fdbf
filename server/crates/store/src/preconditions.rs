//! The conditions that a database must meet before the server uses it.
//!
//! Guarantees: a database that cannot store everything the API accepts, or that accepts no changes, is refused at start,
//! with advice. Later its errors would look like faults of single rows.

use diesel::QueryableByName;
use diesel::sql_types::{Bool, Text};
use diesel_async::RunQueryDsl;

use super::sql::statement;
use super::{Conn, StoreError};

/// The only encoding that can store every text of the API and of receivers.
const ENCODING: &str = "UTF8";

/// Outside a transaction, `transaction_read_only` shows the default of every new transaction.
const READ: &str = "\
select current_setting('server_encoding') as server_encoding, current_setting('client_encoding') as client_encoding,
       pg_is_in_recovery() as is_standby, current_setting('transaction_read_only')::boolean as is_read_only";

const IS_READ_ONLY: &str = "select current_setting('transaction_read_only')::boolean as is_read_only";

/// Why a database cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The encoding is not Unicode: a text with a character outside of it could never be written.
    #[error(
        "the database's encoding is {0} and must be {ENCODING}: create another one with `create database … encoding \
         '{ENCODING}' template template0` and set DATABASE_URL to it"
    )]
    Encoding(String),
    /// Texts would be converted in transit. The driver requests UTF-8, so a pooler in between has changed the encoding.
    #[error(
        "the connection's client_encoding is {0} and must be {ENCODING}: a connection pooler must pass on the client's setting"
    )]
    ClientEncoding(String),
    /// A standby accepts no changes.
    #[error(
        "the database is a standby, which accepts no changes: DATABASE_URL must name the primary (if it names several hosts, \
         add target_session_attrs=read-write)"
    )]
    Standby,
    /// `default_transaction_read_only` is on.
    #[error(
        "the database is read-only: set default_transaction_read_only to off for it and for the role in DATABASE_URL"
    )]
    ReadOnly,
}

#[derive(QueryableByName)]
struct ConditionsRow {
    #[diesel(sql_type = Text)]
    server_encoding: String,
    #[diesel(sql_type = Text)]
    client_encoding: String,
    #[diesel(sql_type = Bool)]
    is_standby: bool,
    #[diesel(sql_type = Bool)]
    is_read_only: bool,
}

/// Refuses a database that cannot be used.
///
/// # Errors
///
/// [`StoreError::Unusable`], or Postgres's error if the check itself fails.
pub async fn check(conn: &mut Conn) -> Result<(), StoreError> {
    let found: ConditionsRow = statement(READ).get_result(conn).await?;
    Ok(found.judge()?)
}

#[derive(QueryableByName)]
struct IsReadOnlyRow {
    #[diesel(sql_type = Bool)]
    is_read_only: bool,
}

/// Whether a new transaction of this connection would be read-only, as on a standby.
pub async fn is_read_only(conn: &mut Conn) -> Result<bool, StoreError> {
    let row: IsReadOnlyRow = statement(IS_READ_ONLY).get_result(conn).await?;
    Ok(row.is_read_only)
}

impl ConditionsRow {
    fn judge(self) -> Result<(), Unusable> {
        if self.server_encoding != ENCODING {
            return Err(Unusable::Encoding(self.server_encoding));
        }
        if self.client_encoding != ENCODING {
            return Err(Unusable::ClientEncoding(self.client_encoding));
        }
        if self.is_standby {
            return Err(Unusable::Standby);
        }
        if self.is_read_only {
            return Err(Unusable::ReadOnly);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use diesel_async::{AsyncConnection, SimpleAsyncConnection};

    use super::*;
    use crate::testing;

    async fn judged(conn: &mut Conn) -> Option<Unusable> {
        match check(conn).await {
            Ok(()) => None,
            Err(StoreError::Unusable(why)) => Some(why),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn a_standby_takes_no_changes() {
        let standby = ConditionsRow {
            server_encoding: ENCODING.to_owned(),
            client_encoding: ENCODING.to_owned(),
            is_standby: true,
            is_read_only: true,
        };
        assert_eq!(standby.judge(), Err(Unusable::Standby));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn only_a_writable_utf8_database_is_usable() {
        let conn = &mut Conn::establish(&testing::empty_database().await).await.unwrap();
        assert_eq!(judged(conn).await, None);
        conn.batch_execute("set client_encoding = 'LATIN1'")
            .await
            .unwrap();
        assert_eq!(
            judged(conn).await,
            Some(Unusable::ClientEncoding("LATIN1".to_owned()))
        );
        conn.batch_execute("reset client_encoding; set default_transaction_read_only = on")
            .await
            .unwrap();
        assert_eq!(judged(conn).await, Some(Unusable::ReadOnly));
    }
}
