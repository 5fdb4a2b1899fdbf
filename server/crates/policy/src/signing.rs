//! Signatures after the Standard Webhooks specification, and the headers of a request (E7, W11, D10).
//!
//! Guarantees: the headers that are sent and those that are shown later come from one function, [`headers`]. So a shown
//! request is the one that was sent, except for its secrets. [`sealing`](crate::sealing) encrypts stored secrets.

#[cfg(test)]
mod tests;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::Sha256;
use uuid::Uuid;

use tenterhook_model::ids::WebhookNumber;
use tenterhook_model::secret::BasicAuth;
pub use tenterhook_model::secret::{InvalidSecret, SigningSecret};

/// The maximum number of secrets that an operator may list. A rotation needs two; nobody rotates faster than every receiver
/// follows.
pub(crate) const MOST_LISTED: usize = 4;
/// Shown in place of a header's secret part.
const REDACTED: &str = "[redacted]";

/// Why a text is not a list of signing secrets. The error does not contain the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidList {
    /// None, or too many.
    #[error("there must be 1 to {MOST_LISTED} signing secrets, one per line, not {0}")]
    Count(usize),
    /// One line is not a signing secret.
    #[error("line {line}: {source}")]
    Line {
        /// Counted from 1, including empty lines.
        line: usize,
        /// What is wrong with that line.
        source: InvalidSecret,
    },
}

/// Reads a list of secrets, one on each line. Empty lines do not count. All of the secrets sign.
///
/// # Errors
///
/// If there are no secrets or too many, or if one is invalid.
pub fn listed(text: &str) -> Result<Vec<SigningSecret>, InvalidList> {
    let lines = text.lines().map(str::trim).zip(1..);
    let secrets = lines
        .filter(|(text, _)| !text.is_empty())
        .map(|(text, line)| SigningSecret::parse(text).map_err(|source| InvalidList::Line { line, source }))
        .collect::<Result<Vec<_>, _>>()?;
    match secrets.len() {
        1..=MOST_LISTED => Ok(secrets),
        count => Err(InvalidList::Count(count)),
    }
}

/// The value of `webhook-signature`: one signature for each secret in force, so that a receiver may check either one while a
/// rotation's secrets overlap (E7). `timestamp` is in seconds.
pub fn sign(secrets: &[SigningSecret], id: &str, timestamp: i64, body: &[u8]) -> String {
    let signature = |secret: &SigningSecret| {
        let mut mac = <Hmac<Sha256>>::new_from_slice(secret.bytes()).expect("HMAC takes a key of any length");
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
    };
    secrets.iter().map(signature).collect::<Vec<_>>().join(" ")
}

/// What the headers of an attempt say about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestFacts {
    /// The id of the event or the notice: the same on every attempt and replay.
    pub message: Uuid,
    /// The webhook that gets the event, or that the notice is about.
    pub webhook: WebhookNumber,
    /// 1 for the first try.
    pub attempt: u8,
    /// When the attempt starts. This is signed, in whole seconds.
    pub started_at: Timestamp,
}

/// Whether the headers are sent or shown.
#[derive(Debug, Clone, Copy)]
pub enum Purpose<'a> {
    /// Headers to send: with signatures of this body, and with credentials if the webhook has any.
    Send {
        /// The secrets in force, the current one first.
        secrets: &'a [SigningSecret],
        /// The request's body.
        body: &'a [u8],
        /// Basic credentials (W11).
        auth: Option<&'a BasicAuth>,
    },
    /// Headers to show: signatures and credentials are redacted (D10). The user agent is that of this release.
    Show {
        /// Whether the request had credentials.
        auth_sent: bool,
    },
}

/// The headers of an attempt's request, in order (E7). The HTTP client adds those of the transport (`host`,
/// `content-length`, `accept`, `accept-encoding`).
pub fn headers(facts: &RequestFacts, purpose: Purpose<'_>) -> Vec<(&'static str, String)> {
    let id = facts.message.to_string();
    let timestamp = facts.started_at.as_second();
    let (signature, authorization) = match purpose {
        Purpose::Send { secrets, body, auth } => {
            (sign(secrets, &id, timestamp, body), auth.map(BasicAuth::header))
        }
        Purpose::Show { auth_sent } => (
            format!("v1,{REDACTED}"),
            auth_sent.then(|| format!("Basic {REDACTED}")),
        ),
    };
    let mut headers = vec![
        ("content-type", "application/json".to_owned()),
        ("user-agent", format!("Tenterhook/{}", env!("CARGO_PKG_VERSION"))),
        ("webhook-id", id),
        ("webhook-timestamp", timestamp.to_string()),
        ("webhook-signature", signature),
        ("tenterhook-webhook", facts.webhook.to_string()),
        ("tenterhook-attempt", facts.attempt.to_string()),
    ];
    headers.extend(authorization.map(|value| ("authorization", value)));
    headers
}
