//! What every statement needs: prepared text with binds, and times on their way in and out.

use std::marker::PhantomData;

use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::serialize::ToSql;
use diesel::sql_types::{Array, HasSqlType, Nullable, Timestamptz, Untyped};
use jiff::Timestamp;

use super::StoreError;

/// A time as the database takes and gives it, exact to the microsecond.
pub type Time = jiff_diesel::Timestamp;

/// The SQL type of a time.
pub type At = Timestamptz;
/// The SQL type of an array of times.
pub type Ats = Array<Timestamptz>;
/// The SQL type of a time that may be missing.
pub type MaybeAt = Nullable<Timestamptz>;

/// A whole statement as a named constant, read back by column name.
///
/// Unlike `diesel::sql_query` it is prepared once per connection: the text is constant, and parsing and planning
/// the queue's statements anew would cost more than running them.
#[derive(Debug, Clone, Copy)]
pub struct Statement(&'static str);

/// A statement with one more value bound, in order of `$n`.
#[derive(Debug)]
pub struct Bound<Q, V, ST> {
    query: Q,
    value: V,
    kind: PhantomData<fn() -> ST>,
}

/// A statement to bind values to and run.
pub fn statement(text: &'static str) -> Statement {
    Statement(text)
}

impl Statement {
    /// Binds `$1`.
    pub fn bind<ST, V>(self, value: V) -> Bound<Self, V, ST> {
        Bound {
            query: self,
            value,
            kind: PhantomData,
        }
    }
}

impl<Q, V, ST> Bound<Q, V, ST> {
    /// Binds the next `$n`.
    pub fn bind<ST2, V2>(self, value: V2) -> Bound<Self, V2, ST2> {
        Bound {
            query: self,
            value,
            kind: PhantomData,
        }
    }
}

impl Query for Statement {
    type SqlType = Untyped;
}

impl QueryId for Statement {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Pg> for Statement {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> diesel::QueryResult<()> {
        out.push_sql(self.0);
        Ok(())
    }
}

impl<Q, V, ST> Query for Bound<Q, V, ST> {
    type SqlType = Untyped;
}

impl<Q, V, ST> QueryId for Bound<Q, V, ST> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Q, V, ST> QueryFragment<Pg> for Bound<Q, V, ST>
where
    Pg: HasSqlType<ST>,
    Q: QueryFragment<Pg>,
    V: ToSql<ST, Pg>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> diesel::QueryResult<()> {
        self.query.walk_ast(out.reborrow())?;
        out.push_bind_param_value_only(&self.value)
    }
}

/// To the database.
pub fn time(at: Timestamp) -> Time {
    at.into()
}

/// To the database, where it may be missing.
pub fn maybe_time(at: Option<Timestamp>) -> Option<Time> {
    at.map(Into::into)
}

/// From the database.
pub fn timestamp(at: Time) -> Timestamp {
    at.to_jiff()
}

/// From the database, where it may be missing.
pub fn maybe_timestamp(at: Option<Time>) -> Option<Timestamp> {
    at.map(Time::to_jiff)
}

/// What was read, row by row, so that one which cannot be read does not fail the others.
#[derive(Debug)]
pub struct Rows<T, K> {
    /// What could be read.
    pub good: Vec<T>,
    /// The rows that hold something no version of the server writes, by key, with what it is.
    pub bad: Vec<(K, StoreError)>,
}

impl<T, K> FromIterator<(K, Result<T, StoreError>)> for Rows<T, K> {
    fn from_iter<I: IntoIterator<Item = (K, Result<T, StoreError>)>>(read: I) -> Self {
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for (key, row) in read {
            match row {
                Ok(row) => good.push(row),
                Err(error) => bad.push((key, error)),
            }
        }
        Self { good, bad }
    }
}

/// A stored code that no version has written, as an error that names where it stands.
pub fn unknown(table: &'static str, column: &str, value: impl std::fmt::Display) -> StoreError {
    StoreError::Inconsistent {
        table,
        what: format!("{column} is {value}"),
    }
}
