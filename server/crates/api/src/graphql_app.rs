//! The product as an app of `graphql-http`: who calls, which limits apply, and what resolvers get.

use std::sync::Arc;

use async_graphql::parser::types::{OperationDefinition, OperationType, Selection};
use async_graphql::{Request, ValidationMode};
use axum::Router;
use jiff::Timestamp;
use tenterhook_graphql_http::connection_limits::{ConnectionGroup, ConnectionLimits};
use tenterhook_graphql_http::error::Result;
use tenterhook_graphql_http::persisted::{AllowListError, Documents};
use tenterhook_graphql_http::rate_limits::RateLimit;
use tenterhook_graphql_http::{
    BodyLimits, Config, CorsConfig, GraphqlApp, RateClass, RouteGuard, Schemas, SheddingConfig,
    guarded_router,
};

use crate::auth;
use crate::context::Services;
use crate::error::ApiError;
use crate::limits::{MAX_PUBLISHED_VALUES, PUBLISHING_LIMIT};
use crate::loaders::Batches;
use crate::publication_subject::subject;
use crate::rate_limits::{self, Holder};
use crate::schema::{self, ApiSchema};
use crate::session::Session;
use tenterhook_clock::Clock;
use tenterhook_model::access::Caller;
use tenterhook_settings::ApiSettings;

/// The mutation that publishes events. It has rate limits of its own, and a limit on the number of calls in progress.
const PUBLISHING: &str = "publishEvents";

/// The routes of GraphQL, and the guard for other routes.
pub fn router(services: &Arc<Services>) -> (Router, RouteGuard<Services>) {
    let settings = &services.settings.api;
    let schemas = Schemas {
        strict: schema::build(settings, ValidationMode::Strict),
        fast: schema::build(settings, ValidationMode::Fast),
    };
    guarded_router(services.clone(), schemas, &config(settings))
}

fn config(settings: &ApiSettings) -> Config {
    Config {
        body_within: settings.body_within,
        rate_burst: settings.rate_burst,
        cors: CorsConfig {
            origins: settings.cors_origins.clone(),
            headers: settings.cors_headers.clone(),
        },
        shedding: SheddingConfig {
            calls: settings.publishing_calls.try_into().unwrap_or(usize::MAX),
            memory: settings.publishing_memory,
            refusal: "Too many publications are in progress. Try again.",
        },
    }
}

/// The documents that the settings allow.
///
/// # Errors
///
/// If the allow list cannot be used.
pub fn documents(settings: &ApiSettings) -> std::result::Result<Documents, AllowListError> {
    match &settings.document_allow_list {
        Some(file) => Documents::allowed(file),
        None if settings.automatic_persisted_documents => Ok(Documents::automatic()),
        None => Ok(Documents::sent()),
    }
}

impl GraphqlApp for Services {
    type Session = Session;
    type Holder = Holder;
    type Loader = Batches;
    type Schema = ApiSchema;

    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn documents(&self) -> &Documents {
        &self.documents
    }

    fn connections(&self) -> &Arc<ConnectionLimits> {
        &self.connections
    }

    async fn authenticate(&self, authorization: Option<&str>) -> Result<Session> {
        Ok(auth::authenticate(self, authorization).await?)
    }

    fn expires_at(&self, session: &Session) -> Timestamp {
        session.expires_at
    }

    fn loader(self: &Arc<Self>) -> Batches {
        Batches::new(self.clone())
    }

    fn request_data(self: &Arc<Self>, session: Session, request: Request) -> Request {
        request.data(session).data(self.clone())
    }

    /// A fragment on the mutations hides the field. Then it is [`RateClass::Ordinary`], so it is limited too.
    fn classify(&self, operation: &OperationDefinition) -> RateClass {
        let is_publishing = |selection: &Selection| matches!(selection, Selection::Field(field) if field.node.name.node == PUBLISHING);
        let mut selections = operation.selection_set.node.items.iter();
        if operation.ty == OperationType::Mutation
            && selections.any(|selection| is_publishing(&selection.node))
        {
            RateClass::Bulk
        } else {
            RateClass::Ordinary
        }
    }

    fn rate_limits(&self, session: &Session, class: RateClass) -> Vec<RateLimit<Holder>> {
        rate_limits::limits(&self.settings.api, session, class)
    }

    fn body_limits(&self, session: &Session) -> BodyLimits {
        if session.caller == Caller::Platform {
            BodyLimits {
                bytes: PUBLISHING_LIMIT,
                values: MAX_PUBLISHED_VALUES,
                is_bulk: true,
            }
        } else {
            BodyLimits::default()
        }
    }

    fn check_bulk_body(&self, body: &[u8]) -> Result<()> {
        match subject(body) {
            Some((company, events)) => {
                let room = self.publisher.room_for(company, events);
                Ok(room.map_err(ApiError::from)?)
            }
            None => Ok(()),
        }
    }

    fn note_shed(&self) {
        self.publisher.note_refused();
    }

    fn connection_group(&self, session: &Session) -> Option<ConnectionGroup> {
        match &session.caller {
            Caller::User(user) => Some(ConnectionGroup {
                kind: "company",
                id: user.company.to_string(),
            }),
            Caller::Platform | Caller::Operator => None,
        }
    }
}
