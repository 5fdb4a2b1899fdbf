//! Limits of what a caller may send: lengths, counts, and the characters of a text.
//!
//! Guarantees: a value that passes fits into the database, an HTTP header and a payload. Limits that a rule of the policy
//! sets (W3) are in the settings. A URL is checked by `outbound-http`.

use jiff::Timestamp;

/// Characters of a webhook's name.
pub const NAME_CHARS: usize = 255;
/// Characters of a basic user name, and of a password (W11).
pub const CREDENTIAL_CHARS: usize = 255;
/// Characters of an app's name.
pub const APP_NAME_CHARS: usize = 255;
/// Characters of a correlation id.
pub const CORRELATION_ID_CHARS: usize = 255;
/// Characters of an event's host: the longest DNS name.
pub const HOST_CHARS: usize = 253;
/// Characters of an idempotency key (E1).
pub const IDEMPOTENCY_KEY_CHARS: usize = 255;
/// Bytes of an event's `data`, and of its `previous`, as JSON text.
pub const OBJECT_BYTES: usize = 256 * 1024;
/// Events of one publication.
pub const EVENTS: usize = 1000;
/// Users that one event may list as permitted (E2). For more users there is "everyone".
pub const PERMITTED_USERS: usize = 10_000;
/// Users of one `upsertUsers`.
pub const USERS: usize = 1000;
/// Deliveries that one replay may name one by one.
pub const REPLAYED: usize = 1000;
/// Deliveries of one webhook that one replay may select. They are stored in one transaction, which takes a few seconds.
pub const REPLAYED_OF_WEBHOOK: usize = 50_000;
/// The first time that is accepted: the beginning of year 1. The database's own range begins in 4713 BC.
pub const FIRST_MOMENT: Timestamp = Timestamp::constant(-62_135_596_800, 0);
/// The last time that is accepted: `9999-12-30T22:00:00.999999999Z`, the maximum of the time library. The database's own
/// range ends in the year 294276.
pub const LAST_MOMENT: Timestamp = Timestamp::MAX;

/// Why a value is out of bounds. The first two have the code `TOO_LONG`, the third `TOO_MANY`, the others `INVALID`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OutOfBounds {
    /// More characters than allowed.
    #[error("must have at most {0} characters")]
    Characters(usize),
    /// More bytes than allowed.
    #[error("must have at most {0} bytes")]
    Bytes(usize),
    /// More entries than allowed.
    #[error("must have at most {0} entries")]
    Entries(usize),
    /// Empty, where a value is required.
    #[error("must not be empty")]
    Empty,
    /// A control character, which neither a header nor the database accepts.
    #[error("must not contain control characters")]
    Control,
    /// U+0000, which the database cannot store in a text.
    #[error("must not contain the character U+0000")]
    Nul,
    /// A time outside the accepted range.
    #[error("must be from {FIRST_MOMENT} to {LAST_MOMENT}")]
    Moment,
    /// A colon in a basic user name would begin the password (RFC 7617).
    #[error("must not contain a colon")]
    Colon,
}

/// A text for people or programs: not empty, at most `max` characters, none of them control characters.
pub fn text(value: &str, max: usize) -> Result<(), OutOfBounds> {
    if value.is_empty() {
        return Err(OutOfBounds::Empty);
    }
    optional_text(value, max)
}

/// Like [`text`], but may be empty.
pub(crate) fn optional_text(value: &str, max: usize) -> Result<(), OutOfBounds> {
    if value.chars().count() > max {
        return Err(OutOfBounds::Characters(max));
    }
    if value.chars().any(char::is_control) {
        return Err(OutOfBounds::Control);
    }
    Ok(())
}

/// A text that is compared with stored texts. It may contain anything but U+0000, even what could not be stored.
pub fn searched(value: &str) -> Result<(), OutOfBounds> {
    if value.contains('\0') {
        Err(OutOfBounds::Nul)
    } else {
        Ok(())
    }
}

/// A time from outside: in an argument, or packed into an id or a cursor.
pub fn moment(at: Timestamp) -> Result<Timestamp, OutOfBounds> {
    if (FIRST_MOMENT..=LAST_MOMENT).contains(&at) {
        Ok(at)
    } else {
        Err(OutOfBounds::Moment)
    }
}

