//! Webhooks, as a caller creates and sees them.

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Client, Refusal, parse};

pub(super) const WEBHOOK: &str = "id number type name version subscriptionUrl eventAction eventObject companyId ownerId userId \
    app { appId } httpAuthUser hasHttpAuthPassword createdAt updatedAt removedAt removeReason \
    health { state banCounter banThreshold bannedUntil failingSince removalDueAt lastSuccessAt lastAttemptAt \
    lastHttpStatus lastErrorClass lostCount nextTransition { at to because } }";

const GLANCE: &str =
    "id removedAt removeReason health { state banCounter bannedUntil failingSince removalDueAt }";

/// A webhook to create: `CreateWebhookInput`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewWebhook {
    /// The URL to which events are sent.
    pub subscription_url: String,
    /// The action to subscribe to; `ANY` by default.
    pub event_action: String,
    /// The object to subscribe to; `*` by default.
    pub event_object: String,
    /// The payload version; `None` for the server's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// A label for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The user, if an admin creates the webhook for somebody else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// HTTP basic credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_auth_user: Option<String>,
    /// HTTP basic credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_auth_password: Option<String>,
}

impl NewWebhook {
    /// A webhook for all events, with this URL.
    pub fn to(url: &str) -> Self {
        Self {
            subscription_url: url.to_owned(),
            event_action: "ANY".to_owned(),
            event_object: "*".to_owned(),
            version: None,
            name: None,
            user_id: None,
            http_auth_user: None,
            http_auth_password: None,
        }
    }

    /// Subscribes to these events only.
    pub fn on(self, action: &str, object: &str) -> Self {
        Self {
            event_action: action.to_owned(),
            event_object: object.to_owned(),
            ..self
        }
    }

    /// Selects payload version 1.
    pub fn v1(self) -> Self {
        Self {
            version: Some("V1".to_owned()),
            ..self
        }
    }

    /// Creates the webhook for another user of the company.
    pub fn for_user(self, user: u64) -> Self {
        Self {
            user_id: Some(user.to_string()),
            ..self
        }
    }

    /// Adds HTTP basic credentials.
    pub fn basic_auth(self, user: &str, password: &str) -> Self {
        Self {
            http_auth_user: Some(user.to_owned()),
            http_auth_password: Some(password.to_owned()),
            ..self
        }
    }
}

/// A created webhook, with the secret that the server shows only once.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Created {
    /// The webhook as it was created.
    pub webhook: Webhook,
    /// `whsec_…`.
    pub signing_secret: String,
}

/// A webhook. Enum values are strings as in the contract.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields of the GraphQL type, under their names")]
pub struct Webhook {
    pub id: String,
    pub number: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub name: Option<String>,
    pub version: String,
    pub subscription_url: String,
    pub event_action: String,
    pub event_object: String,
    pub company_id: String,
    pub owner_id: String,
    pub user_id: String,
    pub app: Option<WebhookApp>,
    pub http_auth_user: Option<String>,
    pub has_http_auth_password: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub removed_at: Option<Timestamp>,
    pub remove_reason: Option<String>,
    pub health: Health,
}

/// The app of an application webhook.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookApp {
    /// The app's id in the platform.
    pub app_id: String,
}

/// A webhook's health (R5).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields of the GraphQL type, under their names")]
pub struct Health {
    pub state: String,
    pub ban_counter: u32,
    pub ban_threshold: u32,
    pub banned_until: Option<Timestamp>,
    pub failing_since: Option<Timestamp>,
    pub removal_due_at: Option<Timestamp>,
    pub last_success_at: Option<Timestamp>,
    pub last_attempt_at: Option<Timestamp>,
    pub last_http_status: Option<u16>,
    pub last_error_class: Option<String>,
    pub lost_count: u32,
    pub next_transition: Option<Transition>,
}

/// The next transition that time alone will cause.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Transition {
    /// When it is due.
    pub at: Timestamp,
    /// The state after it.
    pub to: String,
    /// The reason, for people.
    pub because: String,
}

/// The part of a webhook that the policy determines, without its log: cheap enough to read after every step.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields of the GraphQL type, under their names")]
pub struct Glance {
    pub id: String,
    pub removed_at: Option<Timestamp>,
    pub remove_reason: Option<String>,
    pub health: GlancedHealth,
}

/// The health of a [`Glance`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields of the GraphQL type, under their names")]
pub struct GlancedHealth {
    pub state: String,
    pub ban_counter: u32,
    pub banned_until: Option<Timestamp>,
    pub failing_since: Option<Timestamp>,
    pub removal_due_at: Option<Timestamp>,
}

