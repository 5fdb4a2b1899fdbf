//! Attempts: one HTTP request each, with its timings and result (D10).

use async_graphql::{Context, Object, SimpleObject};

use crate::context::Ask;
use crate::error::Result;
use crate::loaders::{WebhookRef, one};
use crate::types::delivery::{Delivery, expired};
use crate::types::enums::AttemptErrorClass;
use crate::types::scalars::DateTime;
use tenterhook_model::attempt;
use tenterhook_model::ids::WebhookNumber;
use tenterhook_policy::payload::{Recipient, render};
use tenterhook_policy::signing::{Purpose, RequestFacts, headers};

/// One HTTP request of a delivery.
pub struct Attempt {
    attempt: attempt::Attempt,
    delivery: Delivery,
}

/// A header of a request or response.
#[derive(SimpleObject)]
pub struct Header {
    /// Its name, in lower case.
    name: String,
    /// Its value. Secrets are redacted.
    value: String,
}

/// Timings of an attempt. A phase that did not happen is null: a kept-alive connection needs neither DNS nor a
/// handshake.
#[derive(SimpleObject)]
pub struct AttemptTimings {
    /// Milliseconds for resolving the host name; null if there was nothing to resolve.
    dns_ms: Option<f64>,
    /// Milliseconds for connecting, including the TLS handshake; null if no connection was made.
    connect_ms: Option<f64>,
    /// Milliseconds from the start of the attempt to the response headers; null if none arrived.
    first_byte_ms: Option<f64>,
}

impl Attempt {
    /// An attempt of this delivery.
    pub fn new(attempt: attempt::Attempt, delivery: Delivery) -> Self {
        Self { attempt, delivery }
    }

    async fn recipient(&self, ctx: &Context<'_>) -> Result<Recipient> {
        let key = self.attempt.delivery;
        let (webhook, _) = one(ctx, WebhookRef(key.lane, key.webhook))
            .await?
            .ok_or_else(expired)?;
        Ok(Recipient {
            number: webhook.number,
            owner: webhook.owner,
            kind: webhook.kind(),
            version: webhook.version,
        })
    }

    fn facts(&self, webhook: WebhookNumber) -> RequestFacts {
        RequestFacts {
            message: self.attempt.delivery.event.0,
            webhook,
            attempt: self.attempt.number,
            started_at: self.attempt.started_at,
        }
    }
}

/// One HTTP request of a delivery.
#[Object]
impl Attempt {
    /// The attempt's number in its delivery: 1 is the first try, higher numbers are retries.
    async fn number(&self) -> i32 {
        self.attempt.number.into()
    }

    /// When the attempt started.
    async fn started_at(&self) -> DateTime {
        self.attempt.started_at.into()
    }

    /// When its result was known: at the response headers, the error or the time-out.
    async fn ended_at(&self) -> DateTime {
        self.attempt.ended_at.into()
    }

    /// Duration of the attempt, in milliseconds.
    async fn duration_ms(&self) -> f64 {
        milliseconds(self.attempt.duration_us)
    }

    /// Durations of its phases; null if the attempt ended before its first phase.
    async fn timings(&self) -> Option<AttemptTimings> {
        let timings = self.attempt.outcome.timings;
        (timings != attempt::Timings::default()).then(|| AttemptTimings {
            dns_ms: timings.dns_us.map(milliseconds),
            connect_ms: timings.connect_us.map(milliseconds),
            first_byte_ms: timings.first_byte_us.map(milliseconds),
        })
    }

    /// HTTP status of the final response; null if no response arrived.
    async fn http_status(&self) -> Option<i32> {
        self.attempt.outcome.status.map(i32::from)
    }

    /// Why it failed; null if it succeeded.
    async fn error_class(&self) -> Option<AttemptErrorClass> {
        self.attempt.outcome.error_class.map(Into::into)
    }

    /// Why it failed, in a sentence for people; null if it succeeded.
    async fn error_message(&self) -> Option<&str> {
        self.attempt.outcome.error_message.as_deref()
    }

    /// The request headers as sent. Signatures and credentials are redacted.
    async fn request_headers(&self, ctx: &Context<'_>) -> Result<Vec<Header>> {
        let facts = self.facts(self.recipient(ctx).await?.number);
        let shown = headers(
            &facts,
            Purpose::Show {
                auth_sent: self.attempt.auth_sent,
            },
        );
        Ok(shown
            .into_iter()
            .map(|(name, value)| Header {
                name: name.to_owned(),
                value,
            })
            .collect())
    }

    /// The request body as sent, rendered again from the event.
    async fn request_body(&self, ctx: &Context<'_>) -> Result<String> {
        let to = self.recipient(ctx).await?;
        let event = self.delivery.owed(ctx).await?;
        let body = render(&event, &to, self.attempt.number, ctx.services().policy());
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// The response headers, in order of arrival.
    async fn response_headers(&self) -> Vec<Header> {
        let headers = self.attempt.outcome.response_headers.iter();
        headers
            .map(|(name, value)| Header {
                name: name.clone(),
                value: value.clone(),
            })
            .collect()
    }

    /// The beginning of the response body, as text; null if there is none.
    async fn response_body(&self) -> Option<&str> {
        self.attempt.outcome.response_body.as_deref()
    }

    /// Whether the response body was longer than `responseBody`.
    async fn response_truncated(&self) -> bool {
        self.attempt.outcome.response_truncated
    }

    /// The delivery it belongs to.
    async fn delivery(&self) -> &Delivery {
        &self.delivery
    }
}

fn milliseconds(micros: i32) -> f64 {
    f64::from(micros) / 1000.0
}
