//! Checks an operation and passes it to the schema, for all transports.
//!
//! All limits that apply before execution are checked here: the request's document, its variables, and the caller's
//! rate. A subscription that cannot begin is reported as an error of the request, one that ends with an error as a
//! result. A transport reads a [`RawRequest`]. Then it calls [`accept`] and [`run`] or, over a connection that outlives
//! the operation, [`stream`].

use std::sync::Arc;

use async_graphql::parser::types::{
    DocumentOperations, ExecutableDocument, OperationDefinition, OperationType,
};
use async_graphql::{Executor, Request, Response, ServerError, Value, Variables};
use futures_util::future::ready;
use futures_util::stream::{self, BoxStream, StreamExt};

use crate::allowance::Allowance;
use crate::app::{GraphqlApp, RateClass};
use crate::dataloader::RequestLoader;
use crate::document;
use crate::document_cache::CachedDocument;
use crate::endpoint::Endpoint;
use crate::error::{RequestError, Result};
use crate::load_shedding::Permit;
use crate::persisted::Found;
use crate::raw_request::RawRequest;
use crate::subscription_start::SubscriptionStart;

/// A request that passed the checks.
pub(crate) struct AcceptedRequest {
    /// The request, parsed if possible; otherwise the schema refuses it.
    pub request: Request,
    /// Its kind. A document that cannot be parsed counts as a query.
    pub kind: OperationType,
    /// The state of the caller's rate limits; `None` for callers without limits.
    pub allowance: Option<Allowance>,
    /// The memory and call reserved until the response.
    pub permit: Option<Permit>,
    /// Its parsed document, if that is cached.
    known: Option<Arc<CachedDocument>>,
}

/// Checks a request, and counts it.
pub(crate) fn accept<A: GraphqlApp>(
    endpoint: &Endpoint<A>,
    session: A::Session,
    mut posted: RawRequest,
) -> Result<AcceptedRequest> {
    let app = &endpoint.app;
    let found = find(endpoint, &mut posted);
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
    let operation = request.parsed_query().ok();
    let operation = operation.and_then(|document| selected(document, name));
    let (kind, class) = match operation {
        Some(operation) => (operation.ty, app.classify(operation)),
        None => (OperationType::Query, RateClass::Ordinary),
    };
    // Refused requests count too, because refusing costs work.
    let allowance = endpoint
        .rates
        .take(app.rate_limits(&session, class), app.clock().monotonic())
        .map_err(RequestError::rate_limited)?;
    let (found, mut known) = found?;
    let permit = match class {
        RateClass::Bulk => {
            let permit = endpoint.shedding.call(posted.permit);
            Some(permit.inspect_err(|_| app.note_shed())?)
        }
        RateClass::Ordinary => posted.permit,
    };
    if let Ok(document) = request.parsed_query() {
        app.documents().keep(&found);
        if known.is_none() {
            known = endpoint.parsed.keep(&found.text, document);
        }
    }
    if let Some(known) = &known {
        request = request.data(known.clone());
    }
    request = request.variables(Variables::from_value(Value::Object(variables)));
    request = app.request_data(session, request);
    if let Some(name) = posted.operation_name {
        request = request.operation_name(name);
    }
    Ok(AcceptedRequest {
        request,
        kind,
        allowance,
        permit,
        known,
    })
}

/// The document of a request, with its parsed form if that is cached. A document that is not is checked.
fn find<A: GraphqlApp>(
    endpoint: &Endpoint<A>,
    posted: &mut RawRequest,
) -> Result<(Found, Option<Arc<CachedDocument>>)> {
    let found = endpoint.app.documents().find(posted.named()?)?;
    let known = endpoint.parsed.get(&found.text);
    if known.is_none() {
        document::check(&found.text)?;
        document::check_numbers(&found.text)?;
    }
    Ok((found, known))
}

