//! Parses JSON.

use std::fmt;

use async_graphql::indexmap::IndexMap;
use async_graphql::{Name, Value};
use jiter::{Jiter, JiterError, JiterErrorType, JsonErrorType, Peek};

use super::bounds::check_json;
use super::number::number;
use crate::error::RequestError;
use crate::limits::TooMuch;
use crate::without_mark::without_mark;

/// Maximum number of characters of a path in an error.
const LONGEST_PATH: usize = 200;

/// Why a text could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// It exceeds a limit.
    #[error(transparent)]
    TooMuch(#[from] TooMuch),
    /// It is not JSON.
    #[error("not valid JSON at line {line}, column {column}{}: {what}", Within(path))]
    Invalid {
        /// Line, from 1.
        line: usize,
        /// In bytes, from 1.
        column: usize,
        /// The path of keys and indexes to the faulty value, from the outside in.
        path: Vec<String>,
        /// The fault.
        what: String,
    },
}

impl From<Unread> for RequestError {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::TooMuch(too_much) => too_much.into(),
            invalid @ Unread::Invalid { .. } => Self::bad_input(format!("The request is {invalid}.")),
        }
    }
}

struct Within<'a>(&'a [String]);

impl fmt::Display for Within<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        let path = self.0.join(".");
        match path.char_indices().nth(LONGEST_PATH) {
            Some((end, _)) => write!(out, ", in {}…", &path[..end]),
            None => write!(out, ", in {path}"),
        }
    }
}

/// Reads one JSON text and checks its limits first; `most_values` is a limit of [`check_json`]. If an object has a
/// key twice, the last value counts.
pub fn read(text: &[u8], most_values: usize) -> Result<Value, Unread> {
    parsed(text, most_values, |reader| reader.whole())
}

/// Reads one JSON object, as [`read`] does, and returns its fields in their order in the text. A key that occurs twice
/// is returned twice. `None` if the text is JSON, but not an object.
pub fn fields(text: &[u8], most_values: usize) -> Result<Option<Vec<(Name, Value)>>, Unread> {
    parsed(text, most_values, |reader| reader.whole_object())
}

fn parsed<T>(
    text: &[u8],
    most_values: usize,
    parse: impl FnOnce(&mut Reader<'_>) -> Result<T, Fault>,
) -> Result<T, Unread> {
    let text = without_mark(text);
    check_json(text, most_values)?;
    let mut reader = Reader(Jiter::new(text));
    parse(&mut reader).map_err(|fault| {
        let at = reader.0.error_position(fault.index);
        let mut path = fault.path;
        path.reverse();
        Unread::Invalid {
            line: at.line,
            column: at.column,
            path,
            what: told(&fault.kind),
        }
    })
}

/// A fault and its position.
struct Fault {
    kind: JiterErrorType,
    index: usize,
    /// Path from the inside out.
    path: Vec<String>,
}

impl Fault {
    fn within(mut self, step: impl ToString) -> Self {
        self.path.push(step.to_string());
        self
    }
}

impl From<JiterError> for Fault {
    fn from(error: JiterError) -> Self {
        Self {
            kind: error.error_type,
            index: error.index,
            path: Vec::new(),
        }
    }
}

struct Reader<'a>(Jiter<'a>);

impl Reader<'_> {
    fn whole(&mut self) -> Result<Value, Fault> {
        let first = self.0.peek()?;
        let value = self.value(first)?;
        self.0.finish()?;
        Ok(value)
    }

    fn whole_object(&mut self) -> Result<Option<Vec<(Name, Value)>>, Fault> {
        let first = self.0.peek()?;
        let fields = match first {
            Peek::Object => {
                let mut pairs = Vec::new();
                self.each_field(|name, value| pairs.push((name, value)))?;
                Some(pairs)
            }
            _ => {
                self.value(first)?;
                None
            }
        };
        self.0.finish()?;
        Ok(fields)
    }

    /// Recursion is limited by [`check_json`].
    fn value(&mut self, next: Peek) -> Result<Value, Fault> {
        match next {
            Peek::Null => {
                self.0.known_null()?;
                Ok(Value::Null)
            }
            Peek::True | Peek::False => Ok(Value::Boolean(self.0.known_bool(next)?)),
            Peek::String => Ok(Value::String(self.0.known_str()?.to_owned())),
            Peek::Array => self.list(),
            Peek::Object => self.object(),
            _ => {
                let digits = self.0.known_number_bytes(next)?;
                Ok(number(&String::from_utf8_lossy(digits)))
            }
        }
    }

    fn list(&mut self) -> Result<Value, Fault> {
        let mut values = Vec::new();
        let mut next = self.0.known_array()?;
        while let Some(peek) = next {
            let value = self.value(peek).map_err(|fault| fault.within(values.len()))?;
            values.push(value);
            next = self.0.array_step()?;
        }
        Ok(Value::List(values))
    }

    fn object(&mut self) -> Result<Value, Fault> {
        let mut fields = IndexMap::new();
        self.each_field(|name, value| drop(fields.insert(name, value)))?;
        Ok(Value::Object(fields))
    }

    fn each_field(&mut self, mut keep: impl FnMut(Name, Value)) -> Result<(), Fault> {
        let mut key = self.0.known_object()?.map(Name::new);
        while let Some(name) = key {
            let value = self.field().map_err(|fault| fault.within(&name))?;
            keep(name, value);
            key = self.0.next_key()?.map(Name::new);
        }
        Ok(())
    }

    fn field(&mut self) -> Result<Value, Fault> {
        let next = self.0.peek()?;
        self.value(next)
    }
}

