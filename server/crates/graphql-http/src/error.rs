//! Errors of requests and fields. Each has a stable `extensions.code` and no internals. The cause of an internal error is in the log, under
//! the request id that the caller gets.

use async_graphql::{Error, ErrorExtensionValues, Pos, ServerError, Value};

use crate::allowance::Allowance;
use crate::request_id;

/// The codes. The list is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// No token, or an invalid one.
    Unauthenticated,
    /// The token lacks the scope for the operation.
    Forbidden,
    /// The request or its arguments are invalid.
    BadUserInput,
    /// The document is not GraphQL.
    ParseFailed,
    /// The document does not match the schema, or is built to be expensive.
    ValidationFailed,
    /// The document is nested too deeply.
    TooDeep,
    /// The document is too costly.
    TooComplex,
    /// The request's body is too large.
    PayloadTooLarge,
    /// The request did not arrive completely in time.
    RequestTimeout,
    /// The caller has reached a limit, on requests per time or on concurrent ones.
    RateLimited,
    /// No document is known for the hash in the request.
    PersistedQueryNotFound,
    /// The server cannot carry out the operation now; a retry may succeed.
    Unavailable,
    /// A fault of the server.
    Internal,
}

impl ErrorCode {
    /// The text in `extensions.code`.
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

/// Why a request, or one of its fields, failed.
#[derive(Debug, Clone)]
pub struct RequestError {
    code: ErrorCode,
    message: String,
    request_id: Option<String>,
    allowance: Option<Box<Allowance>>,
    /// Seconds after which a retry may succeed, if no allowance says it.
    retry_after: Option<u64>,
    /// Its position in the document.
    pos: Option<Box<Pos>>,
}

/// Default of `Retry-After`, in seconds: after an overload there is usually room again within a second.
const RETRY_AFTER: u64 = 1;
/// Key of the delay in an error's extensions.
const RETRY_AFTER_KEY: &str = "retryAfter";

/// A result, or why a request or one of its fields failed.
pub type Result<T> = std::result::Result<T, RequestError>;

impl RequestError {
    /// An error with a message for people.
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

    /// Adds the position of the fault in the document.
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

    /// The arguments are invalid.
    pub fn bad_input(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::BadUserInput, message)
    }

    /// A fault of the server. `what` goes to the log; the caller gets an id to find it by.
    pub fn internal(what: impl std::fmt::Display) -> Self {
        let request_id = request_id::current().unwrap_or_else(request_id::random);
        tracing::error!(%request_id, error = %what, "an operation failed");
        Self {
            request_id: Some(request_id),
            ..Self::new(ErrorCode::Internal, "The server failed.")
        }
    }

    /// The operation is not possible now. `why` goes to the log.
    pub fn unavailable(why: impl std::fmt::Display) -> Self {
        let request_id = request_id::current().unwrap_or_else(request_id::random);
        tracing::warn!(%request_id, error = %why, "an operation is not possible at the moment");
        Self {
            request_id: Some(request_id),
            retry_after: Some(RETRY_AFTER),
            ..Self::new(
                ErrorCode::Unavailable,
                "The server is not available at the moment. Try again.",
            )
        }
    }

    /// The server is overloaded. Not logged, because logging would make an overload worse.
    pub fn overloaded(why: &str) -> Self {
        Self {
            retry_after: Some(RETRY_AFTER),
            ..Self::new(ErrorCode::Unavailable, why)
        }
    }

    /// As [`overloaded`](Self::overloaded), but the caller itself is the cause.
    pub fn crowded(why: &str) -> Self {
        Self {
            retry_after: Some(RETRY_AFTER),
            ..Self::new(ErrorCode::RateLimited, why)
        }
    }

    /// The caller has exceeded a rate limit.
    pub fn rate_limited(allowance: Allowance) -> Self {
        Self {
            allowance: Some(Box::new(allowance)),
            ..Self::new(
                ErrorCode::RateLimited,
                "Too many requests. Wait for `retryAfter` seconds.",
            )
        }
    }

    /// Its code.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// Its message for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The state of the rate limit that was exceeded.
    pub fn allowance(&self) -> Option<&Allowance> {
        self.allowance.as_deref()
    }

    /// The value of `Retry-After`, in seconds, if a retry may succeed.
    pub fn retry_after(&self) -> Option<u64> {
        self.allowance
            .as_ref()
            .map(|left| left.retry_after())
            .or(self.retry_after)
    }

    /// Converts it for a response, without a field's path.
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

impl From<RequestError> for Error {
    fn from(error: RequestError) -> Self {
        let extensions = error.extensions();
        Self {
            message: error.message,
            source: None,
            extensions: Some(extensions),
        }
    }
}

/// Sets the code of an error that has none.
pub fn with_code(mut error: ServerError, code: ErrorCode) -> ServerError {
    let extensions = error.extensions.get_or_insert_default();
    if extensions.get("code").is_none() {
        extensions.set("code", code.name());
    }
    error
}

/// The longest delay that a response's errors ask for, in seconds.
pub fn retry_after_of(errors: &[ServerError]) -> Option<u64> {
    let asked = |error: &ServerError| match error.extensions.as_ref()?.get(RETRY_AFTER_KEY)? {
        Value::Number(seconds) => seconds.as_u64(),
        _ => None,
    };
    errors.iter().filter_map(asked).max()
}
