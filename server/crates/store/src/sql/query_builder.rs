//! A statement that is composed of parts, for filters and orders that depend on the query.
//!
//! Unlike [`statement`](crate::sql::statement) it is planned again for each execution, with its values. Lists need that, the
//! queue does not. Values are always bound and never part of the text.

use diesel::pg::Pg;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::serialize::ToSql;
use diesel::sql_types::HasSqlType;

/// A statement under construction.
pub struct QueryBuilder {
    query: BoxedSqlQuery<'static, Pg, SqlQuery>,
    bound: usize,
}

impl QueryBuilder {
    /// Begins with `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            query: diesel::sql_query(text).into_boxed(),
            bound: 0,
        }
    }

    /// Appends `text`.
    pub fn sql(mut self, text: impl AsRef<str>) -> Self {
        self.query = self.query.sql(text);
        self
    }

    /// Appends a bound value.
    pub fn value<ST, V>(mut self, value: V) -> Self
    where
        ST: Send + 'static,
        Pg: HasSqlType<ST>,
        V: ToSql<ST, Pg> + Send + 'static,
    {
        self.bound += 1;
        self.query = self.query.sql(format!("${}", self.bound)).bind::<ST, V>(value);
        self
    }

    /// Appends what `piece` adds.
    pub fn with(self, piece: impl FnOnce(Self) -> Self) -> Self {
        piece(self)
    }

    /// The complete statement, ready to be loaded.
    pub fn query(self) -> BoxedSqlQuery<'static, Pg, SqlQuery> {
        self.query
    }
}
