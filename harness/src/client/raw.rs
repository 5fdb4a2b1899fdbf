//! Bodies and messages that are sent unchanged, also those that [`Client::query`] would never send.

use anyhow::{Context as _, ensure};
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::live::{PROTOCOL, RawSocket};
use super::{Client, answer};
use crate::realtime::{self, PATIENCE};

/// The media type of responses whose HTTP status says whether the document was executed.
pub const GRAPHQL_RESPONSE: &str = "application/graphql-response+json";
/// The media type of server-sent events.
pub const EVENTS: &str = "text/event-stream";

/// A response with its headers.
#[derive(Debug)]
pub struct Exchange {
    /// The HTTP status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub text: String,
}

impl Client {
    /// Sends a request with exactly these headers: the caller's token is not added.
    ///
    /// # Errors
    ///
    /// If there is no response.
    pub async fn exchange(
        &self,
        method: &str,
        path: &str,
        headers: &[(String, String)],
        body: Option<String>,
    ) -> anyhow::Result<Exchange> {
        let method = Method::from_bytes(method.as_bytes())?;
        let mut request = self.http.request(method, format!("{}{path}", self.server));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let exchange = async {
            let response = request.send().await?;
            anyhow::Ok(Exchange {
                status: response.status().as_u16(),
                headers: response.headers().clone(),
                text: response.text().await?,
            })
        };
        realtime::within(PATIENCE, exchange)
            .await
            .context("the server did not respond")?
    }

    /// Tells a webhook's secret to the world's receivers, if it was not created with [`Client::create_webhook`].
    ///
    /// # Errors
    ///
    /// If it is not a secret.
    pub fn note_secret(&self, number: &str, secret: &str) -> anyhow::Result<()> {
        self.keyring.add(number, secret.parse()?);
        Ok(())
    }

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
