//! Events: what happened to an object. Publishing them is [`publishing`](super::publishing).

use async_graphql::{Context, Enum, ID, Object};

use super::connection::{Connection, PageArguments, cost_of, page_cost};
use super::context::Ask;
use super::deliveries::{Delivery, lane_of, list};
use super::error::{ApiError, Result};
use super::global_id::{GlobalId, carried_event};
use super::scalars::{DateTime, EventObject};
use tenterhook_model::access::Caller;
use tenterhook_model::ids::{EventId, Lane};
use tenterhook_model::{event, webhook};
use tenterhook_policy::access;
use tenterhook_store::deliveries::DeliveryQuery;
use tenterhook_store::events;

/// What happened. Version 1 payloads say `added`, `updated`, `merged` and `deleted`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "webhook::EventAction")]
pub enum EventAction {
    /// Any of the others: only in a subscription.
    Any,
    /// Something was created.
    Create,
    /// Something was changed. Version 2 sees the survivor of a merge so.
    Change,
    /// Something was merged into another. Can be subscribed to in version 1 only.
    Merge,
    /// Something was deleted. Both versions see the one that was merged into another so.
    Delete,
}

/// Something that happened to an object of a company.
#[derive(Clone)]
pub struct Event(event::Event);

impl From<event::Event> for Event {
    fn from(event: event::Event) -> Self {
        Self(event)
    }
}

impl Event {
    /// What its id names.
    pub fn key(&self) -> GlobalId {
        GlobalId::Event(self.0.lane, self.0.id)
    }
}

/// Something that happened to an object of a company.
#[Object]
impl Event {
    /// The global id.
    pub(super) async fn id(&self) -> ID {
        self.key().to_id()
    }

    /// The id that the header `webhook-id` and a payload's `meta.id` carry.
    async fn event_id(&self) -> ID {
        ID(self.0.id.to_string())
    }

    /// What happened; never `ANY`.
    async fn action(&self) -> EventAction {
        self.0.action.into()
    }

    /// To which kind of object.
    async fn object(&self) -> EventObject {
        EventObject(self.0.object.clone())
    }

    /// To which object.
    async fn object_id(&self) -> ID {
        ID(self.0.object_id.to_string())
    }

    /// The company.
    async fn company_id(&self) -> ID {
        ID(self.0.company.to_string())
    }

    /// Who did it.
    async fn user_id(&self) -> ID {
        ID(self.0.user.to_string())
    }

    /// Groups events of one cause: the two events of a merge share it.
    async fn correlation_id(&self) -> ID {
        ID(self.0.correlation_id.clone())
    }

    /// When it was accepted.
    async fn accepted_at(&self) -> DateTime {
        self.0.accepted_at.into()
    }

    /// When it happened, as the platform says; otherwise when it was accepted.
    async fn occurred_at(&self) -> DateTime {
        self.0.occurred_at.unwrap_or(self.0.accepted_at).into()
    }

    /// Its deliveries to webhooks that the caller may see, newest first.
    ///
    /// Costs 1, and what is selected of the page for each element that it can have.
    #[graphql(complexity = "cost_of(page_cost(first, None), child_complexity)")]
    async fn deliveries(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "So many, 1 to 100; 20 unless asked otherwise.")] first: Option<i32>,
        #[graphql(desc = "Only after this cursor.")] after: Option<String>,
    ) -> Result<Connection<Delivery>> {
        let page = PageArguments {
            first,
            after,
            ..PageArguments::default()
        };
        let query = DeliveryQuery {
            event: Some(self.0.id),
            ..DeliveryQuery::default()
        };
        list(ctx, None, query, &page).await
    }
}

/// Queries about events.
#[derive(Default)]
pub struct EventQueries;

#[Object]
impl EventQueries {
    /// An event; null if there is none of this id that the caller may see.
    async fn event(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The global id, or the id that payloads carry.")] id: ID,
    ) -> Result<Option<Event>> {
        reader(&ctx.session().caller)?;
        let lane = lane_of(&ctx.session().caller);
        let keys = match (GlobalId::event(&id, lane), carried_event(&id)) {
            (Some(key), _) => vec![key],
            // Who has no company looks in every lane.
            (None, Some(id)) => Lane::all().map(|lane| (lane, id)).collect(),
            (None, None) => return Ok(None),
        };
        Ok(find(ctx, &keys).await?.pop())
    }
}

/// Refuses a token that may not read events. The platform, which published them, may.
pub fn reader(caller: &Caller) -> Result<()> {
    if *caller == Caller::Platform {
        Ok(())
    } else {
        access::read(caller).map_err(|_| ApiError::forbidden())
    }
}

/// The events of these keys that the caller may see.
pub async fn find(ctx: &Context<'_>, keys: &[(Lane, EventId)]) -> Result<Vec<Event>> {
    let session = ctx.session();
    let sees = |event: &event::Event| access::sees_event(&session.caller, event, session.app_installed);
    let oldest = EventId::last_of(ctx.cutoffs().accepted);
    let found = events::find(&mut *ctx.services().store.conn().await?, keys).await?;
    let visible = found
        .into_values()
        .filter(|event| event.id > oldest && sees(event));
    Ok(visible.map(Event).collect())
}
