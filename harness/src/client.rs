//! A client for the server, written from the documentation of the API: GraphQL, and for three calls REST too.
//!
//! Errors in a caller's input are returned as data ([`Refusal::User`]), separate from all other errors. The client does
//! not retry, and does not hide the document: [`Client::query`] takes any.

mod control;
mod delivery;
pub mod live;
mod log;
mod notice;
mod platform;
pub mod raw;
mod rest;
mod webhook;

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub use self::control::{Replayed, Rotation};
pub use self::delivery::{Attempt, DeliveredEvent, Delivery, Header};
pub use self::log::{CallLog, Look};
pub use self::notice::Notice;
pub use self::platform::{NewEvent, Publication, Published, PublishedEvent};
pub use self::rest::{RestAccess, RestRefusal};
pub use self::webhook::{
    Created, Glance, GlancedHealth, Health, NewWebhook, Quota, Transition, Webhook, WebhookApp, WebhookList,
};
use crate::json::Plain;
use crate::realtime::{self, PATIENCE};
use crate::signature::Keyring;

/// How often the client asks whether a server is ready.
const READY_EVERY: Duration = Duration::from_millis(10);
/// Page size of lists.
const PAGE: usize = 100;
/// The fields that are selected from every user error.
const USER_ERRORS: &str =
    "userErrors { __typename code message path ... on LimitReachedError { limit used scope } }";

/// A caller of one server: an address and a token.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    server: String,
    token: Option<String>,
    keyring: Keyring,
    log: Option<CallLog>,
    /// Set if webhooks are created, listed and deleted through REST.
    rest: Option<RestAccess>,
}

/// Why a call failed. `Debug` prints the same as `Display`, so that a test that unwraps one prints a readable message.
pub enum Refusal {
    /// The mutation's `userErrors`: the input was wrong.
    User(Vec<UserError>),
    /// The top-level errors of the response, with the HTTP status.
    Request(u16, Vec<RequestError>),
    /// A response of a REST route.
    Rest(RestRefusal),
    /// No response, or one that violates the contract.
    Transport(anyhow::Error),
}

/// One of a mutation's `userErrors`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct UserError {
    /// The GraphQL type of the error.
    #[serde(rename = "__typename")]
    pub kind: String,
    /// A stable code, such as `LIMIT_REACHED`.
    pub code: String,
    /// The message for people.
    pub message: String,
    /// Path of the input field.
    pub path: Vec<String>,
    /// Set in a `LimitReachedError`.
    pub limit: Option<u32>,
    /// Set in a `LimitReachedError`.
    pub used: Option<u32>,
    /// Set in a `LimitReachedError`: the type of webhook.
    pub scope: Option<String>,
}

/// A top-level error of a GraphQL response.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct RequestError {
    /// The message for people.
    pub message: String,
    /// `code`, and other fields that the server adds.
    #[serde(default)]
    pub extensions: Value,
}

impl Refusal {
    /// The code of the first error; empty if it has none, or is of a REST route.
    pub fn code(&self) -> &str {
        match self {
            Self::User(errors) => errors.first().map_or("", |error| &error.code),
            Self::Request(_, errors) => errors
                .first()
                .and_then(|error| error.extensions["code"].as_str())
                .unwrap_or_default(),
            Self::Rest(_) | Self::Transport(_) => "",
        }
    }

    /// Whether its first error has this code or, through REST, is one that has this code in GraphQL.
    pub fn means(&self, code: &str) -> bool {
        match self {
            Self::Rest(refusal) => refusal.means(code),
            other => other.code() == code,
        }
    }

    /// The path of the input field that the first error is about, such as `input.name`.
    pub fn path(&self) -> Option<String> {
        match self {
            Self::Rest(refusal) => refusal.path(),
            other => other.user_error().map(|error| error.path.join(".")),
        }
    }

    /// The first user error, if it is one.
    pub fn user_error(&self) -> Option<&UserError> {
        match self {
            Self::User(errors) => errors.first(),
            _ => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(errors) => {
                let line = |error: &UserError| {
                    format!("{} at {}: {}", error.code, error.path.join("."), error.message)
                };
                write!(
                    f,
                    "the input was refused: {}",
                    errors.iter().map(line).collect::<Vec<_>>().join("; ")
                )
            }
            Self::Request(status, errors) => {
                let line = |error: &RequestError| format!("{} {}", error.extensions["code"], error.message);
                let lines = errors.iter().map(line).collect::<Vec<_>>().join("; ");
                write!(f, "the request failed with HTTP {status}: {lines}")
            }
            Self::Rest(refusal) => refusal.fmt(f),
            Self::Transport(error) => write!(f, "no usable response: {error:#}"),
        }
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Refusal {}

impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Self {
        Self::Transport(error)
    }
}

#[derive(Deserialize)]
struct GraphqlAnswer {
    #[serde(default)]
    data: Plain,
    #[serde(default)]
    errors: Vec<RequestError>,
}

impl Client {
    /// A client of the server at `server` (`http://host:port`). Stores the secrets of webhooks that it creates in
    /// `keyring`.
    pub fn new(server: &str, token: Option<String>, keyring: Keyring) -> anyhow::Result<Self> {
        // Fails only if another provider is installed, which works as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Plain HTTP to a server nearby needs no proxy, and no certificates, which a minimal machine may lack.
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build()?;
        Ok(Self {
            http,
            server: server.trim_end_matches('/').to_owned(),
            token,
            keyring,
            log: None,
            rest: None,
        })
    }

    /// Records created webhooks and observed health in `log`.
    pub fn logging_to(self, log: CallLog) -> Self {
        Self {
            log: Some(log),
            ..self
        }
    }

