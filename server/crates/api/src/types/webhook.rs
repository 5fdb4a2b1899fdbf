//! Webhooks: their type and how to find them. [`mutations`] creates and changes them, [`pause_restore`]
//! pauses, resumes and restores them.

mod authorize;
pub mod chart;
mod health;
pub mod mutations;
pub mod pause_restore;
pub mod queries;
pub mod secrets;
mod stats;
pub mod test_delivery;

use async_graphql::async_trait::async_trait;
use async_graphql::{Context, ID, Object};
use jiff::Timestamp;

use self::chart::Chart;
use self::health::WebhookHealth;
use self::stats::{DeliveryStats, show, stats_cost};
use crate::context::{Ask, Services};
use crate::cursor;
use crate::error::{ApiError, Result};
use crate::global_id::GlobalId;
use crate::loaders::{AppRef, ChartOf, DeliveryCountKey, DeliveryPageKey, one};
use crate::relay::{Connection, PageArguments, TotalCount, cost_of, page_cost};
use crate::types::app::App;
use crate::types::delivery::Delivery;
use crate::types::enums::{DeliveryStatus, EventAction, PayloadVersion, RemoveReason, WebhookType};
use crate::types::scalars::{DateTime, Duration, EventObject};
use tenterhook_model as model;
use tenterhook_model::health::Health;
use tenterhook_policy::health::{View, view};
use tenterhook_policy::sealing::BasicAuth;
use tenterhook_store::deliveries::{DeliveryPlace, DeliveryQuery};
use tenterhook_store::page::Slice;

/// A subscription to events: a filter on events, and a URL to send them to.
#[derive(Clone)]
pub struct Webhook {
    webhook: model::webhook::Webhook,
    view: View,
}

impl Webhook {
    /// A webhook in its current state (T3).
    pub fn new(ctx: &impl Ask, state: (model::webhook::Webhook, Health)) -> Self {
        Self::at(ctx.now(), ctx.services(), state)
    }

    /// A webhook in its state at `now` (T3).
    pub fn at(
        now: Timestamp,
        services: &Services,
        (webhook, health): (model::webhook::Webhook, Health),
    ) -> Self {
        let policy = services.policy();
        let view = view(&health, webhook.paused_at, webhook.removed, now, policy);
        Self { webhook, view }
    }

    /// Its HTTP basic credentials (W11).
    pub fn auth(&self, ctx: &impl Ask) -> Result<Option<BasicAuth>> {
        let opened = self
            .webhook
            .auth
            .as_ref()
            .map(|sealed| ctx.services().sealing.open_auth(self.webhook.id, sealed));
        opened.transpose().map_err(ApiError::internal)
    }

    /// Its global id.
    pub fn global_id(&self) -> GlobalId {
        GlobalId::Webhook(self.webhook.lane, self.webhook.id)
    }

    /// Its key in every table.
    pub fn key(&self) -> (model::ids::Lane, model::ids::WebhookId) {
        (self.webhook.lane, self.webhook.id)
    }

    /// The webhook as stored.
    pub fn stored(&self) -> &model::webhook::Webhook {
        &self.webhook
    }

    /// Its state.
    pub fn view(&self) -> &View {
        &self.view
    }
}

/// A subscription to events: a filter on events, and a URL to send them to.
#[Object]
impl Webhook {
    /// The webhook's global id.
    pub(super) async fn id(&self) -> ID {
        self.global_id().to_id()
    }

    /// The plain decimal id in payloads and in the header `tenterhook-webhook`.
    async fn number(&self) -> ID {
        ID(self.webhook.number.to_string())
    }

    /// Whether the webhook belongs to a user or to an app.
    #[graphql(name = "type")]
    async fn kind(&self) -> WebhookType {
        self.webhook.kind().into()
    }

    /// A label for people; null if it has none.
    async fn name(&self) -> Option<&str> {
        self.webhook.name.as_deref()
    }

    /// Version of the payloads that the webhook gets.
    async fn version(&self) -> PayloadVersion {
        self.webhook.version.into()
    }

    /// The URL to which events are sent.
    async fn subscription_url(&self) -> &str {
        &self.webhook.url
    }

    /// The action of the events that the webhook gets; `ANY` for all actions.
    async fn event_action(&self) -> EventAction {
        self.webhook.action.into()
    }

    /// The kind of object of the events that the webhook gets; `*` for all objects in the catalogue of its version.
    async fn event_object(&self) -> EventObject {
        EventObject(self.webhook.object.clone())
    }

    /// The company's id.
    async fn company_id(&self) -> ID {
        ID(self.webhook.company.to_string())
    }

    /// The id of the user who created it.
    async fn owner_id(&self) -> ID {
        ID(self.webhook.owner.to_string())
    }

