//! Errors of resolvers: everything that goes wrong except the input of a mutation.
//!
//! The codes and the form in a response are those of [`RequestError`]. This type adds where errors come from.

use std::sync::Arc;

use async_graphql::Error;
use tenterhook_graphql_http::RequestError;

pub use tenterhook_graphql_http::ErrorCode;
use tenterhook_store::StoreError;

/// Why an operation failed.
#[derive(Debug, Clone)]
pub struct ApiError(RequestError);

/// The result of a resolver.
pub type Result<T> = std::result::Result<T, ApiError>;

impl ApiError {
    /// An error with a message for people.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self(RequestError::new(code, message))
    }

    /// The token lacks the scope for the operation.
    pub fn forbidden() -> Self {
        Self(RequestError::forbidden())
    }

    /// The arguments are invalid.
    pub fn bad_input(message: impl Into<String>) -> Self {
        Self(RequestError::bad_input(message))
    }

    /// A fault of the server. `what` goes to the log; the caller gets an id to find it by.
    pub fn internal(what: impl std::fmt::Display) -> Self {
        Self(RequestError::internal(what))
    }

    /// The operation is not possible now. `why` goes to the log.
    pub fn unavailable(why: impl std::fmt::Display) -> Self {
        Self(RequestError::unavailable(why))
    }

    /// The server is overloaded. Not logged, because logging would make an overload worse.
    pub fn overloaded(why: &str) -> Self {
        Self(RequestError::overloaded(why))
    }

    /// As [`overloaded`](Self::overloaded), but the caller itself is the cause.
    pub fn crowded(why: &str) -> Self {
        Self(RequestError::crowded(why))
    }
}

impl From<ApiError> for RequestError {
    fn from(error: ApiError) -> Self {
        error.0
    }
}

impl From<ApiError> for Error {
    fn from(error: ApiError) -> Self {
        error.0.into()
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
