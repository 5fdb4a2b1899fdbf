//! GraphQL over HTTP: `POST /graphql`.
//!
//! Promises that nothing is executed without a JSON content type and a valid token, that every error is a GraphQL error
//! body with a code, and that a body is never read past its limit.

use std::sync::Arc;

use async_graphql::{Request, Response, ServerError, Value, Variables};
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;

use super::auth::authenticate;
use super::context::{Services, Session};
use super::document;
use super::error::{ApiError, ErrorCode};
use super::loaders;
use super::schema::ApiSchema;
use super::sse;
use crate::model::access::Caller;

/// Bytes of a body.
pub(super) const BODY_LIMIT: usize = 1024 * 1024;
/// Bytes of the platform's bodies, which carry events.
const PUBLISHING_LIMIT: usize = 8 * 1024 * 1024;

/// What the endpoint works with.
#[derive(Clone)]
pub struct Endpoint {
    /// The schema.
    pub schema: ApiSchema,
    /// The services.
    pub services: Arc<Services>,
}

/// How the answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Media {
    /// `application/graphql-response+json`: the status tells whether the request was executed.
    GraphqlResponse,
    /// `application/json`: 200 for every well-formed request.
    Json,
}

/// A request's body.
#[derive(Deserialize)]
struct Posted {
    query: String,
    #[serde(rename = "operationName")]
    operation_name: Option<String>,
    variables: Option<serde_json::Map<String, serde_json::Value>>,
    // Must be an object where it is given; nothing in it is known yet.
    #[serde(rename = "extensions")]
    _extensions: Option<serde_json::Map<String, serde_json::Value>>,
}

/// Answers a posted request.
pub async fn post(
    State(endpoint): State<Endpoint>,
    headers: HeaderMap,
    body: Body,
) -> axum::response::Response {
    if sse::is_asked_for(&headers) {
        return sse::post(endpoint, headers, body).await;
    }
    let Some(media) = Media::accepted(&headers) else {
        let why = "The answer is application/graphql-response+json or application/json.";
        return refused(Media::Json, StatusCode::NOT_ACCEPTABLE, ApiError::bad_input(why));
    };
    match answer(&endpoint, &headers, body).await {
        Ok(response) => written(media, status_of(media, &response), &response),
        Err((status, error)) => refused(media, status, error),
    }
}

async fn answer(
    endpoint: &Endpoint,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, (StatusCode, ApiError)> {
    if !is_json(headers) {
        let why = "The request's content type must be application/json.";
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, ApiError::bad_input(why)));
    }
    let token = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let session = authenticate(&endpoint.services, token)
        .await
        .map_err(|error| (status_for(&error), error))?;
    let posted = read(&session, body).await?;
    Ok(execute(endpoint, session, posted).await)
}

async fn read(session: &Session, body: Body) -> Result<Posted, (StatusCode, ApiError)> {
    let limit = if session.caller == Caller::Platform {
        PUBLISHING_LIMIT
    } else {
        BODY_LIMIT
    };
    let bytes = to_bytes(body, limit).await.map_err(|_| {
        let why = format!("The request's body could not be read, or has more than {limit} bytes.");
        (
            StatusCode::PAYLOAD_TOO_LARGE,
            ApiError::new(ErrorCode::PayloadTooLarge, why),
        )
    })?;
    serde_json::from_slice(&bytes).map_err(|_| {
        let why = "The request's body must be a JSON object with a `query`, and `operationName`, `variables` and \
                   `extensions` where needed.";
        (StatusCode::BAD_REQUEST, ApiError::bad_input(why))
    })
}

async fn execute(endpoint: &Endpoint, session: Session, posted: Posted) -> Response {
    if let Err(too_much) = document::check(&posted.query) {
        let code = if too_much.is_depth() {
            ErrorCode::TooDeep
        } else {
            ErrorCode::TooComplex
        };
        let error = ApiError::new(code, format!("Refused: {too_much}."));
        return Response::from_errors(vec![error.into_server_error()]);
    }
    let mut request = Request::new(posted.query)
        .variables(Variables::from_json(posted.variables.unwrap_or_default().into()))
        .data(session)
        .data(endpoint.services.clone())
        .data(loaders::loader(&endpoint.services));
    if let Some(name) = posted.operation_name {
        request = request.operation_name(name);
    }
    endpoint.schema.execute(request).await
}

impl Media {
    /// What the caller can read, the newer one if both; `None` if neither.
    fn accepted(headers: &HeaderMap) -> Option<Self> {
        let mut accepted = None;
        let mut asked = false;
        for value in headers.get_all(ACCEPT) {
            for range in value.to_str().unwrap_or_default().split(',') {
                let mut parts = range.split(';').map(str::trim);
                let name = parts.next().unwrap_or_default().to_ascii_lowercase();
                if name.is_empty() {
                    continue;
                }
                asked = true;
                if parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000")) {
                    continue;
                }
                match name.as_str() {
                    "application/graphql-response+json" => return Some(Self::GraphqlResponse),
                    "application/json" | "application/*" | "*/*" => accepted = Some(Self::Json),
                    _ => {}
                }
            }
        }
        accepted.or((!asked).then_some(Self::Json))
    }

    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
            Self::Json => "application/json; charset=utf-8",
        })
    }
}

/// `application/json`, with nothing but UTF-8 as its character set. A form, which another site's page can post, is not.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let mut parts = value.split(';').map(|part| part.trim().to_ascii_lowercase());
    parts.next().is_some_and(|name| name == "application/json")
        && parts.all(|part| {
            part.strip_prefix("charset=")
                .is_none_or(|set| matches!(set.trim_matches('"'), "utf-8" | "utf8"))
        })
}

/// An error of the request itself, before any field was executed, has no path.
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

fn status_for(error: &ApiError) -> StatusCode {
    match error.code() {
        ErrorCode::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorCode::Forbidden => StatusCode::FORBIDDEN,
        ErrorCode::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorCode::BadUserInput
        | ErrorCode::ParseFailed
        | ErrorCode::ValidationFailed
        | ErrorCode::TooDeep
        | ErrorCode::TooComplex => StatusCode::BAD_REQUEST,
    }
}

/// An answer to a request that was not executed.
pub fn refusal(error: ApiError) -> axum::response::Response {
    refused(Media::Json, status_for(&error), error)
}

fn refused(media: Media, status: StatusCode, error: ApiError) -> axum::response::Response {
    let mut response = body(
        media,
        status,
        &serde_json::json!({ "errors": [error.into_server_error()] }),
    );
    if status == StatusCode::UNAUTHORIZED {
        response
            .headers_mut()
            .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// Without `data` where nothing was executed, as the specification has it.
fn written(media: Media, status: StatusCode, response: &Response) -> axum::response::Response {
    #[derive(serde::Serialize)]
    struct Unexecuted<'a> {
        errors: &'a [ServerError],
    }
    if is_unexecuted(response) {
        body(
            media,
            status,
            &Unexecuted {
                errors: &response.errors,
            },
        )
    } else {
        body(media, status, response)
    }
}

fn body(media: Media, status: StatusCode, content: &impl serde::Serialize) -> axum::response::Response {
    let (status, text) = match serde_json::to_vec(content) {
        Ok(text) => (status, text),
        Err(error) => {
            let error = ApiError::internal(error).into_server_error();
            let message = serde_json::json!({ "errors": [{ "message": error.message }] });
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
