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

pub(super) mod body;
mod negotiation;

use std::sync::Arc;

use async_graphql::parser::types::OperationType;
use async_graphql::{Response, ServerError, Value};
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use url::form_urlencoded;

pub use self::body::{BODY_LIMIT, PUBLISHING_LIMIT};
pub use self::negotiation::Media;
use self::negotiation::is_encoded;
pub(super) use self::negotiation::is_json;
use super::admission::{Admission, subject};
use super::auth::authenticate;
use super::context::{Services, Session};
use super::error::{ApiError, ErrorCode, retry_after_of};
use super::json::{self, Unread};
pub use super::operation::{Admitted, Posted, admit, execute};
use super::operation::{Fields, PersistedQuery, refused as unadmitted, run};
use super::parsed::{Known, ParsedDocuments};
use super::rates::Rates;
use super::schema::ApiSchema;
use super::sse;
use tenterhook_model::access::Caller;

/// Default of `Retry-After`, in seconds: a server starts and stops within seconds.
const UNAVAILABLE_FOR: u64 = 1;

/// The state of the endpoint.
#[derive(Clone)]
pub struct Endpoint {
    /// The schema with full validation.
    pub schema: ApiSchema,
    /// The schema without it, for documents that have passed full validation before.
    pub schema_of_valid: ApiSchema,
    /// The services.
    pub services: Arc<Services>,
    /// The rate limits of callers.
    pub rates: Arc<Rates>,
    /// The limits on concurrent publishing.
    pub admission: Admission,
    /// Cache of parsed documents.
    pub parsed: Arc<ParsedDocuments>,
}

impl Endpoint {
    /// The schema that executes a document.
    pub fn schema_for(&self, known: Option<&Known>) -> &ApiSchema {
        if known.is_some_and(Known::is_valid) {
            &self.schema_of_valid
        } else {
            &self.schema
        }
    }
}

/// Why a request is refused without being executed.
struct Refusal {
    status: StatusCode,
    error: ApiError,
    /// The methods that are allowed instead.
    allow: Option<&'static str>,
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self::new(status_for(&error), error)
    }
}

impl Refusal {
    fn new(status: StatusCode, error: ApiError) -> Self {
        Self {
            status,
            error,
            allow: None,
        }
    }

    fn method(allow: &'static str, why: &str) -> Self {
        Self {
            allow: Some(allow),
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, ApiError::bad_input(why))
        }
    }
}

/// Handles a POST request.
pub async fn post(
    State(endpoint): State<Endpoint>,
    headers: HeaderMap,
    body: Body,
) -> axum::response::Response {
    if sse::is_asked_for(&headers) {
        return sse::post(endpoint, headers, body).await;
    }
    let Some(media) = Media::accepted(&headers) else {
        return unacceptable();
    };
    let answer = async {
        check_content_type(&headers)?;
        let session = session(&endpoint, &headers).await?;
        let posted = read(&endpoint, &session, body).await?;
        answer(&endpoint, session, posted, false).await
    };
    finished(&endpoint, media, answer.await)
}

/// Handles a query in the parameters of a URL.
///
/// A page of another site can make a browser send such a request, but not with the header that carries the token.
pub async fn get(State(endpoint): State<Endpoint>, headers: HeaderMap, uri: Uri) -> axum::response::Response {
    let Some(media) = Media::accepted(&headers) else {
        return unacceptable();
    };
    let answer = async {
        let session = session(&endpoint, &headers).await?;
        let posted = parameters(uri.query().unwrap_or_default())?;
        answer(&endpoint, session, posted, true).await
    };
    finished(&endpoint, media, answer.await)
}

/// Refuses every other method.
pub async fn other_method(State(endpoint): State<Endpoint>, headers: HeaderMap) -> axum::response::Response {
    let media = Media::accepted(&headers).unwrap_or(Media::Json);
    let refusal = Refusal::method("GET, POST", "GraphQL is asked with POST or, for queries, GET.");
    finished(&endpoint, media, Err(refusal))
}

