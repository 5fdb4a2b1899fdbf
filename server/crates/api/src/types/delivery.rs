//! Deliveries: one event for one webhook, and its result. [`replay`] makes new ones of old events.

pub mod replay;

use std::sync::Arc;

use async_graphql::async_trait::async_trait;
use async_graphql::{Context, Enum, ID, InputObject, Object};

use crate::complexity::CostContext;
use crate::context::Ask;
use crate::cursor;
use crate::error::{ApiError, Result};
use crate::global_id::{GlobalId, carried_event};
use crate::loaders::{AttemptsOf, DeliveryAt, EventRef, WebhookRef, one};
use crate::relay::{Connection, PageArguments, TotalCount, cost_of, page_cost};
use crate::types::attempt::Attempt;
use crate::types::enums::DeliveryStatus;
use crate::types::event::Event;
use crate::types::scalars::DateTime;
use crate::types::webhook::Webhook;
use crate::webhook_name::key_of;
use tenterhook_engine::Tested;
use tenterhook_model::access::WebhookScope;
use tenterhook_model::delivery;
use tenterhook_model::event;
use tenterhook_model::ids::{DeliveryKey, Lane};
use tenterhook_store::deliveries::{self, DeliveryPlace, DeliveryQuery, Owners};

/// Why a delivery ended without success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "delivery::DeliveryReason")]
pub enum DeliveryReason {
    /// All attempts failed.
    Exhausted,
    /// An attempt was due during a ban.
    Banned,
    /// An attempt was due while the webhook was paused.
    Paused,
    /// The webhook was removed.
    WebhookRemoved,
}

/// One event for one webhook.
#[derive(Clone)]
pub struct Delivery {
    delivery: delivery::Delivery,
    /// The event and attempt of a test delivery, which are not stored.
    tested: Option<Arc<Tested>>,
}

impl From<delivery::Delivery> for Delivery {
    fn from(delivery: delivery::Delivery) -> Self {
        Self {
            delivery,
            tested: None,
        }
    }
}

impl From<Tested> for Delivery {
    fn from(tested: Tested) -> Self {
        let attempt = &tested.attempt;
        let failed = !attempt.outcome.succeeded();
        let delivery = delivery::Delivery {
            key: attempt.delivery,
            company: tested.event.company,
            status: if failed {
                delivery::DeliveryStatus::Failed
            } else {
                delivery::DeliveryStatus::Succeeded
            },
            reason: failed.then_some(delivery::DeliveryReason::Exhausted),
            created_at: tested.event.accepted_at,
            next_attempt_at: None,
            finished_at: Some(attempt.ended_at),
        };
        Self {
            delivery,
            tested: Some(Arc::new(tested)),
        }
    }
}

impl Delivery {
    /// The webhook, as it is now.
    async fn owner(&self, ctx: &Context<'_>) -> Result<Webhook> {
        let key = self.delivery.key;
        let state = one(ctx, WebhookRef(key.lane, key.webhook)).await?;
        Ok(Webhook::new(ctx, state.ok_or_else(expired)?))
    }
}

impl Delivery {
    /// The event to deliver; made up for a test delivery.
    pub async fn owed(&self, ctx: &Context<'_>) -> Result<event::Event> {
        if let Some(tested) = &self.tested {
            return Ok(tested.event.clone());
        }
        let key = self.delivery.key;
        one(ctx, EventRef(key.lane, key.event)).await?.ok_or_else(expired)
    }
}

/// The error if a row passed its retention between two reads of one query.
pub fn expired() -> ApiError {
    ApiError::unavailable("a webhook or an event was deleted while the query read it")
}

/// One event for one webhook.
#[Object]
impl Delivery {
    /// The delivery's global id.
    pub(super) async fn id(&self) -> ID {
        GlobalId::Delivery(DeliveryPlace::of(&self.delivery)).to_id()
    }

    /// The webhook that the event is delivered to.
    async fn webhook(&self, ctx: &Context<'_>) -> Result<Webhook> {
        self.owner(ctx).await
    }

    /// The event to deliver.
    async fn event(&self, ctx: &Context<'_>) -> Result<Event> {
        Ok(Event::from(self.owed(ctx).await?))
    }

    /// State of the delivery.
    async fn status(&self) -> DeliveryStatus {
        self.delivery.status.into()
    }

    /// Why it ended without success; null while it is pending and if it succeeded.
    async fn reason(&self) -> Option<DeliveryReason> {
        self.delivery.reason.map(Into::into)
    }

    /// When the event was published, or the replay requested.
    async fn created_at(&self) -> DateTime {
        self.delivery.created_at.into()
    }

    /// When the next attempt is due. If the server could not make it for a reason of its own, when it tries again. Null
    /// once the delivery has ended.
    async fn next_attempt_at(&self) -> Option<DateTime> {
        self.delivery.next_attempt_at.map(DateTime)
    }

    /// When it ended; null while it is pending.
    async fn finished_at(&self) -> Option<DateTime> {
        self.delivery.finished_at.map(DateTime)
    }

