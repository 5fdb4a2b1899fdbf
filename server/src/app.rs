//! The composition root: everything that runs while the server does.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::clock::Clock;
use crate::config::Settings;

/// Serves on `listener` until `shutdown` resolves, then drains.
pub async fn run(
    _settings: Arc<Settings>,
    listener: TcpListener,
    _clock: Clock,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let router = Router::new().route("/livez", get(|| async { "ok" }));
    axum::serve(listener, router)
        .with_graceful_shutdown(shutdown)
        .await?;
    Ok(())
}
