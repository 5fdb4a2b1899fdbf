//! The REST routes of the fake: a request becomes an operation of GraphQL, and its result the JSON of REST.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State as Shared};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use serde_json::{Value, json};

use super::caller::Caller;
use super::document::Refused;
use super::json::Json;
use super::{Fake, key};

type Parameters = Query<BTreeMap<String, String>>;
/// Status and body of a response.
type Answer = (StatusCode, Value);

/// The actions in version 1 and version 2, and in GraphQL.
const ACTIONS: [(&str, &str, &str); 5] = [
    ("*", "*", "ANY"),
    ("added", "create", "CREATE"),
    ("updated", "change", "CHANGE"),
    ("merged", "", "MERGE"),
    ("deleted", "delete", "DELETE"),
];

pub fn router() -> Router<Arc<Fake>> {
    let mut routes = Router::new();
    for path in ["/v1/webhooks", "/api/v1/webhooks"] {
        routes = routes
            .route(path, get(list).post(create))
            .route(&format!("{path}/{{id}}"), delete(remove));
    }
    routes
}

async fn list(Shared(fake): Shared<Arc<Fake>>, headers: HeaderMap, Query(query): Parameters) -> Response {
    let kind = query.get("type").map(|kind| kind.to_uppercase());
    let found = match ask(&fake, &headers, &query, "webhooks", json!({"type": kind})) {
        Ok(found) => found,
        Err(refused) => return answer(refused),
    };
    let nodes = found["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let data: Vec<Value> = nodes.iter().rev().map(shown).collect();
    answer((
        StatusCode::OK,
        json!({"status": "ok", "success": true, "data": data}),
    ))
}

async fn create(
    Shared(fake): Shared<Arc<Fake>>,
    headers: HeaderMap,
    Query(query): Parameters,
    Json(body): Json,
) -> Response {
    let v1 = body["version"] == "1.0";
    let word = body["event_action"].as_str().unwrap_or_default();
    let is_word = |(in_v1, in_v2, _): &&(&str, &str, &str)| word == if v1 { *in_v1 } else { *in_v2 };
    let Some((_, _, action)) = ACTIONS.iter().find(is_word) else {
        return answer(wrong("event_action"));
    };
    let input = json!({
        "subscriptionUrl": body["subscription_url"], "eventAction": action, "eventObject": body["event_object"],
        "version": if v1 { "V1" } else { "V2" }, "name": body["name"],
        "userId": body["user_id"].as_u64().map(|user| user.to_string()),
        "httpAuthUser": body["http_auth_user"], "httpAuthPassword": body["http_auth_password"],
    });
    match ask(&fake, &headers, &query, "createWebhook", json!({"input": input})) {
        Ok(made) => {
            let secret = json!({"signing_secret": made["signingSecret"]});
            let data = shown(&made["webhook"]);
            let body = json!({"status": "ok", "success": true, "data": data, "additional_data": secret});
            answer((StatusCode::CREATED, body))
        }
        Err(refused) => answer(refused),
    }
}

async fn remove(
    Shared(fake): Shared<Arc<Fake>>,
    headers: HeaderMap,
    Query(query): Parameters,
    Path(id): Path<String>,
) -> Response {
    match ask(
        &fake,
        &headers,
        &query,
        "deleteWebhook",
        json!({"input": {"id": id}}),
    ) {
        Ok(_) => answer((StatusCode::OK, json!({"status": "ok", "success": true}))),
        Err(refused) => answer(refused),
    }
}

/// The result of an operation for the caller whose token is in one of the three places, or the response of an error.
fn ask(
    fake: &Arc<Fake>,
    headers: &HeaderMap,
    query: &BTreeMap<String, String>,
    field: &str,
    arguments: Value,
) -> Result<Value, Answer> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let token = header("x-api-token").or_else(|| query.get("api_token").map(String::as_str));
    let bearer = token.map(|token| format!("Bearer {token}"));
    let authorization = header("authorization").or(bearer.as_deref());
    let caller = Caller::of(authorization, &key(), fake.lock().now);
    let caller = caller.ok_or_else(unauthorized)?;
    let caller = Caller {
        through_rest: true,
        ..caller
    };
    let result = fake
        .resolve(&caller, field, &arguments)
        .map_err(|refused| of_request(&refused))?;
    match &result["userErrors"][0] {
        Value::Null => Ok(result),
        error => Err(of_input(error)),
    }
}

