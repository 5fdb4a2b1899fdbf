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
use axum::http::{HeaderMap, HeaderValue};
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use jiff::Timestamp;
use serde_json::json;

use crate::app::GraphqlApp;
use crate::connection_limits::ConnectionPermit;
use crate::endpoint::Endpoint;
use crate::error::{ErrorCode, RequestError, Result};
use crate::http;
use crate::limits::{BODY_LIMIT, MAX_JSON_VALUES};
use crate::raw_request::RawRequest;
use crate::request::{self, StreamItem};

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
pub async fn post<A: GraphqlApp>(
    endpoint: &Endpoint<A>,
    headers: HeaderMap,
    body: Body,
) -> axum::response::Response {
    if let Err(refusal) = http::check_content_type(&headers) {
        return http::respond_with_refusal(http::Media::Json, refusal);
    }
    match begin(endpoint, &headers, body).await {
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

async fn begin<A: GraphqlApp>(
    endpoint: &Endpoint<A>,
    headers: &HeaderMap,
    body: Body,
) -> Result<impl Stream<Item = std::result::Result<Bytes, Infallible>> + use<A>> {
    let token = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let app = &endpoint.app;
    let session = app.authenticate(token).await?;
    let mut permit = app.connections().acquire()?;
    permit.join(app.connection_group(&session))?;
    let bytes = http::body::read(endpoint, body, BODY_LIMIT).await?;
    let posted = RawRequest::read(&bytes, MAX_JSON_VALUES)?;
    if !posted.names_document() {
        return Err(RequestError::bad_input("The request has no `query`."));
    }
    let expires_at = app.expires_at(&session);
    let (items, _) = request::stream(endpoint, session, posted);
    Ok(events(app.clone(), expires_at, permit, items).map(Ok))
}

/// All events, until the operation, the token or the server ends.
fn events<A: GraphqlApp>(
    app: Arc<A>,
    expires_at: Timestamp,
    permit: ConnectionPermit,
    items: BoxStream<'static, StreamItem>,
) -> impl Stream<Item = Bytes> + Send + use<A> {
    let (clock, closing) = (app.clock().clone(), app.connections().closing());
    let expired = Box::pin(async move { clock.sleep_until(expires_at).await });
    let state = State {
        app,
        items,
        expired,
        closing: Box::pin(closing),
        _permit: permit,
    };
    stream::unfold(Some(state), |state| async move { state?.next().await })
}

struct State<A> {
    app: Arc<A>,
    items: BoxStream<'static, StreamItem>,
    expired: futures_util::future::BoxFuture<'static, ()>,
    closing: std::pin::Pin<Box<tokio_util::sync::WaitForCancellationFutureOwned>>,
    _permit: ConnectionPermit,
}

impl<A: GraphqlApp> State<A> {
    async fn next(mut self) -> Option<(Bytes, Option<Self>)> {
        let interval = self.app.connections().caps.keep_alive;
        let keep_alive = self.app.clock().real_sleep(interval);
        tokio::select! {
            biased;
            () = &mut self.closing => None,
            () = &mut self.expired => {
                let why = RequestError::new(ErrorCode::Unauthenticated, "The token has expired.");
                let errors = vec![why.into_server_error()];
                Some((last(StreamItem::Refused(errors)), None))
            }
            item = self.items.next() => match item {
                Some(item @ StreamItem::Refused(_)) => Some((last(item), None)),
                Some(item @ StreamItem::Result(_)) => Some((next(item), Some(self))),
                None => Some((Bytes::from_static(COMPLETE), None)),
            },
            () = keep_alive => Some((Bytes::from_static(KEEP_ALIVE), Some(self))),
        }
    }
}

fn next(item: StreamItem) -> Bytes {
    let content = match item {
        StreamItem::Result(response) => result(&response),
        StreamItem::Refused(errors) => json!({ "errors": errors }).to_string(),
    };
    // The JSON text has no line breaks.
    Bytes::from(format!("event: next\ndata: {content}\n\n"))
}

fn last(item: StreamItem) -> Bytes {
    let mut bytes = Vec::from(next(item));
    bytes.extend_from_slice(COMPLETE);
    Bytes::from(bytes)
}

/// A response as JSON, or an error if it cannot be written as JSON.
fn result(response: &Response) -> String {
    serde_json::to_string(response).unwrap_or_else(|error| {
        let error = RequestError::internal(error).into_server_error();
        json!({ "errors": [{ "message": error.message }] }).to_string()
    })
}
