//! What a change left behind: the fields of the last state that are different now (E4).
//!
//! Promises to compare meaning, not spelling, of objects, lists and strings: the order of keys and the escapes
//! of a string do not make a change. Numbers are compared as written: whether 1 and 1.0 are one is the
//! platform's to know, and digits beyond a float's are never lost.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_json::value::RawValue;

/// How deep values are compared; what is nested deeper is compared as text.
const DEPTH: u8 = 64;

/// Version 2's `previous`.
pub(super) enum Previous<'a> {
    /// The last state itself, or null.
    Whole(&'a RawValue),
    /// The old values of the fields that changed, in the last state's order; then null for each new field.
    Changed(Vec<(String, &'a RawValue)>),
}

impl<'a> Previous<'a> {
    /// What changed from `before` to `now`. Only objects have fields: where one side is none, the whole last
    /// state has changed.
    pub(super) fn of(before: &'a RawValue, now: &'a RawValue) -> Self {
        let (Some(old), Some(new)) = (parse::<Fields>(before), parse::<Fields>(now)) else {
            return Self::Whole(before);
        };
        let (was, is) = (old.index(), new.index());
        let unchanged = |(key, value): &(String, &'a RawValue)| {
            is.get(key.as_str()).is_some_and(|is| same(value, is, DEPTH))
        };
        let counts = |fields: &BTreeMap<&str, &'a RawValue>, (key, value): &(String, &'a RawValue)| {
            fields
                .get(key.as_str())
                .is_some_and(|last| std::ptr::eq(*last, *value))
        };
        let before = old.0.iter().filter(|field| counts(&was, field));
        let mut changed: Vec<_> = before.filter(|field| !unchanged(field)).cloned().collect();
        let added = new
            .0
            .iter()
            .filter(|field| counts(&is, field) && !was.contains_key(field.0.as_str()));
        changed.extend(added.map(|(key, _)| (key.clone(), RawValue::NULL)));
        Self::Changed(changed)
    }
}

impl Serialize for Previous<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Whole(state) => state.serialize(serializer),
            Self::Changed(fields) => serializer.collect_map(fields.iter().map(|(key, value)| (key, value))),
        }
    }
}

fn same(a: &RawValue, b: &RawValue, depth: u8) -> bool {
    if a.get() == b.get() {
        return true;
    }
    let Some(depth) = depth.checked_sub(1) else {
        return false;
    };
    let both = |start| a.get().starts_with(start) && b.get().starts_with(start);
    if both('{') {
        let (Some(a), Some(b)) = (parse::<Fields>(a), parse::<Fields>(b)) else {
            return false;
        };
        let (a, b) = (a.index(), b.index());
        a.len() == b.len()
            && a.iter()
                .all(|(key, a)| b.get(key).is_some_and(|b| same(a, b, depth)))
    } else if both('[') {
        let (Some(a), Some(b)) = (parse::<Vec<&RawValue>>(a), parse::<Vec<&RawValue>>(b)) else {
            return false;
        };
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b, depth))
    } else {
        both('"') && parse::<String>(a) == parse::<String>(b)
    }
}

fn parse<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Option<T> {
    serde_json::from_str(value.get()).ok()
}

/// An object's fields in their order, values untouched. Of a key that stands there twice the last one counts, as it
/// does for most readers.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Fields<'a> {
    fn index(&self) -> BTreeMap<&str, &'a RawValue> {
        self.0.iter().map(|(key, value)| (key.as_str(), *value)).collect()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(InOrder).map(Fields)
    }
}
