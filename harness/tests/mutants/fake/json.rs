//! JSON bodies of requests and responses. axum's own type needs a feature that makes the JSON library treat some keys
//! specially (see the workspace's `Cargo.toml`).

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

/// A body that is JSON.
pub struct Json(pub Value);

impl<S: Send + Sync> FromRequest<S> for Json {
    type Rejection = StatusCode;

    async fn from_request(request: Request, state: &S) -> Result<Self, StatusCode> {
        let bytes = Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|_| StatusCode::BAD_REQUEST)?;
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|_| StatusCode::BAD_REQUEST)
    }
}

impl IntoResponse for Json {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, "application/json")], self.0.to_string()).into_response()
    }
}
