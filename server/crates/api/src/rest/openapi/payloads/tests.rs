//! The schemas of payloads describe what the server sends, and require the keys that no payload lacks.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::Timestamp;
use uuid::Uuid;

use super::*;
use tenterhook_model::event::{ChangeSource, Event, Merge};
use tenterhook_model::ids::{CompanyId, EventId, Lane, UserId, WebhookNumber};
use tenterhook_model::webhook::{EventAction, PayloadVersion, WebhookType};
use tenterhook_policy::payload::{Recipient, render};
use tenterhook_settings::PolicySettings;
use tenterhook_settings::policy::EveryoneV1;

/// The golden payloads of the policy, indented, below a head of two lines of dashes.
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../policy/src/payload/snapshots");
/// The service key of version 1 in the golden payload of an operator who renamed it.
const RENAMED_KEY: &str = "platform_service_name";
/// The name that another operator gives to the service key of version 1.
const OTHER_KEY: &str = "service_name";

fn schema(version: PayloadVersion) -> Value {
    match version {
        PayloadVersion::V1 => v1(),
        PayloadVersion::V2 => v2(),
    }
}

fn event(action: EventAction) -> Event {
    let accepted_at = "2026-11-23T10:11:12.345Z".parse().unwrap();
    let company = CompanyId::new(1).unwrap();
    Event {
        lane: Lane::of(company),
        id: EventId::new(accepted_at),
        company,
        action,
        object: "deal".to_owned(),
        object_id: "8".parse().unwrap(),
        user: UserId::new(11).unwrap(),
        data: Some("{}".into()),
        previous: Some("{}".into()),
        permitted: None,
        change_source: ChangeSource::App,
        is_bulk_edit: false,
        merge: (action == EventAction::Merge).then(|| Merge::From("9".parse().unwrap())),
        correlation_id: "cause".to_owned(),
        host: None,
        occurred_at: None,
        accepted_at,
    }
}

/// Events of every kind: actions, both sides of a merge, a user, and one that not everyone may see.
fn events() -> Vec<Event> {
    let actions = EventAction::ALL
        .iter()
        .filter(|action| **action != EventAction::Any);
    let mut all: Vec<Event> = actions.map(|action| event(*action)).collect();
    all.push(Event {
        merge: Some(Merge::To("7".parse().unwrap())),
        ..event(EventAction::Delete)
    });
    all.push(Event {
        object: "user".to_owned(),
        ..event(EventAction::Change)
    });
    all.push(Event {
        permitted: Some(vec![UserId::new(11).unwrap()]),
        ..event(EventAction::Change)
    });
    all
}

/// The default settings, and others under which a payload lacks the keys that settings decide about.
fn settings() -> [PolicySettings; 2] {
    let default = PolicySettings::default();
    let other = PolicySettings {
        everyone_v1: EveryoneV1::Absent,
        v1_service_key: OTHER_KEY.to_owned(),
        ..PolicySettings::default()
    };
    [default, other]
}

