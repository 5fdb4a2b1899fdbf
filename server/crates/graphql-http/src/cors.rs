//! CORS: decides which other origins may call the API from a browser, and with which headers.
//!
//! A page of an allowed origin can call with the headers that its GraphQL client, error tracker and tracing add by
//! themselves: a browser does not send a request at all if one of its headers is not allowed. The page sends its
//! tokens itself, never the browser. So credentials are not allowed, and no header here can be used against a user.

use std::time::Duration;

use axum::Router;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderName, HeaderValue, Method};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::config::{ALL, CorsConfig};
use crate::request_id;

/// How long a browser may keep the response to a preflight.
const PREFLIGHT_KEPT: Duration = Duration::from_secs(3600);

/// Request headers that are always allowed, in lower case; [`CorsConfig::headers`] adds to them.
pub const KNOWN_HEADERS: &[&str] = &[
    // Ours, and those that any client sends.
    "accept",
    "accept-language",
    "authorization",
    "cache-control",
    "content-type",
    "idempotency-key",
    "last-event-id",
    "x-correlation-id",
    "x-request-id",
    "x-requested-with",
    // GraphQL clients: Apollo, Hive, Yoga.
    "apollo-require-preflight",
    "apollographql-client-name",
    "apollographql-client-version",
    "graphql-client-name",
    "graphql-client-version",
    "graphql-require-preflight",
    "x-apollo-operation-id",
    "x-apollo-operation-name",
    "x-apollo-operation-type",
    "x-graphql-client-name",
    "x-graphql-client-version",
    // Tracing: W3C, Zipkin, Jaeger.
    "b3",
    "baggage",
    "traceparent",
    "tracestate",
    "uber-trace-id",
    "x-b3-flags",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-spanid",
    "x-b3-traceid",
    // Error trackers and vendors' tracing: Sentry, Datadog, New Relic, Elastic, Azure, AWS, Google Cloud.
    "elastic-apm-traceparent",
    "newrelic",
    "request-context",
    "request-id",
    "sentry-trace",
    "x-amzn-trace-id",
    "x-cloud-trace-context",
    "x-datadog-origin",
    "x-datadog-parent-id",
    "x-datadog-sampling-priority",
    "x-datadog-tags",
    "x-datadog-trace-id",
];

/// What pages of the allowed origins may do with some routes.
#[derive(Clone, Copy)]
pub(crate) struct Pages<'a> {
    /// The HTTP methods that they may use.
    pub methods: &'a [Method],
    /// Request headers in addition to [`KNOWN_HEADERS`].
    pub sent: &'a [HeaderName],
    /// Response headers that they may read, in addition to those of every route.
    pub shown: &'a [HeaderName],
}

/// Allows pages of the allowed origins to call these routes.
pub(crate) fn allow(routes: Router, settings: &CorsConfig, pages: Pages<'_>) -> Router {
    let origins = &settings.origins;
    if origins.is_empty() {
        return routes;
    }
    let origins = if origins.iter().any(|origin| origin == ALL) {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(
            origins
                .iter()
                .filter_map(|origin| HeaderValue::from_str(origin).ok()),
        )
    };
    let cors = CorsLayer::new()
        .allow_origin(origins)
        .allow_methods(pages.methods.to_vec())
        .allow_headers(headers(&settings.headers, pages.sent))
        .expose_headers([&[RETRY_AFTER, request_id::HEADER][..], pages.shown].concat())
        .max_age(PREFLIGHT_KEPT);
    routes.layer(cors)
}

fn headers(more: &[String], sent: &[HeaderName]) -> AllowHeaders {
    if more.iter().any(|name| name == ALL) {
        // Not `*`: in browsers it does not include `authorization`.
        return AllowHeaders::mirror_request();
    }
    let known = KNOWN_HEADERS.iter().copied().map(HeaderName::from_static);
    let more = more
        .iter()
        .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok());
    AllowHeaders::list(known.chain(more).chain(sent.iter().cloned()))
}
