//! The API: GraphQL, three calls as REST, and plain HTTP endpoints.
//!
//! Implements the contract of `schema.graphql`. An object that the caller may not see looks as if it did not exist.
//! Errors in a mutation's input are data with a stable code; all other errors have a code and no internals. The API
//! decides nothing itself: [`tenterhook_policy::access`] decides who may do what, and the store what is stored.
//!
//! Each noun has a file in `types`. How requests arrive, which limits they have and how they are executed is in the crate
//! `tenterhook-graphql-http`; `graphql_app` connects the two.

mod auth;
mod complexity;
mod context;
pub mod cursor;
mod error;
pub mod global_id;
mod graphiql;
mod graphql_app;
mod limits;
mod live;
mod loaders;
mod ops_endpoints;
mod publication_subject;
mod rate_limits;
mod relay;
mod removal;
pub mod rest;
pub mod schema;
mod schema_rules;
mod session;
mod sim;
pub mod token;
mod types;
mod user_error;
mod webhook_name;

use std::sync::Arc;

use axum::Router;
use axum::http::header::RETRY_AFTER;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tenterhook_clock::Clock;
use tenterhook_graphql_http::{layers, refusal};

pub use context::Services;
use error::{ApiError, ErrorCode};
pub use graphql_app::documents;

// The parts of `graphql-http` that the composition root connects.
pub use tenterhook_graphql_http::connection_limits::{ConnectionCaps, ConnectionLimits};
pub use tenterhook_graphql_http::http_server;
pub use tenterhook_graphql_http::persisted::Documents;

/// All HTTP routes.
pub fn router(services: Arc<Services>) -> Router {
    let (graphql, guard) = graphql_app::router(&services);
    let rest = services.settings.rest.then(|| rest::router(&services, guard));
    let clock = services.clock.clone();
    let simulated_time = sim::router(&services).unwrap_or_default();
    let graphiql = services.settings.graphiql.then(graphiql::router);
    let routes = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ops_endpoints::ready))
        .route("/metrics", get(ops_endpoints::metrics))
        .route("/schema.graphql", get(ops_endpoints::schema))
        .with_state(services)
        .merge(graphql)
        .merge(rest.unwrap_or_default())
        .merge(simulated_time)
        .merge(graphiql.unwrap_or_default());
    layers(routes, clock)
}

/// All routes before there is a [`router`]: each responds with 503, in the form that the path has afterwards.
pub fn starting(clock: Clock) -> Router {
    layers(Router::new().fallback(not_started), clock)
}

async fn not_started(uri: Uri) -> Response {
    let error = || ApiError::new(ErrorCode::Unavailable, "The server is starting. Try again.");
    if uri.path() == "/graphql" {
        refusal(error().into())
    } else if rest::serves(uri.path()) {
        rest::refusal(error())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "1")], "starting").into_response()
    }
}

#[cfg(test)]
mod tests;
