//! The plain HTTP beside GraphQL: is it ready, what are its figures, what can be asked.

use std::sync::{Arc, LazyLock};

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::context::Services;
use super::schema;
use crate::store::{StoreError, partitions};

/// Whether the server should get requests now: it takes work, the database answers, and tomorrow has a place in it.
pub(super) async fn ready(State(services): State<Arc<Services>>) -> Response {
    if !services.gauges.takes_work() {
        return unavailable("starting, stopping, or behind what other processes did");
    }
    match missing_tomorrow(&services).await {
        Ok(missing) if missing.is_empty() => "ready\n".into_response(),
        Ok(missing) => unavailable(&format!("no partition for tomorrow: {}", missing.join(", "))),
        Err(error) => {
            tracing::warn!(%error, "not ready");
            unavailable("the database does not answer")
        }
    }
}

async fn missing_tomorrow(services: &Services) -> Result<Vec<String>, StoreError> {
    let today = partitions::day(services.clock.now());
    partitions::missing(
        &mut *services.store.conn().await?,
        today.tomorrow().unwrap_or(today),
    )
    .await
}

/// The metrics, for Prometheus.
pub(super) async fn metrics(State(services): State<Arc<Services>>) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match services.gauges.page().await {
        Ok(page) => ([(CONTENT_TYPE, OPEN_METRICS)], page).into_response(),
        Err(error) => {
            tracing::warn!(%error, "no metrics");
            unavailable("the database does not answer")
        }
    }
}

/// The schema's text. Anyone may ask, so it is written once.
pub(super) async fn schema() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(schema::sdl);
    &TEXT
}

fn unavailable(why: &str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response()
}
