//! Adds what the GraphQL library does not do between parsing and execution: a code for each of its errors, depending
//! on the stage that reported it; the checks that its validation lacks; and the cost.
//!
//! It covers every transport, because all of them execute through the schema.

use std::sync::{Arc, OnceLock};

use async_graphql::extensions::{
    Extension, ExtensionContext, ExtensionFactory, NextParseQuery, NextPrepareRequest, NextRequest,
    NextSubscribe, NextValidation,
};
use async_graphql::parser::types::{DocumentOperations, ExecutableDocument};
use async_graphql::{
    Request, Response, ServerError, ServerResult, ValidationResult, Variables, async_trait, value,
};

use futures_util::StreamExt;
use futures_util::stream::BoxStream;

use crate::document;
use crate::document_cache::CachedDocument;
use crate::error::{ErrorCode, with_code};
use crate::introspection::{self, Measured};
use crate::schema_rules::SchemaRules;

/// Maximum number of errors in one response: a document can have as many faults as tokens.
pub const MOST_ERRORS: usize = 20;
/// Maximum length of an error's message, in characters: some quote the document, which can be as large as a body.
pub const LONGEST_MESSAGE: usize = 1_000;

/// The library's own messages for an exceeded limit. It has no other way to report one.
const TOO_DEEP: [&str; 2] = ["Query is nested too deep.", "The recursion depth of the query"];
const TOO_COMPLEX: [&str; 2] = ["Query is too complex.", "The number of directives"];

/// Creates the extension of each request. Add it to the schema with
/// [`SchemaBuilder::extension`](async_graphql::SchemaBuilder::extension).
pub struct RequestGuard {
    rules: Arc<dyn SchemaRules>,
    limits: SchemaLimits,
}

/// The limits on a document that depend on the schema.
#[derive(Debug, Clone, Copy)]
pub struct SchemaLimits {
    /// Maximum depth of fields outside of `__schema` and `__type`.
    pub depth: usize,
    /// Maximum cost of a document: the same as
    /// [`SchemaBuilder::limit_complexity`](async_graphql::SchemaBuilder::limit_complexity).
    pub cost: usize,
}

impl RequestGuard {
    /// For a schema with these rules and limits.
    pub fn new(rules: impl SchemaRules, limits: SchemaLimits) -> Self {
        Self {
            rules: Arc::new(rules),
            limits,
        }
    }
}

/// The extension of one request.
struct GuardedRequest {
    rules: Arc<dyn SchemaRules>,
    limits: SchemaLimits,
    operation_name: OnceLock<String>,
    /// Variables that do not fit their types.
    misfit_variables: OnceLock<Vec<ServerError>>,
    /// Literals that do not fit their types.
    misfit_literals: OnceLock<Vec<ServerError>>,
    measured: OnceLock<Measured>,
    cost: Arc<OnceLock<usize>>,
}

impl ExtensionFactory for RequestGuard {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(GuardedRequest {
            rules: self.rules.clone(),
            limits: self.limits,
            operation_name: OnceLock::new(),
            misfit_variables: OnceLock::new(),
            misfit_literals: OnceLock::new(),
            measured: OnceLock::new(),
            cost: Arc::default(),
        })
    }
}

// Each cell is set once, because the extension belongs to one request.
#[async_trait::async_trait]
impl Extension for GuardedRequest {
    async fn request(&self, ctx: &ExtensionContext<'_>, next: NextRequest<'_>) -> Response {
        finished(next.run(ctx).await, &self.cost, self.limits.cost)
    }

