//! The OpenAPI 3.1 description of the REST routes and of the requests that receivers get, as in `docs/openapi.json`.
//!
//! Limits are taken from the code. Tests compare the keys of webhooks, inputs and payloads with what the server reads and
//! writes.

mod payloads;
mod schemas;

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::listing::{FARTHEST, MOST};
use super::{BODY_LIMIT, PATHS, TOKEN_HEADER};

/// The description's text. Anyone may request it, so it is made only once.
pub fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| format!("{:#}\n", document()));
    &TEXT
}

fn document() -> Value {
    let mut schemas = schemas::all();
    schemas["PayloadV1"] = payloads::v1();
    schemas["PayloadV2"] = payloads::v2();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tenterhook, REST",
            "summary": "Three calls for existing integrations, and the requests that receivers get.",
            "description": "Creates, lists and deletes webhooks. Everything else is GraphQL: /schema.graphql.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" }
        },
        "servers": [{ "url": "/" }],
        "security": [{ "bearer": [] }, { "header": [] }, { "query": [] }],
        "paths": paths(),
        "webhooks": payloads::webhooks(),
        "components": {
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" },
                "header": { "type": "apiKey", "in": "header", "name": TOKEN_HEADER.as_str() },
                "query": {
                    "type": "apiKey",
                    "in": "query",
                    "name": "api_token",
                    "description": "Only if the operator allows it. Otherwise a request with it gets 401."
                }
            },
            "headers": headers(),
            "responses": responses(),
            "schemas": schemas
        }
    })
}

/// The routes under each of the two paths.
fn paths() -> Value {
    let mut paths = json!({});
    for (path, suffix) in PATHS.iter().zip(["", "Api"]) {
        paths[path] = json!({ "get": list(suffix), "post": create(suffix) });
        paths[format!("{path}/{{id}}")] = json!({ "delete": delete(suffix) });
    }
    paths
}

fn parameter(name: &str, schema: Value, description: &str) -> Value {
    json!({ "name": name, "in": "query", "schema": schema, "description": description })
}

fn list(suffix: &str) -> Value {
    json!({
        "operationId": format!("listWebhooks{suffix}"),
        "summary": "Lists the webhooks that the caller may see, oldest first. Removed ones are not listed.",
        "parameters": [
            parameter("start", json!({ "type": "integer", "minimum": 0, "maximum": FARTHEST, "default": 0 }),
                "Position of the first webhook in the list."),
            parameter("limit", json!({ "type": "integer", "minimum": 1, "maximum": MOST, "default": MOST }),
                "Most webhooks in the response."),
            parameter("type", json!({ "enum": ["general", "application", "automation"] }),
                "Only webhooks of this type. There are none of the type automation."),
        ],
        "responses": with_errors(&["400", "401", "403", "429", "500", "503"], "200", json!({
            "description": "The webhooks. `additional_data` is there if the request has `start` or `limit`, or if more follow.",
            "headers": response_headers(),
            "content": content("List")
        }))
    })
}

fn create(suffix: &str) -> Value {
    json!({
        "operationId": format!("addWebhook{suffix}"),
        "summary": "Creates a webhook. A token that acts through an app creates an application webhook, any other a general one.",
        "requestBody": {
            "required": true,
            "description": format!("At most {BODY_LIMIT} bytes. Unknown keys are ignored."),
            "content": content("NewWebhook")
        },
        "responses": with_errors(
            &["400", "401", "403", "408", "413", "415", "422", "429", "500", "503"], "201", json!({
            "description": "The webhook, and the secret that signs its requests. The secret is returned only here.",
            "headers": response_headers(),
            "content": content("Created")
        }))
    })
}

fn delete(suffix: &str) -> Value {
    json!({
        "operationId": format!("deleteWebhook{suffix}"),
        "summary": "Deletes a webhook. After the response no request to its receiver starts.",
        "parameters": [{
            "name": "id", "in": "path", "required": true,
            "schema": { "$ref": "#/components/schemas/Id" },
            "description": "The webhook's id, which payloads carry as `webhook_id`."
        }],
        "responses": with_errors(&["401", "403", "404", "429", "500", "503"], "200", json!({
            "description": "It is deleted.",
            "headers": response_headers(),
            "content": content("Done")
        }))
    })
}

fn with_errors(errors: &[&str], status: &str, good: Value) -> Value {
    let mut responses = json!({ status: good });
    for error in errors {
        responses[*error] = json!({ "$ref": format!("#/components/responses/{error}") });
    }
    responses
}

fn content(schema: &str) -> Value {
    json!({ "application/json": { "schema": { "$ref": format!("#/components/schemas/{schema}") } } })
}

