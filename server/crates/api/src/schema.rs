//! The schema: its root types, its limits, and its text.

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

/// Maximum depth of fields outside of `__schema` and `__type`.
pub const DEEPEST: usize = 15;
/// Maximum depth of fields under `__schema` or `__type`. The introspection query of common tools has 15, with types
/// nested in nine brackets; some tools go to twelve.
pub const DEEPEST_INTROSPECTION: usize = 20;
/// Maximum cost of a query: one for each field, times the number of elements it may be read for. A hundred webhooks
/// with health, app and their last five deliveries with attempts cost about 35,000.
pub const COSTLIEST: usize = 50_000;
/// Maximum number of directives on one field.
const MOST_DIRECTIVES: usize = 10;

/// The root type of queries.
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

/// The root type of mutations.
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

/// The schema type of the API.
pub type ApiSchema = Schema<Query, Mutation, Subscription>;

/// Builds the schema with its limits. Each request brings the data that resolvers need. [`ValidationMode::Fast`]
/// skips the rules that depend on a document's text alone: for a document that was validated before.
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

/// The schema's text, as published in `schema.graphql`.
pub fn sdl() -> String {
    build(&ApiSettings::default(), ValidationMode::Strict).sdl()
}

#[cfg(test)]
mod tests;
