//! Rows as parameters of a statement: one array per column, for `unnest`.
//!
//! [`unnest!`] declares a row, and each column once: its name, and the Rust type from which its SQL type follows. The text of
//! the statement takes arrays and names from there ([`Arrays`], [`sql_text!`]), so that text and values have one order.

use diesel::pg::Pg;
use diesel::query_builder::AstPass;
use diesel::sql_types::{
    BigInt, Bool, Bytea, Integer, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid,
};
use uuid::Uuid;

use super::Time;
use tenterhook_model::ids::WebhookKey;

/// A Rust type that a column can have.
pub(crate) trait Column {
    /// Diesel's type of the column.
    type Sql;
    /// Its name in SQL.
    const NAME: &'static str;
}

macro_rules! columns {
    ($($rust:ty => $sql:ty, $name:literal;)+) => {
        $(impl Column for $rust {
            type Sql = $sql;
            const NAME: &'static str = $name;
        })+
    };
}
columns!(
    bool => Bool, "boolean";
    i16 => SmallInt, "smallint";
    i32 => Integer, "int";
    i64 => BigInt, "bigint";
    String => Text, "text";
    &str => Text, "text";
    &[u8] => Bytea, "bytea";
    Time => Timestamptz, "timestamptz";
    Uuid => SqlUuid, "uuid";
);

impl<T: Column> Column for Option<T> {
    type Sql = Nullable<T::Sql>;
    const NAME: &'static str = T::NAME;
}

/// Rows of an [`unnest!`], as one array per column.
pub(crate) trait Arrays: Default {
    /// One row.
    type Row;
    /// The number of columns, and so of parameters.
    const COUNT: usize;
    /// Memory of [`Self::ARRAYS`].
    const ARRAYS_TEXT: &'static Written<ROOM>;
    /// Memory of [`Self::NAMES`].
    const NAMES_TEXT: &'static Written<ROOM>;
    /// The parameters, such as `$1::int[], $2::uuid[]`.
    const ARRAYS: &'static str = Self::ARRAYS_TEXT.text();
    /// The names of the columns, such as `lane, webhook`.
    const NAMES: &'static str = Self::NAMES_TEXT.text();

    /// Adds a row.
    fn push(&mut self, row: Self::Row);

    /// Binds the arrays, in order.
    fn bind<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> diesel::QueryResult<()>;

    /// All of these rows.
    fn of(rows: impl IntoIterator<Item = Self::Row>) -> Self {
        let mut arrays = Self::default();
        rows.into_iter().for_each(|row| arrays.push(row));
        arrays
    }
}

/// Declares a row of parameters and its [`Arrays`]. The number of the first parameter is `$first`.
macro_rules! unnest {
    (
        from $first:expr;
        $(#[$doc:meta])*
        struct $row:ident $(<$life:lifetime>)? in $arrays:ident {
            $($column:ident: $kind:ty,)+
        }
    ) => {
        $(#[$doc])*
        pub(crate) struct $row $(<$life>)? {
            $(pub(crate) $column: $kind,)+
        }

        /// Its rows, as one array per column.
        #[derive(Default)]
        pub(crate) struct $arrays $(<$life>)? {
            $($column: Vec<$kind>,)+
        }

        impl $(<$life>)? $crate::sql::unnest::Arrays for $arrays $(<$life>)? {
            type Row = $row $(<$life>)?;

            const COUNT: usize = [$(stringify!($column)),+].len();
            const ARRAYS_TEXT: &'static $crate::sql::unnest::Written<{ $crate::sql::unnest::ROOM }> =
                &$crate::sql::unnest::Written::arrays(
                    $first,
                    &[$(<$kind as $crate::sql::unnest::Column>::NAME),+],
                );
            const NAMES_TEXT: &'static $crate::sql::unnest::Written<{ $crate::sql::unnest::ROOM }> =
                &$crate::sql::unnest::Written::names(&[$(stringify!($column)),+]);

            fn push(&mut self, row: Self::Row) {
                $(self.$column.push(row.$column);)+
            }

            fn bind<'b>(
                &'b self,
                mut out: diesel::query_builder::AstPass<'_, 'b, diesel::pg::Pg>,
            ) -> diesel::QueryResult<()> {
                $(out.push_bind_param_value_only::<
                    diesel::sql_types::Array<<$kind as $crate::sql::unnest::Column>::Sql>,
                    Vec<$kind>,
                >(&self.$column)?;)+
                Ok(())
            }
        }
    };
}
pub(crate) use unnest;

/// A statement's text, joined from string literals and the texts of [`Arrays`] when it is compiled.
macro_rules! sql_text {
    ($($piece:expr),+ $(,)?) => {{
        const PIECES: &[&str] = &[$($piece),+];
        const LENGTH: usize = $crate::sql::unnest::length(PIECES);
        const TEXT: &$crate::sql::unnest::Written<LENGTH> = &$crate::sql::unnest::Written::joined(PIECES);
        TEXT.text()
    }};
}
pub(crate) use sql_text;

unnest! {
    from 1;
    /// The key of a webhook.
    struct WebhookKeyRow in WebhookKeys {
        lane: i32,
        webhook: Uuid,
    }
}

impl WebhookKeys {
    /// These keys.
    pub(crate) fn new<'k>(keys: impl IntoIterator<Item = &'k WebhookKey>) -> Self {
        Self::of(keys.into_iter().map(|(lane, webhook)| WebhookKeyRow {
            lane: lane.0,
            webhook: webhook.0,
        }))
    }
}

