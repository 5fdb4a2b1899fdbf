//! Server-sent events: `POST /graphql` with `Accept: text/event-stream`, as graphql-sse's distinct connections mode.
//!
//! Sends a `next` event for each result and one `complete` event at the end. An error of the request is a `next`
//! event with `errors` and status 200, as that protocol requires. A refusal before there is a request (no token, no
//! JSON, no place) is JSON with a status. While nothing happens, comments are sent as keep-alives. When the server
//! stops, a stream ends without `complete`, so that a client tries again; when the token expires, with an error coded
//! `UNAUTHENTICATED`.
//!
//! A client that accepts JSON as well gets JSON: only a request that accepts nothing else gets a stream.

use std::convert::Infallible;
use std::sync::Arc;

use async_graphql::Response;
use axum::body::Body;
use axum::http::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use serde_json::json;

use super::auth::authenticate;
use super::context::{Services, Session};
use super::error::{ApiError, ErrorCode, Result};
use super::http::{self, BODY_LIMIT, Endpoint};
use super::json::MAX_JSON_VALUES;
use super::operation::{self, Answer, Posted};
use super::sockets::{Full, Seat};

const MEDIA: &str = "text/event-stream";
const KEEP_ALIVE: &[u8] = b":\n\n";
const COMPLETE: &[u8] = b"event: complete\ndata:\n\n";

/// Whether the caller accepts only a stream.
pub fn is_asked_for(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT).iter();
    let ranges = values.flat_map(|value| value.to_str().unwrap_or_default().split(','));
    let names: Vec<String> = ranges
        .filter_map(|range| range.split(';').next())
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let is_json = |name: &String| {
        matches!(
            name.as_str(),
            "application/json" | "application/graphql-response+json" | "application/*" | "*/*"
        )
    };
    names.iter().any(|name| name == MEDIA) && !names.iter().any(is_json)
}

/// Handles a POST request with a stream as response.
pub async fn post(endpoint: Endpoint, headers: HeaderMap, body: Body) -> axum::response::Response {
    if !http::is_json(&headers) {
        let why = "The request's content type must be application/json.";
        let mut response = http::refusal(ApiError::bad_input(why));
        *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return response;
    }
    match begin(&endpoint, &headers, body).await {
        Ok(stream) => {
            let mut response = axum::response::Response::new(Body::from_stream(stream));
            let headers = response.headers_mut();
            headers.insert(
                CONTENT_TYPE,
                HeaderValue::from_static("text/event-stream; charset=utf-8"),
            );
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            // Proxies that buffer responses would delay events.
            headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
            response
        }
        Err(error) => http::refusal(error),
    }
}

async fn begin(
    endpoint: &Endpoint,
    headers: &HeaderMap,
    body: Body,
) -> Result<impl Stream<Item = std::result::Result<Bytes, Infallible>> + use<>> {
    let token = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let services = &endpoint.services;
    let session = authenticate(services, token).await?;
    let mut seat = services.sockets.admit()?;
    seat.take(&session.caller)?;
    let bytes = http::body::read(services, body, BODY_LIMIT).await?;
    let posted = Posted::read(&bytes, MAX_JSON_VALUES)?;
    if !posted.names_document() {
        return Err(ApiError::bad_input("The request has no `query`."));
    }
    let answers = operation::stream(endpoint, session.clone(), posted);
    Ok(events(services.clone(), session, seat, answers).map(Ok))
}

impl From<Full> for ApiError {
    fn from(full: Full) -> Self {
        let code = match full {
            Full::Company => ErrorCode::RateLimited,
            Full::Server | Full::Closing => ErrorCode::Unavailable,
        };
        Self::new(
            code,
            format!("There is no place for another live connection: {full}."),
        )
    }
}

/// All events, until the operation, the token or the server ends.
fn events(
    services: Arc<Services>,
    session: Session,
    seat: Seat,
    answers: BoxStream<'static, Answer>,
) -> impl Stream<Item = Bytes> + Send + use<> {
    let (expiry, closing) = (services.clone(), services.sockets.closing());
    let expired = Box::pin(async move { expiry.clock.sleep_until(session.expires_at).await });
    let state = State {
        services,
        answers,
        expired,
        closing: Box::pin(closing),
        _seat: seat,
    };
    stream::unfold(Some(state), |state| async move { state?.next().await })
}

struct State {
    services: Arc<Services>,
    answers: BoxStream<'static, Answer>,
    expired: futures_util::future::BoxFuture<'static, ()>,
    closing: std::pin::Pin<Box<tokio_util::sync::WaitForCancellationFutureOwned>>,
    _seat: Seat,
}

impl State {
    async fn next(mut self) -> Option<(Bytes, Option<Self>)> {
        let keep_alive = self
            .services
            .clock
            .real_sleep(self.services.sockets.caps.keep_alive);
        tokio::select! {
            biased;
            () = &mut self.closing => None,
            () = &mut self.expired => {
                let why = ApiError::new(ErrorCode::Unauthenticated, "The token has expired.");
                let errors = vec![why.into_server_error()];
                Some((last(Answer::Refused(errors)), None))
            }
            answer = self.answers.next() => match answer {
                Some(answer @ Answer::Refused(_)) => Some((last(answer), None)),
                Some(answer @ Answer::Result(_)) => Some((next(answer), Some(self))),
                None => Some((Bytes::from_static(COMPLETE), None)),
            },
            () = keep_alive => Some((Bytes::from_static(KEEP_ALIVE), Some(self))),
        }
    }
}

fn next(answer: Answer) -> Bytes {
    let content = match answer {
        Answer::Result(response) => result(&response),
        Answer::Refused(errors) => json!({ "errors": errors }).to_string(),
    };
    // The JSON text has no line breaks.
    Bytes::from(format!("event: next\ndata: {content}\n\n"))
}

fn last(answer: Answer) -> Bytes {
    let mut bytes = Vec::from(next(answer));
    bytes.extend_from_slice(COMPLETE);
    Bytes::from(bytes)
}

/// A response as JSON, or an error if it cannot be written as JSON.
fn result(response: &Response) -> String {
    serde_json::to_string(response).unwrap_or_else(|error| {
        let error = ApiError::internal(error).into_server_error();
        json!({ "errors": [{ "message": error.message }] }).to_string()
    })
}