/// One message of an operation on a connection that outlives it.
pub(crate) enum StreamItem {
    /// A result, with or without errors.
    Result(Box<Response>),
    /// The request was not executed. This is the last message.
    Refused(Vec<ServerError>),
}

/// Runs an operation of any kind while the stream is polled. It begins with the first poll; the second value says when a
/// subscription listens.
pub(crate) fn stream<A: GraphqlApp>(
    endpoint: &Endpoint<A>,
    session: A::Session,
    posted: RawRequest,
) -> (BoxStream<'static, StreamItem>, SubscriptionStart) {
    let start = SubscriptionStart::default();
    let AcceptedRequest {
        request,
        kind,
        allowance,
        permit,
        known,
    } = match accept(endpoint, session, posted) {
        Ok(accepted) => accepted,
        Err(error) => {
            let refused = StreamItem::Refused(vec![error.into_server_error()]);
            return (stream::once(ready(refused)).boxed(), start);
        }
    };
    let loader = RequestLoader::new(endpoint.app.loader());
    let request = request.data(start.clone()).data(loader.clone());
    let schema = endpoint.schema_for(known.as_deref());
    let responses = loader.stream(schema.execute_stream(request, None));
    // A subscription counts against the limits once, when it begins. So later events do not carry them.
    let allowance = allowance.filter(|_| kind != OperationType::Subscription);
    let (endpoint, of_items) = (endpoint.clone(), start.clone());
    let items = responses.map(move |response| {
        let _until_the_end = &permit;
        item(with_allowance(&endpoint, response, allowance.as_ref()), &of_items)
    });
    (items.boxed(), start)
}

/// Tells errors of the request from results: they have no path, or come from a subscription's field that cannot
/// begin.
fn item(response: Response, start: &SubscriptionStart) -> StreamItem {
    let refused = !response.errors.is_empty()
        && response.data == Value::Null
        && (start.is_refused() || response.errors.iter().all(|error| error.path.is_empty()));
    if refused {
        StreamItem::Refused(response.errors)
    } else {
        StreamItem::Result(Box::new(response))
    }
}

/// Executes a checked request.
pub(crate) async fn run<A: GraphqlApp>(endpoint: &Endpoint<A>, accepted: AcceptedRequest) -> Response {
    let AcceptedRequest {
        request,
        allowance,
        permit: _until_the_end,
        known,
        ..
    } = accepted;
    let loader = RequestLoader::new(endpoint.app.loader());
    let schema = endpoint.schema_for(known.as_deref());
    let executed = schema.execute(request.data(loader.clone()));
    let response = loader.run(executed).await;
    with_allowance(endpoint, response, allowance.as_ref())
}

/// The response to a refused request.
pub(crate) fn refused<A: GraphqlApp>(endpoint: &Endpoint<A>, error: RequestError) -> Response {
    let allowance = error.allowance().copied();
    let response = Response::from_errors(vec![error.into_server_error()]);
    with_allowance(endpoint, response, allowance.as_ref())
}

/// Adds the state of the caller's rate limits to the response.
fn with_allowance<A: GraphqlApp>(
    endpoint: &Endpoint<A>,
    response: Response,
    allowance: Option<&Allowance>,
) -> Response {
    match allowance {
        Some(allowance) => {
            let now = endpoint.app.clock().now();
            response.extension("rateLimit", allowance.shown(now))
        }
        None => response,
    }
}

/// The operation with this name. If there is none, the request is refused later.
fn selected<'a>(document: &'a ExecutableDocument, name: Option<&str>) -> Option<&'a OperationDefinition> {
    let operation = match (&document.operations, name) {
        (DocumentOperations::Single(operation), _) => Some(operation),
        (DocumentOperations::Multiple(operations), Some(name)) => operations.get(name),
        (DocumentOperations::Multiple(operations), None) if operations.len() == 1 => {
            operations.values().next()
        }
        (DocumentOperations::Multiple(_), None) => None,
    };
    operation.map(|operation| &operation.node)
}