/// The limit of webhooks of one type, and its use (W3).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the fields of the GraphQL type, under their names")]
pub struct Quota {
    #[serde(rename = "type")]
    pub kind: String,
    pub limit: u32,
    pub used: u32,
    pub remaining: u32,
}

/// The webhooks to list. By default all that are not removed.
#[derive(Debug, Clone, Default)]
pub struct WebhookList {
    /// `GENERAL` or `APPLICATION`.
    pub kind: Option<&'static str>,
    /// A `WebhookFilter`.
    pub filter: Option<Value>,
}

impl Client {
    /// Creates a webhook, and tells its secret to the world's receivers.
    pub async fn create_webhook(&self, new: NewWebhook) -> Result<Created, Refusal> {
        let created: Created = match &self.rest {
            Some(rest) => self.create_by_rest(rest, &new).await?,
            None => {
                let selection = format!("webhook {{ {WEBHOOK} }} signingSecret");
                parse(self.mutate("createWebhook", json!(new), &selection).await?)?
            }
        };
        self.keyring
            .add(&created.webhook.number, created.signing_secret.parse()?);
        if let Some(log) = &self.log {
            log.note_made(&created.webhook);
        }
        Ok(created)
    }

    /// Changes the named fields of a webhook.
    pub async fn update_webhook(&self, id: &str, mut changes: Value) -> Result<Webhook, Refusal> {
        changes["id"] = json!(id);
        let mut payload = self
            .mutate("updateWebhook", changes, &format!("webhook {{ {WEBHOOK} }}"))
            .await?;
        Ok(parse(payload["webhook"].take())?)
    }

    /// Deletes a webhook. Returns it as removed.
    pub async fn delete_webhook(&self, id: &str) -> Result<Webhook, Refusal> {
        if let Some(rest) = &self.rest {
            return self.delete_by_rest(rest, id).await;
        }
        let selection = format!("deletedWebhookId webhook {{ {WEBHOOK} }}");
        let mut payload = self
            .mutate("deleteWebhook", json!({"id": id}), &selection)
            .await?;
        Ok(parse(payload["webhook"].take())?)
    }

    /// A webhook, if the caller can see it.
    pub async fn webhook(&self, id: &str) -> Result<Option<Webhook>, Refusal> {
        let document = format!("query($id: ID!) {{ webhook(id: $id) {{ {WEBHOOK} }} }}");
        let mut data = self.query(&document, json!({"id": id})).await?;
        Ok(parse(data["webhook"].take())?)
    }

    /// A webhook's health.
    pub async fn health(&self, id: &str) -> Result<Health, Refusal> {
        let webhook = self.webhook(id).await?;
        let webhook = webhook.ok_or_else(|| anyhow::anyhow!("the caller cannot see the webhook {id}"))?;
        if let Some(log) = &self.log {
            log.note_look(id, &webhook.health);
        }
        Ok(webhook.health)
    }

    /// Every webhook of the list that the caller can see, newest first. Through REST if REST has the filter.
    pub async fn webhooks(&self, list: WebhookList) -> Result<Vec<Webhook>, Refusal> {
        if let (Some(rest), Some(company)) = (&self.rest, list.rest_company()) {
            return self.list_by_rest(rest, list.kind, company).await;
        }
        self.list(list, WEBHOOK).await
    }

    /// As [`Client::webhooks`], with fewer fields.
    pub async fn glances(&self, list: WebhookList) -> Result<Vec<Glance>, Refusal> {
        self.list(list, GLANCE).await
    }

    pub(super) async fn list<T: DeserializeOwned>(
        &self,
        list: WebhookList,
        selection: &str,
    ) -> Result<Vec<T>, Refusal> {
        let document = format!(
            "query($type: WebhookType, $filter: WebhookFilter, $first: Int, $after: String) {{ \
             webhooks(type: $type, filter: $filter, first: $first, after: $after) {{ \
             nodes {{ {selection} }} pageInfo {{ hasNextPage endCursor }} }} }}"
        );
        let variables = json!({"type": list.kind, "filter": list.filter});
        self.collect(&document, variables, "/webhooks").await
    }

    /// Limit and use of a webhook type, for the caller or, if an admin asks, for another user.
    pub async fn quota(&self, kind: &str, user: Option<u64>) -> Result<Quota, Refusal> {
        let document = "query($type: WebhookType!, $user: ID) { \
            webhookQuota(type: $type, userId: $user) { type limit used remaining } }";
        let variables = json!({"type": kind, "user": user.map(|user| user.to_string())});
        let mut data = self.query(document, variables).await?;
        Ok(parse(data["webhookQuota"].take())?)
    }
}
