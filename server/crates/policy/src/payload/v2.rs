//! Payload version 2 (E4).
//!
//! All ids are strings here. For a change, `previous` contains only the fields that changed. In the objects that the
//! settings name, it contains only the changed fields of these objects.

use jiff::fmt::strtime;
use serde::Serialize;

use super::difference;
use super::{EVERYONE, Object, Recipient, change_source, host, moment, state_after, state_before, type_name};
use tenterhook_model::event::{Event, Merge};
use tenterhook_model::webhook::{EventAction, PayloadVersion};
use tenterhook_settings::policy::PolicySettings;

pub(super) fn render(event: &Event, to: &Recipient, attempt: u8, settings: &PolicySettings) -> Vec<u8> {
    let (data, before) = (state_after(event), state_before(event));
    let body = Object::new()
        .value("meta", &Meta::new(event, to, attempt, settings))
        .json("data", data.as_bytes());
    match event.action {
        EventAction::Delete => body.json("previous", before.as_bytes()),
        _ => body.json(
            "previous",
            &difference::previous(before, data, &settings.previous_nested),
        ),
    }
    .end()
}

#[derive(Serialize)]
struct Meta<'a> {
    action: &'static str,
    entity: &'a str,
    company_id: String,
    correlation_id: &'a str,
    entity_id: &'a str,
    id: String,
    is_bulk_edit: bool,
    timestamp: String,
    #[serde(rename = "type")]
    kind: &'static str,
    user_id: String,
    version: &'static str,
    webhook_id: String,
    webhook_owner_id: String,
    change_source: &'static str,
    attempt: u8,
    host: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    permitted_user_ids: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    merged_to_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    merged_from_id: Option<&'a str>,
}

impl<'a> Meta<'a> {
    fn new(event: &'a Event, to: &Recipient, attempt: u8, settings: &'a PolicySettings) -> Self {
        let (merged_to, merged_from) = match &event.merge {
            Some(Merge::To(survivor)) => (Some(survivor.as_str()), None),
            Some(Merge::From(merged)) => (None, Some(merged.as_str())),
            None => (None, None),
        };
        Self {
            action: action(event),
            entity: &event.object,
            company_id: event.company.to_string(),
            correlation_id: &event.correlation_id,
            entity_id: event.object_id.as_str(),
            id: event.id.to_string(),
            is_bulk_edit: event.is_bulk_edit,
            timestamp: iso_millis(event),
            kind: type_name(to),
            user_id: event.user.to_string(),
            version: "2.0",
            webhook_id: to.number.to_string(),
            webhook_owner_id: to.owner.to_string(),
            change_source: change_source(event),
            attempt,
            host: host(event, settings),
            permitted_user_ids: permitted(event),
            merged_to_id: merged_to,
            merged_from_id: merged_from,
        }
    }
}

/// The object whose events do not say who may see it.
const USER: &str = "user";

/// `None` if the key is left out.
fn permitted(event: &Event) -> Option<Vec<String>> {
    let ids = || match &event.permitted {
        Some(users) => users.iter().map(ToString::to_string).collect(),
        None => vec![EVERYONE.to_owned()],
    };
    (event.object != USER).then(ids)
}

fn action(event: &Event) -> &'static str {
    match event.action.seen_by(PayloadVersion::V2) {
        EventAction::Create => "create",
        EventAction::Change | EventAction::Merge => "change",
        EventAction::Delete => "delete",
        EventAction::Any => "*",
    }
}

fn iso_millis(event: &Event) -> String {
    strtime::format("%Y-%m-%dT%H:%M:%S.%3fZ", moment(event))
        .expect("a moment of UTC has every field that the format names")
}
