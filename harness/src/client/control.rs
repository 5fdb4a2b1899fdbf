//! Actions of a user on an existing webhook: pause, restore, rotate its secret, test it, replay its deliveries.
//!
//! The world's receivers know a new secret before the call returns.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::webhook::WEBHOOK;
use super::{Attempt, Client, Delivery, Refusal, Webhook, delivery, parse};

/// A new secret, and how long the previous one still signs (E7).
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rotation {
    /// `whsec_…`.
    pub signing_secret: String,
    /// The first moment at which the previous secret does not sign any more.
    pub previous_expires_at: Timestamp,
}

/// The result of a replay (D12).
#[derive(Debug, Clone, Deserialize)]
pub struct Replayed {
    /// Number of deliveries that were created or, in a dry run, would be.
    pub count: usize,
    /// The first hundred of them.
    pub deliveries: Vec<Delivery>,
}

impl Client {
    /// Pauses a webhook (W13). Returns its new state.
    pub async fn pause(&self, id: &str) -> Result<Webhook, Refusal> {
        self.change_state("pauseWebhook", id).await
    }

    /// Resumes a paused webhook (W13). Returns its new state.
    pub async fn resume(&self, id: &str) -> Result<Webhook, Refusal> {
        self.change_state("resumeWebhook", id).await
    }

    /// Restores a removed webhook (W12). Returns its new state.
    pub async fn restore(&self, id: &str) -> Result<Webhook, Refusal> {
        self.change_state("restoreWebhook", id).await
    }

    async fn change_state(&self, mutation: &str, id: &str) -> Result<Webhook, Refusal> {
        let selection = format!("webhook {{ {WEBHOOK} }}");
        let mut payload = self.mutate(mutation, json!({"id": id}), &selection).await?;
        Ok(parse(payload["webhook"].take())?)
    }

    /// Rotates the secret of a webhook (E7). The world's receivers know both secrets afterwards.
    pub async fn rotate(&self, webhook: &Webhook) -> Result<Rotation, Refusal> {
        let input = json!({"id": webhook.id});
        let selection = "signingSecret previousExpiresAt";
        let rotation: Rotation = parse(self.mutate("rotateWebhookSecret", input, selection).await?)?;
        self.keyring
            .add(&webhook.number, rotation.signing_secret.parse()?);
        Ok(rotation)
    }

    /// Sends a test delivery (D12). Returns its attempt.
    pub async fn test(&self, id: &str) -> Result<Attempt, Refusal> {
        let selection = format!("attempt {{ {} }}", delivery::ATTEMPT);
        let mut payload = self.mutate("testWebhook", json!({"id": id}), &selection).await?;
        Ok(parse(payload["attempt"].take())?)
    }

    /// Replays deliveries (D12): `which` has the fields of `ReplayDeliveriesInput`.
    pub async fn replay(&self, which: Value) -> Result<Replayed, Refusal> {
        let selection = format!("count deliveries {{ {} }}", delivery::document());
        Ok(parse(self.mutate("replayDeliveries", which, &selection).await?)?)
    }
}
