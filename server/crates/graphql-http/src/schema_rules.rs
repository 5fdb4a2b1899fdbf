//! What the checks before execution have to know about a schema that the schema itself does not say.

use async_graphql::extensions::ExtensionContext;
use async_graphql::{ServerError, ValidationResult};
use futures_util::future::BoxFuture;

/// The result of a validation.
pub type Validated = Result<ValidationResult, Vec<ServerError>>;

/// Knowledge about a schema's scalars, and a place for the inputs of its complexity functions.
pub trait SchemaRules: Send + Sync + 'static {
    /// Whether this scalar accepts any JSON. A number that would lose digits in a document is refused there.
    fn is_any_json(&self, _scalar: &str) -> bool {
        false
    }

    /// Why a text is not a value of this scalar, as the end of a sentence that begins with the value's path; `None` if
    /// it is one. Checked before execution, because only there the position in a list is known.
    fn unfit(&self, _scalar: &str, _text: &str) -> Option<&'static str> {
        None
    }

    /// Runs a validation. async-graphql calls complexity functions during validation and without a context: an app
    /// can set a task-local for them here.
    fn validating<'a>(
        &'a self,
        _ctx: &'a ExtensionContext<'_>,
        validation: BoxFuture<'a, Validated>,
    ) -> BoxFuture<'a, Validated> {
        validation
    }
}
