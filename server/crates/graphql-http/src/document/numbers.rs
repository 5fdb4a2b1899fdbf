//! Numbers in a document that the parser would round, or cannot read.

use std::collections::HashMap;

use async_graphql::{Number, Pos};

use super::lexer::{Lexer, Token};
use crate::error::{ErrorCode, RequestError};
use crate::json::is_exact;

/// A number that the parser cannot read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the number {digits} at line {}, column {} is too large for a document: where any JSON is accepted, pass it as a \
     variable", pos.line, pos.column
)]
pub struct TooLarge {
    digits: String,
    pos: Pos,
}

impl From<TooLarge> for RequestError {
    fn from(too_large: TooLarge) -> Self {
        let pos = too_large.pos;
        Self::new(ErrorCode::ValidationFailed, format!("Refused: {too_large}.")).at(pos)
    }
}

/// A number that loses digits both as a 64-bit integer and as a double.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Inexact<'a> {
    digits: &'a str,
    /// Its position.
    pub pos: Pos,
    /// The path to it from the value of the argument that contains it.
    pub steps: Vec<Step<'a>>,
}

/// One level of nesting in a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// Into an object's field.
    Field(&'a str),
    /// Into a list.
    Element,
}

impl Inexact<'_> {
    /// Its digits, shortened to [`LONGEST_SHOWN`].
    pub fn shown(&self) -> String {
        shown(self.digits)
    }

    /// Whether the parser reads it as this number.
    pub fn is(&self, number: &Number) -> bool {
        self.digits.parse::<Number>().is_ok_and(|read| read == *number)
    }

    /// Why it cannot be accepted as JSON.
    pub fn told(&self) -> String {
        let Pos { line, column } = self.pos;
        format!(
            "Refused: the number {} at line {line}, column {column} would lose digits in a document: pass it as a variable.",
            shown(self.digits)
        )
    }
}

/// Maximum number of digits shown.
const LONGEST_SHOWN: usize = 60;

fn shown(digits: &str) -> String {
    digits.chars().take(LONGEST_SHOWN).collect()
}

/// Refuses the first number of a document that the parser cannot read. The parser refuses malformed numbers.
pub fn check_numbers(document: &str) -> Result<(), TooLarge> {
    let (mut lexer, mut place) = (Lexer::new(document), Place::of(document));
    while let Some(token) = lexer.next() {
        if let Token::Number(digits) = token
            && is_number(digits)
            && digits.parse::<Number>().is_err()
        {
            let (digits, pos) = (shown(digits), place.at(lexer.span().start));
            return Err(TooLarge { digits, pos });
        }
    }
    Ok(())
}

fn is_number(digits: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(digits).is_ok()
}

/// The kind of an open bracket.
enum Open<'a> {
    /// Arguments, or definitions of variables.
    Arguments,
    /// An object, at this field; or a selection.
    Braces(&'a str),
    List,
}

/// The numbers that would lose digits, by the position of their argument's value or their variable's default.
pub(super) fn inexact(document: &str) -> HashMap<Pos, Vec<Inexact<'_>>> {
    let mut found: HashMap<Pos, Vec<Inexact<'_>>> = HashMap::new();
    let (mut lexer, mut place) = (Lexer::new(document), Place::of(document));
    let (mut open, mut name) = (Vec::new(), "");
    let (mut value, mut begins) = (None, false);
    while let Some(token) = lexer.next() {
        let span = lexer.span();
        if std::mem::take(&mut begins) {
            value = Some(place.at(span.start));
        }
        match (token, open.last_mut()) {
            (Token::Open(b'('), _) => open.push(Open::Arguments),
            (Token::Open(b'{'), _) => open.push(Open::Braces("")),
            (Token::Open(_), _) => open.push(Open::List),
            (Token::Close(_), _) => drop(open.pop()),
            (Token::Name(this), _) => name = this,
            (Token::Colon, Some(Open::Braces(field))) => *field = name,
            (Token::Colon, Some(Open::Arguments)) => begins = true,
            (Token::Other, Some(Open::Arguments)) => begins = document.get(span) == Some("="),
            (Token::Number(digits), _) if is_number(digits) && !is_exact(digits) => {
                if let Some(value) = value {
                    found.entry(value).or_default().push(Inexact {
                        digits,
                        pos: place.at(span.start),
                        steps: steps(&open),
                    });
                }
            }
            _ => {}
        }
    }
    found
}

/// The path from the innermost arguments.
fn steps<'a>(open: &[Open<'a>]) -> Vec<Step<'a>> {
    let outside = open.iter().rposition(|open| matches!(open, Open::Arguments));
    let inside = open.iter().skip(outside.map_or(0, |at| at + 1));
    inside
        .map(|open| match open {
            Open::Braces(field) => Step::Field(field),
            Open::List | Open::Arguments => Step::Element,
        })
        .collect()
}

