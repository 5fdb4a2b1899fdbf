//! Top-level errors: everything that goes wrong and is not the input of a mutation.
//!
//! Promises that each carries a stable `extensions.code`, and that nothing internal is told: what an internal error
//! was stands in the log, under the correlation id that the caller is given.

use std::sync::Arc;

use async_graphql::{Error, ErrorExtensionValues, ServerError, Value};

use crate::store::StoreError;

/// The closed list of codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// No token, or one that is not accepted.
    Unauthenticated,
    /// The token lacks the scope for the operation.
    Forbidden,
    /// The request or its arguments make no sense.
    BadUserInput,
    /// The document is not GraphQL.
    ParseFailed,
    /// The document does not fit the schema, or is built to be expensive.
    ValidationFailed,
    /// The document nests too deep.
    TooDeep,
    /// The document asks for too much at once.
    TooComplex,
    /// The request's body is too large.
    PayloadTooLarge,
    /// As much of this as allowed is under way.
    RateLimited,
    /// The server cannot answer now; another try may succeed.
    Unavailable,
    /// A fault of the server.
    Internal,
}

impl ErrorCode {
    /// What stands in `extensions.code`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::Forbidden => "FORBIDDEN",
            Self::BadUserInput => "BAD_USER_INPUT",
            Self::ParseFailed => "GRAPHQL_PARSE_FAILED",
            Self::ValidationFailed => "GRAPHQL_VALIDATION_FAILED",
            Self::TooDeep => "QUERY_TOO_DEEP",
            Self::TooComplex => "QUERY_TOO_COMPLEX",
            Self::PayloadTooLarge => "PAYLOAD_TOO_LARGE",
            Self::RateLimited => "RATE_LIMITED",
            Self::Unavailable => "UNAVAILABLE",
            Self::Internal => "INTERNAL",
        }
    }
}

/// Why an operation was not carried out.
#[derive(Debug, Clone)]
pub struct ApiError {
    code: ErrorCode,
    message: String,
    correlation_id: Option<String>,
}

/// What a resolver answers.
pub type Result<T> = std::result::Result<T, ApiError>;

impl ApiError {
    /// An error with a sentence for people.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            correlation_id: None,
        }
    }

    /// The token lacks the scope for the operation.
    pub fn forbidden() -> Self {
        Self::new(
            ErrorCode::Forbidden,
            "This token lacks the scope for the operation.",
        )
    }

    /// The arguments make no sense.
    pub fn bad_input(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::BadUserInput, message)
    }

    /// A fault of the server: `what` goes to the log, the caller gets an id to find it by.
    pub fn internal(what: impl std::fmt::Display) -> Self {
        let correlation_id = correlation_id();
        tracing::error!(%correlation_id, error = %what, "an operation failed");
        Self {
            code: ErrorCode::Internal,
            message: "The server failed.".to_owned(),
            correlation_id: Some(correlation_id),
        }
    }

    /// What cannot be done now: `why` goes to the log.
    pub fn unavailable(why: impl std::fmt::Display) -> Self {
        let correlation_id = correlation_id();
        tracing::warn!(%correlation_id, error = %why, "an operation could not be carried out now");
        Self {
            code: ErrorCode::Unavailable,
            message: "The server cannot answer now. Try again.".to_owned(),
            correlation_id: Some(correlation_id),
        }
    }

    /// Its code.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// Its sentence for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// As it stands in a response, outside any field.
    pub fn into_server_error(self) -> ServerError {
        let mut error = ServerError::new(self.message.clone(), None);
        error.extensions = Some(self.extensions());
        error
    }

    fn extensions(&self) -> ErrorExtensionValues {
        let mut values = ErrorExtensionValues::default();
        values.set("code", self.code.name());
        if let Some(id) = &self.correlation_id {
            values.set("correlationId", id.as_str());
        }
        values
    }
}

impl From<ApiError> for Error {
    fn from(error: ApiError) -> Self {
        let extensions = error.extensions();
        Self {
            message: error.message,
            source: None,
            extensions: Some(extensions),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::from(&error)
    }
}

impl From<&StoreError> for ApiError {
    fn from(error: &StoreError) -> Self {
        if error.is_unavailable() {
            Self::unavailable(error)
        } else {
            Self::internal(error)
        }
    }
}

impl From<Arc<StoreError>> for ApiError {
    fn from(error: Arc<StoreError>) -> Self {
        Self::from(error.as_ref())
    }
}

/// Gives a code to an error that came without one.
pub fn with_code(mut error: ServerError, code: ErrorCode) -> ServerError {
    let extensions = error.extensions.get_or_insert_default();
    if extensions.get("code").is_none() {
        extensions.set("code", code.name());
    }
    error
}

/// The code of an error, if it has one.
pub fn code_of(error: &ServerError) -> Option<&str> {
    match error.extensions.as_ref()?.get("code")? {
        Value::String(code) => Some(code),
        _ => None,
    }
}

fn correlation_id() -> String {
    format!("{:016x}", rand::random::<u64>())
}
