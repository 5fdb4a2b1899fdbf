//! GraphQL over WebSocket: `graphql-transport-ws` at `GET /graphql/ws`, and no other protocol.
//!
//! Promises the close code of every situation that the protocol names, what a socket has begun to do before it reads
//! its next message, and that a socket past a cap is told so:
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
//! | a message that is too large | close 1009 |
//! | as many sockets of the company as allowed, or the database is away at `connection_init` | close 1013 |
//! | as many sockets in all as allowed, or the server stops | HTTP 503 |
//! | as many operations on the socket as allowed | `error` coded `RATE_LIMITED` |
//! | a request that cannot be executed | `error`, and nothing after it |
//! | a message that is not read in time | nothing: the caller is gone |
//! | the server stops | close 1001 |
//!
//! The token comes with `connection_init` as `{"authorization":"Bearer …"}`, and is judged again at every operation.
//! Simulated time knows nothing of sockets: none of this is a tracked task, and what is waited for is real time, but
//! for the token's end.

mod connection;
mod message;

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use self::connection::Connection;
use super::error::ApiError;
use super::http::{self, Endpoint};
use super::sockets::LEAVE_WITHIN;
use crate::clock::Clock;

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
    /// The caller is not there any more.
    Gone,
}

impl From<Close> for End {
    fn from(close: Close) -> Self {
        Self::Close(close)
    }
}

/// Begins to speak the protocol.
pub(super) async fn upgrade(
    State(endpoint): State<Endpoint>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => {
            let why = format!("This is a WebSocket with the subprotocol {PROTOCOL}.");
            let mut response = http::refusal(ApiError::bad_input(why));
            *response.status_mut() = match rejection.into_response().status() {
                StatusCode::METHOD_NOT_ALLOWED => StatusCode::METHOD_NOT_ALLOWED,
                _ => StatusCode::UPGRADE_REQUIRED,
            };
            return response;
        }
    };
    let sockets = &endpoint.services.sockets;
    let seat = match sockets.admit() {
        Ok(seat) => seat,
        Err(full) => return http::refusal(full.into()),
    };
    // Past our own cap a message is still read, so that the close frame gets through; past twice that it is not.
    let most = sockets.caps.message_bytes.saturating_mul(2);
    upgrade
        .protocols([PROTOCOL])
        .max_message_size(most)
        .max_frame_size(most)
        .on_upgrade(move |mut socket| async move {
            let clock = endpoint.services.clock.clone();
            let end = if socket.protocol().is_some() {
                Connection::new(endpoint, seat).serve(&mut socket).await
            } else {
                Close::new(4406, "Subprotocol not acceptable").into()
            };
            if let End::Close(close) = end {
                leave(socket, close, &clock).await;
            }
        })
}

/// Closes, and reads on until the caller has closed as well: what lies unread would reset the connection and take the
/// reason with it.
async fn leave(mut socket: WebSocket, close: Close, clock: &Clock) {
    let frame = CloseFrame {
        code: close.code,
        reason: close.reason.into(),
    };
    let closing = async {
        if socket.send(Message::Close(Some(frame))).await.is_ok() {
            while let Some(Ok(_)) = socket.recv().await {}
        }
    };
    // Whoever has not left by then is left.
    let _ = clock.within(LEAVE_WITHIN, closing).await;
}
