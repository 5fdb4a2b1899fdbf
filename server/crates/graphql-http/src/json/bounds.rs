//! Limits for a request's JSON, checked before anything parses it.

use crate::limits::{MAX_JSON_NESTING, TooMuch};

/// Scans JSON once, without recursion, and returns an upper bound of its number of values. Accepts text that is not
/// JSON; the parser refuses it.
///
/// # Errors
///
/// If the text has more than `most_values` values, or more than [`MAX_JSON_NESTING`] levels.
pub fn check_json(text: &[u8], most_values: usize) -> Result<usize, TooMuch> {
    let mut depth = 0_usize;
    // An opening bracket counts as a value, and each comma as another: at most one too many per bracket.
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
    use crate::limits::MAX_JSON_VALUES;

    /// A limit that an app sets for some callers.
    const MORE_VALUES: usize = 500_000;

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
        let more = |n| check_json(list(n).as_bytes(), MORE_VALUES);
        assert_eq!(more(MORE_VALUES), Ok(MORE_VALUES));
        assert!(more(MORE_VALUES + 1).is_err());
    }

    #[test]
    fn brackets_in_strings_do_not_count() {
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
