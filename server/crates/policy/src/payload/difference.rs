//! What a change left behind: the fields of the last state that are different now (E4).
//!
//! Promises to compare meaning, not spelling, of objects, lists and strings: the order of keys and the escapes
//! of a string do not make a change. Numbers are compared as written: whether 1 and 1.0 are one is the
//! platform's to know, and digits beyond a float's are never lost.

use std::collections::BTreeMap;

use super::object::Object;
use super::parts::{elements, fields, string};

/// How deep values are compared; what is nested deeper is compared as text.
const DEPTH: u8 = 64;

/// Version 2's `previous`, as JSON. What changed from `before` to `now`: the old values of the fields that changed, in
/// the last state's order; then null for each new field. Only objects have fields: where one side is none, the whole
/// last state has changed.
pub(super) fn previous(before: &str, now: &str) -> Vec<u8> {
    let (Some(old), Some(new)) = (fields(before), fields(now)) else {
        return before.as_bytes().to_vec();
    };
    let (was, is) = (index(&old), index(&new));
    let mut changed = Object::new();
    for (key, value) in old.iter().filter(|field| counts(&was, field)) {
        let same_now = is.get(key.as_str()).is_some_and(|is| same(value, is, DEPTH));
        if !same_now {
            changed = changed.json(key, value.as_bytes());
        }
    }
    for (key, _) in new.iter().filter(|field| counts(&is, field)) {
        if !was.contains_key(key.as_str()) {
            changed = changed.json(key, b"null");
        }
    }
    changed.end()
}

/// An object's fields by key. Of a key that stands there twice the last one counts, as it does for most readers.
type Index<'a> = BTreeMap<&'a str, &'a str>;

fn index<'a>(fields: &'a [(String, &'a str)]) -> Index<'a> {
    fields.iter().map(|(key, value)| (key.as_str(), *value)).collect()
}

/// Whether this field is the one of its key that counts.
fn counts(index: &Index, (key, value): &(String, &str)) -> bool {
    index
        .get(key.as_str())
        .is_some_and(|last| std::ptr::eq(*last, *value))
}

fn same(a: &str, b: &str, depth: u8) -> bool {
    if a == b {
        return true;
    }
    let Some(depth) = depth.checked_sub(1) else {
        return false;
    };
    let both = |start| a.starts_with(start) && b.starts_with(start);
    if both('{') {
        let (Some(a), Some(b)) = (fields(a), fields(b)) else {
            return false;
        };
        let (a, b) = (index(&a), index(&b));
        a.len() == b.len()
            && a.iter()
                .all(|(key, a)| b.get(key).is_some_and(|b| same(a, b, depth)))
    } else if both('[') {
        let (Some(a), Some(b)) = (elements(a), elements(b)) else {
            return false;
        };
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b, depth))
    } else {
        both('"') && string(a).is_some_and(|a| string(b) == Some(a))
    }
}
