//! Checks an operation and passes it to the schema, for all transports.
//!
//! All limits that apply before execution are checked here: the request's JSON, its document, its variables, and the
//! caller's rate. A subscription that cannot begin is reported as an error of the request, one that ends with an
//! error as a result. A transport reads with [`Posted::read`]. Then it calls [`admit`] and [`run`], or one of the
//! functions that do both: [`execute`] or, over a connection that outlives the operation, [`stream`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_graphql::indexmap::IndexMap;
use async_graphql::parser::types::{DocumentOperations, ExecutableDocument, OperationType, Selection};
use async_graphql::{Name, Request, Response, ServerError, Value, Variables};
use futures_util::future::ready;
use futures_util::stream::{self, BoxStream, StreamExt};

use super::admission::Place;
use super::context::Session;
use super::document;
use super::error::{ApiError, Result};
use super::http::Endpoint;
use super::json;
use super::loaders;
use super::parsed::Known;
use super::persisted::Named;
use super::rates::{Allowance, Purpose};

/// A request as the client sent it.
#[derive(Debug, Default)]
pub struct Posted {
    /// The document.
    pub query: Option<String>,
    /// The name of the operation to execute.
    pub operation_name: Option<String>,
    /// Values of its variables.
    pub variables: Option<Fields>,
    /// The document's hash, instead of the document or to register it. Other extensions are ignored.
    pub persisted_query: Option<PersistedQuery>,
    /// The memory reserved for its body.
    pub place: Option<Place>,
}

/// The fields of an object, in their order.
pub type Fields = IndexMap<Name, Value>;

/// A document's hash.
#[derive(Debug)]
pub struct PersistedQuery {
    /// Version of the protocol: 1.
    pub version: u64,
    /// The hash, in hexadecimal.
    pub sha256_hash: String,
}

impl Posted {
    /// Reads a JSON text and checks its limits before parsing; `most_values` is a limit of [`json::check_json`].
    pub fn read(text: &[u8], most_values: usize) -> Result<Self> {
        // A list, which would be a batch, is refused too.
        match json::read(text, most_values)? {
            Value::Object(fields) => Self::of(fields),
            _ => Err(ApiError::bad_input(
                "A request must be a JSON object with a `query`, and `operationName`, `variables` and `extensions` \
                 where needed.",
            )),
        }
    }

    /// Reads a request from an object. Other fields are ignored; a field that is null counts as absent.
    pub fn of(mut fields: Fields) -> Result<Self> {
        let mut take = |name| fields.swap_remove(name).filter(|value| *value != Value::Null);
        Ok(Self {
            query: take("query").map(|value| text("query", value)).transpose()?,
            operation_name: take("operationName")
                .map(|value| text("operationName", value))
                .transpose()?,
            variables: take("variables")
                .map(|value| object("variables", value))
                .transpose()?,
            persisted_query: take("extensions").map(PersistedQuery::of).transpose()?.flatten(),
            place: None,
        })
    }

    /// Whether it has a document or a hash.
    pub fn names_document(&self) -> bool {
        self.query.is_some() || self.persisted_query.is_some()
    }

    fn named(&mut self) -> Result<Named> {
        match self.persisted_query.take() {
            Some(PersistedQuery { version, .. }) if version != 1 => Err(ApiError::bad_input(
                "`extensions.persistedQuery.version` must be 1.",
            )),
            persisted => Ok(Named {
                query: self.query.take(),
                hash: persisted.map(|persisted| persisted.sha256_hash),
            }),
        }
    }
}

impl PersistedQuery {
    /// Reads the document's hash from a request's extensions.
    pub fn of(extensions: Value) -> Result<Option<Self>> {
        let mut extensions = object("extensions", extensions)?;
        let Some(persisted) = extensions
            .swap_remove("persistedQuery")
            .filter(|value| *value != Value::Null)
        else {
            return Ok(None);
        };
        let mut persisted = object("extensions.persistedQuery", persisted)?;
        let version = match persisted.swap_remove("version") {
            Some(Value::Number(version)) => version.as_u64(),
            _ => None,
        };
        let hash = persisted.swap_remove("sha256Hash").unwrap_or_default();
        Ok(Some(Self {
            version: version.ok_or_else(|| misfit("extensions.persistedQuery.version", "1"))?,
            sha256_hash: text("extensions.persistedQuery.sha256Hash", hash)?,
        }))
    }
}

