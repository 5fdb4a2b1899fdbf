//! `/sim/…`: lets the caller control the time of a server that runs on a simulated clock.
//!
//! These routes exist only with a simulated clock, and only operators may use them. An advance returns when
//! everything that became due has settled. Two concurrent advances have no guaranteed order.

use std::str::FromStr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRef, Request, State};
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use jiff::{SignedDuration, Span, Timestamp};
use serde::Deserialize;
use serde_json::json;

use crate::auth::authenticate;
use crate::context::Services;
use crate::session::Session;
use tenterhook_clock::{AdvanceError, SimClock};
use tenterhook_model::access::Caller;
use tenterhook_model::attempt::request_name;
use tenterhook_settings::files::without_mark;

/// The routes; `None` with the system clock.
pub fn router(services: &Arc<Services>) -> Option<Router> {
    let simulation = Simulation {
        clock: services.clock.simulation()?.clone(),
        attempts: services.policy().attempts(),
    };
    let routes = Router::new()
        .route("/sim/clock", get(now))
        .route("/sim/clock/advance", post(advance))
        .route("/sim/clock/advance-to-next", post(advance_to_next))
        .route("/sim/settle", post(settle))
        .route("/sim/stalled", post(stalled).delete(not_stalled))
        .route_layer(middleware::from_fn_with_state(services.clone(), operators_only))
        .with_state(simulation);
    Some(routes)
}

/// What the routes use.
#[derive(Clone, FromRef)]
struct Simulation {
    clock: SimClock,
    /// The number of attempts of a delivery by the settings (D4): the highest number of an attempt that can stall.
    #[from_ref(skip)]
    attempts: u8,
}

async fn operators_only(State(services): State<Arc<Services>>, request: Request, next: Next) -> Response {
    let authorization = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    match authenticate(&services, authorization).await {
        Ok(Session {
            caller: Caller::Operator,
            ..
        }) => next.run(request).await,
        Ok(_) => refusal(StatusCode::FORBIDDEN, FORBIDDEN),
        Err(_) => refusal(StatusCode::UNAUTHORIZED, "an operator's bearer token is needed"),
    }
}

const FORBIDDEN: &str = "only a token with the scope `operator` may read or move simulated time";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    by: String,
}

/// The body with which a receiver says that it will not respond before time moves; with DELETE, that it will respond.
#[derive(Deserialize)]
#[serde(untagged)]
enum Stalled {
    Attempt {
        #[serde(rename = "messageId")]
        message_id: uuid::Uuid,
        webhook: Number,
        attempt: u8,
    },
    Target {
        target: String,
    },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Number(i64),
    Text(String),
}

async fn now(State(clock): State<SimClock>) -> Response {
    moment(&clock)
}

async fn advance(State(clock): State<SimClock>, body: String) -> Response {
    let by = match serde_json::from_slice::<Advance>(without_mark(body.as_bytes())) {
        Ok(Advance { by }) => by,
        Err(_) => {
            return refusal(
                StatusCode::BAD_REQUEST,
                "the body must be an object such as {\"by\":\"PT30M\"}, with an ISO 8601 duration",
            );
        }
    };
    match duration(&by) {
        Some(by) => answer(&clock, clock.advance(by).await),
        None => refusal(
            StatusCode::BAD_REQUEST,
            "`by` must be an ISO 8601 duration in days or smaller units, such as PT30M or P3D",
        ),
    }
}

async fn advance_to_next(State(clock): State<SimClock>) -> Response {
    answer(&clock, clock.advance_to_next().await)
}

async fn settle(State(clock): State<SimClock>) -> Response {
    answer(&clock, clock.advance(SignedDuration::ZERO).await)
}

async fn stalled(State(Simulation { clock, attempts }): State<Simulation>, body: String) -> Response {
    match Stall::read(&body, attempts) {
        Ok(Stall::Request(name)) => clock.stall_request(&name),
        Ok(Stall::Target(target)) => clock.stall_target(&target),
        Err(why) => return refusal(StatusCode::BAD_REQUEST, &why),
    }
    moment(&clock)
}

/// Without a body all stalled targets are cleared, but no attempts: each receiver reports its own.
async fn not_stalled(State(Simulation { clock, attempts }): State<Simulation>, body: String) -> Response {
    if body.trim().is_empty() {
        clock.clear_stalled_targets();
        return moment(&clock);
    }
    match Stall::read(&body, attempts) {
        Ok(Stall::Request(name)) => clock.resume_request(&name),
        Ok(Stall::Target(target)) => clock.resume_target(&target),
        Err(why) => return refusal(StatusCode::BAD_REQUEST, &why),
    }
    moment(&clock)
}

/// What stalls: the request of one attempt, by its name, or all requests to a host and port.
enum Stall {
    Request(String),
    Target(String),
}

impl Stall {
    /// Reads the body of a request. `attempts` is the number of attempts of a delivery.
    fn read(body: &str, attempts: u8) -> Result<Self, String> {
        match serde_json::from_slice(without_mark(body.as_bytes())) {
            Ok(Stalled::Attempt {
                message_id,
                webhook,
                attempt,
            }) if (1..=attempts).contains(&attempt) => {
                let number = webhook.get();
                let number = number.ok_or_else(|| "`webhook` must be the webhook's number".to_owned())?;
                Ok(Self::Request(request_name(message_id, number, attempt)))
            }
            Ok(Stalled::Target { target }) => Ok(Self::Target(target)),
            Ok(Stalled::Attempt { .. }) | Err(_) => Err(format!(
                "the body must be {{\"messageId\":…,\"webhook\":…,\"attempt\":1–{attempts}}} or \
                 {{\"target\":\"127.0.0.1:9000\"}}"
            )),
        }
    }
}

impl Number {
    fn get(self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(number),
            Self::Text(text) => text.parse().ok(),
        }
    }
}

/// An ISO 8601 duration. A day is 24 hours. Months and years are refused, because their length varies.
fn duration(text: &str) -> Option<SignedDuration> {
    let span = Span::from_str(text).ok()?;
    span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok()
}

fn answer(clock: &SimClock, moved: Result<Timestamp, AdvanceError>) -> Response {
    match moved {
        Ok(_) => moment(clock),
        Err(error @ AdvanceError::Busy(_)) => refusal(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
        Err(error) => refusal(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}

fn moment(clock: &SimClock) -> Response {
    let iso = |at: Timestamp| format!("{at:.3}");
    let moment = json!({ "now": iso(clock.now()), "nextDueAt": clock.next_due_at().map(iso) });
    written(StatusCode::OK, &moment)
}

fn refusal(status: StatusCode, message: &str) -> Response {
    written(status, &json!({ "error": message }))
}

fn written(status: StatusCode, content: &serde_json::Value) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], content.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_iso_and_days_have_24_hours() {
        assert_eq!(duration("PT30M"), Some(SignedDuration::from_mins(30)));
        assert_eq!(duration("P3D"), Some(SignedDuration::from_hours(72)));
        assert_eq!(duration("PT0S"), Some(SignedDuration::ZERO));
        assert_eq!(duration("P1M"), None);
        assert_eq!(duration("soon"), None);
    }
}
