//! A webhook in the JSON of the REST routes.

use anyhow::{Context as _, ensure};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::client::{Health, NewWebhook, Transition, Webhook};

/// The name of a webhook to which a scenario gives none: REST requires one.
const NAME: &str = "a webhook of a scenario";

/// The actions of each version: their words in REST, and in GraphQL.
const V2_ACTIONS: [(&str, &str); 4] = [
    ("*", "ANY"),
    ("create", "CREATE"),
    ("change", "CHANGE"),
    ("delete", "DELETE"),
];
const V1_ACTIONS: [(&str, &str); 5] = [
    ("*", "ANY"),
    ("added", "CREATE"),
    ("updated", "CHANGE"),
    ("merged", "MERGE"),
    ("deleted", "DELETE"),
];
/// The versions: their words in REST, and in GraphQL.
const VERSIONS: [(&str, &str); 2] = [("1.0", "V1"), ("2.0", "V2")];

/// All keys of a webhook. Those of time are text, so that their form can be compared.
#[derive(Serialize, Deserialize)]
struct Shown {
    id: u64,
    company_id: u64,
    owner_id: u64,
    user_id: u64,
    event_action: String,
    event_object: String,
    subscription_url: String,
    version: String,
    is_active: u8,
    add_time: String,
    remove_time: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    http_auth_user: Option<String>,
    http_auth_password: Option<String>,
    remove_reason: Option<String>,
    last_delivery_time: Option<String>,
    last_http_status: Option<u16>,
    admin_id: u64,
    name: Option<String>,
    health: ShownHealth,
}

#[derive(Serialize, Deserialize)]
struct ShownHealth {
    state: String,
    ban_counter: u32,
    ban_threshold: u32,
    banned_until: Option<String>,
    failing_since: Option<String>,
    removal_due_at: Option<String>,
    last_success_at: Option<String>,
    last_error_class: Option<String>,
    lost_count: u32,
    next_transition: Option<ShownTransition>,
}

#[derive(Serialize, Deserialize)]
struct ShownTransition {
    at: String,
    to: String,
    because: String,
}

/// The body of a creation.
pub fn body(new: &NewWebhook) -> Value {
    let version = new.version.as_deref();
    let actions: &[_] = if version == Some("V1") {
        &V1_ACTIONS
    } else {
        &V2_ACTIONS
    };
    // An action that the version does not have is sent with its word in version 1, so that the server refuses it.
    let action = in_rest(actions, &new.event_action).or_else(|| in_rest(&V1_ACTIONS, &new.event_action));
    let user = new.user_id.as_ref().and_then(|user| user.parse::<u64>().ok());
    let mut body = json!({
        "subscription_url": new.subscription_url,
        "event_action": action,
        "event_object": new.event_object,
        "name": new.name.as_deref().unwrap_or(NAME),
    });
    let optional = [
        (
            "version",
            json!(version.and_then(|version| in_rest(&VERSIONS, version))),
        ),
        ("user_id", json!(user)),
        ("http_auth_user", json!(new.http_auth_user)),
        ("http_auth_password", json!(new.http_auth_password)),
    ];
    for (key, value) in optional.into_iter().filter(|(_, value)| !value.is_null()) {
        body[key] = value;
    }
    body
}

/// A live webhook from REST. `known` is the same webhook as GraphQL returns it: the source of what REST does not return, and
/// the judge of what never changes.
///
/// # Errors
///
/// If a key is missing, unknown or of another form, or if the two describe different webhooks.
pub fn read(data: &Value, known: &Webhook) -> anyhow::Result<Webhook> {
    let shown: Shown = serde_json::from_value(data.clone()).context("a webhook of another form")?;
    let whole = json!(shown);
    ensure!(*data == whole, "a webhook whose keys are not those of {whole}");
    ensure!(shown.http_auth_password.is_none(), "the password is returned");
    ensure!(shown.admin_id == shown.owner_id, "admin_id is not the creator");
    ensure!(
        shown.remove_time.is_none() && shown.remove_reason.is_none(),
        "a removed webhook"
    );
    let is_active = shown.health.state == "active";
    ensure!(
        shown.is_active == u8::from(is_active),
        "is_active contradicts the state"
    );
    let actions: &[_] = if shown.version == "1.0" {
        &V1_ACTIONS
    } else {
        &V2_ACTIONS
    };
    let webhook = Webhook {
        id: known.id.clone(),
        number: shown.id.to_string(),
        kind: shown.kind.to_uppercase(),
        name: shown.name,
        version: in_graphql(&VERSIONS, &shown.version)?,
        subscription_url: shown.subscription_url,
        event_action: in_graphql(actions, &shown.event_action)?,
        event_object: shown.event_object,
        company_id: shown.company_id.to_string(),
        owner_id: shown.owner_id.to_string(),
        user_id: shown.user_id.to_string(),
        app: known.app.clone(),
        http_auth_user: shown.http_auth_user,
        has_http_auth_password: known.has_http_auth_password,
        created_at: time(&shown.add_time)?,
        updated_at: known.updated_at,
        removed_at: None,
        remove_reason: None,
        health: health(shown.health, shown.last_delivery_time, shown.last_http_status)?,
    };
    let constant = |webhook: &Webhook| {
        let ids = [
            &webhook.number,
            &webhook.company_id,
            &webhook.owner_id,
            &webhook.user_id,
        ]
        .map(String::clone);
        let created = format!("{:.3}", webhook.created_at);
        (ids, webhook.kind.clone(), webhook.version.clone(), created)
    };
    let (seen, expected) = (constant(&webhook), constant(known));
    ensure!(seen == expected, "{seen:?} in REST is {expected:?} in GraphQL");
    Ok(webhook)
}

fn health(
    shown: ShownHealth,
    last_delivery_time: Option<String>,
    last_http_status: Option<u16>,
) -> anyhow::Result<Health> {
    let optional = |text: Option<String>| text.as_deref().map(time).transpose();
    let next = shown.next_transition.map(|next| {
        anyhow::Ok(Transition {
            at: time(&next.at)?,
            to: next.to.to_uppercase(),
            because: next.because,
        })
    });
    Ok(Health {
        state: shown.state.to_uppercase(),
        ban_counter: shown.ban_counter,
        ban_threshold: shown.ban_threshold,
        banned_until: optional(shown.banned_until)?,
        failing_since: optional(shown.failing_since)?,
        removal_due_at: optional(shown.removal_due_at)?,
        last_success_at: optional(shown.last_success_at)?,
        last_attempt_at: optional(last_delivery_time)?,
        last_http_status,
        last_error_class: shown.last_error_class.map(|class| class.to_uppercase()),
        lost_count: shown.lost_count,
        next_transition: next.transpose()?,
    })
}

/// A time in ISO 8601, in UTC with milliseconds.
fn time(text: &str) -> anyhow::Result<Timestamp> {
    let time: Timestamp = text.parse().with_context(|| format!("{text:?} is not a time"))?;
    ensure!(
        format!("{time:.3}") == text,
        "{text:?} is not in UTC with milliseconds"
    );
    Ok(time)
}

fn in_rest(words: &[(&'static str, &str)], of_graphql: &str) -> Option<&'static str> {
    let found = words.iter().find(|(_, word)| *word == of_graphql);
    found.map(|(word, _)| *word)
}

fn in_graphql(words: &[(&str, &str)], of_rest: &str) -> anyhow::Result<String> {
    let found = words.iter().find(|(word, _)| *word == of_rest);
    let (_, word) = found.with_context(|| format!("the unknown word {of_rest:?}"))?;
    Ok((*word).to_owned())
}
