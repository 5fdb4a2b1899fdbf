//! A live client: subscriptions over WebSocket, written from the protocol `graphql-transport-ws` and the documentation
//! of the API.
//!
//! Every wait is bounded, and a wait that times out or is cut off says what came instead. [`LiveClient`] follows the
//! protocol; [`RawSocket`] sends whatever a test wants. Neither reconnects.

use std::collections::HashMap;
use std::collections::VecDeque;

use anyhow::{Context as _, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::Client;
use crate::json;
use crate::realtime::{self, PATIENCE};

/// The subprotocol.
pub const PROTOCOL: &str = "graphql-transport-ws";

/// Something that a server sends.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// A message of the protocol.
    Message(Value),
    /// A WebSocket ping. The pong has been sent.
    Ping,
    /// The end, with code and reason. 1006 if there was no close frame.
    Closed(u16, String),
}

/// A WebSocket to a server, on which a test can send anything.
pub struct RawSocket {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl RawSocket {
    /// Connects to `url` (`http://host:port`) with this subprotocol.
    ///
    /// # Errors
    ///
    /// If the server does not upgrade; the error has the status.
    pub async fn connect(url: &str, protocol: Option<&str>) -> anyhow::Result<Self> {
        let address = format!("{}/graphql/ws", url.replacen("http", "ws", 1));
        let mut request = address.into_client_request()?;
        if let Some(protocol) = protocol {
            let headers = request.headers_mut();
            headers.insert("sec-websocket-protocol", HeaderValue::from_str(protocol)?);
        }
        let connected = realtime::within(PATIENCE, connect_async(request)).await;
        match connected.context("the server did not respond")? {
            Ok((socket, _)) => Ok(Self { socket }),
            Err(Error::Http(response)) => bail!("refused with HTTP {}", response.status().as_u16()),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends a message.
    pub async fn send(&mut self, message: &Value) -> anyhow::Result<()> {
        self.send_text(message.to_string()).await
    }

    /// Sends any text.
    pub async fn send_text(&mut self, text: impl Into<String>) -> anyhow::Result<()> {
        self.write(Message::Text(text.into().into())).await
    }

    /// Sends bytes, which the protocol does not define.
    pub async fn send_bytes(&mut self, bytes: Vec<u8>) -> anyhow::Result<()> {
        self.write(Message::Binary(bytes.into())).await
    }

    /// Sends a close frame with this code. [`RawSocket::closed`] returns the server's.
    pub async fn close(&mut self, code: u16) -> anyhow::Result<()> {
        let frame = CloseFrame {
            code: code.into(),
            reason: Utf8Bytes::default(),
        };
        self.write(Message::Close(Some(frame))).await
    }

    async fn write(&mut self, message: Message) -> anyhow::Result<()> {
        let sent = realtime::within(PATIENCE, self.socket.send(message)).await;
        Ok(sent.context("the server does not read")??)
    }

    /// The next frame from the server.
    pub async fn next(&mut self) -> anyhow::Result<Frame> {
        let next = realtime::within(PATIENCE, self.socket.next()).await;
        Ok(match next.context("nothing arrived")? {
            Some(Ok(Message::Text(text))) => Frame::Message(json::read(text.as_bytes())?),
            Some(Ok(Message::Ping(_))) => {
                // The library sends the pong with the next read or write, and a test may do neither.
                realtime::within(PATIENCE, self.socket.flush())
                    .await
                    .context("no pong sent")??;
                Frame::Ping
            }
            Some(Ok(Message::Close(Some(frame)))) => {
                Frame::Closed(frame.code.into(), frame.reason.to_string())
            }
            Some(Ok(Message::Close(None))) => Frame::Closed(1005, String::new()),
            None
            | Some(Err(Error::ConnectionClosed | Error::AlreadyClosed | Error::Protocol(_) | Error::Io(_))) => {
                Frame::Closed(1006, String::new())
            }
            Some(Ok(other)) => bail!("not a message of the protocol: {other:?}"),
            Some(Err(error)) => return Err(error.into()),
        })
    }

    /// The next message of the protocol.
    ///
    /// # Errors
    ///
    /// If the socket closes first; the error has code and reason.
    pub async fn message(&mut self) -> anyhow::Result<Value> {
        loop {
            match self.next().await? {
                Frame::Message(message) => return Ok(message),
                Frame::Ping => {}
                Frame::Closed(code, reason) => bail!("closed with {code} {reason}"),
            }
        }
    }

    /// Reads until the socket closes. Returns code and reason.
    pub async fn closed(&mut self) -> anyhow::Result<(u16, String)> {
        loop {
            if let Frame::Closed(code, reason) = self.next().await? {
                return Ok((code, reason));
            }
        }
    }
}

/// A caller with live subscriptions.
pub struct LiveClient {
    socket: RawSocket,
    last: u32,
    /// Messages that were received while waiting for another operation.
    waiting: HashMap<String, VecDeque<Value>>,
}

impl Client {
    /// Opens a live connection with the caller's token.
    ///
    /// # Errors
    ///
    /// If the server does not accept the connection; the error has the reason.
    pub async fn live(&self) -> anyhow::Result<LiveClient> {
        Ok(LiveClient {
            socket: self.socket().await?,
            last: 0,
            waiting: HashMap::new(),
        })
    }
}

impl LiveClient {
    /// Starts an operation. Returns its id after the server has processed the start, so that no later event is missed:
    /// the server processes messages in order, and its pong proves it.
    pub async fn subscribe(&mut self, document: &str, variables: Value) -> anyhow::Result<String> {
        self.last += 1;
        let id = self.last.to_string();
        let payload = json!({"query": document, "variables": variables});
        self.socket
            .send(&json!({"type": "subscribe", "id": id, "payload": payload}))
            .await?;
        self.barrier().await?;
        Ok(id)
    }

    /// Waits until the server has processed everything that was sent.
    pub async fn barrier(&mut self) -> anyhow::Result<()> {
        self.socket.send(&json!({"type": "ping"})).await?;
        loop {
            let message = self.socket.message().await?;
            if message["type"] == "pong" {
                return Ok(());
            }
            self.keep(message)?;
        }
    }

    /// The `data` of an operation's next event.
    ///
    /// # Errors
    ///
    /// If the event has errors, or if the operation or the connection ends first.
    pub async fn event(&mut self, id: &str) -> anyhow::Result<Value> {
        let mut message = self.next(id).await?;
        let payload = message["payload"].take();
        ensure!(message["type"] == "next", "{} {payload}", message["type"]);
        ensure!(payload.get("errors").is_none(), "an event with errors: {payload}");
        Ok(payload["data"].clone())
    }

    /// The next message about an operation.
    pub async fn next(&mut self, id: &str) -> anyhow::Result<Value> {
        loop {
            if let Some(message) = self.waiting.get_mut(id).and_then(VecDeque::pop_front) {
                return Ok(message);
            }
            let message = self.socket.message().await?;
            self.keep(message)?;
        }
    }

    /// The messages about an operation that the server sent before this call and that were not read yet.
    pub async fn rest(&mut self, id: &str) -> anyhow::Result<Vec<Value>> {
        self.barrier().await?;
        Ok(self.waiting.remove(id).unwrap_or_default().into())
    }

    /// Reads until the server closes the connection. Returns code and reason.
    pub async fn closed(&mut self) -> anyhow::Result<(u16, String)> {
        self.socket.closed().await
    }

    fn keep(&mut self, message: Value) -> anyhow::Result<()> {
        let id = message["id"]
            .as_str()
            .with_context(|| format!("a message about nothing known: {message}"))?;
        self.waiting.entry(id.to_owned()).or_default().push_back(message);
        Ok(())
    }
}
