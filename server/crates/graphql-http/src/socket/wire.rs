//! The WebSocket layer below the protocol, by RFC 6455: the upgrade, frames, and the closing handshake.
//!
//! Guarantees:
//!
//! - A caller that closes gets a close frame back, with its own code if that may be sent, otherwise 1002.
//! - When the server closes, the caller gets the close frame whatever it is still sending.
//! - Neither takes longer than [`ConnectionCaps::leave_within`].
//!
//! For this the server reads the connection to its end: dropping a connection with unread bytes resets it, and the
//! caller then loses everything it has not read yet.

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::SEC_WEBSOCKET_PROTOCOL;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::{Close, End};
use crate::connection_limits::ConnectionCaps;
use tenterhook_clock::{Clock, DeadlineElapsed};

/// Size of the buffer for reading and discarding the rest of a connection, in bytes.
const DISCARDED_AT_ONCE: usize = 16 * 1024;

/// A received message, in the detail needed here.
pub(super) enum Heard {
    Text(Utf8Bytes),
    Binary,
    /// A ping, which the next write or read answers, or a pong.
    Control,
}

/// A request that can become a WebSocket.
pub(super) struct Handshake {
    on_upgrade: OnUpgrade,
    /// Whether the caller supports our protocol.
    pub speaks_ours: bool,
}

impl Handshake {
    /// The response that accepts the upgrade to `protocol`, and the handshake that becomes the WebSocket once the
    /// response is sent.
    ///
    /// # Errors
    ///
    /// If the request does not ask for a WebSocket of version 13.
    pub fn read(request: &mut Request, protocol: &'static str) -> Result<(Self, Response), Error> {
        let mut response = create_response_with_body(request, Body::empty)?;
        let on_upgrade = request.extensions_mut().remove::<OnUpgrade>();
        let on_upgrade = on_upgrade.ok_or(ProtocolError::MissingConnectionUpgradeHeader)?;
        let speaks_ours = offers(request.headers(), protocol);
        if speaks_ours {
            let chosen = HeaderValue::from_static(protocol);
            response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, chosen);
        }
        Ok((
            Self {
                on_upgrade,
                speaks_ours,
            },
            response,
        ))
    }
}

fn offers(headers: &HeaderMap, protocol: &str) -> bool {
    let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    offered
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .any(|offer| offer.trim_ascii() == protocol.as_bytes())
}

/// A WebSocket's connection.
pub(super) struct Wire {
    socket: WebSocketStream<TokioIo<Upgraded>>,
    clock: Clock,
    caps: ConnectionCaps,
}

impl Wire {
    /// Opens the WebSocket once the response has been sent; `None` if the caller has disconnected before.
    pub async fn open(handshake: Handshake, caps: ConnectionCaps, clock: Clock) -> Option<Self> {
        let upgraded = clock.within(caps.leave_within, handshake.on_upgrade).await;
        let upgraded = upgraded.ok()?.ok()?;
        // A message over our own limit is still read up to twice the limit, so that it can be refused for its size.
        let most = caps.message_bytes.saturating_mul(2);
        let config = WebSocketConfig::default()
            .max_message_size(Some(most))
            .max_frame_size(Some(most));
        let socket =
            WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
        Some(Self { socket, clock, caps })
    }

    /// Receives the next message.
    pub async fn hear(&mut self) -> Result<Heard, End> {
        match self.socket.next().await {
            None => Err(End::Gone),
            Some(Ok(Message::Close(_))) => Err(End::Left),
            Some(Ok(Message::Text(text))) => Ok(Heard::Text(text)),
            Some(Ok(Message::Binary(_))) => Ok(Heard::Binary),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(Heard::Control),
            Some(Err(error)) => Err(unreadable(&error)),
        }
    }

    /// Sends a message. If the caller does not read it in time, the connection counts as broken.
    pub async fn send(&mut self, message: Message) -> Result<(), End> {
        let sent = self
            .clock
            .within(self.caps.send_within, self.socket.send(message));
        match sent.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(DeadlineElapsed) => Err(End::Gone),
        }
    }

    /// Closes the connection as `end` says.
    pub async fn leave(self, end: End) {
        let (clock, limit) = (self.clock.clone(), self.caps.leave_within);
        // The connection is dropped after the limit.
        let _ = clock.within(limit, self.close(end)).await;
    }

    async fn close(mut self, end: End) {
        match end {
            End::Gone => return,
            // The library has prepared its reply to the caller's close frame, but writes it only at the next flush.
            End::Left => {
                let _ = self.socket.flush().await;
            }
            End::Close(close) => {
                let frame = CloseFrame {
                    code: close.code.into(),
                    reason: close.reason.into(),
                };
                if self.socket.send(Message::Close(Some(frame))).await.is_err() {
                    return;
                }
                // Reads until the caller's close frame, or until an error.
                while let Some(Ok(_)) = self.socket.next().await {}
            }
        }
        let mut stream = self.socket.into_inner();
        if stream.shutdown().await.is_ok() {
            let mut discarded = vec![0; DISCARDED_AT_ONCE];
            while matches!(stream.read(&mut discarded).await, Ok(bytes) if bytes > 0) {}
        }
    }
}

/// The end of a socket from which nothing more can be read.
fn unreadable(error: &Error) -> End {
    let (code, reason) = match error {
        Error::Capacity(_) => (1009, "The message is too large"),
        Error::Utf8(_) => (1007, "The text is not UTF-8"),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => return End::Gone,
        Error::Protocol(_) => (1002, "Not a valid frame of RFC 6455"),
        _ => return End::Gone,
    };
    Close::new(code, reason).into()
}