fn unacceptable() -> axum::response::Response {
    let why = "The answer is application/graphql-response+json or application/json.";
    refused(
        Media::Json,
        Refusal::new(StatusCode::NOT_ACCEPTABLE, ApiError::bad_input(why)),
    )
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let why = if !is_json(headers) {
        "The request's content type must be application/json."
    } else if is_encoded(headers) {
        "The request's body must not be compressed."
    } else {
        return Ok(());
    };
    Err(Refusal::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ApiError::bad_input(why),
    ))
}

async fn session(endpoint: &Endpoint, headers: &HeaderMap) -> Result<Session, Refusal> {
    let token = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    Ok(authenticate(&endpoint.services, token).await?)
}

async fn answer(
    endpoint: &Endpoint,
    session: Session,
    posted: Posted,
    queries_only: bool,
) -> Result<Response, Refusal> {
    if !posted.names_document() {
        return Err(ApiError::bad_input("The request has no `query`.").into());
    }
    let admitted = match admit(endpoint, session, posted) {
        Ok(admitted) => admitted,
        Err(error) if error.retry_after().is_some() => return Err(error.into()),
        // The HTTP request is well-formed: the media type decides on the status.
        Err(error) => return Ok(unadmitted(endpoint, error)),
    };
    if queries_only && admitted.kind == OperationType::Mutation {
        return Err(Refusal::method("POST", "Mutations are executed over POST only."));
    }
    Ok(run(endpoint, admitted).await)
}

async fn read(endpoint: &Endpoint, session: &Session, body: Body) -> Result<Posted, Refusal> {
    let of_platform = session.caller == Caller::Platform;
    let (limit, most_values) = if of_platform {
        (PUBLISHING_LIMIT, json::MAX_PUBLISHED_VALUES)
    } else {
        (BODY_LIMIT, json::MAX_JSON_VALUES)
    };
    let refused = |_: &ApiError| endpoint.services.publisher.note_refused();
    let room = body::room(&body, limit).filter(|_| of_platform);
    let mut place = match room.map(|bytes| endpoint.admission.body(bytes)).transpose() {
        Ok(place) => place,
        Err(error) => {
            refused(&error);
            body::discard(&endpoint.services, body).await;
            return Err(error.into());
        }
    };
    let bytes = body::read(&endpoint.services, body, limit).await?;
    if let Some((company, events)) = subject(&bytes).filter(|_| of_platform) {
        let room = endpoint.services.publisher.room_for(company, events);
        room.map_err(ApiError::from).inspect_err(refused)?;
    }
    if let Some(place) = &mut place {
        let values = json::check_json(&bytes, most_values).map_err(ApiError::from)?;
        endpoint.admission.values(place, values).inspect_err(refused)?;
    }
    let posted = Posted::read(&bytes, most_values)?;
    Ok(Posted { place, ..posted })
}

/// Reads the four parameters; others are ignored, as in a body.
fn parameters(query: &str) -> Result<Posted, ApiError> {
    let mut posted = Posted::default();
    let mut seen = [false; 4];
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let at = match &*name {
            "query" => 0,
            "operationName" => 1,
            "variables" => 2,
            "extensions" => 3,
            _ => continue,
        };
        if std::mem::replace(&mut seen[at], true) {
            return Err(ApiError::bad_input(format!(
                "The parameter `{name}` is there twice."
            )));
        }
        // An empty parameter counts as absent, except for the document: that is an empty document.
        match at {
            0 => posted.query = Some(value.into_owned()),
            _ if value.is_empty() => {}
            1 => posted.operation_name = Some(value.into_owned()),
            2 => posted.variables = variables(&value)?,
            _ => posted.persisted_query = extensions(&value)?,
        }
    }
    Ok(posted)
}

fn variables(text: &str) -> Result<Option<Fields>, ApiError> {
    match parameter("variables", text)? {
        Value::Null => Ok(None),
        Value::Object(fields) => Ok(Some(fields)),
        _ => Err(ApiError::bad_input(
            "The parameter `variables` must be a JSON object.",
        )),
    }
}

fn extensions(text: &str) -> Result<Option<PersistedQuery>, ApiError> {
    match parameter("extensions", text)? {
        Value::Null => Ok(None),
        extensions => PersistedQuery::of(extensions),
    }
}

