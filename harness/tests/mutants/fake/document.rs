//! GraphQL documents: a library parses them, and the fake reduces full values to the selected fields.
//!
//! There is no schema: a field that does not exist is null.

use async_graphql::Value as Constant;
use async_graphql::parser::types::{DocumentOperations, ExecutableDocument, Field, Selection, SelectionSet};
use serde_json::{Map, Value, json};

/// A top-level error.
#[derive(Debug)]
pub struct Refused {
    pub code: &'static str,
    pub message: String,
}

impl Refused {
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

/// Executes a document. Calls `resolve` for each root field, with its name and arguments.
pub fn answer(
    query: &str,
    variables: &Value,
    mut resolve: impl FnMut(&str, &Value) -> Result<Value, Refused>,
) -> Value {
    let document = match async_graphql::parser::parse_query(query) {
        Ok(document) => document,
        Err(error) => return refusal(&Refused::new("GRAPHQL_PARSE_FAILED", error.to_string())),
    };
    let DocumentOperations::Single(operation) = &document.operations else {
        return refusal(&Refused::new("BAD_USER_INPUT", "one operation at a time"));
    };
    let mut data = Map::new();
    for selection in &operation.node.selection_set.node.items {
        let Selection::Field(field) = &selection.node else {
            continue;
        };
        let field = &field.node;
        match resolve(field.name.node.as_str(), &arguments(field, variables)) {
            Ok(value) => {
                let value = cut(&value, &field.selection_set.node, &document);
                data.insert(field.response_key().node.to_string(), value);
            }
            Err(refused) => return refusal(&refused),
        }
    }
    json!({"data": data})
}

fn refusal(refused: &Refused) -> Value {
    json!({"data": null, "errors": [{"message": refused.message, "extensions": {"code": refused.code}}]})
}

fn arguments(field: &Field, variables: &Value) -> Value {
    let mut arguments = Map::new();
    for (name, value) in &field.arguments {
        let of_variable = |name: async_graphql::Name| Constant::from_json(variables[name.as_str()].clone());
        let value = value.node.clone().into_const_with(of_variable);
        let value = value.and_then(Constant::into_json).unwrap_or_default();
        arguments.insert(name.node.to_string(), value);
    }
    Value::Object(arguments)
}

fn cut(value: &Value, selections: &SelectionSet, document: &ExecutableDocument) -> Value {
    match value {
        Value::Array(items) => items.iter().map(|item| cut(item, selections, document)).collect(),
        Value::Object(_) if !selections.items.is_empty() => {
            let mut fields = Map::new();
            select(value, selections, document, &mut fields);
            Value::Object(fields)
        }
        other => other.clone(),
    }
}

fn select(
    value: &Value,
    selections: &SelectionSet,
    document: &ExecutableDocument,
    into: &mut Map<String, Value>,
) {
    for selection in &selections.items {
        match &selection.node {
            Selection::Field(field) => {
                let field = &field.node;
                let part = cut(
                    &value[field.name.node.as_str()],
                    &field.selection_set.node,
                    document,
                );
                into.insert(field.response_key().node.to_string(), part);
            }
            Selection::InlineFragment(fragment) => {
                let on = fragment
                    .node
                    .type_condition
                    .as_ref()
                    .map(|on| on.node.on.node.as_str());
                if on.is_none_or(|on| value["__typename"] == on) {
                    select(value, &fragment.node.selection_set.node, document, into);
                }
            }
            Selection::FragmentSpread(spread) => {
                if let Some(fragment) = document.fragments.get(&spread.node.fragment_name.node) {
                    select(value, &fragment.node.selection_set.node, document, into);
                }
            }
        }
    }
}
