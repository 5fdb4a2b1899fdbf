//! A statement put together from pieces, where filters and orders come and go with the question.
//!
//! Unlike [`statement`](super::sql::statement) it is planned anew each time, with the values in hand: what a list
//! needs, and the queue does not. Values are always bound, never part of the text.

use diesel::pg::Pg;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::serialize::ToSql;
use diesel::sql_types::HasSqlType;

/// The statement so far.
pub struct Composed {
    query: BoxedSqlQuery<'static, Pg, SqlQuery>,
    bound: usize,
}

impl Composed {
    /// Begins with `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            query: diesel::sql_query(text).into_boxed(),
            bound: 0,
        }
    }

    /// Goes on with `text`.
    pub fn sql(mut self, text: impl AsRef<str>) -> Self {
        self.query = self.query.sql(text);
        self
    }

    /// Goes on with a value.
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

    /// Goes on with whatever `piece` adds.
    pub fn with(self, piece: impl FnOnce(Self) -> Self) -> Self {
        piece(self)
    }

    /// The whole statement, to be loaded.
    pub fn query(self) -> BoxedSqlQuery<'static, Pg, SqlQuery> {
        self.query
    }
}
