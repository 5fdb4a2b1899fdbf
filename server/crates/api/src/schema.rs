//! The schema: its root types, its limits, and its text.

use async_graphql::{MergedObject, Schema, ValidationMode};
use tenterhook_graphql_http::extension::{RequestGuard, SchemaLimits};

use crate::limits::{COSTLIEST, DEEPEST, DEEPEST_INTROSPECTION};
use crate::live::Subscription;
use crate::schema_rules::Rules;
use crate::types::app::{AppMutations, AppQueries};
use crate::types::catalog::CatalogQueries;
use crate::types::delivery::DeliveryQueries;
use crate::types::delivery::replay::ReplayMutations;
use crate::types::event::EventQueries;
use crate::types::event::publish::PublishingMutations;
use crate::types::node::NodeQueries;
use crate::types::notice::NoticeQueries;
use crate::types::user::UserMutations;
use crate::types::viewer::ViewerQueries;
use crate::types::webhook::mutations::WebhookMutations;
use crate::types::webhook::pause_restore::PauseMutations;
use crate::types::webhook::queries::WebhookQueries;
use crate::types::webhook::secrets::SecretMutations;
use crate::types::webhook::test_delivery::TestMutations;
use tenterhook_settings::ApiSettings;

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
    PauseMutations,
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
/// skips the rules that depend on a document's text alone. Use it only for a document that was validated before.
pub fn build(settings: &ApiSettings, validation: ValidationMode) -> ApiSchema {
    let limits = SchemaLimits {
        depth: DEEPEST,
        cost: COSTLIEST,
    };
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
        .extension(RequestGuard::new(Rules, limits))
        .finish()
}

/// The schema's text, as published in `schema.graphql`.
pub fn sdl() -> String {
    build(&ApiSettings::default(), ValidationMode::Strict).sdl()
}

#[cfg(test)]
mod tests;