    /// The first delivery of the event to the webhook, if this is a replay and the first one is still stored;
    /// otherwise null.
    async fn replay_of(&self, ctx: &Context<'_>) -> Result<Option<Delivery>> {
        let key = self.delivery.key;
        if key.generation == 0 {
            return Ok(None);
        }
        let first = DeliveryPlace {
            created_at: key.event.accepted_at(),
            key: DeliveryKey { generation: 0, ..key },
        };
        Ok(one(ctx, DeliveryAt(first)).await?.map(Self::from))
    }

    /// Its attempts, oldest first: at most four, unless the operator has set another number of retries.
    ///
    /// Cost: 1 + number of possible attempts × cost of the selected fields.
    #[graphql(complexity = "cost_of(CostContext::current().attempts.into(), child_complexity)")]
    async fn attempts(&self, ctx: &Context<'_>) -> Result<Vec<Attempt>> {
        if let Some(tested) = &self.tested {
            return Ok(vec![Attempt::new(tested.attempt.clone(), self.clone())]);
        }
        let attempts = one(ctx, AttemptsOf(DeliveryPlace::of(&self.delivery)))
            .await?
            .unwrap_or_default();
        Ok(attempts
            .into_iter()
            .map(|attempt| Attempt::new(attempt, self.clone()))
            .collect())
    }
}

/// Which deliveries to list. All given conditions must hold.
#[derive(InputObject, Default)]
pub struct DeliveryFilter {
    /// Only deliveries to this webhook, given by its global id or number.
    webhook_id: Option<ID>,
    /// Only deliveries of the event with this global id, or with this id in payloads.
    event_id: Option<ID>,
    /// Only deliveries in these states.
    status: Option<Vec<DeliveryStatus>>,
    /// Only deliveries created at or after this time.
    since: Option<DateTime>,
    /// Only deliveries created before this time.
    until: Option<DateTime>,
}

/// Queries about deliveries.
#[derive(Default)]
pub struct DeliveryQueries;

#[Object]
impl DeliveryQueries {
    /// The deliveries to all webhooks that the caller may see, newest first.
    ///
    /// Cost: 1 + page size × cost of the selected fields.
    #[graphql(complexity = "cost_of(page_cost(first, last), child_complexity)")]
    async fn deliveries(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which deliveries to list. Default: all that the caller may see.")] filter: Option<
            DeliveryFilter,
        >,
        #[graphql(desc = "Page size from the start of the list, 1 to 100. Default: 20.")] first: Option<i32>,
        #[graphql(desc = "Only elements after this cursor.")] after: Option<String>,
        #[graphql(desc = "Page size from the end of the list, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only elements before this cursor.")] before: Option<String>,
    ) -> Result<Connection<Delivery>> {
        ctx.session().reader()?;
        let page = PageArguments {
            first,
            after,
            last,
            before,
        };
        let filter = filter.unwrap_or_default();
        let webhook = match &filter.webhook_id {
            Some(id) => match key_of(ctx.services(), &ctx.session().caller, id).await? {
                None => return Ok(Connection::empty()),
                known => known,
            },
            None => None,
        };
        // An id in a payload names no lane, and an operator has none. The scope decides what the list has.
        let named = |id: &ID| match GlobalId::event(id, None) {
            Some((_, event)) => Some(event),
            None => carried_event(id),
        };
        let event = match filter.event_id.as_ref().map(named) {
            Some(None) => return Ok(Connection::empty()),
            known => known.flatten(),
        };
        let query = DeliveryQuery {
            statuses: filter.status.map(|all| all.into_iter().map(Into::into).collect()),
            event,
            since: filter.since.map(|at| at.0),
            until: filter.until.map(|at| at.0),
        };
        list(ctx, webhook, query, &page).await
    }
}

/// A page of the deliveries that the caller may see.
pub async fn list(
    ctx: &Context<'_>,
    webhook: Option<(Lane, tenterhook_model::ids::WebhookId)>,
    query: DeliveryQuery,
    page: &PageArguments,
) -> Result<Connection<Delivery>> {
    let window = page.window(cursor::decode_delivery)?;
    let owners = Owners {
        scope: ctx.session().scope(),
        cutoffs: ctx.cutoffs(),
        webhook,
    };
    if owners.scope == WebhookScope::Nothing {
        return Ok(Connection::empty());
    }
    let slice = deliveries::page(&mut *ctx.services().store.conn().await?, &owners, &query, &window).await?;
    Ok(Connection::new(
        slice,
        Deliveries { owners, query },
        |delivery| cursor::encode_delivery(&DeliveryPlace::of(delivery)),
        Delivery::from,
    ))
}

/// The deliveries of a list, to count them.
struct Deliveries {
    owners: Owners,
    query: DeliveryQuery,
}

#[async_trait]
impl TotalCount for Deliveries {
    async fn count(&self, ctx: &Context<'_>) -> Result<i64> {
        let mut conn = ctx.services().store.conn().await?;
        Ok(deliveries::count(&mut conn, &self.owners, &self.query).await?)
    }
}
