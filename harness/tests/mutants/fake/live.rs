//! Live connections without events: opened, acknowledged, and closed when the client asks.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State as Shared};
use axum::http::header::SEC_WEBSOCKET_PROTOCOL;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tenterhook_harness::client::live::PROTOCOL;
use tenterhook_harness::realtime;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::{Bend, Fake};

pub async fn open(Shared(fake): Shared<Arc<Fake>>, mut request: Request) -> Response {
    let answer = create_response_with_body(&request, Body::empty);
    let upgrade = request.extensions_mut().remove::<OnUpgrade>();
    let (Ok(mut answer), Some(upgrade)) = (answer, upgrade) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let protocol = HeaderValue::from_static(PROTOCOL);
    answer.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    realtime::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None);
            talk(fake, socket.await).await;
        }
    });
    answer
}

async fn talk(fake: Arc<Fake>, mut socket: WebSocketStream<TokioIo<Upgraded>>) {
    while let Some(Ok(message)) = socket.next().await {
        let said: Value = match message {
            Message::Text(text) => serde_json::from_str(&text).unwrap_or_default(),
            // The library sends its close frame with the next read.
            Message::Close(_) if fake.lock().bends(Bend::DropsSocketsWithoutACloseFrame) => return,
            _ => continue,
        };
        let answer = match said["type"].as_str() {
            Some("connection_init") => "connection_ack",
            Some("ping") => "pong",
            _ => continue,
        };
        let answer = json!({"type": answer}).to_string();
        if socket.send(Message::Text(answer.into())).await.is_err() {
            return;
        }
    }
}