    fn subscribe<'s>(
        &self,
        ctx: &ExtensionContext<'_>,
        stream: BoxStream<'s, Response>,
        next: NextSubscribe<'_>,
    ) -> BoxStream<'s, Response> {
        let (cost, limit) = (Arc::clone(&self.cost), self.limits.cost);
        next.run(ctx, stream)
            .map(move |response| finished(response, &cost, limit))
            .boxed()
    }

    async fn prepare_request(
        &self,
        ctx: &ExtensionContext<'_>,
        request: Request,
        next: NextPrepareRequest<'_>,
    ) -> ServerResult<Request> {
        if let Some(name) = &request.operation_name {
            let _ = self.operation_name.set(name.clone());
        }
        next.run(ctx, request).await
    }

    async fn parse_query(
        &self,
        ctx: &ExtensionContext<'_>,
        query: &str,
        variables: &Variables,
        next: NextParseQuery<'_>,
    ) -> ServerResult<ExecutableDocument> {
        let mut document = next
            .run(ctx, query, variables)
            .await
            .map_err(|error| document::faulty_escape(query).unwrap_or_else(|| in_one_line(error)))
            .map_err(|error| limited(error, ErrorCode::ParseFailed))?;
        let registry = &ctx.schema_env.registry;
        if !ctx
            .data_opt::<Arc<CachedDocument>>()
            .is_some_and(|known| known.is_valid())
        {
            let _ = self.misfit_literals.set(document::misfit_literals(
                registry,
                &*self.rules,
                &document,
                query,
            ));
        }
        if let Some(operation) = selected(&document, self.operation_name.get().map(String::as_str)) {
            let _ = self.misfit_variables.set(document::misfit_variables(
                registry,
                &*self.rules,
                operation,
                variables,
            ));
        }
        let measured = introspection::measure(registry, &document, variables, self.limits.cost);
        let _ = self.measured.set(measured);
        document::expose_directives(&mut document);
        Ok(document)
    }

    async fn validation(
        &self,
        ctx: &ExtensionContext<'_>,
        next: NextValidation<'_>,
    ) -> Result<ValidationResult, Vec<ServerError>> {
        let misfits = |cell: &OnceLock<Vec<ServerError>>| cell.get().cloned().unwrap_or_default();
        // First, because the library finds some of them too, and reports them as faults of the document.
        let variables = misfits(&self.misfit_variables);
        if !variables.is_empty() {
            return Err(coded(variables, ErrorCode::BadUserInput));
        }
        let measured = self.measured.get().copied().unwrap_or_default();
        if measured.deepest > self.limits.depth {
            return Err(refused(TOO_DEEP[0], ErrorCode::TooDeep));
        }
        if measured.answered > self.limits.cost {
            return Err(refused(TOO_COMPLEX[0], ErrorCode::TooComplex));
        }
        let literals = misfits(&self.misfit_literals);
        match self.rules.validating(ctx, Box::pin(next.run(ctx))).await {
            Ok(_) if !literals.is_empty() => Err(coded(literals, ErrorCode::ValidationFailed)),
            Ok(mut result) => {
                result.complexity = result.complexity.saturating_sub(measured.written) + measured.answered;
                if result.complexity > self.limits.cost {
                    return Err(refused(TOO_COMPLEX[0], ErrorCode::TooComplex));
                }
                let _ = self.cost.set(result.complexity);
                if let Some(known) = ctx.data_opt::<Arc<CachedDocument>>() {
                    known.found_valid();
                }
                Ok(result)
            }
            Err(mut errors) => {
                errors.extend(literals);
                Err(coded(errors, ErrorCode::ValidationFailed))
            }
        }
    }
}

/// Adds a code to each error, and the cost.
fn finished(mut response: Response, cost: &OnceLock<usize>, limit: usize) -> Response {
    // Resolvers give their errors a code: an error without one is about the value of an argument or variable.
    response.errors = coded(std::mem::take(&mut response.errors), ErrorCode::BadUserInput);
    match cost.get() {
        Some(cost) => response.extension("cost", value!({ "total": *cost, "limit": limit })),
        None => response,
    }
}

fn selected<'a>(
    document: &'a ExecutableDocument,
    name: Option<&str>,
) -> Option<&'a async_graphql::parser::types::OperationDefinition> {
    let operation = match (&document.operations, name) {
        (DocumentOperations::Single(operation), None) => Some(operation),
        (DocumentOperations::Multiple(operations), Some(name)) => operations.get(name),
        (DocumentOperations::Multiple(operations), None) if operations.len() == 1 => {
            operations.values().next()
        }
        _ => None,
    };
    operation.map(|operation| &operation.node)
}

/// The parser's message shows the line of the document with an arrow, and then the expected tokens.
fn in_one_line(mut error: ServerError) -> ServerError {
    if let Some((_, expected)) = error.message.rsplit_once("\n  = ") {
        let place = error.locations.first();
        let place = place.map(|pos| format!(" at line {}, column {}", pos.line, pos.column));
        error.message = format!("Syntax error{}: {expected}.", place.unwrap_or_default());
    }
    error
}

/// An error for a limit that the library does not check, with the library's message.
fn refused(words: &str, code: ErrorCode) -> Vec<ServerError> {
    vec![with_code(ServerError::new(words, None), code)]
}

/// Limits the errors in number and length, and gives each a code.
fn coded(mut errors: Vec<ServerError>, otherwise: ErrorCode) -> Vec<ServerError> {
    errors.truncate(MOST_ERRORS);
    errors
        .into_iter()
        .map(|error| limited(error, otherwise))
        .collect()
}

fn limited(mut error: ServerError, otherwise: ErrorCode) -> ServerError {
    let begins = |words: [&str; 2]| words.iter().any(|words| error.message.starts_with(words));
    let code = if begins(TOO_DEEP) {
        ErrorCode::TooDeep
    } else if begins(TOO_COMPLEX) {
        ErrorCode::TooComplex
    } else {
        otherwise
    };
    if let Some((end, _)) = error.message.char_indices().nth(LONGEST_MESSAGE) {
        error.message.truncate(end);
        error.message.push('…');
    }
    with_code(error, code)
}
