//! The format of a delivered body (E4, E5): its keys, the types of its values, and agreement with the headers.
//!
//! All errors are reported at once. This module does not know the event: a test that published it compares the values.

use serde_json::Value;

/// The event and attempt in the request's headers. The body must have the same.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// `webhook-id`: the event's id.
    pub event: &'a str,
    /// `tenterhook-webhook`: the webhook's number.
    pub webhook: &'a str,
    /// `tenterhook-attempt`: 1 to 4.
    pub attempt: u64,
}

const V2: [&str; 3] = ["meta", "data", "previous"];
const V2_META: [&str; 16] = [
    "action",
    "entity",
    "company_id",
    "correlation_id",
    "entity_id",
    "id",
    "is_bulk_edit",
    "timestamp",
    "type",
    "user_id",
    "version",
    "webhook_id",
    "webhook_owner_id",
    "change_source",
    "attempt",
    "host",
];
/// In version 2 left out where the object is a user. In version 1 an operator can choose that it is left out if it would say
/// "everyone".
const PERMITTED: &str = "permitted_user_ids";
const V1: [&str; 7] = [
    "v",
    "matches_filters",
    "meta",
    "retry",
    "current",
    "previous",
    "event",
];
const V1_META: [&str; 16] = [
    "v",
    "type",
    "action",
    "object",
    "id",
    "company_id",
    "user_id",
    "host",
    "timestamp",
    "timestamp_micro",
    "trans_pending",
    "is_bulk_update",
    "pipedrive_service_name",
    "matches_filters",
    "change_source",
    "webhook_id",
];

/// The errors in a body of either version; empty if there are none.
pub fn complaints(body: &Value, expected: Expected<'_>) -> Vec<String> {
    let mut check = Check {
        body,
        complaints: Vec::new(),
    };
    match body.get("v") {
        Some(_) => check.v1(expected),
        None => check.v2(expected),
    }
    check.complaints
}

struct Check<'a> {
    body: &'a Value,
    complaints: Vec<String>,
}

