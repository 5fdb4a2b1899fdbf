//! An operation that comes over a connection which outlives it: WebSocket and SSE alike.
//!
//! Promises the checks that every document passes before anything parses it, and that a subscription that cannot begin
//! is told from one that ends: the one is an error of the request, the other a result.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_graphql::{Request, Response, ServerError, Value, Variables};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use serde::Deserialize;

use super::context::Session;
use super::document;
use super::error::{ApiError, ErrorCode};
use super::http::Endpoint;
use super::loaders;

/// What is asked. Unknown keys are passed over, as over HTTP.
#[derive(Deserialize)]
pub struct Operation {
    query: String,
    #[serde(rename = "operationName")]
    operation_name: Option<String>,
    variables: Option<serde_json::Map<String, serde_json::Value>>,
    // Must be an object where it is given; nothing in it is known yet.
    #[serde(rename = "extensions")]
    _extensions: Option<serde_json::Map<String, serde_json::Value>>,
}

/// What a subscription's field says if it has nothing to begin with: its error is one of the request.
#[derive(Clone, Default)]
pub struct Source(Arc<AtomicBool>);

impl Source {
    /// There will be no events.
    pub fn refuse(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_refused(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// One answer of an operation.
pub enum Answer {
    /// A result, with errors or without.
    Result(Box<Response>),
    /// The request was not executed; nothing follows.
    Refused(Vec<ServerError>),
}

/// Runs the operation as long as the stream is polled. It begins with the first poll.
pub fn run(endpoint: &Endpoint, session: Session, operation: Operation) -> BoxStream<'static, Answer> {
    if let Err(too_much) = document::check(&operation.query) {
        let code = if too_much.is_depth() {
            ErrorCode::TooDeep
        } else {
            ErrorCode::TooComplex
        };
        let error = ApiError::new(code, format!("Refused: {too_much}.")).into_server_error();
        return stream::iter([Answer::Refused(vec![error])]).boxed();
    }
    let source = Source::default();
    let mut request = Request::new(operation.query)
        .variables(Variables::from_json(
            operation.variables.unwrap_or_default().into(),
        ))
        .data(session)
        .data(source.clone())
        .data(endpoint.services.clone())
        .data(loaders::loader(&endpoint.services));
    if let Some(name) = operation.operation_name {
        request = request.operation_name(name);
    }
    let answers = endpoint.schema.execute_stream(request);
    answers.map(move |response| told(response, &source)).boxed()
}

/// Errors of the request have no path, or come from a subscription's field that has nothing to begin with.
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
