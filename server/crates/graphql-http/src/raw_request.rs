//! A request as a client sent it, for all transports.

use async_graphql::indexmap::IndexMap;
use async_graphql::{Name, Value};

use crate::error::{RequestError, Result};
use crate::json;
use crate::load_shedding::Permit;
use crate::persisted::Named;

/// A request as the client sent it.
#[derive(Debug, Default)]
pub struct RawRequest {
    /// The document.
    pub query: Option<String>,
    /// The name of the operation to execute.
    pub operation_name: Option<String>,
    /// Values of its variables.
    pub variables: Option<Fields>,
    /// The document's hash, instead of the document or to register it. Other extensions are ignored.
    pub persisted_query: Option<PersistedQuery>,
    /// The memory reserved for its body.
    pub(crate) permit: Option<Permit>,
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

impl RawRequest {
    /// Reads a JSON text and checks its limits before parsing; `most_values` limits [`json::check_json`].
    pub fn read(text: &[u8], most_values: usize) -> Result<Self> {
        // A list, which would be a batch, is refused too.
        match json::read(text, most_values)? {
            Value::Object(fields) => Self::of(fields),
            _ => Err(RequestError::bad_input(
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
            permit: None,
        })
    }

    /// Whether it has a document or a hash.
    pub fn names_document(&self) -> bool {
        self.query.is_some() || self.persisted_query.is_some()
    }

    pub(crate) fn named(&mut self) -> Result<Named> {
        match self.persisted_query.take() {
            Some(PersistedQuery { version, .. }) if version != 1 => Err(RequestError::bad_input(
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

fn misfit(name: &str, expected: &str) -> RequestError {
    RequestError::bad_input(format!("`{name}` of a request must be {expected}."))
}
