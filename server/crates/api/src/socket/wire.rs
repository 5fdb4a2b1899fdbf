//! The WebSocket below the protocol, by RFC 6455: the upgrade, frames, and the closing handshake.
//!
//! Promises that a caller which closes gets a close frame back, with its own code if that code may be sent and 1002 if not;
//! that when the server closes, the caller gets the close frame whatever it is still sending; and that neither takes longer
//! than [`Caps::leave_within`]. For this it reads the connection to its end: a connection that is dropped with bytes unread
//! is reset, and the caller then loses what it has not read yet.

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
use crate::sockets::Caps;
use tenterhook_clock::{Clock, DeadlineElapsed};

/// Bytes that are read at once when the rest of a connection is read and ignored.
const DISCARDED_AT_ONCE: usize = 16 * 1024;

/// What a caller sends, as far as it matters here.
pub(super) enum Heard {
    Text(Utf8Bytes),
    Binary,
    /// A ping, which is answered with the next write or read, or a pong.
    Control,
}

/// A request that can become a WebSocket.
pub(super) struct Handshake {
    on_upgrade: OnUpgrade,
    /// Whether the caller speaks our protocol.
    pub speaks_ours: bool,
}

impl Handshake {
    /// The response that accepts the upgrade to `protocol`, and what becomes the WebSocket once it has been sent.
    ///
    /// # Errors
    ///
    /// When the request does not ask for a WebSocket of version 13.
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
    caps: Caps,
}

impl Wire {
    /// The WebSocket, once the response has been sent; `None` when the caller has gone before.
    pub async fn open(handshake: Handshake, caps: Caps, clock: Clock) -> Option<Self> {
        let upgraded = clock.within(caps.leave_within, handshake.on_upgrade).await;
        let upgraded = upgraded.ok()?.ok()?;
        // A message past our own cap is still read, so that it can be refused for its size; one past twice the cap is not.
        let most = caps.message_bytes.saturating_mul(2);
        let config = WebSocketConfig::default()
            .max_message_size(Some(most))
            .max_frame_size(Some(most));
        let socket =
            WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
        Some(Self { socket, clock, caps })
    }

    /// What comes next.
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

    /// Sends a message. A caller that does not take it is gone.
    pub async fn send(&mut self, message: Message) -> Result<(), End> {
        let sent = self
            .clock
            .within(self.caps.send_within, self.socket.send(message));
        match sent.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(DeadlineElapsed) => Err(End::Gone),
        }
    }

    /// Ends the connection as `end` says.
    pub async fn leave(self, end: End) {
        let (clock, limit) = (self.clock.clone(), self.caps.leave_within);
        // After the limit the connection is dropped.
        let _ = clock.within(limit, self.close(end)).await;
    }

    async fn close(mut self, end: End) {
        match end {
            End::Gone => return,
            // The library has the answer to the caller's close frame ready, but writes it with the next flush only.
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
                // Reads until the caller's own close frame, or until something cannot be read.
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

/// Why nothing more can be read.
fn unreadable(error: &Error) -> End {
    let (code, reason) = match error {
        Error::Capacity(_) => (1009, "The message is too large"),
        Error::Utf8(_) => (1007, "A text is not UTF-8"),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => return End::Gone,
        Error::Protocol(_) => (1002, "Not a frame of RFC 6455"),
        _ => return End::Gone,
    };
    Close::new(code, reason).into()
}