impl Check<'_> {
    fn v2(&mut self, expected: Expected<'_>) {
        self.keys("", &V2, &[]);
        let mut required = V2_META.to_vec();
        if self
            .body
            .pointer("/meta/entity")
            .is_none_or(|entity| entity != "user")
        {
            required.push(PERMITTED);
        }
        self.keys("/meta", &required, &["merged_to_id", "merged_from_id"]);
        self.is("/meta/action", "create, change or delete", |v| {
            one_of(v, &["create", "change", "delete"])
        });
        self.is("/meta/version", "\"2.0\"", |v| v == "2.0");
        self.is("/meta/type", "general or application", |v| {
            one_of(v, &["general", "application"])
        });
        self.is("/meta/change_source", "app or api", |v| {
            one_of(v, &["app", "api"])
        });
        self.is("/meta/id", "the webhook-id header", |v| v == expected.event);
        self.is("/meta/webhook_id", "the tenterhook-webhook header", |v| {
            v == expected.webhook
        });
        self.is("/meta/attempt", "the tenterhook-attempt header", |v| {
            v.as_u64() == Some(expected.attempt)
        });
        self.is("/meta/is_bulk_edit", "a boolean", Value::is_boolean);
        self.is(
            "/meta/timestamp",
            "ISO 8601 in UTC with milliseconds",
            is_millisecond_time,
        );
        for id in [
            "company_id",
            "correlation_id",
            "entity_id",
            "user_id",
            "webhook_owner_id",
            "entity",
            "host",
        ] {
            self.is(&format!("/meta/{id}"), "a string", Value::is_string);
        }
        self.is("/meta/permitted_user_ids", "a list of strings", |v| {
            v.as_array().is_some_and(|ids| ids.iter().all(Value::is_string))
        });
        let (data, previous) = (self.body.get("data"), self.body.get("previous"));
        match self.body.pointer("/meta/action").and_then(Value::as_str) {
            Some("create") if !previous.is_some_and(Value::is_null) => {
                self.say("/previous of a create must be null")
            }
            Some("delete") if !data.is_some_and(Value::is_null) => self.say("/data of a delete must be null"),
            _ => {}
        }
    }

    fn v1(&mut self, expected: Expected<'_>) {
        self.keys("", &V1, &[]);
        self.keys("/meta", &V1_META, &[PERMITTED]);
        self.is("/v", "1", |v| v == 1);
        self.is("/meta/v", "1", |v| v == 1);
        self.is("/retry", "one less than the tenterhook-attempt header", |v| {
            v.as_u64().is_some_and(|retry| retry + 1 == expected.attempt)
        });
        self.is("/meta/action", "added, updated, merged or deleted", |v| {
            one_of(v, &["added", "updated", "merged", "deleted"])
        });
        self.is("/meta/type", "general or application", |v| {
            one_of(v, &["general", "application"])
        });
        self.is("/meta/permitted_user_ids", "a list of numbers, or [\"*\"]", |v| {
            let ids = v.as_array().map(Vec::as_slice);
            ids.is_some_and(|ids| ids.iter().all(Value::is_u64) || ids == ["*"])
        });
        self.is("/meta/webhook_id", "the tenterhook-webhook header", |v| {
            id_is(v, expected.webhook)
        });
        for id in ["id", "company_id", "user_id"] {
            self.is(
                &format!("/meta/{id}"),
                "a number if it is decimal, otherwise a string",
                is_id,
            );
        }
        for text in ["object", "host"] {
            self.is(&format!("/meta/{text}"), "a string", Value::is_string);
        }
        self.is("/meta/timestamp", "whole seconds", Value::is_i64);
        self.is("/meta/timestamp_micro", "whole microseconds", Value::is_i64);
        self.is("/meta/pipedrive_service_name", "false", |v| v == false);
        for flag in ["trans_pending", "is_bulk_update"] {
            self.is(&format!("/meta/{flag}"), "a boolean", Value::is_boolean);
        }
        let part = |name: &str| {
            self.body
                .pointer(&format!("/meta/{name}"))
                .and_then(Value::as_str)
        };
        let event = part("action")
            .zip(part("object"))
            .map(|(action, object)| format!("{action}.{object}"));
        self.is("/event", "action and object of the meta", |v| {
            v.as_str() == event.as_deref()
        });
    }

    fn keys(&mut self, place: &str, required: &[&str], optional: &[&str]) {
        let Some(object) = self.body.pointer(place).and_then(Value::as_object) else {
            return self.say(&format!("{place}/ must be an object"));
        };
        let missing = required.iter().filter(|key| !object.contains_key(**key));
        let missing: Vec<String> = missing.map(|key| format!("{place}/{key} is missing")).collect();
        let known = |key: &str| required.contains(&key) || optional.contains(&key);
        let extra = object.keys().filter(|key| !known(key));
        let extra: Vec<String> = extra
            .map(|key| format!("{place}/{key} is not in the format"))
            .collect();
        self.complaints.extend(missing.into_iter().chain(extra));
    }

    fn is(&mut self, place: &str, wanted: &str, holds: impl Fn(&Value) -> bool) {
        match self.body.pointer(place) {
            Some(value) if !holds(value) => self.say(&format!("{place} must be {wanted}, not {value}")),
            _ => {}
        }
    }

    fn say(&mut self, complaint: &str) {
        self.complaints.push(complaint.to_owned());
    }
}

fn one_of(value: &Value, words: &[&str]) -> bool {
    value.as_str().is_some_and(|word| words.contains(&word))
}

fn is_decimal(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit())
}

/// In version 1 decimal ids are numbers, and others are strings.
fn is_id(value: &Value) -> bool {
    value.is_u64() || value.as_str().is_some_and(|text| !is_decimal(text))
}

/// Whether a value of version 1 is this decimal id.
fn id_is(value: &Value, id: &str) -> bool {
    value.as_u64().is_some_and(|number| number.to_string() == id)
}

