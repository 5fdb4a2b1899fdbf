//! Webhooks: what they are and how they are found. Creating and changing them is [`changes`],
//! pausing, resuming and restoring them [`standing`].

mod changes;
mod health;
mod managed;
mod queries;
mod secrets;
mod standing;
mod stats;
mod testing;

use async_graphql::{Context, Enum, ID, Object};
use jiff::Timestamp;

pub use changes::WebhookMutations;
pub use health::{AttemptErrorClass, WebhookHealth};
pub use queries::{WebhookQueries, find};
pub use secrets::SecretMutations;
pub use standing::StandingMutations;
pub use stats::{Chart, DeliveryStats, Stretches};
pub use testing::TestMutations;

use self::stats::stats_cost;
use super::apps::App;
use super::connection::{Connection, Counted, PageArguments, cost_of, page_cost};
use super::context::{Ask, Services};
use super::cursor;
use super::deliveries::{Delivery, DeliveryStatus};
use super::error::{ApiError, Result};
use super::events::EventAction;
use super::global_id::GlobalId;
use super::loaders::{AppRef, ChartOf, DeliveryCountKey, DeliveryPageKey, one};
use super::scalars::{DateTime, Duration, EventObject};
use tenterhook_model as model;
use tenterhook_model::health::Health;
use tenterhook_model::webhook;
use tenterhook_policy::health::{View, view};
use tenterhook_policy::sealing::BasicAuth;
use tenterhook_store::deliveries::{DeliveryPlace, DeliveryQuery};
use tenterhook_store::page::Slice;

/// Who a webhook belongs to. It follows from who creates it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "webhook::WebhookType")]
pub enum WebhookType {
    /// A user's own.
    General,
    /// An app's, for one user.
    Application,
}

/// The one state that counts: `REMOVED` goes before `PAUSED` before `BANNED`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "webhook::WebhookState")]
pub enum WebhookState {
    /// Events are delivered.
    Active,
    /// Too many first tries failed: what comes due is lost until the ban ends by itself.
    Banned,
    /// Its user has paused it: what comes due is lost until it is resumed.
    Paused,
    /// It is gone, and readable for a while.
    Removed,
}

/// The shape of the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "webhook::PayloadVersion")]
pub enum PayloadVersion {
    /// `meta`, `current` and `previous`, with actions `added`, `updated`, `merged` and `deleted`.
    V1,
    /// `meta`, `data` and `previous`, with actions `create`, `change` and `delete`.
    V2,
}

/// Why a webhook was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "webhook::RemoveReason")]
pub enum RemoveReason {
    /// Its user deleted it.
    DeletedByUser,
    /// An admin of the company deleted it.
    DeletedByAdmin,
    /// Its app deleted it.
    DeletedByApp,
    /// Its user uninstalled the app.
    AppUninstalled,
    /// The app left the marketplace.
    AppRemoved,
    /// Its user was removed.
    UserRemoved,
    /// No delivery succeeded for three days.
    NoSuccessfulDelivery,
}

/// A subscription to events: which ones, and where they are sent.
#[derive(Clone)]
pub struct Webhook {
    webhook: model::webhook::Webhook,
    view: View,
}

impl Webhook {
    /// A webhook as it stands now (T3).
    pub fn new(ctx: &Context<'_>, state: (model::webhook::Webhook, Health)) -> Self {
        Self::at(ctx.now(), ctx.services(), state)
    }

    /// A webhook as it stands at `now` (T3).
    pub fn at(
        now: Timestamp,
        services: &Services,
        (webhook, health): (model::webhook::Webhook, Health),
    ) -> Self {
        let policy = services.policy();
        let view = view(&health, webhook.paused_at, webhook.removed, now, policy);
        Self { webhook, view }
    }

    fn auth(&self, ctx: &Context<'_>) -> Result<Option<BasicAuth>> {
        let opened = self
            .webhook
            .auth
            .as_ref()
            .map(|sealed| ctx.services().sealing.open_auth(self.webhook.id, sealed));
        opened.transpose().map_err(ApiError::internal)
    }

    /// What its id names.
    pub fn global_id(&self) -> GlobalId {
        GlobalId::Webhook(self.webhook.lane, self.webhook.id)
    }

    fn key(&self) -> (model::ids::Lane, model::ids::WebhookId) {
        (self.webhook.lane, self.webhook.id)
    }
}

/// A subscription to events: which ones, and where they are sent.
#[Object]
impl Webhook {
    /// The global id.
    pub(super) async fn id(&self) -> ID {
        self.global_id().to_id()
    }

    /// The plain decimal id that payloads and the header `tenterhook-webhook` carry.
    async fn number(&self) -> ID {
        ID(self.webhook.number.to_string())
    }

