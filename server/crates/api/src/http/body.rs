//! Reads the whole body of a request.
//!
//! Never keeps more than the limit. Gives up on a body that does not arrive in time. Drains a body that is too large,
//! so that the caller can read the error. Does not look at the content.

use axum::body::{Body, HttpBody, to_bytes};
use bytes::Bytes;
use futures_util::StreamExt;

use crate::context::Services;
use crate::error::{ApiError, ErrorCode, Result};

/// Maximum size of a body, in bytes.
pub const BODY_LIMIT: usize = 1024 * 1024;
/// Maximum size of the platform's bodies, which carry events, in bytes.
pub const PUBLISHING_LIMIT: usize = 8 * 1024 * 1024;
/// Maximum number of bytes of a refused body that are read and discarded, so that the caller can read the error: a
/// client that is still writing when the connection closes often cannot.
const DISCARD_LIMIT: usize = 32 * 1024 * 1024;

/// Upper bound of a body's size in bytes; `None` for a body over `limit`, which [`read`] refuses.
pub fn room(body: &Body, limit: usize) -> Option<usize> {
    let announced = body.size_hint();
    let most = announced.upper().and_then(|most| usize::try_from(most).ok());
    let is_over = usize::try_from(announced.lower()).map_or(true, |least| least > limit);
    (!is_over).then(|| most.map_or(limit, |most| most.min(limit)))
}

/// Reads a refused body and discards it, within the time that the settings allow.
pub async fn discard(services: &Services, body: Body) {
    let allowed = services.settings.api.body_within;
    // The refusal is sent whether or not the whole body arrived in time.
    let _ = services.clock.within(allowed, forget(body)).await;
}

/// Reads a body of at most `limit` bytes, within the time that the settings allow.
pub async fn read(services: &Services, body: Body, limit: usize) -> Result<Bytes> {
    let allowed = services.settings.api.body_within;
    services
        .clock
        .within(allowed, whole(body, limit))
        .await
        .map_err(|_| {
            let why = format!(
                "The request's body did not come within {} s.",
                allowed.as_secs_f64()
            );
            ApiError::new(ErrorCode::RequestTimeout, why)
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
        ApiError::new(ErrorCode::PayloadTooLarge, why)
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