/// The bytes that the texts of one [`Arrays`] may have. The largest has 20 columns and 350 bytes.
pub(crate) const ROOM: usize = 600;

/// A text that is written when the program is compiled.
pub(crate) struct Written<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

/// The bytes of these texts together.
pub(crate) const fn length(pieces: &[&str]) -> usize {
    let (mut length, mut at) = (0, 0);
    while at < pieces.len() {
        length += pieces[at].len();
        at += 1;
    }
    length
}

impl<const N: usize> Written<N> {
    const EMPTY: Self = Self {
        bytes: [0; N],
        length: 0,
    };

    /// All pieces.
    pub(crate) const fn joined(pieces: &[&str]) -> Self {
        let (mut text, mut at) = (Self::EMPTY, 0);
        while at < pieces.len() {
            text.push(pieces[at].as_bytes());
            at += 1;
        }
        text
    }

    /// Parameters of these types, numbered from `first`.
    pub(crate) const fn arrays(first: usize, types: &[&str]) -> Self {
        let (mut text, mut at) = (Self::EMPTY, 0);
        while at < types.len() {
            if at > 0 {
                text.push(b", ");
            }
            text.push(b"$");
            text.number(first + at);
            text.push(b"::");
            text.push(types[at].as_bytes());
            text.push(b"[]");
            at += 1;
        }
        text
    }

    /// The names, separated by commas.
    pub(crate) const fn names(names: &[&str]) -> Self {
        let (mut text, mut at) = (Self::EMPTY, 0);
        while at < names.len() {
            if at > 0 {
                text.push(b", ");
            }
            text.push(names[at].as_bytes());
            at += 1;
        }
        text
    }

    const fn push(&mut self, bytes: &[u8]) {
        let mut at = 0;
        while at < bytes.len() {
            self.bytes[self.length] = bytes[at];
            self.length += 1;
            at += 1;
        }
    }

    /// A number below 100.
    const fn number(&mut self, number: usize) {
        assert!(number < 100, "a statement has fewer parameters");
        if number >= 10 {
            self.push(&[b'0' + (number / 10) as u8]);
        }
        self.push(&[b'0' + (number % 10) as u8]);
    }

    /// What was written.
    pub(crate) const fn text(&self) -> &str {
        match std::str::from_utf8(self.bytes.split_at(self.length).0) {
            Ok(text) => text,
            Err(_) => panic!("pieces of text are text"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    unnest! {
        from 9;
        /// One column of each type.
        struct Sample<'a> in Samples {
            lane: i32,
            id: Uuid,
            at: Option<Time>,
            company: i64,
            kind: Option<i16>,
            text: &'a str,
            owned: Option<String>,
            is_new: bool,
            sealed: &'a [u8],
        }
    }

    #[test]
    fn the_text_has_the_columns_in_order_under_consecutive_numbers() {
        const TEXT: &str = sql_text!(
            "select * from unnest(",
            Samples::ARRAYS,
            ") as s(",
            Samples::NAMES,
            ")"
        );
        assert_eq!(
            TEXT,
            "select * from unnest($9::int[], $10::uuid[], $11::timestamptz[], $12::bigint[], $13::smallint[], \
             $14::text[], $15::text[], $16::boolean[], $17::bytea[]) \
             as s(lane, id, at, company, kind, text, owned, is_new, sealed)"
        );
        assert_eq!(Samples::COUNT, 9);
    }

    #[test]
    fn each_row_is_one_entry_of_every_array() {
        let row = |lane, text| Sample {
            lane,
            id: Uuid::nil(),
            at: None,
            company: 1,
            kind: None,
            text,
            owned: None,
            is_new: false,
            sealed: b"",
        };
        let samples = Samples::of([row(1, "a"), row(2, "b")]);
        assert_eq!((samples.lane, samples.text), (vec![1, 2], vec!["a", "b"]));
        assert_eq!(samples.id.len(), 2);
    }
}
