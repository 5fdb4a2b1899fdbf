#![doc = include_str!("../README.md")]

mod allowance;
mod app;
mod config;
pub mod connection_limits;
pub mod cors;
pub mod dataloader;
pub mod document;
mod document_cache;
mod endpoint;
pub mod error;
pub mod extension;
mod http;
pub mod http_server;
mod introspection;
pub mod json;
pub mod limits;
pub mod load_shedding;
pub mod persisted;
pub mod rate_limits;
mod raw_request;
mod request;
pub mod request_id;
mod route_guard;
pub mod schema_rules;
mod socket;
mod sse;
mod subscription_start;
pub mod token;
mod without_mark;

use std::any::Any;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use axum::routing::get;
use axum::{Router, middleware};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};

pub use allowance::Allowance;
pub use app::{BodyLimits, GraphqlApp, RateClass};
pub use config::{ALL, Config, CorsConfig, SheddingConfig};
use endpoint::Endpoint;
pub use endpoint::Schemas;
pub use error::{ErrorCode, RequestError};
pub use http::refusal;
pub use route_guard::{RouteGuard, has_json_body};
pub use subscription_start::{Starting, SubscriptionStart};
use tenterhook_clock::Clock;

/// Minimum size of a compressed response, in bytes: a smaller one fits into one packet anyway.
const COMPRESSED_FROM: u16 = 1024;

/// The routes of GraphQL: `/graphql` for HTTP and server-sent events, `/graphql/ws` for WebSocket. Add the routes of
/// your own, and put [`layers`] around all of them.
pub fn router<A: GraphqlApp>(app: Arc<A>, schemas: Schemas<A::Schema>, config: &Config) -> Router {
    guarded_router(app, schemas, config).0
}

/// As [`router`], with a guard for routes of your own.
pub fn guarded_router<A: GraphqlApp>(
    app: Arc<A>,
    schemas: Schemas<A::Schema>,
    config: &Config,
) -> (Router, RouteGuard<A>) {
    let endpoint = Endpoint::new(app, schemas, config);
    let graphql = Router::new()
        .route(
            "/graphql",
            get(http::get::<A>)
                .post(post::<A>)
                .fallback(http::other_method::<A>),
        )
        .with_state(endpoint.clone());
    let pages = cors::Pages {
        methods: &[Method::GET, Method::POST],
        sent: &[],
        shown: &[],
    };
    let routes = Router::new()
        .route("/graphql/ws", get(socket::upgrade::<A>))
        .with_state(endpoint.clone())
        .merge(cors::allow(graphql, &config.cors, pages));
    (routes, RouteGuard::new(endpoint, config.cors.clone()))
}

/// Gives every request an id, turns panics into errors, and compresses responses.
pub fn layers(routes: Router, clock: Clock) -> Router {
    catch_panics(routes, http::refusal)
        .layer(middleware::from_fn_with_state(clock, request_id::layer))
        .layer(compression())
}

/// Turns a panic in one of these routes into the response to an `INTERNAL` error. [`layers`] responds in GraphQL's form; for
/// routes with errors in another form, put this around them first.
pub fn catch_panics(routes: Router, respond: fn(RequestError) -> Response) -> Router {
    routes.layer(CatchPanicLayer::custom(move |panic| respond(panicked(panic))))
}

/// A POST request, whose `Accept` header chooses between a single response and a stream.
async fn post<A: GraphqlApp>(
    State(endpoint): State<Endpoint<A>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if sse::is_asked_for(&headers) {
        sse::post(&endpoint, headers, body).await
    } else {
        http::post(&endpoint, headers, body).await
    }
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

/// An error like any other.
fn panicked(panic: Box<dyn Any + Send + 'static>) -> RequestError {
    let what = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without words");
    RequestError::internal(format!("panicked: {what}"))
}

#[cfg(test)]
mod tests;
