//! What every statement needs: times and codes on their way in and out.

use diesel::sql_types::{Array, Nullable, Timestamptz};
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

/// A stored code that no version has written, as an error that names where it stands.
pub fn unknown(table: &'static str, column: &str, value: impl std::fmt::Display) -> StoreError {
    StoreError::Inconsistent {
        table,
        what: format!("{column} is {value}"),
    }
}
