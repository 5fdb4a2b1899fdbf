//! Request ids: each request has one. The response carries it, and the log has it with every error of the server.
//!
//! The response's `x-request-id` is the caller's own id if that is safe to log, otherwise one of ours. An error
//! without details (`INTERNAL`, `UNAVAILABLE`) has it in `extensions.requestId`. Ids need not be unique: a caller may
//! send the same one twice.

use std::future::Future;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

use tenterhook_clock::Clock;

/// The header, in requests and responses.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// Maximum length of a caller's own id: enough for a UUID or a trace id with a prefix.
pub const LONGEST: usize = 64;

tokio::task_local! {
    static CURRENT: String;
}

/// The id of the request that this task handles; `None` outside of a request.
pub fn current() -> Option<String> {
    CURRENT.try_with(Clone::clone).ok()
}

/// A new id.
pub fn random() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// The caller's id if it is safe to log, otherwise a new one.
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

/// Runs `answering` with this request id. Tasks that it spawns do not have it.
pub async fn within<F: Future>(id: String, answering: F) -> F::Output {
    CURRENT.scope(id, answering).await
}

/// Gives every request its id, and writes a log line at `debug`.
pub(crate) async fn layer(State(clock): State<Clock>, request: Request, next: Next) -> Response {
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
    // The id has only characters that a header may have.
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HEADER, value);
    }
    response
}
