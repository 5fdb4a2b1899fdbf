//! Actions of the platform's back end: it publishes, and manages users, apps and installations.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Client, Refusal, UserError, apart, mutation_document, parse};

/// The fields that are selected from a publication.
const PUBLICATION: &str = "events { index event { id eventId correlationId } deliveryCount duplicate }";

/// An event to publish: `EventInput`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewEvent {
    /// The company of the event.
    pub company_id: String,
    /// `CREATE`, `CHANGE`, `MERGE` or `DELETE`.
    pub action: String,
    /// The kind of object.
    pub object: String,
    /// The platform's id of the object.
    pub object_id: String,
    /// The user who caused the event.
    pub user_id: String,
    /// Further fields of `EventInput`, by their names there.
    #[serde(flatten)]
    pub more: Value,
}

impl NewEvent {
    /// An event caused by user 1 of the company, without optional input.
    pub fn new(company: u64, action: &str, object: &str, object_id: &str) -> Self {
        Self {
            company_id: company.to_string(),
            action: action.to_owned(),
            object: object.to_owned(),
            object_id: object_id.to_owned(),
            user_id: "1".to_owned(),
            more: json!({}),
        }
    }

    /// Adds a field of `EventInput`.
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.more[field] = value.into();
        self
    }
}

/// The result of a publication.
#[derive(Debug, Clone)]
pub struct Publication {
    /// The events, in the order given.
    pub events: Vec<Published>,
    /// Errors that concern single events.
    pub user_errors: Vec<UserError>,
}

/// One published event.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Published {
    /// The position in the input.
    pub index: usize,
    /// The ids of the event.
    pub event: PublishedEvent,
    /// Number of created deliveries, including lost ones.
    pub delivery_count: u32,
    /// Whether this is an earlier event with the same idempotency key.
    pub duplicate: bool,
}

/// An event's ids.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PublishedEvent {
    /// The global id.
    pub id: String,
    /// The value of the header `webhook-id`.
    pub event_id: String,
    /// Groups events with the same cause.
    pub correlation_id: String,
}

impl Client {
    /// Publishes a batch. A refusal means that the server stored nothing.
    pub async fn publish(&self, events: &[NewEvent]) -> Result<Publication, Refusal> {
        let answer = self
            .try_mutate("publishEvents", json!({"events": events}), PUBLICATION)
            .await?;
        publication(answer)
    }

    /// Publishes one event. `fields` are more fields of `EventInput`, and their texts are inserted into the request
    /// unchanged, such as `("data", "{\"price\":1200.50}")`, so that no digit and no key is lost.
    pub async fn publish_text(
        &self,
        event: NewEvent,
        fields: &[(&str, &str)],
    ) -> Result<Publication, Refusal> {
        let event = json!(event).to_string();
        let mut event = event.trim_end_matches('}').to_owned();
        for (name, text) in fields {
            event += &format!(",{}:{text}", json!(name));
        }
        let document = json!(mutation_document("publishEvents", PUBLICATION));
        let request = format!(r#"{{"query":{document},"variables":{{"input":{{"events":[{event}}}]}}}}}}"#);
        publication(apart(self.ask(request).await?, "publishEvents")?)
    }

    /// Publishes one event.
    pub async fn publish_one(&self, event: NewEvent) -> Result<Published, Refusal> {
        let publication = self.publish(std::slice::from_ref(&event)).await?;
        let published = publication.events.into_iter().next();
        Ok(published.ok_or_else(|| anyhow::anyhow!("one event was published, and the response has none"))?)
    }

    /// Registers an app in the marketplace.
    pub async fn register_app(&self, app: &str) -> Result<(), Refusal> {
        let input = json!({"appId": app, "name": format!("App {app}")});
        self.mutate("registerApp", input, "app { appId }").await.map(drop)
    }

    /// Removes an app from the marketplace. Returns the number of removed webhooks.
    pub async fn remove_app(&self, app: &str) -> Result<u64, Refusal> {
        let payload = self
            .mutate("removeApp", json!({"appId": app}), "removedWebhookCount")
            .await?;
        Ok(parse(payload["removedWebhookCount"].clone())?)
    }

    /// Installs an app for a user.
    pub async fn install_app(&self, app: &str, company: u64, user: u64) -> Result<(), Refusal> {
        self.mutate("installApp", installation(app, company, user), "app { appId }")
            .await
            .map(drop)
    }

    /// Uninstalls an app for a user. Returns the number of removed webhooks.
    pub async fn uninstall_app(&self, app: &str, company: u64, user: u64) -> Result<u64, Refusal> {
        let input = installation(app, company, user);
        let payload = self.mutate("uninstallApp", input, "removedWebhookCount").await?;
        Ok(parse(payload["removedWebhookCount"].clone())?)
    }

    /// Registers a user before its first token.
    pub async fn upsert_user(&self, company: u64, user: u64, role: &str) -> Result<(), Refusal> {
        let user = json!({"companyId": company.to_string(), "userId": user.to_string(), "role": role});
        self.mutate("upsertUsers", json!({"users": [user]}), "count")
            .await
            .map(drop)
    }

    /// Removes a user. Returns the number of removed webhooks.
    pub async fn remove_user(&self, company: u64, user: u64) -> Result<u64, Refusal> {
        let input = json!({"companyId": company.to_string(), "userId": user.to_string()});
        let payload = self.mutate("removeUser", input, "removedWebhookCount").await?;
        Ok(parse(payload["removedWebhookCount"].clone())?)
    }
}

fn publication((mut payload, user_errors): (Value, Vec<UserError>)) -> Result<Publication, Refusal> {
    let events: Vec<Published> = parse(payload["events"].take())?;
    if events.is_empty() && !user_errors.is_empty() {
        return Err(Refusal::User(user_errors));
    }
    Ok(Publication { events, user_errors })
}

fn installation(app: &str, company: u64, user: u64) -> Value {
    json!({"appId": app, "companyId": company.to_string(), "userId": user.to_string()})
}
