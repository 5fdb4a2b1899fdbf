//! A live client: subscriptions over WebSocket, written from the protocol `graphql-transport-ws` and API.md.
//!
//! Promises that every wait is bounded, and that a wait which ends in vain says what came instead. [`LiveClient`] speaks
//! the protocol as it should be spoken; [`RawSocket`] says whatever it is told to. Does not reconnect.

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

/// The protocol that is spoken.
pub const PROTOCOL: &str = "graphql-transport-ws";

/// What a server sends.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// A message of the protocol.
    Message(Value),
    /// A WebSocket ping, which has been answered.
    Ping,
    /// The end, with code and reason; 1006 without a close frame.
    Closed(u16, String),
}

/// A WebSocket to a server, on which anything can be said.
pub struct RawSocket {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl RawSocket {
    /// Connects to `url` (`http://host:port`), asking for this subprotocol.
    ///
    /// # Errors
    ///
    /// When the server does not upgrade; says with which status it refused.
    pub async fn connect(url: &str, protocol: Option<&str>) -> anyhow::Result<Self> {
        let address = format!("{}/graphql/ws", url.replacen("http", "ws", 1));
        let mut request = address.into_client_request()?;
        if let Some(protocol) = protocol {
            let headers = request.headers_mut();
            headers.insert("sec-websocket-protocol", HeaderValue::from_str(protocol)?);
        }
        let connected = realtime::within(PATIENCE, connect_async(request)).await;
        match connected.context("the server did not answer")? {
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

    /// Sends bytes, which the protocol does not know.
    pub async fn send_bytes(&mut self, bytes: Vec<u8>) -> anyhow::Result<()> {
        self.write(Message::Binary(bytes.into())).await
    }

    /// Begins to close it with this code; [`RawSocket::closed`] says what comes back.
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

    /// The next thing that the server sends.
    pub async fn next(&mut self) -> anyhow::Result<Frame> {
        let next = realtime::within(PATIENCE, self.socket.next()).await;
        Ok(match next.context("nothing came")? {
            Some(Ok(Message::Text(text))) => Frame::Message(json::read(text.as_bytes())?),
            Some(Ok(Message::Ping(_))) => {
                // The library answers when it is next written to or read; a test may do neither.
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
            Some(Ok(other)) => bail!("not of the protocol: {other:?}"),
            Some(Err(error)) => return Err(error.into()),
        })
    }

    /// The next message of the protocol.
    ///
    /// # Errors
    ///
    /// When the socket closes first; says how.
    pub async fn message(&mut self) -> anyhow::Result<Value> {
        loop {
            match self.next().await? {
                Frame::Message(message) => return Ok(message),
                Frame::Ping => {}
                Frame::Closed(code, reason) => bail!("closed with {code} {reason}"),
            }
        }
    }

    /// Reads until the socket closes; answers how.
    pub async fn closed(&mut self) -> anyhow::Result<(u16, String)> {
        loop {
            if let Frame::Closed(code, reason) = self.next().await? {
                return Ok((code, reason));
            }
        }
    }
}

/// A caller that follows what happens.
pub struct LiveClient {
    socket: RawSocket,
    last: u32,
    /// What came for operations that nobody asked about yet.
    waiting: HashMap<String, VecDeque<Value>>,
}

impl Client {
    /// Opens a live connection with the caller's token.
    ///
    /// # Errors
    ///
    /// When the server does not accept it; says how it was refused.
    pub async fn live(&self) -> anyhow::Result<LiveClient> {
        Ok(LiveClient {
            socket: self.socket().await?,
            last: 0,
            waiting: HashMap::new(),
        })
    }
}

impl LiveClient {
    /// Begins an operation, and answers its id once nothing that happens from now on is missed: the server acts on a
    /// message before it reads the next, so its answer to a ping tells.
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

    /// Waits until the server has acted on everything that was sent.
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
    /// When it has errors, or the operation or the connection ends first; says how.
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

    /// What has come about an operation and was not asked for: all that the server had sent before this call.
    pub async fn rest(&mut self, id: &str) -> anyhow::Result<Vec<Value>> {
        self.barrier().await?;
        Ok(self.waiting.remove(id).unwrap_or_default().into())
    }

    /// Ends an operation.
    pub async fn complete(&mut self, id: &str) -> anyhow::Result<()> {
        self.socket.send(&json!({"type": "complete", "id": id})).await
    }

    /// Reads until the server closes the connection; answers how.
    pub async fn closed(&mut self) -> anyhow::Result<(u16, String)> {
        self.socket.closed().await
    }

    fn keep(&mut self, message: Value) -> anyhow::Result<()> {
        let id = message["id"]
            .as_str()
            .with_context(|| format!("about nothing: {message}"))?;
        self.waiting.entry(id.to_owned()).or_default().push_back(message);
        Ok(())
    }
}