fn told(kind: &JiterErrorType) -> String {
    use JsonErrorType::{LoneLeadingSurrogateInHexEscape, NumberOutOfRange, UnexpectedEndOfHexEscape};
    match kind {
        JiterErrorType::JsonError(LoneLeadingSurrogateInHexEscape | UnexpectedEndOfHexEscape) => {
            "half a surrogate pair, which is not a character".to_owned()
        }
        JiterErrorType::JsonError(NumberOutOfRange) => "a number of more than 4,300 digits".to_owned(),
        JiterErrorType::JsonError(JsonErrorType::InvalidUnicodeCodePoint) => "not UTF-8".to_owned(),
        kind => kind.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Text;
    use super::*;
    use crate::limits::MAX_JSON_VALUES;

    fn written(text: &str) -> String {
        let value = read(text.as_bytes(), MAX_JSON_VALUES).unwrap_or_else(|error| panic!("{text}: {error}"));
        Text(&value).to_string()
    }

    fn refused(text: &[u8]) -> String {
        read(text, MAX_JSON_VALUES).unwrap_err().to_string()
    }

    #[test]
    fn json_that_is_read_is_written_unchanged() {
        for text in [
            "null",
            "true",
            r#""a \"b\" \\ \n é 😀""#,
            r#"{"b":1,"a":[],"c":{},"":{"d":[1,"2",null,false]}}"#,
            "[12345678901.123456789,18446744073709551616,1e-400,1200.50,-0,1e400,1E5,0.1,-7]",
            r#"{"$serde_json::private::RawValue":"[1, 2]","$serde_json::private::Number":"1"}"#,
        ] {
            assert_eq!(written(text), text);
        }
        assert_eq!(
            written(" { \"a\" : [ 1 , 2 ] , \"a\" : \"\\ud83d\\ude00\\u00e9\" } "),
            r#"{"a":"😀é"}"#
        );
    }

    #[test]
    fn object_fields_keep_their_order_and_repeated_keys() {
        let pairs = |text: &str| fields(text.as_bytes(), MAX_JSON_VALUES);
        let text = "\u{feff} {\"b\":1,\"a\":{\"c\":1,\"c\":2},\"b\":null}";
        let shown: Vec<String> = pairs(text)
            .unwrap()
            .unwrap()
            .iter()
            .map(|(name, value)| format!("{name}={}", Text(value)))
            .collect();
        assert_eq!(shown, ["b=1", "a={\"c\":2}", "b=null"]);
        assert_eq!(pairs("{}"), Ok(Some(Vec::new())));
        for text in ["[]", "null", "\"{}\"", "1"] {
            assert_eq!(pairs(text), Ok(None), "{text}");
        }
        for text in ["", "{} {}", "[1] 2", "{\"a\":}"] {
            assert!(matches!(pairs(text), Err(Unread::Invalid { .. })), "{text}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_passed_over_once() {
        assert_eq!(written("\u{feff}{\"a\":1}"), r#"{"a":1}"#);
        assert!(refused("\u{feff}\u{feff}{}".as_bytes()).contains("line 1, column 1"));
    }

    #[test]
    fn invalid_json_is_reported_with_line_column_and_path() {
        let event = "{\"v\":\n {\"e\":[{\"t\":\"a\"},{\"t\":\"\\ud83d\"}]}}";
        assert_eq!(
            refused(event.as_bytes()),
            "not valid JSON at line 2, column 30, in v.e.1.t: half a surrogate pair, which is not a character"
        );
        for (text, what) in [
            (&b""[..], "line 1, column 0: EOF while parsing a value"),
            (b"{\"a\":1,}", "column 8: trailing comma"),
            (b"[1 2]", "column 4: expected `,` or `]`"),
            (b"{} {}", "column 4: trailing characters"),
            (b"{\"a\":01}", "in a: invalid number"),
            (b"{\"a\":NaN}", "in a: expected value"),
            (b"{\"a\":+1}", "in a: expected value"),
            (b"{\"a\":\"\n\"}", "in a: control character"),
            (b"{\"a\":\"\xff\"}", "in a: not UTF-8"),
            (b"{\"a\":\"\\udc00\"}", "in a: half a surrogate pair"),
            (b"{\"a\":\"\\ud83d\\u0041\"}", "in a: half a surrogate pair"),
        ] {
            let why = refused(text);
            assert!(why.contains(what), "{text:?}: {why}");
        }
        let long = format!("{{\"{}\":x}}", "k".repeat(10_000));
        assert!(refused(long.as_bytes()).chars().count() < LONGEST_PATH + 100);
    }

    #[test]
    fn numbers_are_bounded_in_digits() {
        const MOST: usize = 4_300;
        let long = |digits: usize| "7".repeat(digits);
        assert_eq!(written(&long(MOST)), long(MOST));
        assert!(refused(long(MOST + 1).as_bytes()).contains("4,300 digits"));
    }
}
