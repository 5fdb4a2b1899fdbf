//! Reads the whole body of a request.
//!
//! Never keeps more than the limit. Gives up on a body that does not arrive in time. Drains a body that is too large,
//! so that the caller can read the error. Does not look at the content.

use axum::body::{Body, HttpBody, to_bytes};
use bytes::Bytes;
use futures_util::StreamExt;

use crate::app::{BodyLimits, GraphqlApp};
use crate::endpoint::Endpoint;
use crate::error::{ErrorCode, RequestError, Result};
use crate::json;
use crate::raw_request::RawRequest;

/// Maximum number of bytes of a refused body that are read and discarded, so that the caller can read the error: a
/// client that is still writing when the connection closes often cannot.
const DISCARD_LIMIT: usize = 32 * 1024 * 1024;

/// Reads a request. If the session's bodies may carry bulk operations, memory is reserved before the body is read and
/// before it is parsed, and the app may refuse it in between.
pub async fn read_request<A: GraphqlApp>(
    endpoint: &Endpoint<A>,
    session: &A::Session,
    body: Body,
) -> Result<RawRequest> {
    let app = &endpoint.app;
    let BodyLimits {
        bytes: limit,
        values: most_values,
        is_bulk,
    } = app.body_limits(session);
    let refused = |_: &RequestError| app.note_shed();
    let room = room(&body, limit).filter(|_| is_bulk);
    let mut permit = match room.map(|bytes| endpoint.shedding.body(bytes)).transpose() {
        Ok(permit) => permit,
        Err(error) => {
            refused(&error);
            discard(endpoint, body).await;
            return Err(error);
        }
    };
    let bytes = read(endpoint, body, limit).await?;
    if is_bulk {
        app.check_bulk_body(&bytes).inspect_err(refused)?;
    }
    if let Some(permit) = &mut permit {
        let values = json::check_json(&bytes, most_values).map_err(RequestError::from)?;
        endpoint.shedding.values(permit, values).inspect_err(refused)?;
    }
    let posted = RawRequest::read(&bytes, most_values)?;
    Ok(RawRequest { permit, ..posted })
}

/// Upper bound of a body's size in bytes; `None` for a body over `limit`, which [`read`] refuses.
fn room(body: &Body, limit: usize) -> Option<usize> {
    let announced = body.size_hint();
    let most = announced.upper().and_then(|most| usize::try_from(most).ok());
    let is_over = usize::try_from(announced.lower()).map_or(true, |least| least > limit);
    (!is_over).then(|| most.map_or(limit, |most| most.min(limit)))
}

/// Reads a refused body and discards it, within [`Config::body_within`](crate::Config::body_within).
async fn discard<A: GraphqlApp>(endpoint: &Endpoint<A>, body: Body) {
    let clock = endpoint.app.clock();
    // The refusal is sent whether or not the whole body arrived in time.
    let _ = clock.within(endpoint.body_within, forget(body)).await;
}

/// Reads a body of at most `limit` bytes, within [`Config::body_within`](crate::Config::body_within).
pub async fn read<A: GraphqlApp>(endpoint: &Endpoint<A>, body: Body, limit: usize) -> Result<Bytes> {
    let allowed = endpoint.body_within;
    endpoint
        .app
        .clock()
        .within(allowed, whole(body, limit))
        .await
        .map_err(|_| {
            let why = format!(
                "The request's body did not arrive within {} s.",
                allowed.as_secs_f64()
            );
            RequestError::new(ErrorCode::RequestTimeout, why)
        })?
}

async fn whole(body: Body, limit: usize) -> Result<Bytes> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let bytes = if announced > limit {
        forget(body).await;
        None
    } else {
        to_bytes(body, limit).await.ok()
    };
    bytes.ok_or_else(|| {
        let why = format!("The request's body could not be read, or has more than {limit} bytes.");
        RequestError::new(ErrorCode::PayloadTooLarge, why)
    })
}

async fn forget(body: Body) {
    let mut left = DISCARD_LIMIT;
    let mut body = body.into_data_stream();
    while let Some(Ok(bytes)) = body.next().await {
        match left.checked_sub(bytes.len()) {
            Some(less) => left = less,
            None => return,
        }
    }
}
