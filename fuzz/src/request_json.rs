//! Reading a request's JSON, with arbitrary bytes.
//!
//! Properties: Nothing panics. An accepted value has no more levels and values than allowed, counted again in the
//! result. A second reader accepts and refuses the same texts, except for its own bounds on numbers. Writing a value
//! and reading it gives the same value, and writing that again gives the same text: no key has a special meaning. The
//! reader that keeps repeated keys accepts and refuses the same texts.

use async_graphql::Value;
use serde_json::Value as Plain;
use tenterhook_graphql_http::json::{Text, Unread, fields, read};
use tenterhook_graphql_http::limits::MAX_JSON_NESTING;
use tenterhook_settings::files::without_mark;

/// Few, so that inputs reach the bound.
const MOST_VALUES: usize = 40;

/// Reads the bytes, and checks the properties.
pub fn check(data: &[u8]) {
    agree(data);
    let plain = serde_json::from_slice::<Plain>(without_mark(data));
    match read(data, MOST_VALUES) {
        Ok(value) => {
            let (depth, values) = measure(&value);
            assert!(depth <= MAX_JSON_NESTING, "{depth} levels");
            // The first value in brackets may be one too many.
            assert!(values <= MOST_VALUES + 1, "{values} values");
            let text = Text(&value).to_string();
            let again = read(text.as_bytes(), MOST_VALUES).expect("what was written is read");
            assert_eq!(again, value);
            assert_eq!(Text(&again).to_string(), text);
            match plain {
                Ok(plain) => alike(&value, &plain),
                Err(error) => assert!(error.to_string().contains("number out of range"), "{error}"),
            }
        }
        Err(Unread::TooMuch(_)) => {}
        Err(Unread::Invalid { what, .. }) => {
            assert!(plain.is_err() || what.contains("digits"), "{what}");
        }
    }
}

/// Both readers agree on a text.
fn agree(data: &[u8]) {
    match (read(data, MOST_VALUES), fields(data, MOST_VALUES)) {
        (Ok(value @ Value::Object(_)), Ok(Some(pairs))) => {
            assert_eq!(Value::Object(pairs.into_iter().collect()), value);
        }
        (Ok(value), Ok(None)) => assert!(!matches!(value, Value::Object(_)), "{value:?}"),
        (Err(whole), Err(of_fields)) => assert_eq!(whole, of_fields),
        (whole, of_fields) => panic!("{whole:?} is not {of_fields:?}"),
    }
}

/// Depth and number of values.
fn measure(value: &Value) -> (usize, usize) {
    let within: Vec<&Value> = match value {
        Value::List(values) => values.iter().collect(),
        Value::Object(fields) => fields.values().collect(),
        _ => return (0, 1),
    };
    within
        .into_iter()
        .map(measure)
        .fold((1, 1), |(depth, values), (inner, more)| {
            (depth.max(inner + 1), values + more)
        })
}

/// Equal except for numbers, which the second reader stores with less precision.
fn alike(value: &Value, plain: &Plain) {
    match (value, plain) {
        (Value::Null, Plain::Null) | (Value::Number(_) | Value::Binary(_), Plain::Number(_)) => {}
        (Value::Boolean(value), Plain::Bool(plain)) => assert_eq!(value, plain),
        (Value::String(value), Plain::String(plain)) => assert_eq!(value, plain),
        (Value::List(values), Plain::Array(plains)) => {
            assert_eq!(values.len(), plains.len());
            values
                .iter()
                .zip(plains)
                .for_each(|(value, plain)| alike(value, plain));
        }
        (Value::Object(fields), Plain::Object(plains)) => {
            assert_eq!(fields.len(), plains.len());
            for (key, value) in fields {
                alike(value, plains.get(key.as_str()).expect("the same keys"));
            }
        }
        _ => panic!("{value:?} is not {plain:?}"),
    }
}