    /// Creates, lists and deletes webhooks through REST, if there is access to it.
    pub fn through(self, rest: Option<RestAccess>) -> Self {
        Self { rest, ..self }
    }

    /// A client of the same server with another token.
    pub fn with_token(&self, token: Option<String>) -> Self {
        Self {
            token,
            ..self.clone()
        }
    }

    /// Runs a document. Returns its `data`.
    pub async fn query(&self, document: &str, variables: Value) -> Result<Value, Refusal> {
        self.ask(json!({"query": document, "variables": variables}).to_string())
            .await
    }

    /// Posts a request body unchanged. Returns its `data`.
    async fn ask(&self, request: String) -> Result<Value, Refusal> {
        let request = self
            .http
            .post(format!("{}/graphql", self.server))
            .header("accept", "application/graphql-response+json")
            .header("content-type", "application/json")
            .body(request);
        let (status, body) = answer(self.authorised(request)).await?;
        let answer: GraphqlAnswer = serde_json::from_slice(&body)
            .with_context(|| format!("HTTP {status}: {}", String::from_utf8_lossy(&body)))?;
        if answer.errors.is_empty() {
            Ok(answer.data.0)
        } else {
            Err(Refusal::Request(status, answer.errors))
        }
    }

    fn authorised(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Reads a path that is not GraphQL, such as `/metrics`. Returns status and body.
    pub async fn get(&self, path: &str) -> Result<(u16, String), Refusal> {
        let (status, body) = answer(self.http.get(format!("{}{path}", self.server))).await?;
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    /// Waits until the server is ready. It listens earlier, and responds with 503 until then.
    pub async fn until_ready(&self) -> anyhow::Result<()> {
        let mut last = (0, "no response".to_owned());
        let ready = async {
            loop {
                last = self.get("/readyz").await?;
                match last.0 {
                    200 => return Ok(()),
                    503 => realtime::pause(READY_EVERY).await,
                    _ => bail!("/readyz returned {last:?}"),
                }
            }
        };
        let ready = realtime::within(PATIENCE, ready).await;
        ready.unwrap_or_else(|| bail!("not ready after {PATIENCE:?}: /readyz returned {last:?}"))
    }

    /// Posts JSON to a path that is not GraphQL, such as `/sim/clock/advance`. Returns status and body.
    pub async fn post(&self, path: &str, body: Value) -> Result<(u16, Value), Refusal> {
        self.call(reqwest::Method::POST, path, Some(body)).await
    }

    /// Calls a path that is not GraphQL with the caller's token. Returns status and body.
    pub async fn call(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(u16, Value), Refusal> {
        let mut request = self.http.request(method, format!("{}{path}", self.server));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let (status, body) = answer(self.authorised(request)).await?;
        Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
    }

    /// Runs a mutation with one `input`, and returns the selected part of its payload. User errors are a refusal.
    pub async fn mutate(&self, mutation: &str, input: Value, selection: &str) -> Result<Value, Refusal> {
        let (payload, errors) = self.try_mutate(mutation, input, selection).await?;
        if errors.is_empty() {
            Ok(payload)
        } else {
            Err(Refusal::User(errors))
        }
    }

    /// As [`Client::mutate`], for mutations that may succeed in part: returns the payload and the user errors.
    pub async fn try_mutate(
        &self,
        mutation: &str,
        input: Value,
        selection: &str,
    ) -> Result<(Value, Vec<UserError>), Refusal> {
        let document = mutation_document(mutation, selection);
        let data = self.query(&document, json!({"input": input})).await?;
        apart(data, mutation)
    }

    /// Every node of the connection at `field` of the response's data, page by page. The document has the variables
    /// `$first` and `$after` in addition to `variables`, and selects `nodes` and `pageInfo { hasNextPage endCursor }`.
    async fn collect<T: DeserializeOwned>(
        &self,
        document: &str,
        mut variables: Value,
        field: &str,
    ) -> Result<Vec<T>, Refusal> {
        let mut nodes = Vec::new();
        variables["first"] = json!(PAGE);
        loop {
            let mut data = self.query(document, variables.clone()).await?;
            let Some(connection) = data.pointer_mut(field) else {
                return Ok(nodes);
            };
            nodes.extend(parse::<Vec<T>>(connection["nodes"].take())?);
            if connection["pageInfo"]["hasNextPage"] != true {
                return Ok(nodes);
            }
            variables["after"] = connection["pageInfo"]["endCursor"].take();
        }
    }
}

/// The document of a mutation with one `input`.
fn mutation_document(mutation: &str, selection: &str) -> String {
    let kind = format!("{}{}Input", mutation[..1].to_ascii_uppercase(), &mutation[1..]);
    format!("mutation($input: {kind}!) {{ {mutation}(input: $input) {{ {selection} {USER_ERRORS} }} }}")
}

/// Separates a mutation's payload from its user errors.
fn apart(mut data: Value, mutation: &str) -> Result<(Value, Vec<UserError>), Refusal> {
    let mut payload = data[mutation].take();
    let errors = payload["userErrors"].take();
    Ok((payload, parse(errors)?))
}

async fn answer(request: reqwest::RequestBuilder) -> anyhow::Result<(u16, Vec<u8>)> {
    let exchange = async {
        let response = request.send().await?;
        let status = response.status().as_u16();
        anyhow::Ok((status, response.bytes().await?.to_vec()))
    };
    realtime::within(PATIENCE, exchange)
        .await
        .context("the server did not respond")?
}

fn parse<T: DeserializeOwned>(value: Value) -> anyhow::Result<T> {
    let shown = value.to_string();
    serde_json::from_value(value).with_context(|| format!("a response that breaks the contract: {shown}"))
}
