//! The meaning of Postgres's error codes for the server. Messages are never used: they are for people, in the cluster's
//! language.
//!
//! Diesel's errors have kinds and messages but no codes. Here a code becomes one of Diesel's kinds, which
//! [`StoreError`](crate::StoreError) uses, and is appended to the message.

use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind, Error};

/// Five characters, as in Postgres's appendix A.
pub type Code = [u8; 5];

/// `statement_timeout` or an administrator ended the statement.
const QUERY_CANCELED: Code = *b"57014";
/// The statement waited for a lock longer than `lock_timeout`.
pub(crate) const LOCK_NOT_AVAILABLE: Code = *b"55P03";
/// `read_only_sql_transaction`: on a standby, on a primary that has become a standby, or with
/// `default_transaction_read_only`.
pub const READ_ONLY: Code = *b"25006";
/// `invalid_authorization_specification`: `pg_hba.conf` does not allow the connection.
pub const NOT_ALLOWED: Code = *b"28000";

/// How to react to an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// The same transaction may succeed when it is run again.
    Transient,
    /// The database ended the statement because the statement, or a lock that it waited for, took too long. The database is
    /// reachable, the connection can run other statements, and the transaction is not committed.
    TimedOut,
    /// The database could not do it now, whatever the statement: it is unreachable, is stopping, or lacks a resource. The
    /// connection is not used again.
    Unavailable,
    /// The statement is wrong, or its data.
    Other,
}

/// The meaning of a code.
pub fn meaning(code: Code) -> Meaning {
    match &code {
        // serialization_failure, deadlock_detected
        b"40001" | b"40P01" => Meaning::Transient,
        &QUERY_CANCELED | &LOCK_NOT_AVAILABLE => Meaning::TimedOut,
        // The time-outs of idle and of long transactions.
        &READ_ONLY | b"25P03" | b"25P04" => Meaning::Unavailable,
        // connection exceptions, insufficient resources, operator intervention, system errors
        [b'0', b'8', ..] | [b'5', b'3', ..] | [b'5', b'7', ..] | [b'5', b'8', ..] => Meaning::Unavailable,
        _ => Meaning::Other,
    }
}

/// The code as text.
pub fn text(code: Code) -> String {
    code.iter().map(|byte| char::from(*byte)).collect()
}

/// The error to return: with the kind that the code means, and with the code after its message.
pub(crate) fn coded(code: Code, info: Box<dyn DatabaseErrorInformation + Send + Sync>) -> Error {
    let kind = match meaning(code) {
        Meaning::Transient => DatabaseErrorKind::SerializationFailure,
        Meaning::TimedOut | Meaning::Unavailable => DatabaseErrorKind::ClosedConnection,
        Meaning::Other => DatabaseErrorKind::Unknown,
    };
    let message = format!("{}{BEFORE_CODE}{})", info.message(), text(code));
    Error::DatabaseError(kind, Box::new(Coded { message, info }))
}

/// The text between Postgres's message and the code.
const BEFORE_CODE: &str = " (SQLSTATE ";

/// The code after an error's message, if this module has put one there.
pub fn code_of(error: &Error) -> Option<Code> {
    let Error::DatabaseError(_, info) = error else {
        return None;
    };
    let (_, code) = info.message().strip_suffix(')')?.rsplit_once(BEFORE_CODE)?;
    code.as_bytes().try_into().ok()
}

struct Coded {
    message: String,
    info: Box<dyn DatabaseErrorInformation + Send + Sync>,
}

impl DatabaseErrorInformation for Coded {
    fn message(&self) -> &str {
        &self.message
    }

    fn details(&self) -> Option<&str> {
        self.info.details()
    }

    fn hint(&self) -> Option<&str> {
        self.info.hint()
    }

    fn table_name(&self) -> Option<&str> {
        self.info.table_name()
    }

    fn column_name(&self) -> Option<&str> {
        self.info.column_name()
    }

    fn constraint_name(&self) -> Option<&str> {
        self.info.constraint_name()
    }

    fn statement_position(&self) -> Option<i32> {
        self.info.statement_position()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_means_what_its_class_says() {
        for code in [b"40001", b"40P01"] {
            assert_eq!(meaning(*code), Meaning::Transient);
        }
        for code in [b"57014", b"55P03"] {
            assert_eq!(meaning(*code), Meaning::TimedOut);
        }
        for code in [
            b"57P01", b"57P02", b"57P03", b"25006", b"25P03", b"53300", b"53100", b"08000", b"08006",
            b"58030",
        ] {
            assert_eq!(meaning(*code), Meaning::Unavailable);
        }
        for code in [
            b"22021", b"22008", b"23505", b"25001", b"25P02", b"40002", b"42P01", b"XX000",
        ] {
            assert_eq!(meaning(*code), Meaning::Other);
        }
    }

    #[test]
    fn the_code_is_read_only_from_after_the_message() {
        let info =
            |message: &str| Box::new(message.to_owned()) as Box<dyn DatabaseErrorInformation + Send + Sync>;
        let error = coded(*b"57014", info("Vorgang abgebrochen (SQLSTATE 55P03)"));
        assert_eq!(code_of(&error), Some(*b"57014"));
        let closed = Error::DatabaseError(DatabaseErrorKind::ClosedConnection, info("closed"));
        assert_eq!(code_of(&closed), None);
        assert_eq!(code_of(&Error::NotFound), None);
    }
}
