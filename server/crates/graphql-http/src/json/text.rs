//! Writes GraphQL values as JSON text.

use async_graphql::Value;
use std::fmt;

use super::number::digits;

/// Writes a value as JSON without blanks. Numbers keep their digits.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a>(pub &'a Value);

impl fmt::Display for Text<'_> {
    /// Recursion is limited by the request's JSON or the document's nesting, which are both bounded.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Null => out.write_str("null"),
            Value::Boolean(value) => write!(out, "{value}"),
            Value::Number(number) => write!(out, "{number}"),
            Value::Binary(kept) => out.write_str(digits(kept).unwrap_or("null")),
            Value::String(text) => string(out, text),
            Value::Enum(name) => string(out, name),
            Value::List(values) => {
                out.write_str("[")?;
                for (index, value) in values.iter().enumerate() {
                    write!(out, "{}{}", comma(index), Self(value))?;
                }
                out.write_str("]")
            }
            Value::Object(fields) => {
                out.write_str("{")?;
                for (index, (key, value)) in fields.iter().enumerate() {
                    out.write_str(comma(index))?;
                    string(out, key)?;
                    write!(out, ":{}", Self(value))?;
                }
                out.write_str("}")
            }
        }
    }
}

fn comma(index: usize) -> &'static str {
    if index == 0 { "" } else { "," }
}

fn string(out: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    out.write_str(&serde_json::to_string(text).map_err(|_| fmt::Error)?)
}
