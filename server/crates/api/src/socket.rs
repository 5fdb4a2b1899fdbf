//! GraphQL over WebSocket: `graphql-transport-ws` at `GET /graphql/ws`, and no other protocol.
//!
//! Promises the close code of every situation that the protocol names, what a socket has begun to do before it reads
//! its next message, and that a socket past a cap is told so. How the code reaches the caller: see [`wire`].
//!
//! | situation | answer |
//! |---|---|
//! | no common subprotocol | close 4406 |
//! | no `connection_init` in time | close 4408 |
//! | `connection_init` refused, or the token expires or its user is removed | close 4403 with the reason |
//! | `connection_init` twice | close 4429 |
//! | `subscribe` before the acknowledgement | close 4401 |
//! | an id that is in use | close 4409 |
//! | what is no message of the protocol | close 4400 |
//! | the caller closes | close with its own code and reason, or 1002 for a code that nobody may send |
//! | a message that is too large | close 1009 |
//! | a frame that breaks RFC 6455; a text that is not UTF-8 | close 1002; 1007 |
//! | as many sockets of the company as allowed, or the database is away at `connection_init` | close 1013 |
//! | as many sockets in all as allowed, or the server stops | HTTP 503 |
//! | as many operations on the socket as allowed | `error` coded `RATE_LIMITED` |
//! | a request that cannot be executed | `error`, and nothing after it |
//! | a message that is not read in time | nothing: the caller is gone |
//! | the server stops | close 1001 |
//!
//! The token comes with `connection_init` as `{"authorization":"Bearer …"}`, or with the upgrade request (see
//! [`credentials`]), and is judged again at every operation.
//! Simulated time knows nothing of sockets: none of this is a tracked task, and what is waited for is real time, but
//! for the token's end.

mod connection;
mod credentials;
mod message;
mod wire;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, SEC_WEBSOCKET_VERSION, UPGRADE};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;
use hyper::rt::Executor as _;
use hyper_util::rt::TokioExecutor;

use self::connection::Connection;
use self::wire::{Handshake, Wire};
use super::error::ApiError;
use super::http::{self, Endpoint};

/// The only protocol that is spoken.
const PROTOCOL: &str = "graphql-transport-ws";
/// Bytes of a close frame's reason, by the WebSocket protocol.
const MOST_REASON_BYTES: usize = 123;

/// Why a socket is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Close {
    code: u16,
    reason: String,
}

impl Close {
    fn new(code: u16, reason: impl Into<String>) -> Self {
        let mut reason = reason.into();
        let mut end = reason.len().min(MOST_REASON_BYTES);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        reason.truncate(end);
        Self { code, reason }
    }
}

/// Why a socket is left.
enum End {
    /// The caller is told why.
    Close(Close),
    /// The caller has closed it.
    Left,
    /// The caller is not there any more.
    Gone,
}

impl From<Close> for End {
    fn from(close: Close) -> Self {
        Self::Close(close)
    }
}

/// Begins to speak the protocol.
pub(super) async fn upgrade(State(endpoint): State<Endpoint>, mut request: Request) -> Response {
    let Ok((handshake, response)) = Handshake::read(&mut request, PROTOCOL) else {
        return not_a_socket(request.method());
    };
    let of_upgrade = request.headers().get(AUTHORIZATION);
    let of_upgrade = of_upgrade
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let sockets = &endpoint.services.sockets;
    let seat = match sockets.admit() {
        Ok(seat) => seat,
        Err(full) => return http::refusal(full.into()),
    };
    let serving = async move {
        let (caps, clock) = (endpoint.services.sockets.caps, endpoint.services.clock.clone());
        let speaks_ours = handshake.speaks_ours;
        let Some(mut wire) = Wire::open(handshake, caps, clock).await else {
            return;
        };
        // The seat is kept until the caller has been told: a server that stops waits for the seats.
        let (end, _seat) = if speaks_ours {
            Connection::new(endpoint, seat, of_upgrade).serve(&mut wire).await
        } else {
            (Close::new(4406, "Subprotocol not acceptable").into(), seat)
        };
        wire.leave(end).await;
    };
    TokioExecutor::new().execute(serving);
    response
}

/// Tells a request that does not ask for a WebSocket what it should ask for.
fn not_a_socket(method: &Method) -> Response {
    let why = format!("This is a WebSocket with the subprotocol {PROTOCOL}.");
    let mut response = http::refusal(ApiError::bad_input(why));
    // A HEAD comes here too.
    *response.status_mut() = if method == Method::GET {
        StatusCode::UPGRADE_REQUIRED
    } else {
        StatusCode::METHOD_NOT_ALLOWED
    };
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    response
}
