//! The requests that receivers get, in both payload versions (E4, E5, E7).

use serde_json::{Value, json};

use super::content;
use super::schemas::{closed, time};

/// A request in each version.
pub fn webhooks() -> Value {
    let request = |version: &str, schema: &str| {
        json!({
            "post": {
                "operationId": format!("receiveEventV{version}"),
                "summary": format!(
                    "An event, in payload version {version}. Sent at least once; recognise an event by its `webhook-id`."
                ),
                "security": [],
                "parameters": headers(),
                "requestBody": { "required": true, "content": content(schema) },
                "responses": {
                    "2XX": { "description": "The event is delivered. The body is not used." },
                    "default": {
                        "description": "The attempt has failed, redirects included. By default there are retries after \
                                        3, 30 and 150 seconds."
                    }
                }
            }
        })
    };
    json!({ "eventV1": request("1", "PayloadV1"), "eventV2": request("2", "PayloadV2") })
}

fn headers() -> Value {
    let header = |name: &str, description: &str| {
        json!({
            "name": name, "in": "header", "required": true, "schema": { "type": "string" }, "description": description
        })
    };
    json!([
        header(
            "webhook-id",
            "The event's id, the same on every attempt and replay."
        ),
        header(
            "webhook-timestamp",
            "When the attempt was signed, in seconds since 1970."
        ),
        header(
            "webhook-signature",
            "Signatures of Standard Webhooks, separated by spaces."
        ),
        header("tenterhook-webhook", "The webhook's id."),
        header("tenterhook-attempt", "The number of the attempt, from 1.")
    ])
}

/// Any state of an object, as the platform publishes it.
fn state(description: &str) -> Value {
    json!({ "description": description })
}

/// Every payload says the type of its webhook (E4, E5).
fn webhook_type() -> Value {
    json!({ "enum": ["general", "application"], "description": "The webhook's type." })
}

/// Adds properties that not every payload has.
fn add_optional(schema: &mut Value, properties: &Value) {
    for (name, property) in properties.as_object().into_iter().flatten() {
        schema["properties"][name] = property.clone();
    }
}

/// Version 1. Ids of decimal digits are numbers, others are strings.
pub fn v1() -> Value {
    let id = json!({ "type": ["integer", "string"] });
    let filters = closed(json!({ "current": { "type": "array" }, "previous": { "type": "array" } }));
    let mut meta = closed(json!({
        "v": { "const": 1 },
        "type": webhook_type(),
        "action": { "enum": ["added", "updated", "merged", "deleted"] },
        "object": { "type": "string" },
        "id": id,
        "company_id": { "type": "integer" },
        "user_id": { "type": "integer" },
        "host": { "type": "string" },
        "timestamp": { "type": "integer", "description": "In seconds since 1970." },
        "timestamp_micro": { "type": "integer", "description": "In microseconds since 1970." },
        "trans_pending": { "const": false },
        "is_bulk_update": { "type": "boolean" },
        "matches_filters": filters,
        "change_source": { "enum": ["app", "api"] },
        "webhook_id": { "type": "integer" }
    }));
    let settings = json!({
        "permitted_user_ids": {
            "type": "array",
            "items": id,
            "description": "Who may see the object. The operator chooses how \"everyone\" is written: an empty list, \
                            \"*\", or no list."
        },
        "pipedrive_service_name": { "const": false, "description": "The operator may choose another key." }
    });
    add_optional(&mut meta, &settings);
    closed(json!({
        "v": { "const": 1 },
        "matches_filters": filters,
        "meta": meta,
        "retry": { "type": "integer", "minimum": 0, "description": "0 for the first try." },
        "current": state("The object after the event; null if it was deleted."),
        "previous": state("The whole object before the event; null if it was created."),
        "event": { "type": "string", "examples": ["updated.deal"] }
    }))
}

/// Version 2. All ids are strings.
pub fn v2() -> Value {
    let id = json!({ "type": "string" });
    let mut meta = closed(json!({
        "action": { "enum": ["create", "change", "delete"] },
        "entity": { "type": "string" },
        "company_id": id,
        "correlation_id": id,
        "entity_id": id,
        "id": { "type": "string", "format": "uuid" },
        "is_bulk_edit": { "type": "boolean" },
        "timestamp": time(),
        "type": webhook_type(),
        "user_id": id,
        "version": { "const": "2.0" },
        "webhook_id": id,
        "webhook_owner_id": id,
        "change_source": { "enum": ["app", "api"] },
        "attempt": { "type": "integer", "minimum": 1 },
        "host": { "type": "string" }
    }));
    let more = json!({
        "permitted_user_ids": {
            "type": "array", "items": id,
            "description": "Who may see the object; \"*\" for everyone. Absent if the object is a user."
        },
        "merged_to_id": { "type": "string", "description": "Only on the event about an object that was merged into another." },
        "merged_from_id": { "type": "string", "description": "Only on the event about the object that survived a merge." }
    });
    add_optional(&mut meta, &more);
    closed(json!({
        "meta": meta,
        "data": state("The object after the event; null if it was deleted."),
        "previous": state(
            "After a change only the fields that changed, as they were before. Null if the object was created, the whole \
             object if it was deleted."
        )
    }))
}

#[cfg(test)]
mod tests;
