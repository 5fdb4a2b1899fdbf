//! The schema: its roots, its limits, and its text.

use async_graphql::{MergedObject, Schema, ValidationMode};

use super::apps::{AppMutations, AppQueries};
use super::catalog::CatalogQueries;
use super::deliveries::DeliveryQueries;
use super::events::EventQueries;
use super::live::Subscription;
use super::node::NodeQueries;
use super::notices::NoticeQueries;
use super::publishing::PublishingMutations;
use super::replays::ReplayMutations;
use super::stages::Stages;
use super::users::UserMutations;
use super::viewer::ViewerQueries;
use super::webhooks::{SecretMutations, StandingMutations, TestMutations, WebhookMutations, WebhookQueries};
use tenterhook_settings::ApiSettings;

/// Fields within fields, outside of `__schema` and `__type`.
pub const DEEPEST: usize = 15;
/// Fields within fields where they are under `__schema` or `__type`: the introspection query of common tools has 15, with
/// a type in nine brackets, and some go to twelve.
pub const DEEPEST_INTROSPECTION: usize = 20;
/// What a query may cost: one for each field, times the elements that it can be read for. A hundred webhooks with
/// health, app and their last five deliveries with attempts cost about 35,000.
pub const COSTLIEST: usize = 50_000;
/// Directives on one field.
const MOST_DIRECTIVES: usize = 10;

/// What can be read.
#[derive(MergedObject, Default)]
pub struct Query(
    ViewerQueries,
    NodeQueries,
    WebhookQueries,
    EventQueries,
    DeliveryQueries,
    NoticeQueries,
    CatalogQueries,
    AppQueries,
);

/// What can be done.
#[derive(MergedObject, Default)]
pub struct Mutation(
    WebhookMutations,
    StandingMutations,
    SecretMutations,
    TestMutations,
    ReplayMutations,
    PublishingMutations,
    AppMutations,
    UserMutations,
);

/// The schema that is served.
pub type ApiSchema = Schema<Query, Mutation, Subscription>;

/// The schema with its limits. What resolvers need comes with each request. [`ValidationMode::Fast`] leaves out the rules
/// that are about a document's text alone: for one that was validated before.
pub fn build(settings: &ApiSettings, validation: ValidationMode) -> ApiSchema {
    let mut schema = Schema::build(Query::default(), Mutation::default(), Subscription);
    if !settings.introspection {
        schema = schema.disable_introspection();
    }
    if !settings.suggestions {
        schema = schema.disable_suggestions();
    }
    schema
        .validation_mode(validation)
        .limit_depth(DEEPEST_INTROSPECTION)
        .limit_complexity(COSTLIEST)
        .limit_directives(MOST_DIRECTIVES)
        .extension(Stages)
        .finish()
}

/// The schema's text, as it is published in `schema.graphql`.
pub fn sdl() -> String {
    build(&ApiSettings::default(), ValidationMode::Strict).sdl()
}

#[cfg(test)]
mod tests;
