//! The scan of a request's JSON before the parser sees it, with whatever bytes.
//!
//! Must hold: nothing panics. What passes and parses is nested no deeper and has no more values than was allowed,
//! counted again in what was parsed.

use serde_json::Value;
use tenterhook::api::document::{MAX_JSON_NESTING, check_json};

/// Few, so that the bound is within reach.
const MOST_VALUES: usize = 40;

/// Scans the bytes, and parses what passes.
pub fn check(data: &[u8]) {
    if check_json(data, MOST_VALUES).is_err() {
        return;
    }
    if let Ok(value) = serde_json::from_slice::<Value>(data) {
        let (depth, values) = measure(&value);
        assert!(depth <= MAX_JSON_NESTING, "{depth} levels");
        // The first value in brackets may be one too many.
        assert!(values <= MOST_VALUES + 1, "{values} values");
    }
}

/// How deep, and how many.
fn measure(value: &Value) -> (usize, usize) {
    let within: Vec<&Value> = match value {
        Value::Array(values) => values.iter().collect(),
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
