//! Top-level errors: everything that goes wrong and is not the input of a mutation.
//!
//! Promises that each carries a stable `extensions.code`, and that nothing internal is told: what an internal error
//! was stands in the log, under the request id that the caller is given.

use std::sync::Arc;

use async_graphql::{Error, ErrorExtensionValues, Pos, ServerError, Value};

use super::rates::Allowance;
use super::request_id;
use tenterhook_store::StoreError;

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
    /// The request did not come whole in the time that it has.
    RequestTimeout,
    /// As much of this as allowed is under way, or was asked for lately.
    RateLimited,
    /// No document is known under the hash that the request names.
    PersistedQueryNotFound,
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
            Self::RequestTimeout => "REQUEST_TIMEOUT",
            Self::RateLimited => "RATE_LIMITED",
            Self::PersistedQueryNotFound => "PERSISTED_QUERY_NOT_FOUND",
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
    request_id: Option<String>,
    allowance: Option<Box<Allowance>>,
    /// Seconds after which another try may succeed, where no allowance says it.
    retry_after: Option<u64>,
    /// Where in the document it is.
    pos: Option<Box<Pos>>,
}

/// What `Retry-After` says where nobody can say better: what there is no room for now finds some within a second.
const RETRY_AFTER: u64 = 1;
/// Where an error says it.
const RETRY_AFTER_KEY: &str = "retryAfter";

/// What a resolver answers.
pub type Result<T> = std::result::Result<T, ApiError>;

impl ApiError {
    /// An error with a sentence for people.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            request_id: None,
            allowance: None,
            retry_after: None,
            pos: None,
        }
    }

    /// With the place in the document that is wrong.
    pub fn at(self, pos: Pos) -> Self {
        Self {
            pos: Some(Box::new(pos)),
            ..self
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
        let request_id = request_id::current().unwrap_or_else(request_id::random);
        tracing::error!(%request_id, error = %what, "an operation failed");
        Self {
            request_id: Some(request_id),
            ..Self::new(ErrorCode::Internal, "The server failed.")
        }
    }

    /// What cannot be done now: `why` goes to the log.
    pub fn unavailable(why: impl std::fmt::Display) -> Self {
        let request_id = request_id::current().unwrap_or_else(request_id::random);
        tracing::warn!(%request_id, error = %why, "an operation could not be carried out now");
        Self {
            request_id: Some(request_id),
            retry_after: Some(RETRY_AFTER),
            ..Self::new(ErrorCode::Unavailable, "The server cannot answer now. Try again.")
        }
    }

    /// There is no room for it now. Not logged: under a flood that would be one of its costs.
    pub fn overloaded(why: &str) -> Self {
        Self {
            retry_after: Some(RETRY_AFTER),
            ..Self::new(ErrorCode::Unavailable, why)
        }
    }

    /// As [`overloaded`](Self::overloaded), by the caller's own doing.
    pub fn crowded(why: &str) -> Self {
        Self {
            retry_after: Some(RETRY_AFTER),
            ..Self::new(ErrorCode::RateLimited, why)
        }
    }

    /// One request too many.
    pub fn rate_limited(allowance: Allowance) -> Self {
        Self {
            allowance: Some(Box::new(allowance)),
            ..Self::new(
                ErrorCode::RateLimited,
                "Too many requests. Wait as long as `retryAfter` says, in seconds.",
            )
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

    /// What is left of the limit that it is about.
    pub fn allowance(&self) -> Option<&Allowance> {
        self.allowance.as_deref()
    }

    /// What `Retry-After` says, in seconds, if another try may succeed.
    pub fn retry_after(&self) -> Option<u64> {
        self.allowance
            .as_ref()
            .map(|left| left.retry_after())
            .or(self.retry_after)
    }

    /// As it stands in a response, outside any field.
    pub fn into_server_error(self) -> ServerError {
        let mut error = ServerError::new(self.message.clone(), self.pos.as_deref().copied());
        error.extensions = Some(self.extensions());
        error
    }

    fn extensions(&self) -> ErrorExtensionValues {
        let mut values = ErrorExtensionValues::default();
        values.set("code", self.code.name());
        if let Some(id) = &self.request_id {
            values.set("requestId", id.as_str());
        }
        if let Some(seconds) = self.retry_after() {
            values.set(RETRY_AFTER_KEY, seconds);
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

/// The longest time that an answer's errors ask to wait, in seconds.
pub fn retry_after_of(errors: &[ServerError]) -> Option<u64> {
    let asked = |error: &ServerError| match error.extensions.as_ref()?.get(RETRY_AFTER_KEY)? {
        Value::Number(seconds) => seconds.as_u64(),
        _ => None,
    };
    errors.iter().filter_map(asked).max()
}