fn response_headers() -> Value {
    let names = [
        "Link",
        "X-RateLimit-Limit",
        "X-RateLimit-Remaining",
        "X-RateLimit-Reset",
    ];
    names
        .iter()
        .map(|name| {
            (
                (*name).to_owned(),
                json!({ "$ref": format!("#/components/headers/{name}") }),
            )
        })
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn headers() -> Value {
    let header =
        |schema: &str, description: &str| json!({ "schema": { "type": schema }, "description": description });
    json!({
        "Link": header("string", "Where GraphQL is: </graphql>; rel=\"service\". On every response to a call, errors included."),
        "X-RateLimit-Limit": header(
            "integer",
            "Requests that the caller's tightest limit allows at once. Absent if the caller has no limit."
        ),
        "X-RateLimit-Remaining": header("integer", "Requests that are left now."),
        "X-RateLimit-Reset": header("integer", "Seconds until all of them are available again."),
        "Retry-After": header("integer", "Seconds after which a retry may succeed.")
    })
}

fn responses() -> Value {
    let response = |schema: &str, description: &str| {
        json!({
            "description": description,
            "headers": { "Link": { "$ref": "#/components/headers/Link" } },
            "content": content(schema)
        })
    };
    let mut later = response("Failed", "The caller has reached a rate limit.");
    later["headers"] = response_headers();
    let mut unavailable = response("Failed", "The server cannot handle the request now.");
    for waiting in [&mut later, &mut unavailable] {
        waiting["headers"]["Retry-After"] = json!({ "$ref": "#/components/headers/Retry-After" });
    }
    json!({
        "400": response("Invalid", "The input is wrong. `errors` says why, by key."),
        "401": response("Failed", "There is no token, it is not valid, or two tokens differ."),
        "403": response(
            "Forbidden",
            "The token lacks a scope, its app is not installed, `user_id` names another user and the token is not an admin's own, or the caller may not do this with a webhook that it sees."
        ),
        "404": response("Invalid", "There is no such webhook that the caller may see, or it is removed."),
        "408": response("Failed", "The body did not arrive in time."),
        "413": response("Failed", "The body is too large."),
        "415": response("Failed", "The body is not JSON, or is compressed."),
        "422": response("LimitReached", "The user, or the app for the user, has as many webhooks as allowed."),
        "429": later,
        "500": response("Failed", "The server failed. The log has the cause, with the response's x-request-id."),
        "503": unavailable
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::rest::input::{self, KEYS};

    const PUBLISHED: &str = include_str!("../../../../../docs/openapi.json");

    #[test]
    fn the_published_description_is_the_servers() {
        assert_eq!(
            text(),
            PUBLISHED,
            "docs/openapi.json differs from the code. To adopt the change: cargo run -- schema --openapi > docs/openapi.json"
        );
    }

    #[test]
    fn the_input_has_the_keys_that_are_read() {
        let described = schemas::new_webhook();
        let described: BTreeSet<&str> = described["properties"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(described, KEYS.into_iter().collect());
    }

    fn allows_null(schema: &Value) -> bool {
        let has = |keyword: &str, null: &Value| {
            let choices = schema[keyword].as_array();
            choices.is_some_and(|choices| choices.contains(null))
        };
        has("type", &json!("null")) || has("enum", &Value::Null) || has("anyOf", &json!({ "type": "null" }))
    }

    #[test]
    fn the_input_may_be_null_where_the_description_says_so() {
        let described = schemas::new_webhook();
        for key in KEYS {
            let mut body = json!({
                "subscription_url": "https://a.example/", "event_action": "*", "event_object": "*", "name": "n"
            });
            body[key] = Value::Null;
            let read = input::read(body.to_string().as_bytes());
            assert_eq!(allows_null(&described["properties"][key]), read.is_ok(), "{key}");
        }
    }

    /// Every `$ref` in a value.
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                for (name, field) in fields {
                    if name == "$ref" {
                        found.insert(field.as_str().unwrap().to_owned());
                    }
                    references(field, found);
                }
            }
            Value::Array(entries) => entries.iter().for_each(|entry| references(entry, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_resolves_and_every_component_is_used() {
        let document = document();
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        for reference in &found {
            let path = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(path).is_some(), "{reference}");
        }
        for kind in ["headers", "responses", "schemas"] {
            for name in document["components"][kind].as_object().unwrap().keys() {
                assert!(
                    found.contains(&format!("#/components/{kind}/{name}")),
                    "{kind} {name}"
                );
            }
        }
    }
}
