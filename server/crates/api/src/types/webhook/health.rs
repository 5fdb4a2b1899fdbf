//! The GraphQL type of a webhook's health (R5).

use async_graphql::{Context, Object, SimpleObject};

use crate::error::Result;
use crate::loaders::{HistoryRef, one};
use crate::types::enums::{AttemptErrorClass, WebhookState};
use crate::types::scalars::DateTime;
use tenterhook_model::ids::{Lane, WebhookId};
use tenterhook_policy::health::View;
use tenterhook_store::health::history::History;

/// Health of a webhook: its state, ban counter and failure window, and the results of its last attempts.
pub struct WebhookHealth {
    webhook: (Lane, WebhookId),
    view: View,
}

/// The next change of state that happens by time alone.
#[derive(SimpleObject)]
pub struct HealthTransition {
    /// When it happens, if nothing changes until then.
    at: DateTime,
    /// The state after it.
    to: WebhookState,
    /// The reason, in a sentence for people.
    because: String,
}

impl WebhookHealth {
    /// The health of this webhook.
    pub(super) fn new(webhook: (Lane, WebhookId), view: View) -> Self {
        Self { webhook, view }
    }

    async fn history(&self, ctx: &Context<'_>) -> Result<History> {
        Ok(one(ctx, HistoryRef(self.webhook.0, self.webhook.1))
            .await?
            .unwrap_or_default())
    }
}

/// Health of a webhook: its state, ban counter and failure window, and the results of its last attempts.
#[Object]
impl WebhookHealth {
    /// The webhook's current state.
    async fn state(&self) -> WebhookState {
        self.view.state.into()
    }

    /// Number of failed first tries since the last ban ended. Retries do not count.
    async fn ban_counter(&self) -> i32 {
        number(self.view.ban_counter)
    }

    /// Number of failed first tries at which a ban starts.
    async fn ban_threshold(&self) -> i32 {
        number(self.view.ban_threshold)
    }

    /// When the current ban ends; null if there is none.
    async fn banned_until(&self) -> Option<DateTime> {
        self.view.banned_until.map(DateTime)
    }

    /// When the failure window opened: the first failed attempt since the last success; null if none is open.
    async fn failing_since(&self) -> Option<DateTime> {
        self.view.failing_since.map(DateTime)
    }

    /// When the webhook will be removed unless a delivery succeeds before; null if no failure window is open.
    async fn removal_due_at(&self) -> Option<DateTime> {
        self.view.removal_due_at.map(DateTime)
    }

    /// When the last successful attempt ended; null if there is none.
    async fn last_success_at(&self, ctx: &Context<'_>) -> Result<Option<DateTime>> {
        Ok(self.history(ctx).await?.last_success_at.map(DateTime))
    }

    /// When the last attempt ended; null if there is none.
    async fn last_attempt_at(&self, ctx: &Context<'_>) -> Result<Option<DateTime>> {
        Ok(self.history(ctx).await?.last_attempt_at.map(DateTime))
    }

    /// HTTP status of the last attempt; null if it got no response or there is none.
    async fn last_http_status(&self, ctx: &Context<'_>) -> Result<Option<i32>> {
        Ok(self.history(ctx).await?.last_status.map(i32::from))
    }

    /// Why the last attempt failed; null if it succeeded or there is none.
    async fn last_error_class(&self, ctx: &Context<'_>) -> Result<Option<AttemptErrorClass>> {
        Ok(self.history(ctx).await?.last_error.map(Into::into))
    }

    /// Number of deliveries lost in the current or last ban. `deliveries` lists them.
    async fn lost_count(&self, ctx: &Context<'_>) -> Result<i32> {
        Ok(i32::try_from(self.history(ctx).await?.lost).unwrap_or(i32::MAX))
    }

    /// The next change of state that happens by time alone; null if none is due.
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
