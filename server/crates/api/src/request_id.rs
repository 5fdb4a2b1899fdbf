//! One id for each request: the caller gets it back, and every error of the server's own stands in the log under it.
//!
//! Promises that an answer's `x-request-id` is the caller's own where that is fit to be logged, else one of ours, and
//! that an error without words for the caller (`INTERNAL`, `UNAVAILABLE`) carries it as `extensions.requestId`. Does not
//! promise that ids differ: a caller may send the same one twice.

use std::future::Future;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

use tenterhook_clock::Clock;

/// The header, of requests and answers alike.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// Characters of a caller's own id: enough for a UUID or a trace id with a prefix.
pub const LONGEST: usize = 64;

tokio::task_local! {
    static CURRENT: String;
}

/// The id of the request that this task answers; `None` outside of one.
pub fn current() -> Option<String> {
    CURRENT.try_with(Clone::clone).ok()
}

/// A new id.
pub fn random() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// The id that the caller sent, if it is fit to be logged; else a new one.
pub fn of(headers: &HeaderMap) -> String {
    headers
        .get(HEADER)
        .and_then(|value| value.to_str().ok())
        .filter(|id| (1..=LONGEST).contains(&id.len()))
        .filter(|id| {
            id.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        })
        .map_or_else(random, str::to_owned)
}

/// Runs `answering` as the request of this id. Tasks that it starts are not told.
pub async fn within<F: Future>(id: String, answering: F) -> F::Output {
    CURRENT.scope(id, answering).await
}

/// Gives every request its id, and a log line at `debug`.
pub(super) async fn layer(State(clock): State<Clock>, request: Request, next: Next) -> Response {
    let id = of(request.headers());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let began = clock.monotonic();
    let mut response = within(id.clone(), next.run(request)).await;
    tracing::debug!(
        request_id = %id,
        %method,
        path,
        status = response.status().as_u16(),
        took_ms = clock.monotonic().duration_since(began).as_millis(),
        "answered"
    );
    // Only characters that a header may have were let in.
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HEADER, value);
    }
    response
}
