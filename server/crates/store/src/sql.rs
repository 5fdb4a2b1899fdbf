//! Shared by all statements: prepared text with bound values, and the conversion of times.

pub mod page;
pub(crate) mod query_builder;
pub(crate) mod unnest;

use std::marker::PhantomData;

use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::data_types::PgTimestamp;
use diesel::pg::{Pg, PgValue};
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::{Array, HasSqlType, Nullable, Timestamptz, Untyped};
use jiff::{SignedDuration, Timestamp};

use self::unnest::Arrays;
use super::StoreError;

/// A time as the database stores it, exact to the microsecond.
///
/// Every time of the database can be read: one outside our range, such as `infinity`, becomes our last or first time.
/// Otherwise one such row would make the whole query fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, AsExpression, FromSqlRow)]
#[diesel(sql_type = Timestamptz)]
pub struct Time(Timestamp);

/// The SQL type of a time.
pub type At = Timestamptz;
/// The SQL type of an array of times.
pub(crate) type Ats = Array<Timestamptz>;
/// The SQL type of a time that may be missing.
pub(crate) type MaybeAt = Nullable<Timestamptz>;

/// A whole statement as a named constant; results are read by column name.
///
/// Unlike `diesel::sql_query` it is prepared once per connection, because its text is constant. Parsing and planning the
/// queue's statements each time would cost more than running them.
#[derive(Debug, Clone, Copy)]
pub struct Statement(&'static str);

/// A statement with one more bound value, in order of `$n`.
#[derive(Debug)]
pub struct Bound<Q, V, ST> {
    query: Q,
    value: V,
    kind: PhantomData<fn() -> ST>,
}

/// A statement with the arrays of an [`unnest!`](unnest::unnest) bound, one parameter for each column.
#[derive(Debug)]
pub(crate) struct BoundArrays<'a, Q, A> {
    query: Q,
    arrays: &'a A,
}

/// A statement that values can be bound to.
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

    /// Binds one array per column, from `$1`.
    pub(crate) fn arrays<B: Arrays>(self, arrays: &B) -> BoundArrays<'_, Self, B> {
        BoundArrays { query: self, arrays }
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

    /// Binds one array per column, from the next `$n`.
    pub(crate) fn arrays<B: Arrays>(self, arrays: &B) -> BoundArrays<'_, Self, B> {
        BoundArrays { query: self, arrays }
    }
}

impl<Q, A> BoundArrays<'_, Q, A> {
    /// Binds the next `$n`.
    pub fn bind<ST, V>(self, value: V) -> Bound<Self, V, ST> {
        Bound {
            query: self,
            value,
            kind: PhantomData,
        }
    }

    /// Binds one array per column, from the next `$n`.
    pub(crate) fn arrays<B: Arrays>(self, arrays: &B) -> BoundArrays<'_, Self, B> {
        BoundArrays { query: self, arrays }
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

impl<Q, A> Query for BoundArrays<'_, Q, A> {
    type SqlType = Untyped;
}

impl<Q, A> QueryId for BoundArrays<'_, Q, A> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Q, A> QueryFragment<Pg> for BoundArrays<'_, Q, A>
where
    Q: QueryFragment<Pg>,
    A: Arrays,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> diesel::QueryResult<()> {
        self.query.walk_ast(out.reborrow())?;
        self.arrays.bind(out)
    }
}

impl ToSql<Timestamptz, Pg> for Time {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        let at = jiff_diesel::Timestamp::from(self.0);
        ToSql::<Timestamptz, Pg>::to_sql(&at, &mut out.reborrow())
    }
}

impl FromSql<Timestamptz, Pg> for Time {
    fn from_sql(bytes: PgValue<'_>) -> deserialize::Result<Self> {
        let PgTimestamp(micros) = FromSql::<Timestamptz, Pg>::from_sql(bytes)?;
        Ok(Self(after_epoch(micros)))
    }
}

/// Where Postgres counts from: 2000-01-01T00:00:00Z, in Unix seconds.
const EPOCH: i64 = 946_684_800;

fn after_epoch(micros: i64) -> Timestamp {
    let from_ours = SignedDuration::from_micros(micros).saturating_add(SignedDuration::from_secs(EPOCH));
    Timestamp::UNIX_EPOCH
        .saturating_add(from_ours)
        .unwrap_or(Timestamp::MAX)
}

/// Converts a time for the database.
pub fn time(at: Timestamp) -> Time {
    Time(at)
}

/// Converts a time that may be missing for the database.
pub(crate) fn maybe_time(at: Option<Timestamp>) -> Option<Time> {
    at.map(Time)
}

/// Converts a time from the database.
pub fn timestamp(at: Time) -> Timestamp {
    at.0
}

/// Converts a time that may be missing from the database.
pub(crate) fn maybe_timestamp(at: Option<Time>) -> Option<Timestamp> {
    at.map(timestamp)
}

/// Rows that were read one by one, so that a row that cannot be read does not fail the others.
#[derive(Debug)]
pub struct Rows<T, K> {
    /// The rows that could be read.
    pub good: Vec<T>,
    /// The keys of rows with values that no version of the server writes, with the error.
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

/// An error for a stored code that no version has written; names the table and column.
pub fn unknown(table: &'static str, column: &str, value: impl std::fmt::Display) -> StoreError {
    StoreError::Inconsistent {
        table,
        what: format!("{column} is {value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn out_of_range_times_become_the_first_or_last_time() {
        assert_eq!(after_epoch(0), "2000-01-01T00:00:00Z".parse().unwrap());
        assert_eq!(after_epoch(-1), "1999-12-31T23:59:59.999999Z".parse().unwrap());
        // Postgres's infinity, and its last year.
        assert_eq!(after_epoch(i64::MAX), Timestamp::MAX);
        assert_eq!(after_epoch(9_223_371_331_199_999_999), Timestamp::MAX);
        assert_eq!(after_epoch(i64::MIN), Timestamp::MIN);
    }
}
