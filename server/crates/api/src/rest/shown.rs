//! A webhook in Pipedrive's JSON.

use serde::Serialize;

use super::RestCaller;
use super::words::{action_name, lower_case, type_name, version_name};
use crate::error::Result;
use crate::types::enums::{AttemptErrorClass, RemoveReason, WebhookState};
use crate::types::webhook::Webhook;
use jiff::Timestamp;
use tenterhook_model::webhook;
use tenterhook_store::health::history::History;

/// The keys of Pipedrive, and `health`, which is ours.
#[derive(Serialize)]
pub struct Shown {
    id: i64,
    company_id: i64,
    owner_id: i64,
    user_id: i64,
    event_action: &'static str,
    event_object: String,
    subscription_url: String,
    version: &'static str,
    is_active: u8,
    add_time: String,
    remove_time: Option<String>,
    #[serde(rename = "type")]
    kind: &'static str,
    http_auth_user: Option<String>,
    /// Always null (W11).
    http_auth_password: Option<()>,
    remove_reason: Option<String>,
    last_delivery_time: Option<String>,
    last_http_status: Option<u16>,
    admin_id: i64,
    name: Option<String>,
    health: Health,
}

/// See `WebhookHealth` of the schema.
#[derive(Serialize)]
struct Health {
    state: String,
    ban_counter: u32,
    ban_threshold: u32,
    banned_until: Option<String>,
    failing_since: Option<String>,
    removal_due_at: Option<String>,
    last_success_at: Option<String>,
    last_error_class: Option<String>,
    lost_count: i64,
    next_transition: Option<Transition>,
}

#[derive(Serialize)]
struct Transition {
    at: String,
    to: String,
    because: String,
}

impl Shown {
    /// Fails if the credentials cannot be decrypted.
    pub fn new(caller: &RestCaller, webhook: &Webhook, past: &History) -> Result<Self> {
        let (stored, view) = (webhook.stored(), webhook.view());
        let health = Health {
            state: state(view.state),
            ban_counter: view.ban_counter,
            ban_threshold: view.ban_threshold,
            banned_until: view.banned_until.map(iso),
            failing_since: view.failing_since.map(iso),
            removal_due_at: view.removal_due_at.map(iso),
            last_success_at: past.last_success_at.map(iso),
            last_error_class: past
                .last_error
                .map(|class| lower_case(AttemptErrorClass::from(class))),
            lost_count: past.lost,
            next_transition: view.next.clone().map(|next| Transition {
                at: iso(next.at),
                to: state(next.to),
                because: next.because,
            }),
        };
        Ok(Self {
            id: stored.number.get(),
            company_id: stored.company.get(),
            owner_id: stored.owner.get(),
            user_id: stored.user.get(),
            event_action: action_name(stored.action, stored.version),
            event_object: stored.object.clone(),
            subscription_url: stored.url.clone(),
            version: version_name(stored.version),
            is_active: u8::from(view.state == webhook::WebhookState::Active),
            add_time: iso(stored.created_at),
            remove_time: view.removed.map(|(at, _)| iso(at)),
            kind: type_name(stored.kind()),
            http_auth_user: webhook.auth(caller)?.map(|auth| auth.user),
            http_auth_password: None,
            remove_reason: view
                .removed
                .map(|(_, reason)| lower_case(RemoveReason::from(reason))),
            last_delivery_time: past.last_attempt_at.map(iso),
            last_http_status: past.last_status,
            admin_id: stored.owner.get(),
            name: stored.name.clone(),
            health,
        })
    }
}

fn state(state: webhook::WebhookState) -> String {
    lower_case(WebhookState::from(state))
}

/// ISO 8601 in UTC, with milliseconds.
fn iso(at: Timestamp) -> String {
    format!("{at:.3}")
}
