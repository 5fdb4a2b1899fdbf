//! The only interface between this server and a product.

use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;

use async_graphql::parser::types::OperationDefinition;
use async_graphql::{Executor, Request};
use jiff::Timestamp;

use crate::connection_limits::{ConnectionGroup, ConnectionLimits};
use crate::error::Result;
use crate::limits::{BODY_LIMIT, MAX_JSON_VALUES};
use crate::persisted::Documents;
use crate::rate_limits::RateLimit;
use tenterhook_clock::Clock;

/// How an operation counts against limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateClass {
    /// It may take much memory. The number of these in progress is limited (see [`crate::load_shedding`]), and an app
    /// can give them rate limits of their own.
    Bulk,
    /// Everything else.
    Ordinary,
}

/// The limits on the bodies of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimits {
    /// Maximum size in bytes.
    pub bytes: usize,
    /// Maximum number of JSON values.
    pub values: usize,
    /// Whether the memory for a body is reserved before it is read, because it may carry a bulk operation.
    pub is_bulk: bool,
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self {
            bytes: BODY_LIMIT,
            values: MAX_JSON_VALUES,
            is_bulk: false,
        }
    }
}

/// A product that is served. The methods with a body are optional.
pub trait GraphqlApp: Send + Sync + 'static {
    /// Who calls, with what rights.
    type Session: Clone + Send + Sync + 'static;
    /// The holder of a rate limit.
    type Holder: Eq + Hash + Send + Sync + 'static;
    /// Reads what resolvers ask for through [`RequestLoader`](crate::dataloader::RequestLoader). `()` if none do.
    type Loader: Send + Sync + 'static;
    /// What executes a document.
    type Schema: Executor;

    /// The source of time.
    fn clock(&self) -> &Clock;

    /// The documents that may be executed.
    fn documents(&self) -> &Documents;

    /// The connections that carry subscriptions.
    fn connections(&self) -> &Arc<ConnectionLimits>;

    /// Makes a session from the value of an `Authorization` header.
    ///
    /// # Errors
    ///
    /// `UNAUTHENTICATED` if there is no token or it is not valid; `UNAVAILABLE` if that cannot be checked now.
    fn authenticate(&self, authorization: Option<&str>)
    -> impl Future<Output = Result<Self::Session>> + Send;

    /// When the session's token expires. A subscription ends then.
    fn expires_at(&self, session: &Self::Session) -> Timestamp;

    /// A loader for one request.
    fn loader(self: &Arc<Self>) -> Self::Loader;

    /// Adds to a request what resolvers need, such as the session.
    fn request_data(self: &Arc<Self>, session: Self::Session, request: Request) -> Request;

    /// How an operation counts. A document that cannot be parsed is [`RateClass::Ordinary`].
    fn classify(&self, _operation: &OperationDefinition) -> RateClass {
        RateClass::Ordinary
    }

    /// The buckets that an operation of this class counts in.
    fn rate_limits(&self, _session: &Self::Session, _class: RateClass) -> Vec<RateLimit<Self::Holder>> {
        Vec::new()
    }

    /// The limits on the session's bodies over HTTP.
    fn body_limits(&self, _session: &Self::Session) -> BodyLimits {
        BodyLimits::default()
    }

    /// Refuses a bulk body before it is parsed, for example because its tenant has too much in progress. Need not
    /// check that it is JSON.
    ///
    /// # Errors
    ///
    /// Why it is refused.
    fn check_bulk_body(&self, _body: &[u8]) -> Result<()> {
        Ok(())
    }

    /// Counts a bulk operation that was refused because of load.
    fn note_shed(&self) {}

    /// The callers that share the session's limit on connections.
    fn connection_group(&self, _session: &Self::Session) -> Option<ConnectionGroup> {
        None
    }
}