/// Computes lines and columns of a text. Positions must be requested in ascending order, so that each character is
/// counted once.
struct Place<'a> {
    text: &'a str,
    at: usize,
    pos: Pos,
}

impl<'a> Place<'a> {
    fn of(text: &'a str) -> Self {
        let pos = Pos { line: 1, column: 1 };
        Self { text, at: 0, pos }
    }

    fn at(&mut self, at: usize) -> Pos {
        for character in self.text.get(self.at..at).unwrap_or_default().chars() {
            match character {
                '\r' => self.pos.column = 1,
                '\n' => {
                    self.pos = Pos {
                        line: self.pos.line + 1,
                        column: 1,
                    }
                }
                _ => self.pos.column += 1,
            }
        }
        self.at = at;
        self.pos
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;
    use async_graphql::parser::types::{Selection, VariableDefinition};

    use super::*;

    fn pos(line: usize, column: usize) -> Pos {
        Pos { line, column }
    }

    fn all(document: &str) -> Vec<(Pos, Inexact<'_>)> {
        let found = inexact(document).into_iter();
        let mut all: Vec<_> = found
            .flat_map(|(value, inexact)| inexact.into_iter().map(move |inexact| (value, inexact)))
            .collect();
        all.sort_by_key(|(_, inexact)| inexact.pos);
        all
    }

    #[test]
    fn a_number_that_would_lose_digits_is_named_by_its_place() {
        for digits in [
            "12345678901.123456789",
            "18446744073709551616",
            "1200.50",
            "1e-400",
            "-0",
            "1e2",
        ] {
            let text = format!("{{ a(b: \"é 1.50\",\n é: [1, {{ c: {digits} }}]) }} # 1.50");
            let found = all(&text);
            assert_eq!(
                found,
                [(
                    pos(2, 5),
                    Inexact {
                        digits,
                        pos: pos(2, 14),
                        steps: vec![Step::Element, Step::Field("c")],
                    }
                )]
            );
            let told = found[0].1.told();
            assert!(
                told.contains(&format!("the number {digits} at line 2, column 14")),
                "{told}"
            );
        }
    }

    /// The parser's positions of values are the reference.
    #[test]
    fn positions_of_values_agree_with_the_parser() {
        let text = "query Q($a: [JSON!] = [1.50], $b: Int @d(x: 2.50) = 1e2) @e(y: {z: 3.50}) {\r\n  f(g: \"\", h: 4.50) \
                    { k(l: { m: [{ n: 5.50, o: 1 }, 6.50] }) } }";
        let document = parse_query(text).unwrap();
        let (_, operation) = document.operations.iter().next().unwrap();
        let operation = &operation.node;
        let [a, b] = operation.variable_definitions.as_slice() else {
            panic!("two variables");
        };
        let default = |variable: &async_graphql::Positioned<VariableDefinition>| {
            variable.node.default_value.as_ref().unwrap().pos
        };
        let mut begins = vec![
            default(a),
            b.node.directives[0].node.arguments[0].1.pos,
            default(b),
        ];
        begins.push(operation.directives[0].node.arguments[0].1.pos);
        let Selection::Field(field) = &operation.selection_set.node.items[0].node else {
            panic!("a field");
        };
        begins.push(field.node.arguments[1].1.pos);
        let Selection::Field(inner) = &field.node.selection_set.node.items[0].node else {
            panic!("a field");
        };
        begins.extend([inner.node.arguments[0].1.pos; 2]);
        let found = all(text);
        assert_eq!(found.iter().map(|(value, _)| *value).collect::<Vec<_>>(), begins);
        let steps: Vec<_> = found.iter().map(|(_, inexact)| inexact.steps.clone()).collect();
        assert_eq!(
            steps,
            [
                vec![Step::Element],
                vec![],
                vec![],
                vec![Step::Field("z")],
                vec![],
                vec![Step::Field("m"), Step::Element, Step::Field("n")],
                vec![Step::Field("m"), Step::Element],
            ]
        );
    }

    #[test]
    fn exact_numbers_and_text_that_is_not_a_number_pass() {
        for text in [
            "{ a(b: [0, -7, 1.5, 18446744073709551615]) }",
            "{ a(b: \"1.50\") } # 1.50",
            "{ a(b: 1.5.0, c: 01, d: 1x) }",
        ] {
            assert_eq!(all(text), [], "{text}");
            assert_eq!(check_numbers(text), Ok(()), "{text}");
        }
        assert_eq!(check_numbers("{ a(b: [1.50, 1e-400]) }"), Ok(()));
    }

    #[test]
    fn a_number_that_cannot_be_read_is_named_by_its_place() {
        let refused = check_numbers("{ a(b: 1,\n c: [-1e400]) }").unwrap_err();
        assert_eq!((refused.digits.as_str(), refused.pos), ("-1e400", pos(2, 6)));
        assert!(parse_query("{ a(b: -1e400) }").is_err());
    }
}
