//! The difference that a change made: the fields of the last state that have another value now (E4).
//!
//! Objects, lists and strings are compared by meaning, not by spelling: the order of keys and the escapes in a string do not
//! count as changes. Numbers are compared as text: only the platform knows whether 1 and 1.0 are the same, and digits beyond
//! the precision of a float are kept.
//!
//! An object with custom fields has all of them in one field. Comparing that field one level deeper shows the ones that
//! changed, instead of sending all.

use std::collections::{BTreeMap, BTreeSet};

use super::object::Object;
use super::parts::{elements, fields, string};

/// Values are compared down to this depth; deeper ones are compared as text.
const DEPTH: u8 = 64;

/// The `previous` of version 2, as JSON, for a change from `before` to `now`: the old values of the fields that changed, in
/// the order of the last state; then null for each new field. Only objects have fields: if either side is not an object, the
/// whole last state has changed. A changed field in `nested` has the old values of those of its own fields that changed.
pub(super) fn previous(before: &str, now: &str, nested: &BTreeSet<String>) -> Vec<u8> {
    changes(before, now, nested, DEPTH)
}

/// Fields are compared down to `depth`.
fn changes(before: &str, now: &str, nested: &BTreeSet<String>, depth: u8) -> Vec<u8> {
    let (Some(old), Some(new)) = (fields(before), fields(now)) else {
        return before.as_bytes().to_vec();
    };
    let (was, is) = (index(&old), index(&new));
    let mut changed = Object::new();
    for (key, value) in old.iter().filter(|field| counts(&was, field)) {
        match is.get(key.as_str()) {
            Some(is) if same(value, is, depth) => {}
            Some(is) if nested.contains(key) => {
                let within = changes(value, is, &BTreeSet::new(), depth.saturating_sub(1));
                changed = changed.json(key, &within);
            }
            _ => changed = changed.json(key, value.as_bytes()),
        }
    }
    for (key, _) in new.iter().filter(|field| counts(&is, field)) {
        if !was.contains_key(key.as_str()) {
            changed = changed.json(key, b"null");
        }
    }
    changed.end()
}

/// The fields of an object by key. If a key occurs twice, the last one counts, as for most readers.
type Index<'a> = BTreeMap<&'a str, &'a str>;

fn index<'a>(fields: &'a [(String, &'a str)]) -> Index<'a> {
    fields.iter().map(|(key, value)| (key.as_str(), *value)).collect()
}

/// Whether this field is the last one with its key.
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