fn parameter(name: &str, text: &str) -> Result<Value, ApiError> {
    json::read(text.as_bytes(), json::MAX_JSON_VALUES).map_err(|unread| match unread {
        Unread::TooMuch(too_much) => too_much.into(),
        invalid @ Unread::Invalid { .. } => {
            ApiError::bad_input(format!("The parameter `{name}` is {invalid}."))
        }
    })
}

/// Whether the response has only errors of the request itself, before any field was executed. These have no path.
pub fn is_unexecuted(response: &Response) -> bool {
    !response.errors.is_empty()
        && response.data == Value::Null
        && response.errors.iter().all(|error| error.path.is_empty())
}

fn status_of(media: Media, response: &Response) -> StatusCode {
    match media {
        Media::GraphqlResponse if is_unexecuted(response) => StatusCode::BAD_REQUEST,
        Media::GraphqlResponse | Media::Json => StatusCode::OK,
    }
}

fn status_for(error: &ApiError) -> StatusCode {
    match error.code() {
        ErrorCode::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorCode::Forbidden => StatusCode::FORBIDDEN,
        ErrorCode::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
        ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorCode::BadUserInput
        | ErrorCode::ParseFailed
        | ErrorCode::ValidationFailed
        | ErrorCode::TooDeep
        | ErrorCode::TooComplex
        | ErrorCode::PersistedQueryNotFound => StatusCode::BAD_REQUEST,
    }
}

/// The response to a request that was not executed.
pub fn refusal(error: ApiError) -> axum::response::Response {
    refused(Media::Json, error.into())
}

fn finished(
    endpoint: &Endpoint,
    media: Media,
    answer: Result<Response, Refusal>,
) -> axum::response::Response {
    match answer {
        Ok(response) => {
            let answer = written(media, status_of(media, &response), &response);
            with_retry_after(answer, retry_after_of(&response.errors))
        }
        Err(refusal) if refusal.error.allowance().is_some() => {
            let retry_after = refusal.error.retry_after();
            let answer = written(media, refusal.status, &unadmitted(endpoint, refusal.error));
            with_retry_after(answer, retry_after)
        }
        Err(refusal) => refused(media, refusal),
    }
}

fn refused(media: Media, refusal: Refusal) -> axum::response::Response {
    let Refusal { status, error, allow } = refusal;
    let unavailable = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(UNAVAILABLE_FOR);
    let retry_after = error.retry_after().or(unavailable);
    let response = json(
        media,
        status,
        &serde_json::json!({ "errors": [error.into_server_error()] }),
    );
    let mut response = with_retry_after(response, retry_after);
    if status == StatusCode::UNAUTHORIZED {
        response
            .headers_mut()
            .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(allow) = allow {
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static(allow));
    }
    response
}

fn with_retry_after(mut answer: axum::response::Response, seconds: Option<u64>) -> axum::response::Response {
    if let Some(seconds) = seconds {
        answer
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}

/// Omits `data` if nothing was executed, as the specification requires.
fn written(media: Media, status: StatusCode, response: &Response) -> axum::response::Response {
    #[derive(serde::Serialize)]
    struct Unexecuted<'a> {
        errors: &'a [ServerError],
        #[serde(skip_serializing_if = "Extensions::is_empty")]
        extensions: &'a Extensions,
    }
    type Extensions = std::collections::BTreeMap<String, Value>;
    if is_unexecuted(response) {
        json(
            media,
            status,
            &Unexecuted {
                errors: &response.errors,
                extensions: &response.extensions,
            },
        )
    } else {
        json(media, status, response)
    }
}

fn json(media: Media, status: StatusCode, content: &impl serde::Serialize) -> axum::response::Response {
    let (status, text) = match serde_json::to_vec(content) {
        Ok(text) => (status, text),
        Err(error) => {
            let error = ApiError::internal(error).into_server_error();
            let message = serde_json::json!({ "errors": [error] });
            (
                StatusCode::INTERNAL_SERVER_ERROR,
                message.to_string().into_bytes(),
            )
        }
    };
    let mut response = axum::response::Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, media.content_type());
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
