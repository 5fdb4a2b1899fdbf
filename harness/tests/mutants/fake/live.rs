//! Live connections in which nothing ever happens: opened, acknowledged, and closed as a client asks.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use serde_json::{Value, json};
use tenterhook_harness::client::live::PROTOCOL;

use super::{Bend, Fake};

pub async fn open(Shared(fake): Shared<Arc<Fake>>, upgrade: WebSocketUpgrade) -> Response {
    upgrade
        .protocols([PROTOCOL])
        .on_upgrade(move |socket| talk(fake, socket))
}

async fn talk(fake: Arc<Fake>, mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        let said: Value = match message {
            Message::Text(text) => serde_json::from_str(&text).unwrap_or_default(),
            // The library's answer to it is sent with the next read.
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
