//! GraphQL over WebSocket: `graphql-transport-ws` at `GET /graphql/ws`, and no other protocol.
//!
//! Each situation that the protocol names has its close code. A message is handled before the next one is read. A
//! socket over a limit is closed with a code that says so. [`wire`] makes sure that the code reaches the caller.
//!
//! | situation | response |
//! |---|---|
//! | no common subprotocol | close 4406 |
//! | no `connection_init` in time | close 4408 |
//! | `connection_init` refused, or the token expires or its user is removed | close 4403 with the reason |
//! | second `connection_init` | close 4429 |
//! | `subscribe` before the acknowledgement | close 4401 |
//! | an id that is in use | close 4409 |
//! | not a message of the protocol | close 4400 |
//! | the caller closes | close with its own code and reason, or 1002 for a code that must not be sent |
//! | a message that is too large | close 1009 |
//! | a frame that breaks RFC 6455; a text that is not UTF-8 | close 1002; 1007 |
//! | the group of callers has reached its limit of sockets, or the database is not available at `connection_init` | close 1013 |
//! | the server has reached its limit of sockets, or is stopping | HTTP 503 |
//! | the socket has reached its limit of operations | `error` coded `RATE_LIMITED` |
//! | a request that cannot be executed | `error`, and nothing after it |
//! | the caller does not read a message in time | nothing: the connection is dropped |
//! | the server stops | close 1001 |
//!
//! The token comes with `connection_init` as `{"authorization":"Bearer …"}`, or with the upgrade request (see
//! [`credentials`]). It is checked again at every operation.
//!
//! Simulated time does not cover sockets: none of this is a tracked task. All waiting is in real time, except for the
//! expiry of the token.

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
use crate::app::GraphqlApp;
use crate::endpoint::Endpoint;
use crate::error::RequestError;
use crate::http;

/// The only supported protocol.
const PROTOCOL: &str = "graphql-transport-ws";
/// Maximum length of a close frame's reason in bytes, set by the WebSocket protocol.
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

/// How a socket ends.
enum End {
    /// The server closes it, with a reason.
    Close(Close),
    /// The caller has closed it.
    Left,
    /// The connection is broken.
    Gone,
}

impl From<Close> for End {
    fn from(close: Close) -> Self {
        Self::Close(close)
    }
}

/// Handles an upgrade request and starts serving the socket.
pub(crate) async fn upgrade<A: GraphqlApp>(
    State(endpoint): State<Endpoint<A>>,
    mut request: Request,
) -> Response {
    let Ok((handshake, response)) = Handshake::read(&mut request, PROTOCOL) else {
        return not_a_socket(request.method());
    };
    let of_upgrade = request.headers().get(AUTHORIZATION);
    let of_upgrade = of_upgrade
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let permit = match endpoint.app.connections().acquire() {
        Ok(permit) => permit,
        Err(full) => return http::refusal(full.into()),
    };
    let serving = async move {
        let (caps, clock) = (endpoint.app.connections().caps, endpoint.app.clock().clone());
        let speaks_ours = handshake.speaks_ours;
        let Some(mut wire) = Wire::open(handshake, caps, clock).await else {
            return;
        };
        // Keep the permit until the close frame is sent: a stopping server waits for the permits.
        let (end, _permit) = if speaks_ours {
            Connection::new(endpoint, permit, of_upgrade)
                .serve(&mut wire)
                .await
        } else {
            (Close::new(4406, "Subprotocol not acceptable").into(), permit)
        };
        wire.leave(end).await;
    };
    TokioExecutor::new().execute(serving);
    response
}

/// The response to a request that does not ask for a WebSocket.
fn not_a_socket(method: &Method) -> Response {
    let why = format!("This is a WebSocket with the subprotocol {PROTOCOL}.");
    let mut response = http::refusal(RequestError::bad_input(why));
    // A HEAD request is handled here too.
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
