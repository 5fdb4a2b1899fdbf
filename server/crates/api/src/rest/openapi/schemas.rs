//! The schemas of what the REST routes read and write.

use serde_json::{Value, json};

use crate::rest::listing::MOST;
use tenterhook_model::ids::MAX_DECIMAL_ID;
use tenterhook_outbound_http::target::URL_CHARS;
use tenterhook_policy::input_limits::{CREDENTIAL_CHARS, NAME_CHARS};

/// All schemas but those of payloads.
pub fn all() -> Value {
    json!({
        "Id": { "type": "integer", "minimum": 1, "maximum": MAX_DECIMAL_ID },
        "Webhook": webhook(),
        "Health": health(),
        "NewWebhook": new_webhook(),
        "List": good(
            Some(json!({ "type": "array", "maxItems": MOST, "items": { "$ref": "#/components/schemas/Webhook" } })),
            json!({ "properties": { "pagination": pagination() }, "required": ["pagination"] }),
            false
        ),
        "Created": good(
            Some(json!({ "$ref": "#/components/schemas/Webhook" })),
            json!({
                "properties": { "signing_secret": { "type": "string", "pattern": "^whsec_" } },
                "required": ["signing_secret"]
            }),
            true
        ),
        "Done": good(None, Value::Null, false),
        "Invalid": invalid(json!({
            "properties": { "reason": { "type": "string", "description": "Why a URL cannot be used." } }
        })),
        "LimitReached": invalid(json!({
            "properties": { "limit": { "type": "integer" }, "used": { "type": "integer" } },
            "required": ["limit", "used"]
        })),
        "Failed": {
            "type": "object",
            "properties": {
                "success": { "const": false },
                "error": { "type": "string" },
                "errorCode": { "type": "integer", "description": "The HTTP status." }
            },
            "required": ["success", "error", "errorCode"]
        },
        "Forbidden": {
            "type": "object",
            "properties": { "success": { "const": false }, "message": { "const": "Forbidden" } },
            "required": ["success", "message"]
        }
    })
}

fn good(data: Option<Value>, additional: Value, has_additional: bool) -> Value {
    let mut schema = json!({
        "type": "object",
        "properties": { "status": { "const": "ok" }, "success": { "const": true } },
        "required": ["status", "success"]
    });
    let mut required = vec!["status", "success"];
    if let Some(data) = data {
        schema["properties"]["data"] = data;
        required.push("data");
    }
    if let Value::Object(mut object) = additional {
        object.insert("type".to_owned(), json!("object"));
        schema["properties"]["additional_data"] = object.into();
        required.extend(has_additional.then_some("additional_data"));
    }
    schema["required"] = json!(required);
    schema
}

fn invalid(mut additional: Value) -> Value {
    additional["type"] = json!("object");
    json!({
        "type": "object",
        "properties": {
            "status": { "const": "error" },
            "success": { "const": false },
            "errors": {
                "type": "object",
                "description": "The faulty keys of the input, each with the reasons.",
                "additionalProperties": { "type": "array", "items": { "type": "string" }, "minItems": 1 }
            },
            "additional_data": additional
        },
        "required": ["status", "success", "errors"]
    })
}

fn pagination() -> Value {
    json!({
        "type": "object",
        "properties": {
            "start": { "type": "integer" },
            "limit": { "type": "integer" },
            "more_items_in_collection": { "type": "boolean" },
            "next_start": {
                "type": ["integer", "null"],
                "description": "The `start` of the next request; null if no more follow."
            }
        },
        "required": ["start", "limit", "more_items_in_collection", "next_start"]
    })
}

/// An object with these properties, all of them required.
pub fn closed(properties: Value) -> Value {
    let names: Vec<&String> = properties
        .as_object()
        .map(|all| all.keys().collect())
        .unwrap_or_default();
    let required = json!(names);
    json!({ "type": "object", "properties": properties, "required": required })
}

