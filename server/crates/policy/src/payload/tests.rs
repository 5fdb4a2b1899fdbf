//! Golden bodies of every kind of event in both versions, and what holds for every body.
//!
//! The snapshots are indented for reading; [`bodies_are_compact_and_exact`] checks the exact bytes.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Map, Value};

use super::v1::Id;
use super::*;
use crate::samples;
use tenterhook_model::event::Merge;
use tenterhook_settings::policy::{EveryoneV1, V1_META_KEYS};

fn to(version: PayloadVersion) -> Recipient {
    Recipient {
        number: WebhookNumber::new(501).unwrap(),
        owner: UserId::new(12).unwrap(),
        kind: WebhookType::General,
        version,
    }
}

fn settings() -> PolicySettings {
    PolicySettings {
        default_host: "company.platform.example".to_owned(),
        ..Default::default()
    }
}

fn body(event: &Event, version: PayloadVersion) -> String {
    String::from_utf8(render(event, &to(version), 1, &settings())).unwrap()
}

fn parsed(event: &Event, version: PayloadVersion) -> Value {
    parsed_with(&settings(), event, version)
}

fn parsed_with(settings: &PolicySettings, event: &Event, version: PayloadVersion) -> Value {
    serde_json::from_slice(&render(event, &to(version), 1, settings)).unwrap()
}

fn event(action: EventAction, data: Option<&str>, previous: Option<&str>) -> Event {
    let [data, previous] = [data, previous].map(|json| json.map(Into::into));
    Event {
        action,
        data,
        previous,
        ..samples::event()
    }
}

const DEAL: &str = concat!(
    r#"{"id":8,"title":"A boat","value":1200.50,"labels":["blue"],"owner":{"id":11},"#,
    r#""custom_fields":{"colour":"red","length":12,"sails":{"main":1,"jib":1}}}"#,
);
const BEFORE: &str = concat!(
    r#"{"id":8,"title":"A canoe","value":80,"labels":["blue"],"owner":{"id":11},"#,
    r#""custom_fields":{"colour":"red","length":5,"paddles":2,"sails":{"jib":1,"main":1}}}"#,
);

#[test]
fn e4_e5_e6_golden_payloads() {
    let merge = |action, merge, previous: &str| Event {
        merge: Some(merge),
        ..event(
            action,
            Some(DEAL).filter(|_| action == EventAction::Merge),
            Some(previous),
        )
    };
    for (name, event) in [
        ("create", event(EventAction::Create, Some(DEAL), None)),
        ("change", event(EventAction::Change, Some(DEAL), Some(BEFORE))),
        ("delete", event(EventAction::Delete, None, Some(BEFORE))),
        (
            "merge_survivor",
            merge(EventAction::Merge, Merge::From("9".parse().unwrap()), BEFORE),
        ),
        (
            "merge_merged",
            merge(EventAction::Delete, Merge::To("7".parse().unwrap()), BEFORE),
        ),
    ] {
        for version in [PayloadVersion::V1, PayloadVersion::V2] {
            for (kind, word) in [
                (WebhookType::General, ""),
                (WebhookType::Application, "application_"),
            ] {
                let to = Recipient { kind, ..to(version) };
                let value: Value = serde_json::from_slice(&render(&event, &to, 1, &settings())).unwrap();
                let pretty = serde_json::to_string_pretty(&value).unwrap();
                insta::assert_snapshot!(format!("{version:?}_{word}{name}"), pretty);
            }
        }
    }
}