fn text(name: &str, value: Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err(misfit(name, "a string")),
    }
}

fn object(name: &str, value: Value) -> Result<Fields> {
    match value {
        Value::Object(fields) => Ok(fields),
        _ => Err(misfit(name, "a JSON object")),
    }
}

fn misfit(name: &str, expected: &str) -> ApiError {
    ApiError::bad_input(format!("`{name}` of a request must be {expected}."))
}

/// A request that passed the checks.
pub struct Admitted {
    /// The request, parsed if possible; otherwise the schema refuses it.
    pub request: Request,
    /// Its kind. A document that cannot be parsed counts as a query.
    pub kind: OperationType,
    /// The state of the caller's rate limits; `None` for callers without limits.
    pub allowance: Option<Allowance>,
    /// The memory and call reserved until the response.
    pub place: Option<Place>,
    /// Its parsed document, if that is cached.
    known: Option<Arc<Known>>,
}

/// Checks a request, and counts it.
pub fn admit(endpoint: &Endpoint, session: Session, mut posted: Posted) -> Result<Admitted> {
    let services = &endpoint.services;
    let found = posted
        .named()
        .and_then(|named| services.documents.find(named))
        .and_then(|found| {
            let known = endpoint.parsed.get(&found.text);
            if known.is_none() {
                document::check(&found.text)?;
                document::check_numbers(&found.text)?;
            }
            Ok((found, known))
        });
    let variables = posted.variables.unwrap_or_default();
    let found = found.and_then(|found| {
        document::check_variables(variables.len())?;
        Ok(found)
    });
    let mut request = match &found {
        Ok((found, known)) => {
            let mut request = Request::new(document::readable(&found.text));
            if let Some(known) = known {
                request.set_parsed_query(known.document().clone());
            }
            request
        }
        Err(_) => Request::new(""),
    };
    let name = posted.operation_name.as_deref();
    let (kind, purpose) = match request.parsed_query() {
        Ok(document) => purpose(document, name),
        Err(_) => (OperationType::Query, Purpose::Rest),
    };
    // Refused requests count too, because refusing costs work.
    let allowance = endpoint
        .rates
        .take(&session, purpose, services.clock.monotonic())
        .map_err(ApiError::rate_limited)?;
    let (found, mut known) = found?;
    let place = match purpose {
        Purpose::Publishing => {
            let admitted = endpoint.admission.call(posted.place);
            Some(admitted.inspect_err(|_| services.publisher.note_refused())?)
        }
        Purpose::Rest => posted.place,
    };
    if let Ok(document) = request.parsed_query() {
        services.documents.keep(&found);
        if known.is_none() {
            known = endpoint.parsed.keep(&found.text, document);
        }
    }
    if let Some(known) = &known {
        request = request.data(known.clone());
    }
    request = request
        .variables(Variables::from_value(Value::Object(variables)))
        .data(session)
        .data(services.clone());
    if let Some(name) = posted.operation_name {
        request = request.operation_name(name);
    }
    Ok(Admitted {
        request,
        kind,
        allowance,
        place,
        known,
    })
}

/// Executes a query or mutation, or returns why not.
pub async fn execute(endpoint: &Endpoint, session: Session, posted: Posted) -> Response {
    match admit(endpoint, session, posted) {
        Ok(admitted) => run(endpoint, admitted).await,
        Err(error) => refused(endpoint, error),
    }
}

/// Set by a subscription's field that cannot begin, so that its error becomes an error of the request.
#[derive(Clone, Default)]
pub struct Source(Arc<AtomicBool>);

