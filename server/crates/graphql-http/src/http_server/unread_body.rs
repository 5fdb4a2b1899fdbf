//! Reads and discards the part of a request's body that its route did not read.
//!
//! The connection closes if a response is sent before the whole body has arrived. Many clients read nothing until they
//! have sent everything: they get an error of their socket, and never see the 401 or the 413. So the response waits for
//! the rest of the body, within bounds. A client that waits for `100 Continue` gets the response at once, because it has
//! not begun to send.
//!
//! This holds for every route and every response. A route need not do anything for it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::header::EXPECT;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use futures_channel::oneshot;
use futures_util::StreamExt;
use hyper::body::{Frame, SizeHint};
use tenterhook_clock as clock;

/// Maximum number of bytes that are discarded before any response other than 413. Callers without a token reach this
/// bound too, so it is low. A client whose token has expired may be sending the largest body that a route reads.
pub const DISCARDED: usize = 8 * 1024 * 1024;
/// Maximum number of bytes that are discarded before a 413, which only callers with a token get.
const DISCARDED_TOO_LARGE: usize = 32 * 1024 * 1024;

/// Passes a request to its route, and then waits for what the route left of the body, for at most `within`.
pub async fn layer(State(within): State<Duration>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    if body.is_end_stream() {
        return next.run(Request::from_parts(head, body)).await;
    }
    let waits = waits_for_continue(&head.headers);
    let (lent, mut returned) = Lent::to_route(body);
    let response = next.run(Request::from_parts(head, lent)).await;
    // After a 408 the body has had its time.
    let had_time = response.status() == StatusCode::REQUEST_TIMEOUT;
    if let Ok(Some(Returned { body, begun })) = returned.try_recv()
        && (begun || !waits)
        && !had_time
    {
        // The response is sent whether or not the whole body arrived in time.
        let _ = clock::within(within, discard(body, bound(response.status()))).await;
    }
    response
}

/// Whether the client sends its body only after it has seen `100 Continue`. It gets that when a route begins to read.
fn waits_for_continue(headers: &HeaderMap) -> bool {
    headers
        .get(EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

fn bound(status: StatusCode) -> usize {
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        DISCARDED_TOO_LARGE
    } else {
        DISCARDED
    }
}

/// Reads a body to its end, but no more than `most` bytes. Returns whether it has reached the end.
async fn discard(body: Body, most: usize) -> bool {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > most {
        return false;
    }
    let mut left = most;
    let mut parts = body.into_data_stream();
    while let Some(part) = parts.next().await {
        match part.map(|bytes| left.checked_sub(bytes.len())) {
            Ok(Some(less)) => left = less,
            Ok(None) | Err(_) => return false,
        }
    }
    true
}

/// A body that is lent to a route. It is returned when the route drops it.
struct Lent {
    body: Body,
    begun: bool,
    lender: Option<oneshot::Sender<Returned>>,
}

/// What a route left of a body, and whether it has begun to read.
struct Returned {
    body: Body,
    begun: bool,
}

impl Lent {
    /// The body for the route, and where it is returned.
    fn to_route(body: Body) -> (Body, oneshot::Receiver<Returned>) {
        let (lender, returned) = oneshot::channel();
        let lent = Self {
            body,
            begun: false,
            lender: Some(lender),
        };
        (Body::new(lent), returned)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let returned = Returned {
            body: std::mem::take(&mut self.body),
            begun: self.begun,
        };
        if let Some(lender) = self.lender.take() {
            // Without a lender the connection has ended.
            let _ = lender.send(returned);
        }
    }
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let lent = self.get_mut();
        lent.begun = true;
        Pin::new(&mut lent.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;

    use super::*;

    const PART: usize = 1024 * 1024;

    /// A body of this many bytes, in parts, that does not announce its length.
    fn chunked(bytes: usize) -> Body {
        let part = |size| Ok::<_, Infallible>(Bytes::from(vec![b'a'; size]));
        let whole = stream::iter(0..bytes / PART).map(move |_| part(PART));
        Body::from_stream(whole.chain(stream::iter([part(bytes % PART)])))
    }

    #[tokio::test]
    async fn a_body_is_discarded_to_its_end_only_within_its_bound() {
        for (status, most) in [
            (StatusCode::UNAUTHORIZED, DISCARDED),
            (StatusCode::SERVICE_UNAVAILABLE, DISCARDED),
            (StatusCode::PAYLOAD_TOO_LARGE, DISCARDED_TOO_LARGE),
        ] {
            assert_eq!(bound(status), most);
            assert!(discard(chunked(most), most).await, "{status}");
            assert!(!discard(chunked(most + 1), most).await, "{status}");
            assert!(discard(Body::from(vec![b'a'; most]), most).await, "{status}");
            assert!(!discard(Body::from(vec![b'a'; most + 1]), most).await, "{status}");
        }
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_has_no_end() {
        let parts = [Ok(Bytes::from_static(b"a")), Err(std::io::Error::other("broken"))];
        assert!(!discard(Body::from_stream(stream::iter(parts)), DISCARDED).await);
    }

    /// A route sees the length that the client announced.
    #[tokio::test]
    async fn a_lent_body_is_the_clients() {
        let (lent, mut returned) = Lent::to_route(Body::from("abc"));
        assert_eq!(lent.size_hint().exact(), Some(3));
        assert!(!lent.is_end_stream());
        assert_eq!(axum::body::to_bytes(lent, 3).await.unwrap(), "abc");
        let rest = returned.try_recv().unwrap().expect("it is returned");
        assert!(rest.begun && rest.body.is_end_stream());
        let (lent, mut returned) = Lent::to_route(Body::from("abc"));
        drop(lent);
        let rest = returned.try_recv().unwrap().expect("it is returned");
        assert!(!rest.begun && !rest.body.is_end_stream());
    }
}
