//! The event catalogue: the actions and objects that webhooks can subscribe to (W9).

use async_graphql::{Context, Object, SimpleObject};

use crate::context::Ask;
use crate::types::enums::{EventAction, PayloadVersion};
use crate::types::scalars::EventObject;
use tenterhook_policy::matching;

/// Actions and objects that webhooks of a payload version can subscribe to. The wildcards `ANY` and `*` stand for all
/// of them and are not listed.
#[derive(SimpleObject)]
pub struct EventCatalog {
    /// The payload version.
    version: PayloadVersion,
    /// The actions of this version.
    actions: Vec<EventAction>,
    /// The objects of this version. The operator may have replaced the built-in list.
    objects: Vec<EventObject>,
}

/// Queries about the catalogue.
#[derive(Default)]
pub struct CatalogQueries;

#[Object]
impl CatalogQueries {
    /// Actions and objects that webhooks of a payload version can subscribe to.
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
