//! The body of an attempt: what a receiver gets, in the version it asked for (E4–E6).
//!
//! Promises bytes: the same event, recipient and attempt give the same body, today and when it is shown in
//! a month (D10). Keys stand in the order of the policy; the platform's own JSON is embedded as it came, digit
//! for digit. Does not filter what a user may see within an object: the platform publishes what may be sent.

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

/// What of a webhook goes into the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recipient {
    /// The id that payloads carry.
    pub number: WebhookNumber,
    /// Who created the webhook.
    pub owner: UserId,
    /// `general` or `application`.
    pub kind: WebhookType,
    /// Which payload it gets.
    pub version: PayloadVersion,
}

/// The body of attempt `attempt` (1 is the first try) of `event` to a webhook.
pub fn render(event: &Event, to: &Recipient, attempt: u8, settings: &PolicySettings) -> Vec<u8> {
    match to.version {
        PayloadVersion::V1 => v1::render(event, to, attempt, settings),
        PayloadVersion::V2 => v2::render(event, to, attempt, settings),
    }
}

/// A JSON text as it came; a missing one is null. What is stored is valid by construction; were it not, null
/// keeps the payload whole.
pub(super) fn embedded(text: Option<&str>) -> &str {
    text.filter(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
        .unwrap_or("null")
}

/// The object's state after the event: none once it is deleted (E4).
fn state_after(event: &Event) -> &str {
    embedded(
        event
            .data
            .as_deref()
            .filter(|_| event.action != EventAction::Delete),
    )
}

/// The object's whole state before the event: none before it is created (E4).
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

/// What stands in the list of permitted users when an event says everyone: a list all the same, so that
/// receivers need not know a second shape.
const EVERYONE: &str = "*";