/// Whether the value has exactly the format `2026-01-02T03:04:05.678Z`.
fn is_millisecond_time(value: &Value) -> bool {
    value.as_str().is_some_and(|text| {
        text.len() == 24
            && text.as_bytes()[19] == b'.'
            && text.ends_with('Z')
            && text.parse::<jiff::Timestamp>().is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const EXPECTED: Expected<'static> = Expected {
        event: "e-1",
        webhook: "5",
        attempt: 2,
    };

    fn v2() -> Value {
        json!({
            "meta": {
                "action": "change", "entity": "deal", "company_id": "1", "correlation_id": "c", "entity_id": "8",
                "id": "e-1", "is_bulk_edit": false, "timestamp": "2026-01-02T03:04:05.678Z", "type": "general",
                "user_id": "7", "version": "2.0", "webhook_id": "5", "webhook_owner_id": "7",
                "change_source": "app", "attempt": 2, "host": "h", "permitted_user_ids": ["7"],
            },
            "data": {"id": 8}, "previous": {},
        })
    }

    fn v1() -> Value {
        json!({
            "v": 1, "matches_filters": null,
            "meta": {
                "v": 1, "type": "general", "action": "updated", "object": "deal", "id": 8, "company_id": 1,
                "user_id": 7, "host": "h",
                "timestamp": 1, "timestamp_micro": 1_000_000, "permitted_user_ids": [7], "trans_pending": false,
                "is_bulk_update": false, "pipedrive_service_name": false, "matches_filters": null,
                "change_source": "app", "webhook_id": 5,
            },
            "retry": 1, "current": {}, "previous": {}, "event": "updated.deal",
        })
    }

    #[test]
    fn right_bodies_of_both_versions_pass() {
        assert_eq!(complaints(&v2(), EXPECTED), Vec::<String>::new());
        assert_eq!(complaints(&v1(), EXPECTED), Vec::<String>::new());
    }

    #[test]
    fn every_wrong_part_is_named() {
        let bend = |mut body: Value, place: &str, value: Value| {
            *body.pointer_mut(place).unwrap() = value;
            complaints(&body, EXPECTED)
        };
        for (place, value) in [
            ("/meta/action", json!("updated")),
            ("/meta/attempt", json!(1)),
            ("/meta/id", json!("e-2")),
            ("/meta/webhook_id", json!(5)),
            ("/meta/timestamp", json!("2026-01-02T03:04:05Z")),
            ("/meta/user_id", json!(7)),
            ("/meta/type", json!("GENERAL")),
            ("/meta/permitted_user_ids", json!([7])),
            ("/meta/permitted_user_ids", json!(null)),
        ] {
            let said = bend(v2(), place, value);
            assert!(said.len() == 1 && said[0].starts_with(place), "{place}: {said:?}");
        }
        for (place, value) in [
            ("/retry", json!(2)),
            ("/meta/id", json!("8")),
            ("/meta/webhook_id", json!("5")),
            ("/event", json!("change.deal")),
            ("/meta/pipedrive_service_name", json!(null)),
            ("/meta/type", json!(1)),
            ("/meta/permitted_user_ids", json!(null)),
            ("/meta/permitted_user_ids", json!(["7"])),
            ("/meta/permitted_user_ids", json!(["*", 7])),
        ] {
            let said = bend(v1(), place, value);
            assert!(said.len() == 1 && said[0].starts_with(place), "{place}: {said:?}");
        }
    }

    #[test]
    fn permitted_users_are_absent_only_where_the_format_allows_it() {
        let without = |mut body: Value| {
            body["meta"].as_object_mut().unwrap().remove(PERMITTED);
            complaints(&body, EXPECTED)
        };
        let mut of_user = v2();
        of_user["meta"]["entity"] = json!("user");
        assert_eq!(
            complaints(&of_user, EXPECTED),
            ["/meta/permitted_user_ids is not in the format"]
        );
        assert_eq!(without(of_user), Vec::<String>::new());
        assert_eq!(without(v2()), ["/meta/permitted_user_ids is missing"]);
        assert_eq!(without(v1()), Vec::<String>::new());
    }

    #[test]
    fn missing_and_unknown_keys_are_named() {
        let mut body = v2();
        let meta = body["meta"].as_object_mut().unwrap();
        meta.remove("host");
        meta.insert("secret".to_owned(), json!(1));
        assert_eq!(
            complaints(&body, EXPECTED),
            ["/meta/host is missing", "/meta/secret is not in the format"]
        );
    }
}
