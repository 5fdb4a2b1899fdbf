//! Reads a request from the parameters of a URL.

use async_graphql::Value;
use url::form_urlencoded;

use crate::error::RequestError;
use crate::json::{self, Unread};
use crate::limits::MAX_JSON_VALUES;
use crate::raw_request::{Fields, PersistedQuery, RawRequest};

/// Reads the four parameters; others are ignored, as in a body.
pub fn parameters(query: &str) -> Result<RawRequest, RequestError> {
    let mut posted = RawRequest::default();
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
            return Err(RequestError::bad_input(format!(
                "The parameter `{name}` was sent twice."
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

fn variables(text: &str) -> Result<Option<Fields>, RequestError> {
    match parameter("variables", text)? {
        Value::Null => Ok(None),
        Value::Object(fields) => Ok(Some(fields)),
        _ => Err(RequestError::bad_input(
            "The parameter `variables` must be a JSON object.",
        )),
    }
}

fn extensions(text: &str) -> Result<Option<PersistedQuery>, RequestError> {
    match parameter("extensions", text)? {
        Value::Null => Ok(None),
        extensions => PersistedQuery::of(extensions),
    }
}

fn parameter(name: &str, text: &str) -> Result<Value, RequestError> {
    json::read(text.as_bytes(), MAX_JSON_VALUES).map_err(|unread| match unread {
        Unread::TooMuch(too_much) => too_much.into(),
        invalid @ Unread::Invalid { .. } => {
            RequestError::bad_input(format!("The parameter `{name}` is {invalid}."))
        }
    })
}
