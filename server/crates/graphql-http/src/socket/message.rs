//! The messages of `graphql-transport-ws`, in both directions.

use async_graphql::{Response, ServerError, Value};
use serde::Serialize;

use super::Close;
use crate::connection_limits::MOST_ID_BYTES;
use crate::error::RequestError;
use crate::json::{self, Text};
use crate::limits::MAX_JSON_VALUES;
use crate::raw_request::{Fields, RawRequest};

/// A message from the client.
pub(super) enum FromClient {
    ConnectionInit { payload: Option<Value> },
    Ping { payload: Option<Value> },
    Pong,
    Subscribe { id: String, payload: RawRequest },
    Complete { id: String },
}

/// A message from the server.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum FromServer<'a> {
    ConnectionAck,
    Next { id: &'a str, payload: &'a Response },
    Error { id: &'a str, payload: &'a [ServerError] },
    Complete { id: &'a str },
}

impl FromClient {
    /// Parses a message.
    pub fn read(text: &str) -> Result<Self, Close> {
        let message = json::read(text.as_bytes(), MAX_JSON_VALUES)
            .map_err(|unread| Close::new(4400, format!("Not a valid message: {unread}")))?;
        let Value::Object(mut fields) = message else {
            return Err(Close::new(4400, "A message must be a JSON object"));
        };
        let kind = match fields.swap_remove("type") {
            Some(Value::String(kind)) => kind,
            _ => return Err(Close::new(4400, "A message must have a type, which is a string")),
        };
        let payload = fields
            .swap_remove("payload")
            .filter(|value| *value != Value::Null);
        match kind.as_str() {
            "connection_init" => Ok(Self::ConnectionInit { payload }),
            "ping" => Ok(Self::Ping { payload }),
            "pong" => Ok(Self::Pong),
            "subscribe" => Ok(Self::Subscribe {
                id: id(&mut fields)?,
                payload: posted(payload)?,
            }),
            "complete" => Ok(Self::Complete { id: id(&mut fields)? }),
            _ => Err(Close::new(4400, "Not a message type of graphql-transport-ws")),
        }
    }
}

fn id(fields: &mut Fields) -> Result<String, Close> {
    match fields.swap_remove("id") {
        Some(Value::String(id)) if (1..=MOST_ID_BYTES).contains(&id.len()) => Ok(id),
        _ => {
            let why = format!("An operation's id must be a string of 1 to {MOST_ID_BYTES} bytes");
            Err(Close::new(4400, why))
        }
    }
}

fn posted(payload: Option<Value>) -> Result<RawRequest, Close> {
    let Some(Value::Object(fields)) = payload else {
        return Err(Close::new(
            4400,
            "A subscribe message's payload must be an object",
        ));
    };
    let posted = RawRequest::of(fields).map_err(|error: RequestError| Close::new(4400, error.message()))?;
    if posted.names_document() {
        Ok(posted)
    } else {
        Err(Close::new(
            4400,
            "A subscribe message's payload must have a query",
        ))
    }
}

/// The response to a ping, with the same payload.
pub(super) fn pong(payload: Option<&Value>) -> String {
    match payload {
        Some(payload) => format!(r#"{{"type":"pong","payload":{}}}"#, Text(payload)),
        None => r#"{"type":"pong"}"#.to_owned(),
    }
}
