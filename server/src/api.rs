//! The API: GraphQL, and the plain HTTP beside it.
//!
//! Promises the contract of `schema.graphql`: what a caller may not see does not exist, what it does wrong is told as
//! data with a stable code, and whatever else goes wrong is an error with a code and without internals. It decides
//! nothing itself: who may do what is [`crate::policy::access`]'s to say, what is stored the store's.
//!
//! Each noun has a file with its type, inputs, payloads, queries and mutations together.

pub mod apps;
pub mod attempts;
pub mod auth;
pub mod catalog;
pub mod connection;
pub mod context;
pub mod cursor;
pub mod deliveries;
pub mod document;
pub mod error;
pub mod events;
pub mod global_id;
mod graphiql;
pub mod http;
pub mod live;
pub mod loaders;
pub mod node;
pub mod notices;
pub mod operation;
mod plain;
pub mod publishing;
mod removal;
pub mod replays;
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

use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;

pub use context::Services;
use error::ApiError;
use http::Endpoint;
pub use sockets::Sockets;

/// Everything that is served over HTTP.
pub fn router(services: Arc<Services>) -> Router {
    let endpoint = Endpoint {
        schema: schema::build(),
        services: services.clone(),
    };
    let simulated_time = sim::router(&services).unwrap_or_default();
    let graphiql = services.settings.graphiql.then(graphiql::router);
    Router::new()
        .route("/graphql", post(http::post))
        .route("/graphql/ws", get(socket::upgrade))
        .with_state(endpoint)
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(plain::ready))
        .route("/metrics", get(plain::metrics))
        .route("/schema.graphql", get(plain::schema))
        .with_state(services)
        .merge(simulated_time)
        .merge(graphiql.unwrap_or_default())
        .layer(CatchPanicLayer::custom(panicked))
}

/// A bug, told as an error like any other.
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