/// Users are objects too. Only version 2 says nothing about who may see one.
#[test]
fn e4_e5_golden_payloads_of_a_user() {
    let user = Event {
        object: "user".to_owned(),
        object_id: "11".parse().unwrap(),
        permitted: Some(vec![UserId::new(11).unwrap()]),
        ..event(
            EventAction::Change,
            Some(r#"[{"id":11,"name":"Ada"}]"#),
            Some(r#"[{"id":11,"name":"A."}]"#),
        )
    };
    for version in [PayloadVersion::V1, PayloadVersion::V2] {
        let pretty = serde_json::to_string_pretty(&parsed(&user, version)).unwrap();
        insta::assert_snapshot!(format!("{version:?}_user_change"), pretty);
    }
    for permitted in [None, Some(vec![]), Some(vec![UserId::new(11).unwrap()])] {
        let user = Event {
            permitted,
            ..user.clone()
        };
        assert_eq!(
            parsed(&user, PayloadVersion::V2)["meta"].get("permitted_user_ids"),
            None
        );
        assert!(parsed(&user, PayloadVersion::V1)["meta"]["permitted_user_ids"].is_array());
    }
}

#[test]
fn e5_the_setting_changes_how_everyone_is_written_but_not_a_list() {
    let everyone = samples::event();
    let some = Event {
        permitted: Some(vec![UserId::new(11).unwrap(), UserId::new(12).unwrap()]),
        ..samples::event()
    };
    for (everyone_v1, expected) in [
        (EveryoneV1::Empty, Some(serde_json::json!([]))),
        (EveryoneV1::Star, Some(serde_json::json!(["*"]))),
        (EveryoneV1::Absent, None),
    ] {
        let settings = PolicySettings {
            everyone_v1,
            ..settings()
        };
        let ids = |event, version| {
            let body = parsed_with(&settings, event, version);
            body["meta"].get("permitted_user_ids").cloned()
        };
        assert_eq!(ids(&everyone, PayloadVersion::V1), expected);
        assert_eq!(ids(&some, PayloadVersion::V1), Some(serde_json::json!([11, 12])));
        assert_eq!(ids(&everyone, PayloadVersion::V2), Some(serde_json::json!(["*"])));
        assert_eq!(
            ids(&some, PayloadVersion::V2),
            Some(serde_json::json!(["11", "12"]))
        );
    }
}

/// Every field that can have another value, with that value.
#[test]
fn e4_e5_golden_payloads_of_an_application_webhook_on_a_retry() {
    let event = Event {
        object_id: "lead-7f".parse().unwrap(),
        permitted: Some(vec![UserId::new(11).unwrap(), UserId::new(12).unwrap()]),
        change_source: ChangeSource::Api,
        is_bulk_edit: true,
        host: Some("acme.platform.example".to_owned()),
        occurred_at: Some("2026-11-22T23:59:59.000999Z".parse().unwrap()),
        ..samples::event()
    };
    let settings = PolicySettings {
        v1_service_key: "platform_service_name".to_owned(),
        ..settings()
    };
    for version in [PayloadVersion::V1, PayloadVersion::V2] {
        let to = Recipient {
            kind: WebhookType::Application,
            ..to(version)
        };
        let value: Value = serde_json::from_slice(&render(&event, &to, 4, &settings)).unwrap();
        insta::assert_snapshot!(
            format!("{version:?}_application_retry"),
            serde_json::to_string_pretty(&value).unwrap()
        );
    }
}

/// The settings refuse these keys as the name of the service key, so that no key is in a payload twice.
#[test]
fn e5_the_settings_know_every_key_of_meta() {
    let payload = parsed(&samples::event(), PayloadVersion::V1);
    let sent: BTreeSet<&str> = payload["meta"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let service_key = settings().v1_service_key;
    let known = V1_META_KEYS.into_iter().chain([service_key.as_str()]);
    assert_eq!(sent, known.collect());
}

#[test]
fn bodies_are_compact_and_exact() {
    let event = event(
        EventAction::Change,
        Some(r#"{"value":1200.50}"#),
        Some(r#"{"value" : 80}"#),
    );
    let v1 = concat!(
        r#"{"v":1,"matches_filters":{"current":[],"previous":[]},"meta":{"v":1,"type":"general","action":"updated","#,
        r#""object":"deal","id":8,"company_id":1,"user_id":11,"host":"company.platform.example","#,
        r#""timestamp":1795428672,"timestamp_micro":1795428672345000,"permitted_user_ids":[],"#,
        r#""trans_pending":false,"is_bulk_update":false,"pipedrive_service_name":false,"#,
        r#""matches_filters":{"current":[],"previous":[]},"change_source":"app","webhook_id":501},"#,
        r#""retry":0,"current":{"value":1200.50},"previous":{"value" : 80},"event":"updated.deal"}"#,
    );
    let v2 = concat!(
        r#"{"meta":{"action":"change","entity":"deal","company_id":"1","#,
        r#""correlation_id":"2a8b3c52-5f6e-4d7a-9b8c-0d1e2f3a4b5c","entity_id":"8","#,
        r#""id":"019ab0b4-6d80-7abc-8def-0123456789ab","is_bulk_edit":false,"#,
        r#""timestamp":"2026-11-23T10:11:12.345Z","type":"general","user_id":"11","version":"2.0","#,
        r#""webhook_id":"501","webhook_owner_id":"12","change_source":"app","attempt":1,"#,
        r#""host":"company.platform.example","permitted_user_ids":["*"]},"#,
        r#""data":{"value":1200.50},"previous":{"value":80}}"#,
    );
    assert_eq!(body(&event, PayloadVersion::V1), v1);
    assert_eq!(body(&event, PayloadVersion::V2), v2);
}

#[test]
fn e4_e5_attempts_are_1_to_4_and_retries_0_to_3() {
    for attempt in 1..=4 {
        let number = |version, pointer| {
            let body = render(&samples::event(), &to(version), attempt, &settings());
            serde_json::from_slice::<Value>(&body)
                .unwrap()
                .pointer(pointer)
                .cloned()
        };
        assert_eq!(number(PayloadVersion::V2, "/meta/attempt"), Some(attempt.into()));
        assert_eq!(number(PayloadVersion::V1, "/retry"), Some((attempt - 1).into()));
    }
}

#[test]
fn e4_the_moment_is_cut_to_the_millisecond_not_rounded() {
    let moment = |text: &str| {
        let event = Event {
            occurred_at: Some(text.parse().unwrap()),
            ..samples::event()
        };
        (
            parsed(&event, PayloadVersion::V2)["meta"]["timestamp"].clone(),
            parsed(&event, PayloadVersion::V1)["meta"]["timestamp_micro"].clone(),
        )
    };
    let late = moment("2026-12-31T23:59:59.9999999Z");
    assert_eq!(
        late,
        (
            "2026-12-31T23:59:59.999Z".into(),
            1_798_761_599_999_999_i64.into()
        )
    );
    let whole = moment("2026-12-31T23:59:59Z");
    assert_eq!(
        whole,
        (
            "2026-12-31T23:59:59.000Z".into(),
            1_798_761_599_000_000_i64.into()
        )
    );
}

#[test]
fn e5_ids_are_numbers_only_if_nothing_is_lost() {
    for (text, number) in [("8", 8), ("0", 0), ("9007199254740991", 9_007_199_254_740_991)] {
        assert_eq!(Id::of(text), Id::Number(number));
    }
    for text in [
        "007",
        "00",
        "-1",
        "-0",
        "1.0",
        "1e3",
        "9007199254740992",
        "99999999999999999999999",
        "x",
        "8_",
    ] {
        assert_eq!(Id::of(text), Id::Text(text));
    }
}

#[test]
fn e4_previous_has_only_what_changed() {
    for (before, now, expected) in [
        (r#"{"a":1,"b":2}"#, r#"{"a":1,"b":3}"#, r#"{"b":2}"#),
        (r#"{"a":1}"#, r#"{"a":1}"#, "{}"),
        (r#"{"z":1,"a":2,"m":3}"#, "{}", r#"{"z":1,"a":2,"m":3}"#),
        (r#"{"a":1}"#, r#"{"a":1,"b":2}"#, r#"{"b":null}"#),
        (r#"{"a":null}"#, "{}", r#"{"a":null}"#),
        (
            r#"{"a":{"x":1,"y":[1,{"p":1,"q":2}]}}"#,
            r#"{"a":{"y":[1, {"q":2,"p":1}],"x":1}}"#,
            "{}",
        ),
        (r#"{"a":[1,2]}"#, r#"{"a":[2,1]}"#, r#"{"a":[1,2]}"#),
        (r#"{"a":"\u00e4/"}"#, r#"{"a":"ä\/"}"#, "{}"),
        (r#"{"\u0061":1}"#, r#"{"a":1}"#, "{}"),
        (r#"{"a":1,"a":2}"#, r#"{"a":2}"#, "{}"),
        (r#"{"a":1,"a":2}"#, r#"{"a":1}"#, r#"{"a":2}"#),
        (r#"{"a":1}"#, r#"{"b":1,"b":2,"a":1}"#, r#"{"b":null}"#),
        (
            r#"{"a":12345678901234567890123}"#,
            r#"{"a":12345678901234567890124}"#,
            r#"{"a":12345678901234567890123}"#,
        ),
        (r#"{"a":"1"}"#, r#"{"a":1}"#, r#"{"a":"1"}"#),
        ("null", r#"{"a":1}"#, "null"),
        (r#"{"a":1}"#, "null", r#"{"a":1}"#),
        ("[1]", r#"{"a":1}"#, "[1]"),
        ("7", "7", "7"),
    ] {
        let event = event(EventAction::Change, Some(now), Some(before));
        let body = body(&event, PayloadVersion::V2);
        let (_, previous) = body.rsplit_once(r#","previous":"#).unwrap();
        assert_eq!(previous, format!("{expected}}}"), "{before} became {now}");
    }
}

/// A named object is compared one level deeper, and no level after that.
#[test]
fn e4_previous_has_only_the_changed_fields_of_a_named_object() {
    for (before, now, expected) in [
        (
            r#"{"n":{"x":1,"y":2}}"#,
            r#"{"n":{"x":1,"y":3}}"#,
            r#"{"n":{"y":2}}"#,
        ),
        (r#"{"n":{"x":1,"y":2}}"#, r#"{"n":{"y":2, "x":1}}"#, "{}"),
        (
            r#"{"n":{"x":1}}"#,
            r#"{"n":{"x":1,"y":2}}"#,
            r#"{"n":{"y":null}}"#,
        ),
        (
            r#"{"n":{"x":1,"y":null}}"#,
            r#"{"n":{"x":1}}"#,
            r#"{"n":{"y":null}}"#,
        ),
        (
            r#"{"n":{"x":{"p":1,"q":2}}}"#,
            r#"{"n":{"x":{"p":1,"q":3}}}"#,
            r#"{"n":{"x":{"p":1,"q":2}}}"#,
        ),
        (
            r#"{"n":{"n":{"p":1,"q":2}}}"#,
            r#"{"n":{"n":{"p":1}}}"#,
            r#"{"n":{"n":{"p":1,"q":2}}}"#,
        ),
        (r#"{"n":{"x":1}}"#, r#"{"n":null}"#, r#"{"n":{"x":1}}"#),
        (r#"{"n":{"x":1}}"#, "{}", r#"{"n":{"x":1}}"#),
        (r#"{"n":null}"#, r#"{"n":{"x":1}}"#, r#"{"n":null}"#),
        (r#"{"n":[1,2]}"#, r#"{"n":[1]}"#, r#"{"n":[1,2]}"#),
        ("{}", r#"{"n":{"x":1}}"#, r#"{"n":null}"#),
        (
            r#"{"\u006e":{"x":1,"y":2}}"#,
            r#"{"n":{"x":1}}"#,
            r#"{"n":{"y":2}}"#,
        ),
        (
            r#"{"o":{"x":1,"y":2}}"#,
            r#"{"o":{"x":1}}"#,
            r#"{"o":{"x":1,"y":2}}"#,
        ),
        (
            r#"{"n":{"x":1.50,"y":2}}"#,
            r#"{"n":{"x":1.5,"y":2}}"#,
            r#"{"n":{"x":1.50}}"#,
        ),
    ] {
        let settings = PolicySettings {
            previous_nested: ["n".to_owned()].into(),
            ..settings()
        };
        let event = event(EventAction::Change, Some(now), Some(before));
        let body = String::from_utf8(render(&event, &to(PayloadVersion::V2), 1, &settings)).unwrap();
        let (_, previous) = body.rsplit_once(r#","previous":"#).unwrap();
        assert_eq!(previous, format!("{expected}}}"), "{before} became {now}");
        let v1 = parsed_with(&settings, &event, PayloadVersion::V1);
        assert_eq!(v1["previous"], serde_json::from_str::<Value>(before).unwrap());
    }
    let none = PolicySettings {
        previous_nested: [].into(),
        ..settings()
    };
    let event = event(
        EventAction::Change,
        Some(r#"{"custom_fields":{"x":1,"y":3}}"#),
        Some(r#"{"custom_fields":{"x":1,"y":2}}"#),
    );
    let whole = &parsed_with(&none, &event, PayloadVersion::V2)["previous"];
    assert_eq!(*whole, serde_json::json!({"custom_fields": {"x": 1, "y": 2}}));
    let changed = &parsed(&event, PayloadVersion::V2)["previous"];
    assert_eq!(*changed, serde_json::json!({"custom_fields": {"y": 2}}));
}

#[test]
fn e4_e5_creations_have_no_previous_and_deletions_no_current() {
    let create = event(EventAction::Create, Some(DEAL), Some(BEFORE));
    let delete = event(EventAction::Delete, Some(DEAL), Some(BEFORE));
    for (version, now) in [(PayloadVersion::V1, "current"), (PayloadVersion::V2, "data")] {
        assert_eq!(parsed(&create, version)["previous"], Value::Null);
        assert_eq!(parsed(&delete, version)[now], Value::Null);
        assert_eq!(parsed(&delete, version)["previous"]["title"], "A canoe");
    }
}

#[test]
fn deep_nesting_is_rendered_without_a_stack_overflow() {
    let deep = |core: &str| format!("{{\"a\":{}{core}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let event = event(EventAction::Change, Some(&deep("1")), Some(&deep("2")));
    let rendered = render(&event, &to(PayloadVersion::V2), 1, &settings());
    assert!(rendered.len() > 400_000);
}

/// Values as a platform might send them.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3_i64).prop_map(Value::from),
        "[ab\"\\\\ä\n]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::hash_map("[abc]", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn object() -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::hash_map("[abcdef\"]", value(), 0..6).prop_map(|map| map.into_iter().collect())
}

proptest! {
    #[test]
    fn e4_previous_agrees_with_comparing_parsed_objects(before in object(), now in object()) {
        let texts = [&before, &now].map(|map| serde_json::to_string(map).unwrap());
        let event = event(EventAction::Change, Some(&texts[1]), Some(&texts[0]));
        let mut expected: Map<_, _> =
            before.iter().filter(|(key, old)| now.get(*key) != Some(old)).map(|(k, v)| (k.clone(), v.clone())).collect();
        expected.extend(now.keys().filter(|key| !before.contains_key(*key)).map(|key| (key.clone(), Value::Null)));
        prop_assert_eq!(&parsed(&event, PayloadVersion::V2)["previous"], &Value::Object(expected));
    }

    /// The keys are generated from the letters that name fields, so that named objects occur.
    #[test]
    fn e4_named_objects_agree_with_comparing_parsed_objects(before in object(), now in object()) {
        let texts = [&before, &now].map(|map| serde_json::to_string(map).unwrap());
        let settings = PolicySettings { previous_nested: ["a".to_owned(), "b".to_owned()].into(), ..settings() };
        let event = event(EventAction::Change, Some(&texts[1]), Some(&texts[0]));
        let changed = |before: &Map<String, Value>, now: &Map<String, Value>| -> Map<String, Value> {
            let old = before.iter().filter(|(key, old)| now.get(*key) != Some(old)).map(|(k, v)| (k.clone(), v.clone()));
            let new = now.keys().filter(|key| !before.contains_key(*key)).map(|key| (key.clone(), Value::Null));
            old.chain(new).collect()
        };
        let mut expected = changed(&before, &now);
        for key in ["a", "b"] {
            if let (Some(Value::Object(old)), Some(Value::Object(new))) = (before.get(key), now.get(key))
                && old != new
            {
                expected.insert(key.to_owned(), Value::Object(changed(old, new)));
            }
        }
        prop_assert_eq!(&parsed_with(&settings, &event, PayloadVersion::V2)["previous"], &Value::Object(expected));
    }

    #[test]
    fn the_platforms_json_is_embedded_as_it_came(now in value(), before in value()) {
        let texts = [serde_json::to_string_pretty(&now).unwrap(), serde_json::to_string_pretty(&before).unwrap()];
        let event = event(EventAction::Change, Some(&texts[0]), Some(&texts[1]));
        let v1 = body(&event, PayloadVersion::V1);
        let embedded = format!(r#""current":{},"previous":{},"event":"#, texts[0], texts[1]);
        prop_assert!(v1.contains(&embedded));
        let v2 = body(&event, PayloadVersion::V2);
        let embedded = format!(r#","data":{},"previous":"#, texts[0]);
        prop_assert!(v2.contains(&embedded));
    }

    #[test]
    fn a_body_is_json_whatever_is_stored(data: String, previous: String, host: String) {
        let event = Event { host: Some(host), ..event(EventAction::Change, Some(&data), Some(&previous)) };
        for version in [PayloadVersion::V1, PayloadVersion::V2] {
            prop_assert!(serde_json::from_str::<Value>(&body(&event, version)).is_ok());
        }
    }

    #[test]
    fn e5_an_id_keeps_its_digits(text in "[0-9a-z.-]{1,20}") {
        let written = serde_json::to_string(&Id::of(&text)).unwrap();
        prop_assert_eq!(written.trim_matches('"'), text);
    }
}
