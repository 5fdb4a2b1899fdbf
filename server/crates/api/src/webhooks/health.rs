//! A webhook's health as people see it (R5): the state is data.

use async_graphql::{Context, Enum, Object, SimpleObject};

use super::WebhookState;
use crate::error::Result;
use crate::loaders::{VitalsRef, one};
use crate::scalars::DateTime;
use tenterhook_model::attempt;
use tenterhook_model::ids::{Lane, WebhookId};
use tenterhook_policy::health::View;
use tenterhook_store::vitals::Vitals;

/// Why an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "attempt::AttemptErrorClass")]
pub enum AttemptErrorClass {
    /// A final status other than 2xx; redirects are not followed.
    Status,
    /// No response headers within the time-out.
    Timeout,
    /// The host's name did not resolve.
    Dns,
    /// No connection could be made.
    Connect,
    /// The TLS handshake failed; self-signed certificates are not accepted.
    Tls,
    /// The connection broke before the response headers were complete.
    Reset,
    /// What came back was not HTTP.
    Protocol,
    /// The host leads to an address that may not be called.
    BlockedAddress,
}

/// How a webhook's deliveries go, and what follows from that.
pub struct WebhookHealth {
    webhook: (Lane, WebhookId),
    view: View,
}

/// The next change of state that needs nobody's doing.
#[derive(SimpleObject)]
pub struct HealthTransition {
    /// When it comes.
    at: DateTime,
    /// The state it leads to.
    to: WebhookState,
    /// Why, for people.
    because: String,
}

impl WebhookHealth {
    /// Of a webhook.
    pub(super) fn new(webhook: (Lane, WebhookId), view: View) -> Self {
        Self { webhook, view }
    }

    async fn vitals(&self, ctx: &Context<'_>) -> Result<Vitals> {
        Ok(one(ctx, VitalsRef(self.webhook.0, self.webhook.1))
            .await?
            .unwrap_or_default())
    }
}

/// How a webhook's deliveries go, and what follows from that.
#[Object]
impl WebhookHealth {
    /// The one state that counts.
    async fn state(&self) -> WebhookState {
        self.view.state.into()
    }

    /// Failed first tries since the last ban ended; retries do not count.
    async fn ban_counter(&self) -> i32 {
        number(self.view.ban_counter)
    }

    /// How many of them make a ban.
    async fn ban_threshold(&self) -> i32 {
        number(self.view.ban_threshold)
    }

    /// When the ban ends; null when there is none.
    async fn banned_until(&self) -> Option<DateTime> {
        self.view.banned_until.map(DateTime)
    }

    /// The first failed attempt since the last success; null when there is none.
    async fn failing_since(&self) -> Option<DateTime> {
        self.view.failing_since.map(DateTime)
    }

    /// When the webhook is removed unless a delivery succeeds before.
    async fn removal_due_at(&self) -> Option<DateTime> {
        self.view.removal_due_at.map(DateTime)
    }

    /// The end of the last attempt that succeeded.
    async fn last_success_at(&self, ctx: &Context<'_>) -> Result<Option<DateTime>> {
        Ok(self.vitals(ctx).await?.last_success_at.map(DateTime))
    }

    /// The end of the last attempt.
    async fn last_attempt_at(&self, ctx: &Context<'_>) -> Result<Option<DateTime>> {
        Ok(self.vitals(ctx).await?.last_attempt_at.map(DateTime))
    }

    /// The status that the last attempt was answered with.
    async fn last_http_status(&self, ctx: &Context<'_>) -> Result<Option<i32>> {
        Ok(self.vitals(ctx).await?.last_status.map(i32::from))
    }

    /// How the last attempt failed; null when it succeeded.
    async fn last_error_class(&self, ctx: &Context<'_>) -> Result<Option<AttemptErrorClass>> {
        Ok(self.vitals(ctx).await?.last_error.map(Into::into))
    }

    /// Deliveries lost in the current or last ban. Each can be seen among the deliveries.
    async fn lost_count(&self, ctx: &Context<'_>) -> Result<i32> {
        Ok(i32::try_from(self.vitals(ctx).await?.lost).unwrap_or(i32::MAX))
    }

    /// The next change of state that needs nobody's doing; null when nothing is due.
    async fn next_transition(&self) -> Option<HealthTransition> {
        self.view.next.clone().map(|next| HealthTransition {
            at: next.at.into(),
            to: next.to.into(),
            because: next.because,
        })
    }
}

fn number(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
