//! Reads JSON from outside without giving any key a special meaning.
//!
//! Every object is read as an object. `serde_json::Value` gives one key a meaning and parses the string under it,
//! recursively, if any crate in the build enables that feature. Digits beyond a float are lost, as with
//! `serde_json::Value`: tests compare data that must keep every digit as text.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// A value without special keys.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plain(pub Value);

/// Reads a whole text.
///
/// # Errors
///
/// If it is not JSON, or is nested more than 127 levels deep.
pub fn read(text: &[u8]) -> serde_json::Result<Value> {
    serde_json::from_slice(text).map(|Plain(value)| value)
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Values).map(Self)
    }
}

struct Values;

impl<'de> Visitor<'de> for Values {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Plain(value)) = items.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((key, Plain(value))) = entries.next_entry::<String, Plain>()? {
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attacks::{INNER_KEYS, nested_key};

    #[test]
    fn ordinary_json_is_read_as_serde_json_reads_it() {
        let text = r#"{"a":[null,true,-1,2,1.5,"x\u0000y"],"b":{}}"#;
        assert_eq!(
            read(text.as_bytes()).unwrap(),
            serde_json::from_str::<Value>(text).unwrap()
        );
        assert!(read(b"{").is_err());
    }

    #[test]
    fn internal_keys_of_a_library_mean_nothing() {
        for key in INNER_KEYS {
            for value in ["\"[1, 2]\"", "\"no JSON\"", "7", "{}"] {
                let text = format!(r#"{{"{key}":{value}}}"#);
                assert_eq!(read(text.as_bytes()).unwrap().to_string(), text);
            }
        }
        let text = nested_key(60);
        assert_eq!(read(text.as_bytes()).unwrap().as_object().unwrap().len(), 1);
    }
}
