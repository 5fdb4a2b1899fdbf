//! What an app's own routes share with those of GraphQL: rate limits, limits on bodies, and CORS.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, Method};
use bytes::Bytes;

use crate::allowance::Allowance;
use crate::app::{GraphqlApp, RateClass};
use crate::config::CorsConfig;
use crate::cors::{self, Pages};
use crate::endpoint::Endpoint;
use crate::error::{RequestError, Result};
use crate::http::{body, is_encoded, is_json};

/// The guard of an app's own routes. It counts in the same buckets as GraphQL, so that a caller cannot avoid the limits
/// with other routes.
pub struct RouteGuard<A: GraphqlApp> {
    endpoint: Endpoint<A>,
    cors: CorsConfig,
}

impl<A: GraphqlApp> RouteGuard<A> {
    pub(crate) fn new(endpoint: Endpoint<A>, cors: CorsConfig) -> Self {
        Self { endpoint, cors }
    }

    /// Counts a request of the session. Returns the state of its tightest limit; `None` if it has none.
    ///
    /// # Errors
    ///
    /// `RATE_LIMITED` if the request exceeds a limit: then nothing is counted.
    pub fn count(&self, session: &A::Session) -> Result<Option<Allowance>> {
        let app = &self.endpoint.app;
        let limits = app.rate_limits(session, RateClass::Ordinary);
        let taken = self.endpoint.rates.take(limits, app.clock().monotonic());
        taken.map_err(RequestError::rate_limited)
    }

    /// Reads a body of at most `limit` bytes, within [`Config::body_within`](crate::Config::body_within).
    ///
    /// # Errors
    ///
    /// `PAYLOAD_TOO_LARGE` for a larger body, `REQUEST_TIMEOUT` for one that does not arrive in time.
    pub async fn read(&self, body: Body, limit: usize) -> Result<Bytes> {
        body::read(&self.endpoint, body, limit).await
    }

    /// Lets pages of the allowed origins call these routes with these methods. They may also send the headers in `sent`, in
    /// addition to those of GraphQL, and read those in `shown`.
    pub fn allow_pages(
        &self,
        routes: Router,
        methods: &[Method],
        sent: &[HeaderName],
        shown: &[HeaderName],
    ) -> Router {
        let pages = Pages { methods, sent, shown };
        cors::allow(routes, &self.cors, pages)
    }
}

/// Whether a body is JSON that may be read: its content type is `application/json`, and it is not compressed.
pub fn has_json_body(headers: &HeaderMap) -> bool {
    is_json(headers) && !is_encoded(headers)
}
