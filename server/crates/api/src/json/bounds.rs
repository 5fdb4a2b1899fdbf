//! What a request's JSON may cost before anything parses it.

use crate::document::TooMuch;

/// The deepest nesting of a request's JSON, its own object counted. The parser below would recurse.
pub const MAX_JSON_NESTING: usize = 64;
/// The most values in a request's JSON: each takes many times its bytes once it is parsed.
pub const MAX_JSON_VALUES: usize = 20_000;
/// The most values where events are published: a thousand events with two hundred fields each, twice.
pub const MAX_PUBLISHED_VALUES: usize = 500_000;

/// Scans JSON once, without recursion, and answers how many values it has at most. What is not JSON it lets pass, for
/// the parser to refuse.
///
/// `most_values` is one of [`MAX_JSON_VALUES`] and [`MAX_PUBLISHED_VALUES`].
pub fn check_json(text: &[u8], most_values: usize) -> Result<usize, TooMuch> {
    let mut depth = 0_usize;
    // An opening bracket is a value, and what follows a comma another; the first in a bracket is one too many at most.
    let mut values = 0_usize;
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => {
                while let Some(byte) = bytes.next() {
                    match byte {
                        b'\\' => {
                            bytes.next();
                        }
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            b'{' | b'[' => {
                depth += 1;
                values += 1;
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' => values += 1,
            _ => {}
        }
        if depth > MAX_JSON_NESTING {
            return Err(TooMuch::JsonNesting);
        }
        if values > most_values {
            return Err(TooMuch::JsonValues(most_values));
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<(), TooMuch> {
        check_json(text.as_bytes(), MAX_JSON_VALUES).map(drop)
    }

    #[test]
    fn nesting_is_bounded_for_both_brackets() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let nested = |levels| format!("{}1{}", open.repeat(levels), close.repeat(levels));
            assert_eq!(check(&nested(MAX_JSON_NESTING)), Ok(()));
            assert_eq!(check(&nested(MAX_JSON_NESTING + 1)), Err(TooMuch::JsonNesting));
            assert_eq!(check(&open.repeat(100_000)), Err(TooMuch::JsonNesting));
        }
    }

    #[test]
    fn values_are_bounded() {
        let list = |n: usize| format!("[{}1]", "1,".repeat(n - 1));
        assert_eq!(check(&list(MAX_JSON_VALUES)), Ok(()));
        let refused = Err(TooMuch::JsonValues(MAX_JSON_VALUES));
        assert_eq!(check(&list(MAX_JSON_VALUES + 1)), refused);
        let published = |n| check_json(list(n).as_bytes(), MAX_PUBLISHED_VALUES);
        assert_eq!(published(MAX_PUBLISHED_VALUES), Ok(MAX_PUBLISHED_VALUES));
        assert!(published(MAX_PUBLISHED_VALUES + 1).is_err());
    }

    #[test]
    fn strings_are_passed_over() {
        let brackets = "[{,".repeat(100_000);
        assert_eq!(
            check(&format!("{{\"{brackets}\":\"\\\"{brackets}\\\\\"}}")),
            Ok(())
        );
        let hidden = format!("{{\"\\\\\":{}", "[".repeat(MAX_JSON_NESTING));
        assert_eq!(check(&hidden), Err(TooMuch::JsonNesting));
        for text in ["", "\"", "\"\\", "]]]]", "nonsense"] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }
}
