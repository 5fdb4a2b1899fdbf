//! Whether two publications under one idempotency key have the same content (E1).
//!
//! The order of an object's keys and of the permitted users does not matter, and neither does a user listed twice. Numbers
//! are compared by their digits: 1.0 is not 1, and every digit counts.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::payload::parts::{elements, fields};
use tenterhook_model::event::Draft;

/// Keys are sorted down to this depth; deeper values are compared as text. Requests may not nest this deep.
const DEPTH: u8 = 64;

/// SHA-256 over the whole content of a published event except its idempotency key.
pub fn content_hash(draft: &Draft) -> Vec<u8> {
    let permitted: Option<BTreeSet<i64>> = draft
        .permitted
        .as_ref()
        .map(|users| users.iter().map(|user| user.get()).collect());
    hash(draft, permitted, sorted)
}

/// The hash that servers up to version 0.1.0 store: keys and users in the order of the request. Needed while such
/// idempotency keys are valid (a day after the upgrade); remove it in the next version.
pub fn ordered_content_hash(draft: &Draft) -> Vec<u8> {
    let permitted: Option<Vec<i64>> = draft
        .permitted
        .as_ref()
        .map(|users| users.iter().map(|user| user.get()).collect());
    hash(draft, permitted, str::to_owned)
}

fn hash(draft: &Draft, permitted: impl serde::Serialize, state: fn(&str) -> String) -> Vec<u8> {
    let merged_from = draft
        .merged_from
        .as_ref()
        .map(|(id, last)| (id.as_str(), last.as_deref().map(state)));
    let content = serde_json::json!([
        draft.company.get(),
        draft.action.code(),
        draft.object,
        draft.object_id.as_str(),
        draft.user.get(),
        draft.data.as_deref().map(state),
        draft.previous.as_deref().map(state),
        merged_from,
        permitted,
        draft.change_source.code(),
        draft.is_bulk_edit,
        draft.correlation_id,
        draft.host,
        draft.occurred_at,
    ]);
    Sha256::digest(content.to_string().as_bytes()).to_vec()
}

/// A JSON text with the keys of its objects sorted. Published JSON has no white space and one spelling of each string.
fn sorted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    sort(text, &mut out, DEPTH);
    out
}

fn sort(text: &str, out: &mut String, depth: u8) {
    let Some(depth) = depth.checked_sub(1) else {
        out.push_str(text);
        return;
    };
    if let Some(fields) = text.starts_with('{').then(|| fields(text)).flatten() {
        // If a key occurs twice, the last one counts.
        let fields: BTreeMap<String, &str> = fields.into_iter().collect();
        out.push('{');
        for (key, value) in fields {
            out.push_str(&serde_json::Value::String(key).to_string());
            out.push(':');
            sort(value, out, depth);
            out.push(',');
        }
        out.push('}');
    } else if let Some(elements) = text.starts_with('[').then(|| elements(text)).flatten() {
        out.push('[');
        for element in elements {
            sort(element, out, depth);
            out.push(',');
        }
        out.push(']');
    } else {
        out.push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use tenterhook_model::ids::UserId;

    fn saying(data: &str, permitted: &[i64]) -> Draft {
        let event = samples::event();
        Draft {
            company: event.company,
            action: event.action,
            object: event.object,
            object_id: event.object_id,
            user: event.user,
            data: Some(data.into()),
            previous: Some(data.into()),
            merged_from: Some(("9".parse().unwrap(), Some(data.into()))),
            permitted: Some(permitted.iter().map(|id| UserId::new(*id).unwrap()).collect()),
            change_source: event.change_source,
            is_bulk_edit: false,
            correlation_id: None,
            host: None,
            occurred_at: None,
            idempotency_key: Some("k".to_owned()),
        }
    }

    #[test]
    fn e1_the_order_of_keys_and_users_does_not_matter() {
        let first = saying(r#"{"a":1,"b":{"c":[{"d":1,"e":2}],"f":"x"}}"#, &[7, 8]);
        let again = saying(r#"{"b":{"f":"x","c":[{"e":2,"d":1}]},"a":1}"#, &[8, 7, 8]);
        assert_eq!(content_hash(&first), content_hash(&again));
        assert_ne!(ordered_content_hash(&first), ordered_content_hash(&again));
    }

    #[test]
    fn e1_any_other_difference_matters() {
        let first = content_hash(&saying(r#"{"a":[1,2]}"#, &[7]));
        for (data, permitted) in [
            (r#"{"a":[2,1]}"#, &[7][..]),
            (r#"{"a":[1,2,[]]}"#, &[7]),
            (r#"{"a":[1.0,2]}"#, &[7]),
            (r#"{"a":{"1":2}}"#, &[7]),
            (r#"{"a":"[1,2]"}"#, &[7]),
            (r#"{"a":[1,2]}"#, &[]),
        ] {
            assert_ne!(content_hash(&saying(data, permitted)), first, "{data}");
        }
        let digits = ["12345678901234567890123", "12345678901234567890124"];
        let hashes = digits.map(|number| content_hash(&saying(number, &[7])));
        assert_ne!(hashes[0], hashes[1]);
    }

    #[test]
    fn data_nested_deeper_than_allowed_is_compared_as_text() {
        let nested =
            |levels: usize| format!("{}{{\"b\":1,\"a\":2}}{}", "[".repeat(levels), "]".repeat(levels));
        let deep = usize::from(DEPTH);
        assert!(sorted(&nested(deep - 1)).contains("{\"a\":2,\"b\":1,}"));
        assert!(sorted(&nested(deep)).contains("{\"b\":1,\"a\":2}"));
    }
}