impl Source {
    /// Marks the subscription as refused.
    pub fn refuse(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_refused(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// One message of an operation on a connection that outlives it.
pub enum Answer {
    /// A result, with or without errors.
    Result(Box<Response>),
    /// The request was not executed. This is the last message.
    Refused(Vec<ServerError>),
}

/// Runs an operation of any kind while the stream is polled. It begins with the first poll.
pub fn stream(endpoint: &Endpoint, session: Session, posted: Posted) -> BoxStream<'static, Answer> {
    let Admitted {
        request,
        kind,
        allowance,
        place,
        known,
    } = match admit(endpoint, session, posted) {
        Ok(admitted) => admitted,
        Err(error) => return stream::once(ready(Answer::Refused(vec![error.into_server_error()]))).boxed(),
    };
    let source = Source::default();
    let gathering = loaders::gathering(&endpoint.services);
    let request = request.data(source.clone()).data(gathering.clone());
    let answers = gathering.stream(endpoint.schema_for(known.as_deref()).execute_stream(request));
    // A subscription counts against the limits once, when it begins. So later events do not carry them.
    let allowance = allowance.filter(|_| kind != OperationType::Subscription);
    let endpoint = endpoint.clone();
    answers
        .map(move |response| {
            let _until_the_end = &place;
            told(with_allowance(&endpoint, response, allowance.as_ref()), &source)
        })
        .boxed()
}

/// Tells errors of the request from results: they have no path, or come from a subscription's field that cannot
/// begin.
fn told(response: Response, source: &Source) -> Answer {
    let refused = !response.errors.is_empty()
        && response.data == Value::Null
        && (source.is_refused() || response.errors.iter().all(|error| error.path.is_empty()));
    if refused {
        Answer::Refused(response.errors)
    } else {
        Answer::Result(Box::new(response))
    }
}

/// Executes a checked request.
pub async fn run(endpoint: &Endpoint, admitted: Admitted) -> Response {
    let Admitted {
        request,
        allowance,
        place: _until_the_end,
        known,
        ..
    } = admitted;
    let gathering = loaders::gathering(&endpoint.services);
    let schema = endpoint.schema_for(known.as_deref());
    let executed = schema.execute(request.data(gathering.clone()));
    let response = gathering.run(executed).await;
    with_allowance(endpoint, response, allowance.as_ref())
}

/// The response to a refused request.
pub fn refused(endpoint: &Endpoint, error: ApiError) -> Response {
    let allowance = error.allowance().copied();
    let response = Response::from_errors(vec![error.into_server_error()]);
    with_allowance(endpoint, response, allowance.as_ref())
}

/// Adds the state of the caller's rate limits to the response.
pub fn with_allowance(endpoint: &Endpoint, response: Response, allowance: Option<&Allowance>) -> Response {
    match allowance {
        Some(allowance) => {
            let now = endpoint.services.clock.now();
            response.extension("rateLimit", allowance.shown(now))
        }
        None => response,
    }
}

/// The kind and purpose of the operation with this name. If there is none, an empty query: the request is refused
/// later.
fn purpose(document: &ExecutableDocument, name: Option<&str>) -> (OperationType, Purpose) {
    let operation = match (&document.operations, name) {
        (DocumentOperations::Single(operation), _) => Some(operation),
        (DocumentOperations::Multiple(operations), Some(name)) => operations.get(name),
        (DocumentOperations::Multiple(operations), None) if operations.len() == 1 => {
            operations.values().next()
        }
        (DocumentOperations::Multiple(_), None) => None,
    };
    let Some(operation) = operation.map(|operation| &operation.node) else {
        return (OperationType::Query, Purpose::Rest);
    };
    // A fragment on the mutations hides the field. Then it counts as `Rest`, so it is limited too.
    let publishes = operation.ty == OperationType::Mutation
        && operation.selection_set.node.items.iter().any(|selection| {
            matches!(&selection.node, Selection::Field(field) if field.node.name.node == "publishEvents")
        });
    let purpose = if publishes {
        Purpose::Publishing
    } else {
        Purpose::Rest
    };
    (operation.ty, purpose)
}