    /// Who it belongs to.
    #[graphql(name = "type")]
    async fn kind(&self) -> WebhookType {
        self.webhook.kind().into()
    }

    /// A label for people.
    async fn name(&self) -> Option<&str> {
        self.webhook.name.as_deref()
    }

    /// Which payload it gets.
    async fn version(&self) -> PayloadVersion {
        self.webhook.version.into()
    }

    /// Where events are sent.
    async fn subscription_url(&self) -> &str {
        &self.webhook.url
    }

    /// Which actions it wants.
    async fn event_action(&self) -> EventAction {
        self.webhook.action.into()
    }

    /// Which object it wants; `*` for all of its version's catalogue.
    async fn event_object(&self) -> EventObject {
        EventObject(self.webhook.object.clone())
    }

    /// The company.
    async fn company_id(&self) -> ID {
        ID(self.webhook.company.to_string())
    }

    /// Who created it.
    async fn owner_id(&self) -> ID {
        ID(self.webhook.owner.to_string())
    }

    /// Whose it is: events are delivered that this user may see.
    async fn user_id(&self) -> ID {
        ID(self.webhook.user.to_string())
    }

    /// The app of an application webhook.
    async fn app(&self, ctx: &Context<'_>) -> Result<Option<App>> {
        match &self.webhook.app {
            Some(app) => Ok(one(ctx, AppRef(app.clone())).await?.map(App::from)),
            None => Ok(None),
        }
    }

    /// The user name of the HTTP basic credentials that go with every request; null if there are none.
    async fn http_auth_user(&self, ctx: &Context<'_>) -> Result<Option<String>> {
        Ok(self.auth(ctx)?.map(|auth| auth.user))
    }

    /// Whether a password goes with it. The password itself is never shown.
    async fn has_http_auth_password(&self, ctx: &Context<'_>) -> Result<bool> {
        Ok(self.auth(ctx)?.is_some_and(|auth| auth.password.is_some()))
    }

    /// When it was created.
    async fn created_at(&self) -> DateTime {
        self.webhook.created_at.into()
    }

    /// When its settings last changed.
    async fn updated_at(&self) -> DateTime {
        self.webhook.updated_at.into()
    }

    /// When it was removed.
    async fn removed_at(&self) -> Option<DateTime> {
        self.view.removed.map(|(at, _)| at.into())
    }

    /// Why it was removed.
    async fn remove_reason(&self) -> Option<RemoveReason> {
        self.view.removed.map(|(_, reason)| reason.into())
    }

    /// How its deliveries go, and what follows from that.
    async fn health(&self) -> WebhookHealth {
        WebhookHealth::new(self.key(), self.view.clone())
    }

    /// Its deliveries, newest first.
    ///
    /// Costs 1, and what is selected of the page for each element that it can have.
    #[graphql(complexity = "cost_of(page_cost(first, last), child_complexity)")]
    async fn deliveries(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "So many from the start, 1 to 100; 20 unless asked otherwise.")] first: Option<i32>,
        #[graphql(desc = "Only after this cursor.")] after: Option<String>,
        #[graphql(desc = "So many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only before this cursor.")] before: Option<String>,
        #[graphql(desc = "Only in these states.")] status: Option<Vec<DeliveryStatus>>,
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
            Counted::DeliveriesOf(counted),
            |delivery| cursor::encode_delivery(&DeliveryPlace::of(delivery)),
            Delivery::from,
        ))
    }

    /// What became of its deliveries over time, for charts: one entry for each stretch, oldest first, empty ones too. A
    /// delivery and an attempt count where they ended. What is past its retention counts nowhere.
    ///
    /// Costs 1, and what is selected of an entry for each that there is.
    #[graphql(complexity = "cost_of(stats_cost(since, until, bucket), child_complexity)")]
    async fn stats(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "When the first stretch begins.")] since: DateTime,
        #[graphql(desc = "When the last stretch ends, itself outside; now unless asked otherwise.")]
        until: Option<DateTime>,
        #[graphql(
            desc = "How long a stretch is: at least a second, and so that there are at most 288 of them. Unless asked \
                    otherwise a round length that makes up to 50."
        )]
        bucket: Option<Duration>,
    ) -> Result<Vec<DeliveryStats>> {
        ctx.session().reader()?;
        let chart = Chart::new(since, until, bucket);
        chart.check(ctx.now())?;
        let webhook = self.key();
        let read = one(ctx, ChartOf { webhook, chart }).await?;
        Ok(read.map_or_else(Vec::new, |(stretches, figures)| stretches.show(figures)))
    }
}
