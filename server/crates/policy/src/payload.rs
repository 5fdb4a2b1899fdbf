//! The body of an attempt, in the payload version of the webhook (E4–E6).
//!
//! Guarantees: the same event, recipient and attempt give the same bytes, now and when the body is shown in a month (D10).
//! Keys are in the order of the policy; the platform's own JSON is embedded unchanged, digit for digit. Fields of an object
//! are not filtered by what a user may see: the platform publishes only what may be sent.

mod difference;
mod object;
pub(super) mod parts;
mod v1;
mod v2;

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde::de::IgnoredAny;

pub(super) use self::object::Object;

use tenterhook_model::event::{ChangeSource, Event};
use tenterhook_model::ids::{UserId, WebhookNumber};
use tenterhook_model::webhook::{EventAction, PayloadVersion, WebhookType};
use tenterhook_settings::policy::PolicySettings;

/// The parts of a webhook that the payload contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recipient {
    /// The webhook's id in payloads.
    pub number: WebhookNumber,
    /// Who created the webhook.
    pub owner: UserId,
    /// `general` or `application`.
    pub kind: WebhookType,
    /// The payload version.
    pub version: PayloadVersion,
}

/// The body of attempt `attempt` (1 is the first try) of `event` to a webhook.
pub fn render(event: &Event, to: &Recipient, attempt: u8, settings: &PolicySettings) -> Vec<u8> {
    match to.version {
        PayloadVersion::V1 => v1::render(event, to, attempt, settings),
        PayloadVersion::V2 => v2::render(event, to, attempt, settings),
    }
}

/// A JSON text unchanged; null if there is none. Stored text is always valid JSON. If it were not, null would keep the
/// payload valid.
pub(super) fn embedded(text: Option<&str>) -> &str {
    text.filter(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
        .unwrap_or("null")
}

/// The object's state after the event; null if the event deletes it (E4).
fn state_after(event: &Event) -> &str {
    embedded(
        event
            .data
            .as_deref()
            .filter(|_| event.action != EventAction::Delete),
    )
}

/// The object's whole state before the event; null if the event creates it (E4).
fn state_before(event: &Event) -> &str {
    embedded(
        event
            .previous
            .as_deref()
            .filter(|_| event.action != EventAction::Create),
    )
}

fn host<'a>(event: &'a Event, settings: &'a PolicySettings) -> &'a str {
    event.host.as_deref().unwrap_or(&settings.default_host)
}

fn moment(event: &Event) -> Timestamp {
    event.occurred_at.unwrap_or(event.accepted_at)
}

fn change_source(event: &Event) -> &'static str {
    match event.change_source {
        ChangeSource::App => "app",
        ChangeSource::Api => "api",
    }
}

/// The webhook's type, in the spelling of payloads.
fn type_name(to: &Recipient) -> &'static str {
    match to.kind {
        WebhookType::General => "general",
        WebhookType::Application => "application",
    }
}

/// The entry in the list of permitted users when an event is for everyone. Version 1 has it only on request (E5).
const EVERYONE: &str = "*";