/// The user name of basic credentials (W11), as `user:password` allows it. It may be empty, as in RFC 7617: some receivers
/// use only the password, as a token.
pub fn auth_user(value: &str) -> Result<(), OutOfBounds> {
    optional_text(value, CREDENTIAL_CHARS)?;
    if value.contains(':') {
        Err(OutOfBounds::Colon)
    } else {
        Ok(())
    }
}

/// The password of basic credentials (W11); may be empty.
pub fn auth_password(value: &str) -> Result<(), OutOfBounds> {
    optional_text(value, CREDENTIAL_CHARS)
}

/// An event's `data` or `previous` as JSON text.
pub fn object(json: &str) -> Result<(), OutOfBounds> {
    if json.len() > OBJECT_BYTES {
        Err(OutOfBounds::Bytes(OBJECT_BYTES))
    } else {
        Ok(())
    }
}

/// A list's length.
pub fn entries(len: usize, max: usize) -> Result<(), OutOfBounds> {
    if len > max {
        Err(OutOfBounds::Entries(max))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn a_text_is_bounded_in_characters_not_bytes() {
        assert_eq!(text(&"ä".repeat(255), NAME_CHARS), Ok(()));
        assert_eq!(
            text(&"a".repeat(256), NAME_CHARS),
            Err(OutOfBounds::Characters(255))
        );
        assert_eq!(text("", NAME_CHARS), Err(OutOfBounds::Empty));
        assert_eq!(optional_text("", NAME_CHARS), Ok(()));
    }

    #[test]
    fn control_characters_are_refused() {
        for bad in ["a\0", "a\r\nx-evil: 1", "\t", "\u{7f}", "\u{85}"] {
            assert_eq!(text(bad, NAME_CHARS), Err(OutOfBounds::Control), "{bad:?}");
        }
        assert_eq!(text("Ünïcode – ☃ 雪", NAME_CHARS), Ok(()));
    }

    #[test]
    fn search_text_may_have_any_character_but_nul() {
        assert_eq!(searched("a\0b"), Err(OutOfBounds::Nul));
        for good in ["", "\u{1}", "\r\n", "Ünïcode"] {
            assert_eq!(searched(good), Ok(()), "{good:?}");
        }
    }

    #[test]
    fn times_must_be_in_the_years_1_to_9999() {
        let just_before = FIRST_MOMENT - SignedDuration::from_nanos(1);
        assert_eq!(FIRST_MOMENT.to_string(), "0001-01-01T00:00:00Z");
        assert_eq!(LAST_MOMENT.to_string(), "9999-12-30T22:00:00.999999999Z");
        for at in [FIRST_MOMENT, Timestamp::UNIX_EPOCH, LAST_MOMENT] {
            assert_eq!(moment(at), Ok(at));
        }
        for at in [just_before, Timestamp::MIN] {
            assert_eq!(moment(at), Err(OutOfBounds::Moment));
        }
    }

    #[test]
    fn w11_a_password_may_have_a_colon_and_a_user_name_may_not() {
        assert_eq!(auth_user("a:b"), Err(OutOfBounds::Colon));
        assert_eq!(auth_user(""), Ok(()));
        assert_eq!(auth_user(&"x".repeat(255)), Ok(()));
        assert_eq!(auth_user(&"x".repeat(256)), Err(OutOfBounds::Characters(255)));
        assert_eq!(auth_password("a:b"), Ok(()));
        assert_eq!(auth_password(""), Ok(()));
        assert_eq!(auth_password(&"x".repeat(256)), Err(OutOfBounds::Characters(255)));
    }

    #[test]
    fn objects_are_bounded_in_bytes_and_lists_in_entries() {
        assert_eq!(object(&"1".repeat(256 * 1024)), Ok(()));
        assert_eq!(
            object(&"1".repeat(256 * 1024 + 1)),
            Err(OutOfBounds::Bytes(262_144))
        );
        assert_eq!(entries(1000, EVENTS), Ok(()));
        assert_eq!(entries(1001, EVENTS), Err(OutOfBounds::Entries(1000)));
    }
}
