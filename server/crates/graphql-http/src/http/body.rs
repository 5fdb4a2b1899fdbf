//! Reads the whole body of a request.
//!
//! Never keeps more than the limit. Gives up on a body that does not arrive in time. Reads nothing past the limit: the
//! [server](crate::http_server) discards the rest of a body, so that the caller can read the error. Does not look at the
//! content.

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

use crate::app::{BodyLimits, GraphqlApp};
use crate::endpoint::Endpoint;
use crate::error::{ErrorCode, RequestError, Result};
use crate::json;
use crate::raw_request::RawRequest;

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
    let mut permit = room
        .map(|bytes| endpoint.shedding.body(bytes))
        .transpose()
        .inspect_err(refused)?;
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
    if announced > limit {
        return Err(too_large(limit));
    }
    // One buffer, because a list of parts of one byte each would take many times the limit.
    let mut whole = BytesMut::with_capacity(announced);
    let mut parts = body.into_data_stream();
    while let Some(part) = parts.next().await {
        let part = part.map_err(|_| RequestError::bad_input("The request's body could not be read."))?;
        if part.len() > limit - whole.len() {
            return Err(too_large(limit));
        }
        whole.extend_from_slice(&part);
    }
    Ok(whole.freeze())
}

fn too_large(limit: usize) -> RequestError {
    let why = format!("The request's body has more than {limit} bytes.");
    RequestError::new(ErrorCode::PayloadTooLarge, why)
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    const LIMIT: usize = 10;

    fn parts(sizes: &[usize]) -> Body {
        let parts: Vec<_> = sizes
            .iter()
            .map(|size| Ok::<_, std::io::Error>(Bytes::from(vec![b'a'; *size])))
            .collect();
        Body::from_stream(stream::iter(parts))
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit_however_it_is_divided() {
        for sizes in [&[10][..], &[9, 1], &[0, 10, 0], &[1; 10], &[]] {
            let size: usize = sizes.iter().sum();
            assert_eq!(whole(parts(sizes), LIMIT).await.unwrap().len(), size, "{sizes:?}");
        }
        assert_eq!(
            whole(Body::from("0123456789"), LIMIT).await.unwrap(),
            "0123456789"
        );
        for sizes in [&[11][..], &[10, 1], &[9, 2], &[1; 11]] {
            let refused = whole(parts(sizes), LIMIT).await.unwrap_err();
            assert_eq!(refused.code(), ErrorCode::PayloadTooLarge, "{sizes:?}");
        }
        let refused = whole(Body::from("0123456789a"), LIMIT).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::PayloadTooLarge);
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_not_called_too_large() {
        let broken = stream::iter([Ok(Bytes::from_static(b"a")), Err(std::io::Error::other("broken"))]);
        let refused = whole(Body::from_stream(broken), LIMIT).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::BadUserInput);
    }
}
