//! A code for every error that the GraphQL library makes itself, told by the stage that it comes from.

use std::sync::Arc;

use async_graphql::extensions::{
    Extension, ExtensionContext, ExtensionFactory, NextParseQuery, NextRequest, NextSubscribe, NextValidation,
};
use async_graphql::parser::types::ExecutableDocument;
use async_graphql::{Response, ServerError, ServerResult, ValidationResult, Variables, async_trait};

use futures_util::StreamExt;
use futures_util::stream::BoxStream;

use super::error::{ErrorCode, with_code};

/// Errors of one answer: a document can be wrong in as many places as it has tokens.
const MOST_ERRORS: usize = 20;

/// The library's own words where a limit is reached; it has no other way to tell.
const TOO_DEEP: [&str; 2] = ["Query is nested too deep.", "The recursion depth of the query"];
const TOO_COMPLEX: [&str; 2] = ["Query is too complex.", "The number of directives"];

/// Gives codes. Made for each request.
pub struct Stages;

impl ExtensionFactory for Stages {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self)
    }
}

#[async_trait::async_trait]
impl Extension for Stages {
    async fn request(&self, ctx: &ExtensionContext<'_>, next: NextRequest<'_>) -> Response {
        finished(next.run(ctx).await)
    }

    fn subscribe<'s>(
        &self,
        ctx: &ExtensionContext<'_>,
        stream: BoxStream<'s, Response>,
        next: NextSubscribe<'_>,
    ) -> BoxStream<'s, Response> {
        next.run(ctx, stream).map(finished).boxed()
    }

    async fn parse_query(
        &self,
        ctx: &ExtensionContext<'_>,
        query: &str,
        variables: &Variables,
        next: NextParseQuery<'_>,
    ) -> ServerResult<ExecutableDocument> {
        next.run(ctx, query, variables)
            .await
            .map_err(|error| coded(error, ErrorCode::ParseFailed))
    }

    async fn validation(
        &self,
        ctx: &ExtensionContext<'_>,
        next: NextValidation<'_>,
    ) -> Result<ValidationResult, Vec<ServerError>> {
        next.run(ctx).await.map_err(|errors| {
            errors
                .into_iter()
                .map(|error| coded(error, ErrorCode::ValidationFailed))
                .collect()
        })
    }
}

fn finished(mut response: Response) -> Response {
    response.errors.truncate(MOST_ERRORS);
    // Resolvers give their errors a code: one without is about an argument's or a variable's value.
    for error in &mut response.errors {
        *error = with_code(error.clone(), ErrorCode::BadUserInput);
    }
    response
}

fn coded(error: ServerError, otherwise: ErrorCode) -> ServerError {
    let begins = |words: [&str; 2]| words.iter().any(|words| error.message.starts_with(words));
    let code = if begins(TOO_DEEP) {
        ErrorCode::TooDeep
    } else if begins(TOO_COMPLEX) {
        ErrorCode::TooComplex
    } else {
        otherwise
    };
    with_code(error, code)
}
