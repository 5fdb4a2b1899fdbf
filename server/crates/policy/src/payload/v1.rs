//! Payload version 1 (E5).
//!
//! Decimal ids are numbers here; others are strings.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{EVERYONE, Object, Recipient, change_source, host, moment, state_after, state_before, type_name};
use tenterhook_model::event::Event;
use tenterhook_model::ids::MAX_DECIMAL_ID;
use tenterhook_model::webhook::EventAction;
use tenterhook_settings::policy::{EveryoneV1, PolicySettings};

pub(super) fn render(event: &Event, to: &Recipient, attempt: u8, settings: &PolicySettings) -> Vec<u8> {
    Object::new()
        .value("v", &1)
        .value("matches_filters", &NO_FILTERS)
        .value("meta", &Meta { event, to, settings })
        // 0 for the first try.
        .value("retry", &attempt.saturating_sub(1))
        .json("current", state_after(event).as_bytes())
        .json("previous", state_before(event).as_bytes())
        .value("event", &format!("{}.{}", action(event), event.object))
        .end()
}

/// Filters exist only in the platform's web app. A subscription has none, so none match.
#[derive(serde::Serialize)]
struct MatchesFilters {
    current: [u8; 0],
    previous: [u8; 0],
}

const NO_FILTERS: MatchesFilters = MatchesFilters {
    current: [],
    previous: [],
};

struct Meta<'a> {
    event: &'a Event,
    to: &'a Recipient,
    settings: &'a PolicySettings,
}

impl Serialize for Meta<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { event, to, settings } = self;
        let moment = moment(event);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("v", &1)?;
        map.serialize_entry("type", type_name(to))?;
        map.serialize_entry("action", action(event))?;
        map.serialize_entry("object", &event.object)?;
        map.serialize_entry("id", &Id::of(event.object_id.as_str()))?;
        map.serialize_entry("company_id", &event.company.get())?;
        map.serialize_entry("user_id", &event.user.get())?;
        map.serialize_entry("host", host(event, settings))?;
        map.serialize_entry("timestamp", &moment.as_second())?;
        map.serialize_entry("timestamp_micro", &moment.as_microsecond())?;
        if let Some(users) = permitted(event, settings.everyone_v1) {
            map.serialize_entry("permitted_user_ids", &users)?;
        }
        map.serialize_entry("trans_pending", &false)?;
        map.serialize_entry("is_bulk_update", &event.is_bulk_edit)?;
        map.serialize_entry(&settings.v1_service_key, &false)?;
        map.serialize_entry("matches_filters", &NO_FILTERS)?;
        map.serialize_entry("change_source", change_source(event))?;
        map.serialize_entry("webhook_id", &to.number.get())?;
        map.end()
    }
}

/// An id of the platform, as version 1 writes it.
#[derive(Debug, PartialEq, serde::Serialize)]
#[serde(untagged)]
pub(super) enum Id<'a> {
    Number(i64),
    Text(&'a str),
}

impl<'a> Id<'a> {
    /// A number only if its decimal spelling is exactly this text and every JSON reader reads it exactly.
    pub(super) fn of(text: &'a str) -> Self {
        match text.parse() {
            Ok(number @ 0..=MAX_DECIMAL_ID) if text == "0" || !text.starts_with(['0', '+', '-']) => {
                Self::Number(number)
            }
            _ => Self::Text(text),
        }
    }
}

/// `None` if the key is left out. An empty list always means everyone: an event that nobody may see has no deliveries (E2).
fn permitted(event: &Event, everyone: EveryoneV1) -> Option<Vec<Id<'_>>> {
    match (&event.permitted, everyone) {
        (Some(users), _) => Some(users.iter().map(|user| Id::Number(user.get())).collect()),
        (None, EveryoneV1::Empty) => Some(Vec::new()),
        (None, EveryoneV1::Star) => Some(vec![Id::Text(EVERYONE)]),
        (None, EveryoneV1::Absent) => None,
    }
}

fn action(event: &Event) -> &'static str {
    match event.action {
        EventAction::Create => "added",
        EventAction::Change => "updated",
        EventAction::Merge => "merged",
        EventAction::Delete => "deleted",
        EventAction::Any => "*",
    }
}
