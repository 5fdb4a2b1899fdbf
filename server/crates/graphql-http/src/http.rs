//! GraphQL over HTTP: `POST /graphql`, and `GET /graphql` for queries.
//!
//! Guarantees:
//!
//! - Nothing is executed without a valid token and, for POST, a JSON content type.
//! - A mutation is never executed over GET.
//! - Every error is a GraphQL error body with a code.
//! - A body is never kept past its size limit or awaited past its time limit.
//! - No response may be cached.
//!
//! Batches and uploads are not supported.

pub(crate) mod body;
mod negotiation;
mod parameters;
mod response;

use async_graphql::Response;
use async_graphql::parser::types::OperationType;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode, Uri};

pub(crate) use self::negotiation::{Media, is_encoded, is_json};
use self::parameters::parameters;
pub use self::response::refusal;
pub(crate) use self::response::respond_with_refusal;
use self::response::{Refusal, finished};
use crate::app::GraphqlApp;
use crate::endpoint::Endpoint;
use crate::error::RequestError;
use crate::raw_request::RawRequest;
use crate::request::{accept, refused as refused_response, run};

/// Handles a POST request.
pub async fn post<A: GraphqlApp>(
    endpoint: &Endpoint<A>,
    headers: HeaderMap,
    body: Body,
) -> axum::response::Response {
    let Some(media) = Media::accepted(&headers) else {
        return unacceptable();
    };
    let response = async {
        check_content_type(&headers)?;
        let session = session(endpoint, &headers).await?;
        let posted = body::read_request(endpoint, &session, body).await?;
        execute(endpoint, session, posted, false).await
    };
    finished(endpoint, media, response.await)
}

/// Handles a query in the parameters of a URL.
///
/// A page of another site can make a browser send such a request, but not with the header that carries the token.
pub async fn get<A: GraphqlApp>(
    State(endpoint): State<Endpoint<A>>,
    headers: HeaderMap,
    uri: Uri,
) -> axum::response::Response {
    let Some(media) = Media::accepted(&headers) else {
        return unacceptable();
    };
    let response = async {
        let session = session(&endpoint, &headers).await?;
        let posted = parameters(uri.query().unwrap_or_default())?;
        execute(&endpoint, session, posted, true).await
    };
    finished(&endpoint, media, response.await)
}

/// Refuses every other method.
pub async fn other_method<A: GraphqlApp>(
    State(endpoint): State<Endpoint<A>>,
    headers: HeaderMap,
) -> axum::response::Response {
    let media = Media::accepted(&headers).unwrap_or(Media::Json);
    let refusal = Refusal::method("GET, POST", "A GraphQL request uses POST or, for queries, GET.");
    finished(&endpoint, media, Err(refusal))
}

fn unacceptable() -> axum::response::Response {
    let why = "The response is application/graphql-response+json or application/json.";
    respond_with_refusal(
        Media::Json,
        Refusal::new(StatusCode::NOT_ACCEPTABLE, RequestError::bad_input(why)),
    )
}

pub(crate) fn check_content_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let why = if !is_json(headers) {
        "The request's content type must be application/json."
    } else if is_encoded(headers) {
        "The request's body must not be compressed."
    } else {
        return Ok(());
    };
    Err(Refusal::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        RequestError::bad_input(why),
    ))
}

async fn session<A: GraphqlApp>(endpoint: &Endpoint<A>, headers: &HeaderMap) -> Result<A::Session, Refusal> {
    let token = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    Ok(endpoint.app.authenticate(token).await?)
}

async fn execute<A: GraphqlApp>(
    endpoint: &Endpoint<A>,
    session: A::Session,
    posted: RawRequest,
    queries_only: bool,
) -> Result<Response, Refusal> {
    if !posted.names_document() {
        return Err(RequestError::bad_input("The request has no `query`.").into());
    }
    let accepted = match accept(endpoint, session, posted) {
        Ok(accepted) => accepted,
        Err(error) if error.retry_after().is_some() => return Err(error.into()),
        // The HTTP request is well-formed: the media type decides on the status.
        Err(error) => return Ok(refused_response(endpoint, error)),
    };
    if queries_only && accepted.kind == OperationType::Mutation {
        return Err(Refusal::method("POST", "Mutations are executed over POST only."));
    }
    Ok(run(endpoint, accepted).await)
}
