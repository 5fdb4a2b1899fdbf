//! The routes: `/graphql`, those of REST, `/sim/…`, `/metrics` and readiness.

use std::sync::Arc;

use axum::Router;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use jiff::{SignedDuration, Span, SpanRelativeTo};
use serde_json::{Value, json};

use super::caller::Caller;
use super::document::{Refused, answer};
use super::json::Json;
use super::live;
use super::rest;
use super::view::time;
use super::{Fake, key};

type Answer = (StatusCode, Json);

pub fn router(fake: Arc<Fake>) -> Router {
    Router::new()
        .route("/livez", get(async || "alive"))
        .route("/readyz", get(async || "ready"))
        .route(
            "/metrics",
            get(async |Shared(fake): Shared<Arc<Fake>>| fake.lock().metrics()),
        )
        .route("/graphql", post(graphql))
        .route("/graphql/ws", get(live::open))
        .route(
            "/sim/clock",
            get(async |Shared(fake): Shared<Arc<Fake>>| moment(&fake, true)),
        )
        .route(
            "/sim/settle",
            post(async |Shared(fake): Shared<Arc<Fake>>| {
                moment(&fake, fake.advance(SignedDuration::ZERO).await)
            }),
        )
        .route("/sim/clock/advance", post(advance))
        .route("/sim/clock/advance-to-next", post(advance_to_next))
        .route("/sim/stalled", post(stalled).delete(not_stalled))
        .merge(rest::router())
        .with_state(fake)
}

async fn graphql(Shared(fake): Shared<Arc<Fake>>, headers: HeaderMap, Json(request): Json) -> Answer {
    let header = headers.get("authorization").and_then(|value| value.to_str().ok());
    let caller = Caller::of(header, &key(), fake.lock().now);
    let query = request["query"].as_str().unwrap_or_default();
    let answer = answer(query, &request["variables"], |field, arguments| match &caller {
        Some(caller) => fake.resolve(caller, field, arguments),
        None => Err(Refused::new("UNAUTHENTICATED", "a bearer token is needed")),
    });
    let unknown = answer["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED";
    (
        if unknown {
            StatusCode::UNAUTHORIZED
        } else {
            StatusCode::OK
        },
        Json(answer),
    )
}

async fn advance(Shared(fake): Shared<Arc<Fake>>, Json(body): Json) -> Answer {
    let by = body["by"].as_str().and_then(|text| text.parse::<Span>().ok());
    let by = by.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    match by {
        Some(by) => moment(&fake, fake.advance(by).await),
        None => (
            StatusCode::BAD_REQUEST,
            Json(json!({"error": "`by` must be a duration"})),
        ),
    }
}

async fn advance_to_next(Shared(fake): Shared<Arc<Fake>>) -> Answer {
    let wait = {
        let state = fake.lock();
        state.next_due().map(|due| due.duration_since(state.now))
    };
    moment(&fake, fake.advance(wait.unwrap_or(SignedDuration::ZERO)).await)
}

async fn stalled(Shared(fake): Shared<Arc<Fake>>, Json(body): Json) -> Answer {
    match body["target"].as_str() {
        Some(target) => drop(fake.lock().stalled_targets.insert(target.to_owned())),
        None => drop(fake.lock().stalled.insert(attempt(&body))),
    }
    fake.changed.notify_waiters();
    moment(&fake, true)
}

/// With a body, resumes only what it names. Without one, resumes all targets.
async fn not_stalled(Shared(fake): Shared<Arc<Fake>>, body: String) -> Answer {
    let body: Value = serde_json::from_str(&body).unwrap_or_default();
    match body["target"].as_str() {
        Some(target) => drop(fake.lock().stalled_targets.remove(target)),
        None if body.is_null() => fake.lock().stalled_targets.clear(),
        None => drop(fake.lock().stalled.remove(&attempt(&body))),
    }
    moment(&fake, true)
}

fn attempt(body: &Value) -> (String, String, u8) {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let number = body["attempt"]
        .as_u64()
        .and_then(|number| u8::try_from(number).ok());
    (
        text(&body["messageId"]),
        text(&body["webhook"]),
        number.unwrap_or(0),
    )
}

fn moment(fake: &Fake, settled: bool) -> Answer {
    if !settled {
        let error = json!({"error": "a receiver neither answers nor says that it will not"});
        return (StatusCode::SERVICE_UNAVAILABLE, Json(error));
    }
    let state = fake.lock();
    let shown = json!({"now": time(state.now), "nextDueAt": state.next_due().map(time)});
    (StatusCode::OK, Json(shown))
}