    /// The id of the user that the webhook belongs to. Only events that this user may see are delivered.
    async fn user_id(&self) -> ID {
        ID(self.webhook.user.to_string())
    }

    /// The app that the webhook belongs to; null for a general webhook.
    async fn app(&self, ctx: &Context<'_>) -> Result<Option<App>> {
        match &self.webhook.app {
            Some(app) => Ok(one(ctx, AppRef(app.clone())).await?.map(App::from)),
            None => Ok(None),
        }
    }

    /// User name of the HTTP basic credentials that are sent with every request; null if there are none.
    async fn http_auth_user(&self, ctx: &Context<'_>) -> Result<Option<String>> {
        Ok(self.auth(ctx)?.map(|auth| auth.user))
    }

    /// Whether the HTTP basic credentials have a password. The password itself is never returned.
    async fn has_http_auth_password(&self, ctx: &Context<'_>) -> Result<bool> {
        Ok(self.auth(ctx)?.is_some_and(|auth| auth.password.is_some()))
    }

    /// When it was created.
    async fn created_at(&self) -> DateTime {
        self.webhook.created_at.into()
    }

    /// When the webhook was last changed, paused, resumed, restored or removed. Bans do not count.
    async fn updated_at(&self) -> DateTime {
        self.webhook.updated_at.into()
    }

    /// When it was removed; null if it was not.
    async fn removed_at(&self) -> Option<DateTime> {
        self.view.removed.map(|(at, _)| at.into())
    }

    /// Why it was removed; null if it was not.
    async fn remove_reason(&self) -> Option<RemoveReason> {
        self.view.removed.map(|(_, reason)| reason.into())
    }

    /// Its state, ban counter and failure window, and the results of its last attempts.
    async fn health(&self) -> WebhookHealth {
        WebhookHealth::new(self.key(), self.view.clone())
    }

    /// Its deliveries, newest first.
    ///
    /// Cost: 1 + page size × cost of the selected fields.
    #[graphql(complexity = "cost_of(page_cost(first, last), child_complexity)")]
    async fn deliveries(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Page size from the start of the list, 1 to 100. Default: 20.")] first: Option<i32>,
        #[graphql(desc = "Only elements after this cursor.")] after: Option<String>,
        #[graphql(desc = "Page size from the end of the list, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only elements before this cursor.")] before: Option<String>,
        #[graphql(desc = "Only deliveries in these states.")] status: Option<Vec<DeliveryStatus>>,
    ) -> Result<Connection<Delivery>> {
        ctx.session().reader()?;
        let window = PageArguments {
            first,
            after,
            last,
            before,
        }
        .window(cursor::decode_delivery)?;
        let statuses = status.map(|all| all.into_iter().map(Into::into).collect());
        let query = DeliveryQuery {
            statuses,
            ..DeliveryQuery::default()
        };
        let counted = DeliveryCountKey {
            webhook: self.key(),
            query: query.clone(),
        };
        let page = one(
            ctx,
            DeliveryPageKey {
                webhook: self.key(),
                query,
                window,
            },
        )
        .await?;
        let nothing = Slice {
            rows: Vec::new(),
            has_previous: false,
            has_next: false,
        };
        Ok(Connection::new(
            page.unwrap_or(nothing),
            counted,
            |delivery| cursor::encode_delivery(&DeliveryPlace::of(delivery)),
            Delivery::from,
        ))
    }

    /// Counts of its deliveries and attempts by time, for charts: one entry per bucket, oldest first, including empty
    /// buckets. A delivery or an attempt counts in the bucket in which it ended. Deliveries and attempts past their
    /// retention are not counted.
    ///
    /// Cost: 1 + number of buckets × cost of the selected fields.
    #[graphql(complexity = "cost_of(stats_cost(since, until, bucket), child_complexity)")]
    async fn stats(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "When the first bucket begins.")] since: DateTime,
        #[graphql(desc = "When the last bucket ends; this time itself is not included. Default: now.")]
        until: Option<DateTime>,
        #[graphql(
            desc = "Length of a bucket: at least one second, and long enough for at most 288 buckets. Default: a round \
                    length that makes at most 50 buckets."
        )]
        bucket: Option<Duration>,
    ) -> Result<Vec<DeliveryStats>> {
        ctx.session().reader()?;
        let chart = Chart::new(since, until, bucket);
        chart.check(ctx.now())?;
        let webhook = self.key();
        let read = one(ctx, ChartOf { webhook, chart }).await?;
        Ok(read.map_or_else(Vec::new, |(buckets, figures)| show(&buckets, figures)))
    }
}

#[async_trait]
impl TotalCount for DeliveryCountKey {
    async fn count(&self, ctx: &Context<'_>) -> Result<i64> {
        Ok(one(ctx, self.clone()).await?.unwrap_or_default())
    }
}
