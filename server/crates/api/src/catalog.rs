//! The event catalogue: what can be subscribed to (W9).

use async_graphql::{Context, Object, SimpleObject};

use super::context::Ask;
use super::events::EventAction;
use super::scalars::EventObject;
use super::webhooks::PayloadVersion;
use tenterhook_policy::matching;

/// What webhooks of a payload version can name, each concretely: action `ANY` and object `*` stand for all of them.
#[derive(SimpleObject)]
pub struct EventCatalog {
    /// The payload version.
    version: PayloadVersion,
    /// Which actions can be named.
    actions: Vec<EventAction>,
    /// Which objects can be named.
    objects: Vec<EventObject>,
}

/// Queries about the catalogue.
#[derive(Default)]
pub struct CatalogQueries;

#[Object]
impl CatalogQueries {
    /// What webhooks of a payload version can name.
    async fn event_catalog(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The payload version.", default_with = "Some(PayloadVersion::V2)")] version: Option<
            PayloadVersion,
        >,
    ) -> EventCatalog {
        let version = version.unwrap_or(PayloadVersion::V2);
        let objects = matching::objects(version.into(), &ctx.services().policy().catalog);
        EventCatalog {
            version,
            actions: matching::actions(version.into())
                .iter()
                .map(|action| (*action).into())
                .collect(),
            objects: objects.iter().cloned().map(EventObject).collect(),
        }
    }
}
