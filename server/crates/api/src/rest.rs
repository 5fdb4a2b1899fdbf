//! The REST routes: three calls of Pipedrive's API, in its JSON, so that existing integrations keep working.
//!
//! Guarantees:
//!
//! - They do nothing that GraphQL cannot do, by the same functions: the same rules, limits and rate limits.
//! - A webhook's id is its number, within what the caller may see.
//! - A token in a query string is refused unless the operator allows it.
//! - Every response to a call is JSON, may not be cached, and links to GraphQL. A preflight of a browser is no call.
//! - Every error has the form of these routes, panics and unknown paths included.
//!
//! Not offered: updating, pausing, restoring, replaying and the log. Those are GraphQL's.

mod answer;
mod input;
mod listing;
pub mod openapi;
mod shown;
mod token;
mod words;

use std::sync::Arc;

use async_graphql::ID;
use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, LINK};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde_json::json;
use tenterhook_graphql_http::{Allowance, RouteGuard, catch_panics, has_json_body};

use self::answer::{Answer, RATE_HEADERS};
use self::shown::Shown;
use crate::auth;
use crate::context::{Ask, Services};
use crate::error::ApiError;
use crate::session::Session;
use crate::types::webhook::mutations;
use tenterhook_model::ids::WebhookNumber;
use tenterhook_policy::access;
use tenterhook_store::health::history::History;
use tenterhook_store::webhooks::visibility::Cutoffs;

/// The paths of the list. A webhook's path has its number after it.
const PATHS: [&str; 2] = ["/v1/webhooks", "/api/v1/webhooks"];
/// What all paths of the REST routes begin with. Nothing else is served there.
const ROOTS: [&str; 2] = ["/v1/", "/api/v1/"];
/// The header that may carry a token, besides `Authorization`.
const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-api-token");
/// Maximum size of a body, in bytes.
const BODY_LIMIT: usize = 64 * 1024;

/// All routes, with the description of them. Its fallback also responds to paths that no other router has.
pub fn router(services: &Arc<Services>, guard: RouteGuard<Services>) -> Router {
    let rest = Rest {
        services: services.clone(),
        guard: Arc::new(guard),
    };
    let mut routes = Router::new();
    for path in PATHS {
        routes = routes
            .route(
                path,
                get(list)
                    .post(create)
                    .fallback(|| other_method("GET, HEAD, POST")),
            )
            .route(
                &format!("{path}/{{id}}"),
                delete(remove).fallback(|| other_method("DELETE")),
            );
    }
    layered(routes.with_state(rest.clone()), &rest.guard)
        .route(
            "/openapi.json",
            get(description).fallback(|| other_method("GET, HEAD")),
        )
        .fallback(unknown_path)
}

/// The routes with panics as errors in their form, and open to pages of the allowed origins, which can read those errors too.
pub(crate) fn layered(routes: Router, guard: &RouteGuard<Services>) -> Router {
    let shown = [&RATE_HEADERS[..], &[LINK]].concat();
    let methods = [Method::GET, Method::POST, Method::DELETE];
    let routes = catch_panics(routes, |error| Answer::from(error).into_response());
    guard.allow_pages(routes, &methods, &[TOKEN_HEADER], &shown)
}

/// Whether a path belongs to the REST routes.
pub fn serves(path: &str) -> bool {
    ROOTS.iter().any(|root| path.starts_with(root))
}

/// An error in the form of the REST routes.
pub fn refusal(error: ApiError) -> Response {
    Answer::from(error).into_response()
}

#[derive(Clone)]
struct Rest {
    services: Arc<Services>,
    guard: Arc<RouteGuard<Services>>,
}

/// Who calls, with what rights.
struct RestCaller {
    services: Arc<Services>,
    session: Session,
}

impl Ask for RestCaller {
    fn services(&self) -> &Services {
        &self.services
    }

    fn session(&self) -> &Session {
        &self.session
    }

    fn now(&self) -> Timestamp {
        self.services.clock.now()
    }

