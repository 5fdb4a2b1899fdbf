//! Anything with a global id.

use async_graphql::{Context, ID, Interface, Object};

use crate::context::Ask;
use crate::error::{ApiError, Result};
use crate::global_id::GlobalId;
use crate::relay::cost_of;
use crate::types::app::{App, sees_app};
use crate::types::delivery::Delivery;
use crate::types::event::{self, Event};
use crate::types::notice::{self, Notice};
use crate::types::webhook::{Webhook, queries};
use tenterhook_store::apps as app_store;
use tenterhook_store::deliveries::{self as delivery_store, DeliveryPlace};

/// Maximum number of ids of `nodes`.
const MOST_IDS: usize = 100;

/// An object with a global id.
#[derive(Clone, Interface)]
#[graphql(field(name = "id", ty = "ID", desc = "The global id."))]
#[expect(
    clippy::large_enum_variant,
    reason = "one value per requested id, which lives only until the response: a box would cost more than it saves"
)]
pub enum Node {
    /// A webhook.
    Webhook(Webhook),
    /// A delivery.
    Delivery(Delivery),
    /// An event.
    Event(Event),
    /// A notice.
    Notice(Notice),
    /// An app.
    App(App),
}

/// Queries for any object.
#[derive(Default)]
pub struct NodeQueries;

#[Object]
impl NodeQueries {
    /// The object with this global id; null if there is none that the caller may see.
    async fn node(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The global id.")] id: ID,
    ) -> Result<Option<Node>> {
        Ok(find(ctx, &[id]).await?.pop().flatten())
    }

    /// The objects with these global ids, in the same order; null for each id without an object that the caller may
    /// see.
    ///
    /// Cost: 1 + number of ids × cost of the selected fields.
    #[graphql(complexity = "cost_of(ids.len(), child_complexity)")]
    async fn nodes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The global ids, at most 100.")] ids: Vec<ID>,
    ) -> Result<Vec<Option<Node>>> {
        if ids.len() > MOST_IDS {
            return Err(ApiError::bad_input(format!(
                "`ids` must have at most {MOST_IDS} entries."
            )));
        }
        find(ctx, &ids).await
    }
}

/// One statement for each kind of object among the ids.
async fn find(ctx: &Context<'_>, ids: &[ID]) -> Result<Vec<Option<Node>>> {
    let asked: Vec<Option<GlobalId>> = ids.iter().map(|id| GlobalId::parse(id)).collect();
    let (mut webhooks, mut deliveries, mut events, mut notices, mut apps) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for id in asked.iter().flatten().cloned() {
        match id {
            GlobalId::Webhook(lane, id) => webhooks.push((lane, id)),
            GlobalId::Delivery(place) => deliveries.push(place),
            GlobalId::Event(lane, id) => events.push((lane, id)),
            GlobalId::Notice(lane, id) => notices.push((lane, id)),
            GlobalId::App(id) => apps.push(id),
        }
    }
    let mut found = Vec::new();
    if !apps.is_empty() {
        let caller = &ctx.session().caller;
        apps.retain(|app| sees_app(caller, app));
        let read = app_store::find(&mut *ctx.services().store.conn().await?, &apps).await?;
        found.extend(
            read.into_iter()
                .map(|app| (GlobalId::App(app.id.clone()), Node::App(app.into()))),
        );
    }
    if !events.is_empty() {
        event::reader(&ctx.session().caller)?;
        found.extend(
            event::find(ctx, &events)
                .await?
                .into_iter()
                .map(|event| (event.key(), Node::Event(event))),
        );
    }
    if !webhooks.is_empty() || !deliveries.is_empty() || !notices.is_empty() {
        ctx.session().reader()?;
    }
    if !webhooks.is_empty() {
        let read = queries::find(ctx, &webhooks).await?;
        found.extend(
            read.into_iter()
                .map(|webhook| (webhook.global_id(), Node::Webhook(webhook))),
        );
    }
    if !notices.is_empty() {
        let read = notice::find(ctx, &notices).await?;
        found.extend(
            read.into_iter()
                .map(|notice| (notice.global_id(), Node::Notice(notice))),
        );
    }
    if !deliveries.is_empty() {
        let mut conn = ctx.services().store.conn().await?;
        let read =
            delivery_store::find(&mut conn, &deliveries, &ctx.session().scope(), &ctx.cutoffs()).await?;
        found.extend(read.into_iter().map(|delivery| {
            (
                GlobalId::Delivery(DeliveryPlace::of(&delivery)),
                Node::Delivery(delivery.into()),
            )
        }));
    }
    let pick = |id: Option<GlobalId>| {
        let id = id?;
        found
            .iter()
            .find(|(key, _)| *key == id)
            .map(|(_, node)| node.clone())
    };
    Ok(asked.into_iter().map(pick).collect())
}
