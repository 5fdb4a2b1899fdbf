//! The request of an attempt: its body, headers and signature, and how it is sent.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use url::Url;

use crate::cluster::webhook_cache::{CachedWebhook, Opened};
use crate::outbound::{self, Sent};
use tenterhook_model::attempt::request_name;
use tenterhook_model::event::Event;
use tenterhook_outbound_http::{Request, Transport};
use tenterhook_policy::sealing::BasicAuth;
use tenterhook_policy::signing::{Purpose, RequestFacts, SigningSecret, headers};
use tenterhook_policy::{payload, redaction};
use tenterhook_settings::policy::PolicySettings;

/// Makes requests to receivers.
#[derive(Clone)]
pub(crate) struct Requests {
    pub transport: Transport,
    pub policy: Arc<PolicySettings>,
}

impl Requests {
    /// The request of attempt `number`, with the webhook's current settings (D9). `None` if its row cannot be used.
    pub fn build(
        &self,
        event: &Event,
        webhook: &CachedWebhook,
        number: u8,
        now: Timestamp,
    ) -> Option<Request> {
        let opened = match &webhook.opened {
            Ok(opened) => opened,
            Err(error) => {
                tracing::error!(%error, webhook = %webhook.webhook.number, "an attempt cannot be made");
                return None;
            }
        };
        let body = payload::render(event, &webhook.recipient(), number, &self.policy);
        let facts = RequestFacts {
            message: event.id.0,
            webhook: webhook.webhook.number,
            attempt: number,
            started_at: now,
        };
        let (secrets, auth) = (opened.secrets(now), opened.auth.as_ref());
        Some(signed(&self.policy, &facts, &opened.url, body, &secrets, auth))
    }

    /// Makes the request. Credentials that the receiver repeats in its response are removed here (W11).
    pub async fn send(&self, webhook: &CachedWebhook, request: Request) -> Sent {
        let mut sent = Sent::from(self.transport.send(request).await);
        if let Ok(Opened { auth: Some(auth), .. }) = &webhook.opened {
            redaction::hide(auth, &mut sent.outcome);
        }
        sent
    }
}

/// Builds and signs the request (E7).
pub(crate) fn signed(
    policy: &PolicySettings,
    facts: &RequestFacts,
    url: &Url,
    body: Vec<u8>,
    secrets: &[SigningSecret],
    auth: Option<&BasicAuth>,
) -> Request {
    let purpose = Purpose::Send {
        secrets,
        body: &body,
        auth,
    };
    let headers = headers(facts, purpose)
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    Request {
        url: url.clone(),
        headers,
        body: Bytes::from(body),
        deadline: facts
            .started_at
            .saturating_add(policy.attempt_timeout)
            .unwrap_or(Timestamp::MAX),
        excerpt_limits: outbound::excerpt_limits(policy),
        name: request_name(facts.message, facts.webhook.get(), facts.attempt),
    }
}
