//! The plain HTTP endpoints: readiness, metrics, the schema.

use std::sync::{Arc, LazyLock};

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use crate::context::Services;
use crate::schema;
use tenterhook_store::{StoreError, partitions};

/// With partitions for fewer days ahead than this, `/readyz` reports the shortage. They are created three days ahead,
/// at the start of each day.
const FEW_DAYS: usize = 2;
/// Response of a probe while the database accepts no changes.
const READ_ONLY: &str = "the database is read-only: it refuses changes";

/// Whether the server should get requests now: it accepts work, the database responds and accepts changes, and the
/// partitions for tomorrow exist.
pub(super) async fn ready(State(services): State<Arc<Services>>) -> Response {
    if let Some(silence) = services.store.silence() {
        return unavailable(&format!(
            "the database has not responded for {} s",
            silence.as_secs()
        ));
    }
    if services.store.refused_changes() {
        return unavailable(READ_ONLY);
    }
    if !services.gauges.takes_work() {
        return unavailable("starting, stopping, or behind on the changes of other processes");
    }
    match look(&services).await {
        Ok(Found::ReadOnly) => unavailable(READ_ONLY),
        Ok(Found::Partitions { missing, .. }) if !missing.is_empty() => {
            unavailable(&format!("no partition for tomorrow: {}", missing.join(", ")))
        }
        Ok(Found::Partitions { days, .. }) if days < FEW_DAYS => {
            tracing::warn!(
                days,
                "partitions are missing for the days ahead, because they cannot be created: see the errors before this line"
            );
            format!("ready, but partitions exist for only {days} day ahead\n").into_response()
        }
        Ok(Found::Partitions { .. }) => match services.gauges.clocks_apart() {
            // No reason to report the server as not ready: see engine/cluster/database_clock.rs.
            Some(ahead) => format!(
                "ready, but the database's clock and this machine's are {:.0} s apart\n",
                ahead.abs().as_secs_f64()
            )
            .into_response(),
            None => "ready\n".into_response(),
        },
        Err(error) => {
            tracing::warn!(%error, "not ready");
            unavailable("the database does not respond")
        }
    }
}

/// State of the database.
enum Found {
    /// It accepts no changes.
    ReadOnly,
    /// Missing partitions for tomorrow, and the number of days for which all exist.
    Partitions { missing: Vec<String>, days: usize },
}

async fn look(services: &Services) -> Result<Found, StoreError> {
    let today = partitions::day(services.clock.now());
    let tomorrow = today.tomorrow().unwrap_or(today);
    let mut conn = services.store.conn().await?;
    if services.store.is_read_only(&mut conn).await? {
        return Ok(Found::ReadOnly);
    }
    Ok(Found::Partitions {
        missing: partitions::missing(&mut conn, tomorrow).await?,
        days: partitions::days_ahead(&mut conn, today).await?,
    })
}

/// Metrics in the format of Prometheus.
pub(super) async fn metrics(State(services): State<Arc<Services>>) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match services.gauges.page().await {
        Ok(page) => ([(CONTENT_TYPE, OPEN_METRICS)], page).into_response(),
        Err(error) => {
            tracing::warn!(%error, "the metrics cannot be read");
            unavailable("the database does not respond")
        }
    }
}

/// The schema's text. Anyone may request it, so it is rendered only once.
pub(super) async fn schema() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(schema::sdl);
    &TEXT
}

fn unavailable(why: &str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response()
}
