//! The API: GraphQL, and plain HTTP endpoints.
//!
//! Implements the contract of `schema.graphql`. An object that the caller may not see looks as if it did not exist.
//! Errors in a mutation's input are data with a stable code; all other errors have a code and no internals. The API
//! decides nothing itself: [`tenterhook_policy::access`] decides who may do what, and the store what is stored.
//!
//! Each noun has a file with its type, inputs, payloads, queries and mutations.

mod admission;
pub mod apps;
pub mod attempts;
pub mod auth;
pub mod catalog;
pub mod connection;
pub mod connections;
pub mod context;
pub mod cors;
mod cost;
pub mod cursor;
pub mod deliveries;
pub mod document;
pub mod error;
pub mod events;
pub mod gathering;
pub mod global_id;
mod graphiql;
pub mod http;
mod introspection;
pub mod json;
pub mod live;
pub mod loaders;
pub mod node;
pub mod notices;
pub mod operation;
mod parsed;
pub mod persisted;
mod plain;
pub mod publishing;
pub mod rates;
mod removal;
pub mod replays;
pub mod request_id;
pub mod scalars;
pub mod schema;
mod sim;
mod socket;
pub mod sockets;
mod sse;
mod stages;
pub mod token;
pub mod user_error;
pub mod users;
pub mod viewer;
pub mod webhooks;

use std::any::Any;
use std::sync::Arc;

use async_graphql::ValidationMode;
use axum::response::Response;
use axum::routing::get;
use axum::{Router, middleware};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};

use admission::Admission;
pub use context::Services;
use error::{ApiError, ErrorCode};
use http::Endpoint;
use rates::Rates;
pub use sockets::Sockets;

/// Minimum size of a compressed response, in bytes: a smaller one fits into one packet anyway.
const COMPRESSED_FROM: u16 = 1024;

/// All HTTP routes.
pub fn router(services: Arc<Services>) -> Router {
    let endpoint = Endpoint {
        schema: schema::build(&services.settings.api, ValidationMode::Strict),
        schema_of_valid: schema::build(&services.settings.api, ValidationMode::Fast),
        services: services.clone(),
        rates: Arc::new(Rates::new(&services.settings.api)),
        admission: Admission::new(&services.settings.api),
        parsed: Arc::default(),
    };
    let graphql = Router::new()
        .route(
            "/graphql",
            get(http::get).post(http::post).fallback(http::other_method),
        )
        .with_state(endpoint.clone());
    let graphql = cors::allow(graphql, &services.settings.api);
    let clock = services.clock.clone();
    let simulated_time = sim::router(&services).unwrap_or_default();
    let graphiql = services.settings.graphiql.then(graphiql::router);
    Router::new()
        .route("/graphql/ws", get(socket::upgrade))
        .with_state(endpoint)
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(plain::ready))
        .route("/metrics", get(plain::metrics))
        .route("/schema.graphql", get(plain::schema))
        .with_state(services)
        .merge(graphql)
        .merge(simulated_time)
        .merge(graphiql.unwrap_or_default())
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(clock, request_id::layer))
        .layer(compression())
}

/// The response of GraphQL before there is a [`router`].
pub fn not_started() -> Response {
    http::refusal(ApiError::new(
        ErrorCode::Unavailable,
        "The server is starting. Try again.",
    ))
}

/// Compresses responses if the caller accepts that. Event streams are not compressed, because the encoder would hold
/// events back until it has more data. The length of compressed text can reveal a secret next to text of an
/// attacker's choice (BREACH). This does not apply here: responses contain only data of the token's holder, and other
/// sites cannot send the token.
fn compression() -> CompressionLayer<impl Predicate> {
    CompressionLayer::new()
        .gzip(true)
        .compress_when(SizeAbove::new(COMPRESSED_FROM).and(NotForContentType::SSE))
}

/// Turns a panic into an error like any other.
fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let what = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without words");
    http::refusal(ApiError::internal(format!("panicked: {what}")))
}

#[cfg(test)]
mod tests;
