//! Writes responses, and refusals of requests that are not executed.

use async_graphql::{Response, ServerError, Value};
use axum::body::Body;
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};

use super::negotiation::Media;
use crate::app::GraphqlApp;
use crate::endpoint::Endpoint;
use crate::error::{ErrorCode, RequestError, retry_after_of};
use crate::request::refused;

/// Default of `Retry-After`, in seconds: a server starts and stops within seconds.
const UNAVAILABLE_FOR: u64 = 1;

/// Why a request is refused without being executed.
pub struct Refusal {
    status: StatusCode,
    error: RequestError,
    /// The methods that are allowed instead.
    allow: Option<&'static str>,
}

impl From<RequestError> for Refusal {
    fn from(error: RequestError) -> Self {
        Self::new(status_for(&error), error)
    }
}

impl Refusal {
    pub fn new(status: StatusCode, error: RequestError) -> Self {
        Self {
            status,
            error,
            allow: None,
        }
    }

    pub fn method(allow: &'static str, why: &str) -> Self {
        Self {
            allow: Some(allow),
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, RequestError::bad_input(why))
        }
    }
}

/// Whether the response has only errors of the request itself, before any field was executed. These have no path.
fn is_unexecuted(response: &Response) -> bool {
    !response.errors.is_empty()
        && response.data == Value::Null
        && response.errors.iter().all(|error| error.path.is_empty())
}

fn status_of(media: Media, response: &Response) -> StatusCode {
    match media {
        Media::GraphqlResponse if is_unexecuted(response) => StatusCode::BAD_REQUEST,
        Media::GraphqlResponse | Media::Json => StatusCode::OK,
    }
}

fn status_for(error: &RequestError) -> StatusCode {
    match error.code() {
        ErrorCode::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorCode::Forbidden => StatusCode::FORBIDDEN,
        ErrorCode::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
        ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorCode::BadUserInput
        | ErrorCode::ParseFailed
        | ErrorCode::ValidationFailed
        | ErrorCode::TooDeep
        | ErrorCode::TooComplex
        | ErrorCode::PersistedQueryNotFound => StatusCode::BAD_REQUEST,
    }
}

/// The response to a request that was not executed.
pub fn refusal(error: RequestError) -> axum::response::Response {
    respond_with_refusal(Media::Json, error.into())
}

pub fn finished<A: GraphqlApp>(
    endpoint: &Endpoint<A>,
    media: Media,
    result: Result<Response, Refusal>,
) -> axum::response::Response {
    match result {
        Ok(response) => {
            let written = written(media, status_of(media, &response), &response);
            with_retry_after(written, retry_after_of(&response.errors))
        }
        Err(refusal) if refusal.error.allowance().is_some() => {
            let retry_after = refusal.error.retry_after();
            let written = written(media, refusal.status, &refused(endpoint, refusal.error));
            with_retry_after(written, retry_after)
        }
        Err(refusal) => respond_with_refusal(media, refusal),
    }
}

pub fn respond_with_refusal(media: Media, refusal: Refusal) -> axum::response::Response {
    let Refusal { status, error, allow } = refusal;
    let unavailable = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(UNAVAILABLE_FOR);
    let retry_after = error.retry_after().or(unavailable);
    let response = json(
        media,
        status,
        &serde_json::json!({ "errors": [error.into_server_error()] }),
    );
    let mut response = with_retry_after(response, retry_after);
    if status == StatusCode::UNAUTHORIZED {
        response
            .headers_mut()
            .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(allow) = allow {
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static(allow));
    }
    response
}

fn with_retry_after(
    mut response: axum::response::Response,
    seconds: Option<u64>,
) -> axum::response::Response {
    if let Some(seconds) = seconds {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Omits `data` if nothing was executed, as the specification requires.
fn written(media: Media, status: StatusCode, response: &Response) -> axum::response::Response {
    #[derive(serde::Serialize)]
    struct Unexecuted<'a> {
        errors: &'a [ServerError],
        #[serde(skip_serializing_if = "Extensions::is_empty")]
        extensions: &'a Extensions,
    }
    type Extensions = std::collections::BTreeMap<String, Value>;
    if is_unexecuted(response) {
        json(
            media,
            status,
            &Unexecuted {
                errors: &response.errors,
                extensions: &response.extensions,
            },
        )
    } else {
        json(media, status, response)
    }
}

fn json(media: Media, status: StatusCode, content: &impl serde::Serialize) -> axum::response::Response {
    let (status, text) = match serde_json::to_vec(content) {
        Ok(text) => (status, text),
        Err(error) => {
            let error = RequestError::internal(error).into_server_error();
            let message = serde_json::json!({ "errors": [error] });
            (
                StatusCode::INTERNAL_SERVER_ERROR,
                message.to_string().into_bytes(),
            )
        }
    };
    let mut response = axum::response::Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, media.content_type());
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
