//! Notices as a caller sees them (R4).

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::{Client, Refusal};

/// One notice.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// The global id.
    pub id: String,
    /// The id in the delivery to the platform's endpoint.
    pub notice_id: String,
    /// `BANNED`, `FAILING_24H`, ….
    pub kind: String,
    /// When the transition happened, not when it was written.
    pub at: Timestamp,
    /// The message for people.
    pub message: String,
}

impl Client {
    /// Every notice about a webhook, oldest first. Empty if the caller cannot see the webhook.
    pub async fn notices(&self, webhook: &str) -> Result<Vec<Notice>, Refusal> {
        let document = "query($filter: NoticeFilter, $first: Int, $after: String) { \
            notices(filter: $filter, first: $first, after: $after) { \
            nodes { id noticeId kind at message } pageInfo { hasNextPage endCursor } } }";
        let filter = json!({"filter": {"webhookId": webhook}});
        let mut newest_first: Vec<Notice> = self.collect(document, filter, "/notices").await?;
        newest_first.reverse();
        Ok(newest_first)
    }
}