/// A time, in ISO 8601.
pub fn time() -> Value {
    json!({ "type": "string", "format": "date-time" })
}

fn maybe_time(description: &str) -> Value {
    json!({ "type": ["string", "null"], "format": "date-time", "description": description })
}

fn webhook() -> Value {
    let id = json!({ "$ref": "#/components/schemas/Id" });
    closed(json!({
        "id": id,
        "company_id": id,
        "owner_id": { "$ref": "#/components/schemas/Id", "description": "Who created it." },
        "user_id": {
            "$ref": "#/components/schemas/Id",
            "description": "The user that it belongs to. Only events that this user may see are sent."
        },
        "event_action": { "type": "string", "description": "In the words of its version." },
        "event_object": { "type": "string" },
        "subscription_url": { "type": "string", "format": "uri" },
        "version": { "enum": ["1.0", "2.0"] },
        "is_active": { "enum": [0, 1], "description": "1 only while events are sent: 0 during a ban and a pause." },
        "add_time": time(),
        "remove_time": maybe_time("When it was removed."),
        "type": { "enum": ["general", "application"] },
        "http_auth_user": { "type": ["string", "null"] },
        "http_auth_password": { "type": "null", "description": "Never returned." },
        "remove_reason": { "type": ["string", "null"] },
        "last_delivery_time": maybe_time("When the last attempt ended."),
        "last_http_status": { "type": ["integer", "null"], "description": "Of the last attempt; null without a response." },
        "admin_id": { "$ref": "#/components/schemas/Id", "description": "As `owner_id`." },
        "name": { "type": ["string", "null"] },
        "health": { "$ref": "#/components/schemas/Health" }
    }))
}

fn health() -> Value {
    let mut health = closed(json!({
        "state": { "enum": ["active", "banned", "paused", "removed"] },
        "ban_counter": { "type": "integer", "description": "Failed first tries since the last ban ended." },
        "ban_threshold": { "type": "integer", "description": "Failed first tries at which a ban starts." },
        "banned_until": maybe_time("When the ban ends."),
        "failing_since": maybe_time("The first failed attempt since the last success."),
        "removal_due_at": maybe_time("When it is removed unless a delivery succeeds before."),
        "last_success_at": maybe_time("When the last successful attempt ended."),
        "last_error_class": { "type": ["string", "null"], "description": "Why the last attempt failed." },
        "lost_count": { "type": "integer", "description": "Deliveries lost in the current or last ban." },
        "next_transition": {
            "type": ["object", "null"],
            "description": "The next change of state that time alone causes.",
            "properties": { "at": time(), "to": { "type": "string" }, "because": { "type": "string" } },
            "required": ["at", "to", "because"]
        }
    }));
    health["description"] = json!("Not a part of Pipedrive's API.");
    health
}

/// The body of a creation. Null counts as absent, so what is not required may be null.
pub fn new_webhook() -> Value {
    let text = |description: &str| json!({ "type": "string", "description": description });
    json!({
        "type": "object",
        "properties": {
            "subscription_url": {
                "type": "string", "format": "uri", "maxLength": URL_CHARS,
                "description": "Publicly reachable, http or https."
            },
            "event_action": text("Version 2.0: create, change, delete. Version 1.0: added, updated, merged, deleted. * in both."),
            "event_object": text("An object of the catalogue of the version, or *."),
            "name": { "type": "string", "minLength": 1, "maxLength": NAME_CHARS },
            "user_id": {
                "anyOf": [{ "$ref": "#/components/schemas/Id" }, { "type": "null" }],
                "description": "The user that it belongs to. Default: the caller. Only an admin may name another user."
            },
            "http_auth_user": { "type": ["string", "null"], "maxLength": CREDENTIAL_CHARS },
            "http_auth_password": { "type": ["string", "null"], "maxLength": CREDENTIAL_CHARS },
            "version": { "enum": ["1.0", "2.0", null], "default": "2.0" }
        },
        "required": ["subscription_url", "event_action", "event_object", "name"]
    })
}
