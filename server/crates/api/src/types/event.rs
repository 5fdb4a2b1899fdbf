//! Events: changes of an object.

pub mod publish;

use async_graphql::{Context, ID, Object};

use crate::context::Ask;
use crate::error::{ApiError, Result};
use crate::global_id::{GlobalId, carried_event};
use crate::relay::{Connection, PageArguments, cost_of, page_cost};
use crate::types::delivery::{Delivery, list};
use crate::types::enums::EventAction;
use crate::types::scalars::{DateTime, EventObject};
use tenterhook_model::access::Caller;
use tenterhook_model::event;
use tenterhook_model::ids::{EventId, Lane};
use tenterhook_policy::access;
use tenterhook_store::deliveries::DeliveryQuery;
use tenterhook_store::events;

/// A change of an object of a company.
#[derive(Clone)]
pub struct Event(event::Event);

impl From<event::Event> for Event {
    fn from(event: event::Event) -> Self {
        Self(event)
    }
}

impl Event {
    /// Its global id.
    pub fn key(&self) -> GlobalId {
        GlobalId::Event(self.0.lane, self.0.id)
    }
}

/// A change of an object of a company.
#[Object]
impl Event {
    /// The event's global id.
    pub(super) async fn id(&self) -> ID {
        self.key().to_id()
    }

    /// The id that the header `webhook-id` and a payload's `meta.id` carry.
    async fn event_id(&self) -> ID {
        ID(self.0.id.to_string())
    }

    /// The kind of change; never `ANY`.
    async fn action(&self) -> EventAction {
        self.0.action.into()
    }

    /// The kind of object, such as `deal`.
    async fn object(&self) -> EventObject {
        EventObject(self.0.object.clone())
    }

    /// The platform's id of the object.
    async fn object_id(&self) -> ID {
        ID(self.0.object_id.to_string())
    }

    /// The company's id.
    async fn company_id(&self) -> ID {
        ID(self.0.company.to_string())
    }

    /// The id of the user who made the change.
    async fn user_id(&self) -> ID {
        ID(self.0.user.to_string())
    }

    /// Identifies events with a common cause: the two events of a merge share it.
    async fn correlation_id(&self) -> ID {
        ID(self.0.correlation_id.clone())
    }

    /// When the server accepted it.
    async fn accepted_at(&self) -> DateTime {
        self.0.accepted_at.into()
    }

    /// When it happened according to the platform; otherwise when it was accepted.
    async fn occurred_at(&self) -> DateTime {
        self.0.occurred_at.unwrap_or(self.0.accepted_at).into()
    }

    /// Its deliveries to webhooks that the caller may see, newest first.
    ///
    /// Cost: 1 + page size × cost of the selected fields.
    #[graphql(complexity = "cost_of(page_cost(first, None), child_complexity)")]
    async fn deliveries(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Page size, 1 to 100. Default: 20.")] first: Option<i32>,
        #[graphql(desc = "Only elements after this cursor.")] after: Option<String>,
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
    /// An event by its id; null if there is none that the caller may see.
    async fn event(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The global id, or the id that payloads carry.")] id: ID,
    ) -> Result<Option<Event>> {
        reader(&ctx.session().caller)?;
        let lane = lane_of(&ctx.session().caller);
        let keys = match (GlobalId::event(&id, lane), carried_event(&id)) {
            (Some(key), _) => vec![key],
            // A caller without a company searches every lane.
            (None, Some(id)) => Lane::all().map(|lane| (lane, id)).collect(),
            (None, None) => return Ok(None),
        };
        Ok(find(ctx, &keys).await?.pop())
    }
}

/// The lane of the caller's company. The platform and operators have none.
fn lane_of(caller: &Caller) -> Option<Lane> {
    match caller {
        Caller::User(user) => Some(Lane::of(user.company)),
        Caller::Platform | Caller::Operator => None,
    }
}

/// Refuses a token that may not read events. The platform may, because it published them.
pub fn reader(caller: &Caller) -> Result<()> {
    if *caller == Caller::Platform {
        Ok(())
    } else {
        access::read(caller).map_err(|_| ApiError::forbidden())
    }
}

/// The events with these keys that the caller may see. One past its retention can be read as long as the log of attempts
/// refers to it (D10).
pub async fn find(ctx: &Context<'_>, keys: &[(Lane, EventId)]) -> Result<Vec<Event>> {
    let session = ctx.session();
    let sees = |event: &event::Event| access::sees_event(&session.caller, event, session.app);
    let history = ctx.cutoffs().history;
    let is_old = |event: &event::Event| event.id <= EventId::last_of(history);
    let mut conn = ctx.services().store.conn().await?;
    let mut found = events::find(&mut conn, keys).await?;
    let old = found.values().filter(|event| is_old(event));
    let old: Vec<_> = old.map(|event| (event.lane, event.id)).collect();
    if !old.is_empty() {
        let referred = events::referred(&mut conn, &old, history).await?;
        found.retain(|id, event| !is_old(event) || referred.contains(id));
    }
    Ok(found.into_values().filter(sees).map(Event).collect())
}
