//! The state that all transports share.

use std::sync::Arc;
use std::time::Duration;

use crate::app::GraphqlApp;
use crate::config::Config;
use crate::document_cache::{CachedDocument, DocumentCache};
use crate::load_shedding::LoadShedder;
use crate::rate_limits::RateLimits;

/// The two schemas of an app. Both have the same types.
#[derive(Clone)]
pub struct Schemas<S> {
    /// With full validation ([`ValidationMode::Strict`](async_graphql::ValidationMode::Strict)).
    pub strict: S,
    /// Without the rules that depend on a document's text alone
    /// ([`ValidationMode::Fast`](async_graphql::ValidationMode::Fast)), for documents that have passed full validation
    /// before.
    pub fast: S,
}

/// An app with the limits and caches of this process. Clones share them.
pub(crate) struct Endpoint<A: GraphqlApp> {
    pub app: Arc<A>,
    schemas: Schemas<A::Schema>,
    pub rates: Arc<RateLimits<A::Holder>>,
    pub shedding: LoadShedder,
    /// Cache of parsed documents.
    pub parsed: Arc<DocumentCache>,
    /// The time limit for receiving a body.
    pub body_within: Duration,
}

impl<A: GraphqlApp> Endpoint<A> {
    pub fn new(app: Arc<A>, schemas: Schemas<A::Schema>, config: &Config) -> Self {
        Self {
            app,
            schemas,
            rates: Arc::new(RateLimits::new(config.rate_burst)),
            shedding: LoadShedder::new(&config.shedding),
            parsed: Arc::default(),
            body_within: config.body_within,
        }
    }

    /// The schema that executes a document.
    pub fn schema_for(&self, known: Option<&CachedDocument>) -> &A::Schema {
        if known.is_some_and(CachedDocument::is_valid) {
            &self.schemas.fast
        } else {
            &self.schemas.strict
        }
    }
}

impl<A: GraphqlApp> Clone for Endpoint<A> {
    fn clone(&self) -> Self {
        Self {
            app: self.app.clone(),
            schemas: self.schemas.clone(),
            rates: self.rates.clone(),
            shedding: self.shedding.clone(),
            parsed: self.parsed.clone(),
            body_within: self.body_within,
        }
    }
}
