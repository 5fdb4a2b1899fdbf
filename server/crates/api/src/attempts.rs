//! Attempts: one HTTP request each, and everything about how it went (D10).

use async_graphql::{Context, Object, SimpleObject};

use super::context::Ask;
use super::deliveries::{Delivery, expired};
use super::error::Result;
use super::loaders::{WebhookRef, one};
use super::scalars::DateTime;
use super::webhooks::AttemptErrorClass;
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
    /// Its value; secrets are redacted.
    value: String,
}

/// Where the time of an attempt went. A phase that did not happen is null: a kept-alive connection needs neither.
#[derive(SimpleObject)]
pub struct AttemptTimings {
    /// Milliseconds until the name was resolved.
    dns_ms: Option<f64>,
    /// Milliseconds for the connection with its TLS handshake.
    connect_ms: Option<f64>,
    /// Milliseconds from the start to the response headers.
    first_byte_ms: Option<f64>,
}

impl Attempt {
    /// Of a delivery.
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
    /// 1 is the first try; the rest are retries.
    async fn number(&self) -> i32 {
        self.attempt.number.into()
    }

    /// When it started.
    async fn started_at(&self) -> DateTime {
        self.attempt.started_at.into()
    }

    /// When its result was known: response headers, error or time-out.
    async fn ended_at(&self) -> DateTime {
        self.attempt.ended_at.into()
    }

    /// How long it took, in milliseconds.
    async fn duration_ms(&self) -> f64 {
        milliseconds(self.attempt.duration_us)
    }

    /// Where the time went; null if it ended before anything could be measured.
    async fn timings(&self) -> Option<AttemptTimings> {
        let timings = self.attempt.outcome.timings;
        (timings != attempt::Timings::default()).then(|| AttemptTimings {
            dns_ms: timings.dns_us.map(milliseconds),
            connect_ms: timings.connect_us.map(milliseconds),
            first_byte_ms: timings.first_byte_us.map(milliseconds),
        })
    }

    /// The status it was answered with.
    async fn http_status(&self) -> Option<i32> {
        self.attempt.outcome.status.map(i32::from)
    }

    /// How it failed; null if it succeeded.
    async fn error_class(&self) -> Option<AttemptErrorClass> {
        self.attempt.outcome.error_class.map(Into::into)
    }

    /// How it failed, for people.
    async fn error_message(&self) -> Option<&str> {
        self.attempt.outcome.error_message.as_deref()
    }

    /// The headers that were sent, signatures and credentials redacted.
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

    /// The body that was sent, rendered again from the event.
    async fn request_body(&self, ctx: &Context<'_>) -> Result<String> {
        let to = self.recipient(ctx).await?;
        let event = self.delivery.owed(ctx).await?;
        let body = render(&event, &to, self.attempt.number, ctx.services().policy());
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// The headers of the answer, in order.
    async fn response_headers(&self) -> Vec<Header> {
        let headers = self.attempt.outcome.response_headers.iter();
        headers
            .map(|(name, value)| Header {
                name: name.clone(),
                value: value.clone(),
            })
            .collect()
    }

    /// The start of the answer's body.
    async fn response_body(&self) -> Option<&str> {
        self.attempt.outcome.response_body.as_deref()
    }

    /// Whether the answer's body went on.
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
