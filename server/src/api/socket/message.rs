//! The messages of `graphql-transport-ws`, both ways.

use async_graphql::{Response, ServerError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Close;
use crate::api::document::{self, MAX_JSON_VALUES};
use crate::api::error::ApiError;
use crate::api::operation::Posted;
use crate::api::sockets::MOST_ID_BYTES;

/// What a client says.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum FromClient {
    ConnectionInit { payload: Option<Value> },
    Ping { payload: Option<Value> },
    Pong {},
    Subscribe { id: String, payload: Posted },
    Complete { id: String },
}

/// What a server says.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum FromServer<'a> {
    ConnectionAck,
    Pong {
        #[serde(skip_serializing_if = "Option::is_none")]
        payload: Option<Value>,
    },
    Next {
        id: &'a str,
        payload: &'a Response,
    },
    Error {
        id: &'a str,
        payload: &'a [ServerError],
    },
    Complete {
        id: &'a str,
    },
}

impl FromClient {
    /// Reads a message.
    pub fn read(text: &str) -> Result<Self, Close> {
        document::check_json(text.as_bytes(), MAX_JSON_VALUES).map_err(|too_much| {
            Close::new(
                4400,
                format!(
                    "Not a message that is read: {}",
                    ApiError::from(too_much).message()
                ),
            )
        })?;
        let message: Self = serde_json::from_str(text).map_err(|error| {
            // Of the caller's own message, without what stands in it.
            let at = format!("line {} column {}", error.line(), error.column());
            Close::new(4400, format!("Not a message of graphql-transport-ws, at {at}"))
        })?;
        if let Self::Subscribe { payload, .. } = &message
            && !payload.names_document()
        {
            return Err(Close::new(4400, "A subscribe message's payload has a query"));
        }
        if let Self::Subscribe { id, .. } | Self::Complete { id } = &message
            && !(1..=MOST_ID_BYTES).contains(&id.len())
        {
            let why = format!("An operation's id has 1 to {MOST_ID_BYTES} bytes");
            return Err(Close::new(4400, why));
        }
        Ok(message)
    }
}
