//! Numbers that a document writes out and that the parser would round.

use super::lexer::{Lexer, Token};
use crate::api::error::{ApiError, ErrorCode};
use crate::api::json::is_exact;

/// A number that neither a 64-bit integer nor a double writes as the document does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the number {digits} at line {line}, column {column} would not keep its digits in a document: give it as a variable"
)]
pub struct Inexact {
    /// As it is written, cut where it is very long.
    pub digits: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

impl From<Inexact> for ApiError {
    fn from(inexact: Inexact) -> Self {
        Self::new(ErrorCode::ValidationFailed, format!("Refused: {inexact}."))
    }
}

/// Digits that are shown.
const LONGEST_SHOWN: usize = 60;

/// Refuses the first number of a document that would lose digits. A malformed number is left for the parser to refuse.
pub fn check_numbers(document: &str) -> Result<(), Inexact> {
    let mut tokens = Lexer::new(document);
    while let Some(token) = tokens.next() {
        let Token::Number(digits) = token else { continue };
        let is_number = serde_json::from_str::<serde::de::IgnoredAny>(digits).is_ok();
        if is_number && !is_exact(digits) {
            let before = document.get(..tokens.span().start).unwrap_or_default();
            let line_start = before.rfind('\n').map_or(0, |end| end + 1);
            return Err(Inexact {
                digits: digits.chars().take(LONGEST_SHOWN).collect(),
                line: before.matches('\n').count() + 1,
                column: before[line_start..].chars().count() + 1,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_would_lose_digits_is_named_by_its_place() {
        let refused = |text: &str| check_numbers(text).unwrap_err();
        for digits in [
            "12345678901.123456789",
            "18446744073709551616",
            "1200.50",
            "1e-400",
            "-0",
        ] {
            let text = format!("{{ a(b: \"é 1.50\",\n é: [1, {digits}]) }} # 1.50");
            let expected = Inexact {
                digits: digits.to_owned(),
                line: 2,
                column: 9,
            };
            assert_eq!(refused(&text), expected);
        }
    }

    #[test]
    fn other_numbers_and_what_is_none_pass() {
        for text in [
            "{ a(b: [0, -7, 1.5, 18446744073709551615]) }",
            "{ a(b: \"1.50\") } # 1.50",
            "{ a(b: 1.5.0, c: 01, d: 1x) }",
        ] {
            assert_eq!(check_numbers(text), Ok(()), "{text}");
        }
    }
}
