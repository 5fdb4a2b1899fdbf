//! Deliveries and their attempts as a caller sees them.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::{Client, Refusal};

/// The fields selected from every attempt. Request bodies are not among them; queries that need them add them.
pub(super) const ATTEMPT: &str = "number startedAt endedAt httpStatus errorClass errorMessage responseBody \
    responseTruncated requestHeaders { name value }";

/// The fields that are selected from every delivery.
pub(super) fn document() -> String {
    format!(
        "id status reason createdAt nextAttemptAt finishedAt event {{ eventId }} attempts {{ {ATTEMPT} }}"
    )
}

/// A delivery with its attempts, oldest first.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields of the GraphQL type, under their names")]
pub struct Delivery {
    pub id: String,
    pub status: String,
    pub reason: Option<String>,
    pub created_at: Timestamp,
    pub next_attempt_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub event: DeliveredEvent,
    pub attempts: Vec<Attempt>,
}

/// The event of a delivery: only its id.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeliveredEvent {
    /// The value of the header `webhook-id`.
    pub event_id: String,
}

/// One recorded attempt.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields of the GraphQL type, under their names")]
pub struct Attempt {
    pub number: u8,
    pub started_at: Timestamp,
    pub ended_at: Timestamp,
    pub http_status: Option<u16>,
    pub error_class: Option<String>,
    pub error_message: Option<String>,
    pub response_body: Option<String>,
    pub response_truncated: bool,
    pub request_headers: Vec<Header>,
}

/// A header of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Header {
    /// In lower case.
    pub name: String,
    /// Secrets are redacted.
    pub value: String,
}

impl Client {
    /// Every delivery of a webhook, oldest first. Empty if the caller cannot see the webhook.
    pub async fn deliveries(&self, webhook: &str) -> Result<Vec<Delivery>, Refusal> {
        let query = format!(
            "query($id: ID!, $first: Int, $after: String) {{ webhook(id: $id) {{ \
             deliveries(first: $first, after: $after) {{ \
             nodes {{ {} }} pageInfo {{ hasNextPage endCursor }} }} }} }}",
            document()
        );
        let mut newest_first: Vec<Delivery> = self
            .collect(&query, json!({"id": webhook}), "/webhook/deliveries")
            .await?;
        newest_first.reverse();
        Ok(newest_first)
    }

    /// The latest delivery of a webhook.
    pub async fn last_delivery(&self, webhook: &str) -> Result<Delivery, Refusal> {
        let last = self.deliveries(webhook).await?.pop();
        Ok(last.ok_or_else(|| anyhow::anyhow!("webhook {webhook} has no delivery"))?)
    }
}