/// All events under all settings, in this version.
fn sent(version: PayloadVersion) -> Vec<Value> {
    let to = Recipient {
        number: WebhookNumber::new(501).unwrap(),
        owner: UserId::new(11).unwrap(),
        kind: WebhookType::General,
        version,
    };
    let under = |settings: &PolicySettings| -> Vec<Value> {
        let bodies = events().into_iter().map(|event| render(&event, &to, 1, settings));
        bodies
            .map(|body| serde_json::from_slice(&body).unwrap())
            .collect()
    };
    settings().iter().flat_map(under).collect()
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn required(schema: &Value) -> BTreeSet<&str> {
    let names = schema["required"].as_array().unwrap();
    names.iter().map(|name| name.as_str().unwrap()).collect()
}

/// Exactly the keys that all of these have are required, and exactly those that one of them has are described.
fn describes(schema: &Value, values: &[&Value]) {
    let all = values.iter().map(|value| keys(value));
    let always = all.clone().reduce(|some, more| &some & &more).unwrap();
    let mut ever = all.reduce(|some, more| &some | &more).unwrap();
    ever.remove(OTHER_KEY);
    assert_eq!(required(schema), always);
    assert_eq!(keys(&schema["properties"]), ever);
}

#[test]
fn the_required_keys_are_those_of_every_payload() {
    for version in [PayloadVersion::V1, PayloadVersion::V2] {
        let (schema, sent) = (schema(version), sent(version));
        describes(&schema, &sent.iter().collect::<Vec<_>>());
        let meta: Vec<&Value> = sent.iter().map(|payload| &payload["meta"]).collect();
        describes(&schema["properties"]["meta"], &meta);
    }
}

/// Why a value does not fit a schema. Understands the keywords that the schemas of payloads have, and no others.
fn faults(value: &Value, schema: &Value, at: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut check = |keyword: &str, holds: bool| {
        if !holds {
            faults.push(format!("{at}: {value} against {keyword} {}", schema[keyword]));
        }
    };
    let mut inner = Vec::new();
    for (keyword, rule) in schema.as_object().unwrap() {
        match keyword.as_str() {
            "description" | "examples" => {}
            "type" => check(keyword, is_of_type(value, rule)),
            "const" => check(keyword, value == rule),
            "enum" => check(keyword, rule.as_array().unwrap().contains(value)),
            "minimum" => check(keyword, value.as_i64() >= rule.as_i64()),
            "format" => check(keyword, is_of_format(value, rule)),
            "required" => {
                let has = |name: &Value| value.get(name.as_str().unwrap()).is_some();
                check(keyword, rule.as_array().unwrap().iter().all(has));
            }
            "properties" => {
                check(keyword, keys(value).is_subset(&keys(rule)));
                for (name, property) in rule.as_object().unwrap() {
                    let sent = value.get(name).into_iter();
                    inner.extend(sent.flat_map(|sent| faults_at(sent, property, at, name)));
                }
            }
            "items" => {
                let entries = value.as_array().into_iter().flatten().enumerate();
                inner.extend(
                    entries.flat_map(|(index, entry)| faults_at(entry, rule, at, &index.to_string())),
                );
            }
            _ => panic!("{at}: this test does not know the keyword {keyword}"),
        }
    }
    faults.extend(inner);
    faults
}

fn faults_at(value: &Value, schema: &Value, at: &str, name: &str) -> Vec<String> {
    faults(value, schema, &format!("{at}.{name}"))
}

fn is_of_type(value: &Value, rule: &Value) -> bool {
    let is = |name: &Value| match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        other => panic!("this test does not know the type {other}"),
    };
    match rule {
        Value::Array(names) => names.iter().any(is),
        name => is(name),
    }
}

fn is_of_format(value: &Value, rule: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    match rule.as_str().unwrap() {
        "date-time" => text.parse::<Timestamp>().is_ok(),
        "uuid" => text.parse::<Uuid>().is_ok(),
        other => panic!("this test does not know the format {other}"),
    }
}

/// The golden payloads with their names and versions. One is of an operator who renamed the service key of version 1; it
/// gets the name that the description has.
fn golden() -> Vec<(String, PayloadVersion, Value)> {
    let files = Path::new(GOLDEN).read_dir().unwrap();
    let read = |file: std::io::Result<std::fs::DirEntry>| {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let version = match name.rsplit("__").next().unwrap() {
            name if name.starts_with("V1_") => PayloadVersion::V1,
            name if name.starts_with("V2_") => PayloadVersion::V2,
            _ => panic!("{name} has no version"),
        };
        let text = std::fs::read_to_string(&path).unwrap();
        let (_, body) = text.split_once("\n---\n").unwrap();
        let mut payload: Value = serde_json::from_str(body).unwrap();
        let meta = payload["meta"].as_object_mut().unwrap();
        if let Some(value) = meta.remove(RENAMED_KEY) {
            meta.insert(PolicySettings::default().v1_service_key, value);
        }
        (name, version, payload)
    };
    files.map(read).collect()
}

#[test]
fn golden_payloads_fit_the_schemas() {
    let golden = golden();
    for (name, version, payload) in &golden {
        let found = faults(payload, &schema(*version), "payload");
        assert!(found.is_empty(), "{name}: {found:#?}");
    }
    for version in [PayloadVersion::V1, PayloadVersion::V2] {
        let of = golden.iter().filter(|(_, of, _)| *of == version).count();
        assert!(of >= 12, "only {of} of {version:?}");
    }
}

/// The check above can fail: each missing key, and a value of another type, is one fault.
#[test]
fn a_golden_payload_without_a_required_key_does_not_fit() {
    for (name, version, payload) in golden() {
        let schema = schema(version);
        for key in required(&schema["properties"]["meta"]) {
            let mut broken = payload.clone();
            broken["meta"].as_object_mut().unwrap().remove(key);
            let found = faults(&broken, &schema, "payload").len();
            assert_eq!(found, 1, "{name} without {key}");
            broken["meta"][key] = json!({ "another": "type" });
            let found = faults(&broken, &schema, "payload");
            assert!(!found.is_empty(), "{name} with another {key}");
        }
    }
}
