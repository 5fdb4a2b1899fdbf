//! Bodies and messages that are sent unchanged, also those that [`Client::query`] would never send.

use anyhow::ensure;
use reqwest::Method;
use serde_json::{Value, json};

use super::live::{PROTOCOL, RawSocket};
use super::{Client, answer};

/// The media type of responses whose HTTP status says whether the document was executed.
pub const GRAPHQL_RESPONSE: &str = "application/graphql-response+json";
/// The media type of server-sent events.
pub const EVENTS: &str = "text/event-stream";

impl Client {
    /// Posts a body to the GraphQL endpoint as JSON, and reads the whole response of this media type. Returns status
    /// and text.
    pub async fn post_raw(
        &self,
        accept: &str,
        body: impl Into<reqwest::Body>,
    ) -> anyhow::Result<(u16, String)> {
        let request = self
            .http
            .post(format!("{}/graphql", self.server))
            .header("accept", accept)
            .header("content-type", "application/json")
            .body(body);
        let (status, text) = answer(self.authorised(request)).await?;
        Ok((status, String::from_utf8_lossy(&text).into_owned()))
    }

    /// Sends a body as JSON to any path, or only headers if there is no body. Returns status and text.
    pub async fn send_raw(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> anyhow::Result<(u16, String)> {
        let mut request = self.http.request(method, format!("{}{path}", self.server));
        request = request.header("accept", GRAPHQL_RESPONSE);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let (status, text) = answer(self.authorised(request)).await?;
        Ok((status, String::from_utf8_lossy(&text).into_owned()))
    }

    /// The base address of the server.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Opens a live connection with the caller's token, on which a test can send anything.
    ///
    /// # Errors
    ///
    /// If the server does not accept the connection; the error has the reason.
    pub async fn socket(&self) -> anyhow::Result<RawSocket> {
        let mut socket = RawSocket::connect(&self.server, Some(PROTOCOL)).await?;
        let payload: Option<Value> = self
            .token
            .as_ref()
            .map(|token| json!({"authorization": format!("Bearer {token}")}));
        socket
            .send(&json!({"type": "connection_init", "payload": payload}))
            .await?;
        let answer = socket.message().await?;
        ensure!(answer["type"] == "connection_ack", "not acknowledged: {answer}");
        Ok(socket)
    }
}
