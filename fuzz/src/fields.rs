//! The fields of a JSON object as they were written, for second opinions on what the server says of them.

use std::collections::BTreeMap;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Deserializer;

/// The text of each field's value by its key, of a key that stands there twice the last; `None` for what is no object.
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

/// The value that a text begins with, and what follows it.
fn one<T: DeserializeOwned>(text: &str) -> Option<(T, &str)> {
    let mut values = Deserializer::from_str(text).into_iter::<T>();
    let value = values.next()?.ok()?;
    Some((value, &text[values.byte_offset()..]))
}