    fn cutoffs(&self) -> Cutoffs {
        self.services.cutoffs(self.now())
    }
}

impl Rest {
    /// Verifies the token, and counts the request against the caller's rate limits.
    async fn admit(&self, headers: &HeaderMap, uri: &Uri) -> Result<(RestCaller, Option<Allowance>), Answer> {
        let in_query = self.services.settings.rest_query_token;
        let query = uri.query().unwrap_or_default();
        let token = token::find(headers, query, in_query).ok_or_else(Answer::unauthorized)?;
        let session = auth::session(&self.services, &token).await?;
        let allowance = self.guard.count(&session)?;
        let services = self.services.clone();
        Ok((RestCaller { services, session }, allowance))
    }
}

async fn list(State(rest): State<Rest>, headers: HeaderMap, uri: Uri) -> Response {
    let (caller, allowance) = match rest.admit(&headers, &uri).await {
        Ok(admitted) => admitted,
        Err(refused) => return refused.into_response(),
    };
    let listed = listing::list(&caller, uri.query().unwrap_or_default()).await;
    finished(listed, allowance)
}

async fn create(State(rest): State<Rest>, headers: HeaderMap, uri: Uri, body: Body) -> Response {
    let (caller, allowance) = match rest.admit(&headers, &uri).await {
        Ok(admitted) => admitted,
        Err(refused) => return refused.into_response(),
    };
    finished(created(&rest, &caller, &headers, body).await, allowance)
}

async fn remove(
    State(rest): State<Rest>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let (caller, allowance) = match rest.admit(&headers, &uri).await {
        Ok(admitted) => admitted,
        Err(refused) => return refused.into_response(),
    };
    // A path that is not UTF-8 names no webhook.
    let id = id.map_or_else(|_| String::new(), |Path(id)| id);
    finished(removed(&caller, &id).await, allowance)
}

async fn other_method(allow: &'static str) -> Response {
    Answer::method_not_allowed(allow).into_response()
}

async fn unknown_path(uri: Uri) -> Response {
    if serves(uri.path()) {
        Answer::unknown_path().into_response()
    } else {
        StatusCode::NOT_FOUND.into_response()
    }
}

async fn description() -> Response {
    let headers = [
        (CONTENT_TYPE, "application/json; charset=utf-8"),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, openapi::text()).into_response()
}

async fn created(
    rest: &Rest,
    caller: &RestCaller,
    headers: &HeaderMap,
    body: Body,
) -> Result<Answer, Answer> {
    let session = caller.session();
    // A caller that may not write learns nothing about its input.
    access::write(&session.caller, session.app).map_err(|_| Answer::forbidden())?;
    if !has_json_body(headers) {
        return Err(Answer::unsupported_media_type());
    }
    let body = rest.guard.read(body, BODY_LIMIT).await?;
    let input = input::read(&body)?;
    let (webhook, secret) = mutations::create(caller, input)
        .await?
        .map_err(Answer::of_user_errors)?;
    // It has had no attempt yet.
    let webhook = Shown::new(caller, &webhook, &History::default())?;
    let secret = secret.map(|secret| json!({ "signing_secret": secret.reveal().expose_secret() }));
    Ok(Answer::created(&webhook, secret))
}

async fn removed(caller: &RestCaller, id: &str) -> Result<Answer, Answer> {
    let session = caller.session();
    access::write(&session.caller, session.app).map_err(|_| Answer::forbidden())?;
    // Global ids are for GraphQL.
    let number: WebhookNumber = id.parse().map_err(|_| Answer::not_found())?;
    let deleted = mutations::delete(caller, &ID(number.to_string())).await?;
    deleted.map_err(|problems| Answer::of_user_errors(problems.into_errors()))?;
    Ok(Answer::done())
}

/// The response, with the state of the caller's rate limits.
fn finished(answer: Result<Answer, Answer>, allowance: Option<Allowance>) -> Response {
    let (Ok(answer) | Err(answer)) = answer;
    answer.counted(allowance).into_response()
}
