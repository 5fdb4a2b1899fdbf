//! What is sent as it is, whatever it is: bodies and messages that no [`Client::query`] would send.

use anyhow::ensure;
use reqwest::Method;
use serde_json::{Value, json};

use super::live::{PROTOCOL, RawSocket};
use super::{Client, answer};

/// The media type of an answer whose status tells whether it was executed.
pub const GRAPHQL_RESPONSE: &str = "application/graphql-response+json";
/// The media type of a stream of events.
pub const EVENTS: &str = "text/event-stream";

impl Client {
    /// Posts a body to the graph as JSON, and reads all of the answer of this media type; answers status and text.
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

    /// Sends a body as JSON to any path, or nothing but its headers where there is none; answers status and text.
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

    /// Opens a live connection with the caller's token, on which anything can be said.
    ///
    /// # Errors
    ///
    /// When the server does not accept it; says how it was refused.
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
