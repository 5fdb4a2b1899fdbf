//! The body of an attempt, with arbitrary data from the platform.
//!
//! Properties: Nothing panics. The body is JSON, whatever its texts are, and rendering it again gives the same bytes.
//! It has the platform's own JSON digit for digit. `previous` in version 2 has exactly the fields that differ from the
//! state after the event, and of `custom_fields` exactly its own fields that differ.

use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde_json::Value;
use tenterhook_model::event::{ChangeSource, Event};
use tenterhook_model::ids::{CompanyId, EventId, Lane, UserId, WebhookNumber};
use tenterhook_model::webhook::{EventAction, PayloadVersion, WebhookType};
use tenterhook_policy::payload::{Recipient, render};
use tenterhook_settings::policy::PolicySettings;

use super::fields::fields;

const ACTIONS: [EventAction; 4] = [
    EventAction::Create,
    EventAction::Change,
    EventAction::Merge,
    EventAction::Delete,
];

/// Renders an event of these lines: the state after, the state before, a text. The first byte selects the action.
pub fn check(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(rest);
    let mut lines = text.splitn(3, '\n');
    let mut json = || {
        let line = lines.next().unwrap_or_default();
        // As in a publication: one JSON value is stored, without surrounding white space.
        let line = line.trim_matches([' ', '\t', '\r']);
        let is_value = serde_json::from_str::<IgnoredAny>(line).is_ok() && line != "null";
        is_value.then(|| line.to_owned())
    };
    let (after, before) = (json(), json());
    let event = event(
        ACTIONS[usize::from(first % 4)],
        after,
        before,
        lines.next().unwrap_or_default(),
    );
    let attempt = first % 4 + 1;
    for version in [PayloadVersion::V1, PayloadVersion::V2] {
        let render = || render(&event, &recipient(version), attempt, &PolicySettings::default());
        let body = String::from_utf8(render()).expect("a body is text");
        assert_eq!(body.as_bytes(), render(), "two bodies of one attempt");
        holds(&event, version, attempt, &body);
    }
}

fn holds(event: &Event, version: PayloadVersion, attempt: u8, body: &str) {
    let parsed = fields(body).expect("a body is a JSON object");
    let meta: Value = serde_json::from_str(parsed["meta"]).expect("JSON within JSON");
    assert_eq!(meta["host"], event.host.clone().unwrap_or_default());
    assert_eq!(
        meta[if version == PayloadVersion::V1 {
            "object"
        } else {
            "entity"
        }],
        event.object
    );
    let after = event
        .data
        .as_deref()
        .filter(|_| event.action != EventAction::Delete);
    let before = event
        .previous
        .as_deref()
        .filter(|_| event.action != EventAction::Create);
    let (after, before) = (after.unwrap_or("null"), before.unwrap_or("null"));
    match version {
        PayloadVersion::V1 => {
            assert_eq!(parsed["retry"], (attempt - 1).to_string());
            assert_eq!((parsed["current"], parsed["previous"]), (after, before));
        }
        PayloadVersion::V2 => {
            assert_eq!(meta["attempt"], attempt);
            assert_eq!(parsed["data"], after);
            if event.action == EventAction::Delete {
                assert_eq!(parsed["previous"], before, "a deletion has the whole last state");
            } else {
                difference(after, before, parsed["previous"], Some(NESTED));
            }
        }
    }
}

/// The field that is compared one level deeper by default.
const NESTED: &str = "custom_fields";

/// Checks `previous` as far as possible without the server's own JSON reader: fields with equal bytes have not changed,
/// fields with different values have. The field `nested` is checked in the same way, one level deeper.
fn difference(after: &str, before: &str, previous: &str, nested: Option<&str>) {
    let (Some(after), Some(before)) = (fields(after), fields(before)) else {
        assert_eq!(previous, before, "without fields the whole state has changed");
        return;
    };
    let previous = fields(previous).expect("an object");
    let value = |text: &str| serde_json::from_str::<Value>(text).ok();
    for (key, was) in &before {
        match after.get(key) {
            Some(is) if is == was => assert!(!previous.contains_key(key), "{key} is the same"),
            Some(is) if value(is) == value(was) => {}
            Some(is) if nested == Some(key.as_str()) => difference(is, was, previous[key], None),
            _ => assert_eq!(previous[key], *was, "{key} was so"),
        }
    }
    for key in after.keys().filter(|key| !before.contains_key(*key)) {
        assert_eq!(previous[key], "null", "{key} was not there");
    }
    assert!(
        previous
            .keys()
            .all(|key| before.contains_key(key) || after.contains_key(key))
    );
}

fn event(action: EventAction, data: Option<String>, previous: Option<String>, text: &str) -> Event {
    let company = CompanyId::new(1).expect("an id");
    let moment = Timestamp::from_second(1_795_428_000).expect("a moment");
    Event {
        lane: Lane::of(company),
        id: EventId::last_of(moment),
        company,
        action,
        object: text.to_owned(),
        object_id: "8".parse().expect("an id"),
        user: UserId::new(11).expect("an id"),
        data: data.map(Into::into),
        previous: previous.map(Into::into),
        permitted: None,
        change_source: ChangeSource::Api,
        is_bulk_edit: false,
        merge: None,
        correlation_id: text.to_owned(),
        host: Some(text.to_owned()),
        occurred_at: None,
        accepted_at: moment,
    }
}

fn recipient(version: PayloadVersion) -> Recipient {
    Recipient {
        number: WebhookNumber::new(501).expect("an id"),
        owner: UserId::new(12).expect("an id"),
        kind: WebhookType::General,
        version,
    }
}
