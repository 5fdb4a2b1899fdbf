//! The fields of a JSON object as they were written, for independent checks of the server's results.

use std::collections::BTreeMap;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Deserializer;

/// The text of each field's value by key; for a repeated key the last one. `None` if the text is not an object.
pub fn fields(object: &str) -> Option<BTreeMap<String, &str>> {
    serde_json::from_str::<IgnoredAny>(object).ok()?;
    let mut rest = object.trim_start().strip_prefix('{')?;
    let mut fields = BTreeMap::new();
    while !rest.trim_start().starts_with('}') {
        let (key, after) = one::<String>(rest)?;
        let value = after.trim_start().strip_prefix(':')?.trim_start();
        let (_, after) = one::<IgnoredAny>(value)?;
        fields.insert(key, &value[..value.len() - after.len()]);
        rest = after.trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    Some(fields)
}

/// The first value in a text, and the rest of the text.
fn one<T: DeserializeOwned>(text: &str) -> Option<(T, &str)> {
    let mut values = Deserializer::from_str(text).into_iter::<T>();
    let value = values.next()?.ok()?;
    Some((value, &text[values.byte_offset()..]))
}