fn of_request(refused: &Refused) -> Answer {
    match refused.code {
        "UNAUTHENTICATED" => unauthorized(),
        "FORBIDDEN" => forbidden(),
        _ => wrong("request"),
    }
}

fn of_input(error: &Value) -> Answer {
    let code = error["code"].as_str().unwrap_or_default();
    let field = error["path"][1].as_str().unwrap_or_default();
    let with = |status, mut body: Value, additional: Value| {
        body["additional_data"] = additional;
        (status, body)
    };
    match (code, field) {
        ("FORBIDDEN" | "APP_NOT_INSTALLED", _) => forbidden(),
        ("LIMIT_REACHED", _) => with(
            StatusCode::UNPROCESSABLE_ENTITY,
            faults("user_id", "Webhooks limit reached"),
            json!({"limit": error["limit"], "used": error["used"]}),
        ),
        (_, "id") => (StatusCode::NOT_FOUND, faults("id", "not found")),
        ("INVALID_URL", _) => with(
            StatusCode::BAD_REQUEST,
            faults("subscription_url", "invalid or non-reachable URL"),
            json!({"reason": error["message"]}),
        ),
        (_, "subscriptionUrl") => wrong("subscription_url"),
        (_, "eventAction") => wrong("event_action"),
        (_, "eventObject") => wrong("event_object"),
        (_, "userId") => wrong("user_id"),
        (_, other) => wrong(other),
    }
}

fn faults(key: &str, why: &str) -> Value {
    json!({"status": "error", "success": false, "errors": {key: [why]}})
}

fn wrong(key: &str) -> Answer {
    (StatusCode::BAD_REQUEST, faults(key, "is wrong"))
}

fn unauthorized() -> Answer {
    let body = json!({"success": false, "error": "unauthorized access", "errorCode": 401});
    (StatusCode::UNAUTHORIZED, body)
}

fn forbidden() -> Answer {
    let body = json!({"success": false, "message": "Forbidden"});
    (StatusCode::FORBIDDEN, body)
}

fn answer((status, body): Answer) -> Response {
    (status, [("link", "</graphql>; rel=\"service\"")], Json(body)).into_response()
}

/// A webhook of GraphQL in the JSON of REST.
fn shown(webhook: &Value) -> Value {
    let health = &webhook["health"];
    let number = |field: &str| webhook[field].as_str().and_then(|text| text.parse::<u64>().ok());
    let lower = |value: &Value| value.as_str().map(str::to_lowercase);
    let v1 = webhook["version"] == "V1";
    let action = ACTIONS
        .iter()
        .find(|(_, _, word)| webhook["eventAction"] == *word);
    let next = &health["nextTransition"];
    let next = (!next.is_null())
        .then(|| json!({"at": next["at"], "to": lower(&next["to"]), "because": next["because"]}));
    json!({
        "id": number("number"), "company_id": number("companyId"), "owner_id": number("ownerId"),
        "user_id": number("userId"), "admin_id": number("ownerId"),
        "event_action": action.map(|(in_v1, in_v2, _)| if v1 { *in_v1 } else { *in_v2 }),
        "event_object": webhook["eventObject"], "subscription_url": webhook["subscriptionUrl"],
        "version": if v1 { "1.0" } else { "2.0" }, "is_active": u8::from(health["state"] == "ACTIVE"),
        "add_time": webhook["createdAt"], "remove_time": webhook["removedAt"],
        "type": lower(&webhook["type"]), "http_auth_user": webhook["httpAuthUser"], "http_auth_password": null,
        "remove_reason": lower(&webhook["removeReason"]), "last_delivery_time": health["lastAttemptAt"],
        "last_http_status": health["lastHttpStatus"], "name": webhook["name"],
        "health": {
            "state": lower(&health["state"]), "ban_counter": health["banCounter"],
            "ban_threshold": health["banThreshold"], "banned_until": health["bannedUntil"],
            "failing_since": health["failingSince"], "removal_due_at": health["removalDueAt"],
            "last_success_at": health["lastSuccessAt"], "last_error_class": lower(&health["lastErrorClass"]),
            "lost_count": health["lostCount"], "next_transition": next,
        },
    })
}
