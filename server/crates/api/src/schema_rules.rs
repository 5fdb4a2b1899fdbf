//! The rules of this schema that the checks before execution use.

use std::sync::Arc;

use async_graphql::extensions::ExtensionContext;
use futures_util::future::BoxFuture;
use tenterhook_graphql_http::schema_rules::{SchemaRules, Validated};

use crate::complexity::CostContext;
use crate::context::Services;
use crate::types::scalars;

/// The rules of this schema.
pub struct Rules;

impl SchemaRules for Rules {
    fn is_any_json(&self, scalar: &str) -> bool {
        scalar == scalars::JSON
    }

    fn unfit(&self, scalar: &str, text: &str) -> Option<&'static str> {
        scalars::unfit(scalar, text)
    }

    fn validating<'a>(
        &'a self,
        ctx: &'a ExtensionContext<'_>,
        validation: BoxFuture<'a, Validated>,
    ) -> BoxFuture<'a, Validated> {
        match ctx.data_opt::<Arc<Services>>() {
            Some(services) => Box::pin(CostContext::of(services).over(validation)),
            None => validation,
        }
    }
}
