//! Numbers with their digits as written.
//!
//! A GraphQL number is a 64-bit integer or a double. A number that those would write differently, such as `1200.50`,
//! `1e400` or an amount of money with twenty digits, is kept as text, in the one kind of value that JSON has no
//! notation for: bytes.

use async_graphql::{Number, Value};

/// Whether a GraphQL number is written with exactly these digits, so that none are lost.
pub fn is_exact(digits: &str) -> bool {
    exact(digits).is_some()
}

/// The value of a number.
pub(super) fn number(digits: &str) -> Value {
    match exact(digits) {
        Some(number) => Value::Number(number),
        None => Value::Binary(digits.to_owned().into()),
    }
}

/// The digits of a value that [`number`] kept as text.
pub(super) fn digits(kept: &[u8]) -> Option<&str> {
    std::str::from_utf8(kept).ok()
}

fn exact(digits: &str) -> Option<Number> {
    let number: Number = digits.parse().ok()?;
    (number.to_string() == digits).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_f64_or_64_bit_integers_print_unchanged_are_exact() {
        for digits in [
            "0",
            "-1",
            "8",
            "1.5",
            "0.1",
            "18446744073709551615",
            "-9223372036854775808",
            "1e+30",
            "5e-324",
        ] {
            assert!(is_exact(digits), "{digits}");
        }
        for digits in [
            "-0",
            "1.0e0",
            "1200.50",
            "1e400",
            "1e-400",
            "18446744073709551616",
            "-9223372036854775809",
            "12345678901.123456789",
            "1E5",
            "1e5",
        ] {
            assert!(!is_exact(digits), "{digits}");
            assert_eq!(number(digits), Value::Binary(digits.to_owned().into()));
        }
    }
}
