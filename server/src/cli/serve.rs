//! `tenterhook serve`: has no defaults for what production needs, and names what is missing before anything starts.

use std::time::Duration;

use anyhow::{Context, bail};
use secrecy::ExposeSecret;
use tokio::net::TcpListener;

use super::serve_until_signal::{self, Signals};
use tenterhook_clock::Clock;
use tenterhook_settings::{Keys, Settings};
use tenterhook_store::{Store, StoreError, migrations, preconditions};

pub(super) async fn run(settings: Settings) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let Some((settings, listener, clock)) = signals.unless_stopped(prepare(settings)).await? else {
        return Ok(());
    };
    tracing::info!(address = %listener.local_addr()?, "listening");
    serve_until_signal::run(settings, listener, clock, signals).await
}

async fn prepare(mut settings: Settings) -> anyhow::Result<(Settings, TcpListener, Clock)> {
    let missing = settings.missing_in_production();
    let (Some(url), []) = (settings.database_url.clone(), missing.as_slice()) else {
        bail!(
            "`serve` needs these settings (`dev` needs none):\n  {}",
            missing.join("\n  ")
        );
    };
    settings.keys = Some(Keys::load(&settings)?);
    let statement = settings.database_timeout;
    usable(url.expose_secret(), statement)
        .await
        .context("the server cannot use this database")?;
    let pending = migrations::pending(url.expose_secret(), statement).await;
    let pending = pending.context("can't read the schema's version")?;
    if pending > 0 {
        bail!("the database lacks {pending} migration(s) of this release: run `tenterhook migrate` first");
    }
    let listener = serve_until_signal::listen(settings.listen).await?;
    let clock = serve_until_signal::clock(&settings).await?;
    Ok((settings, listener, clock))
}

/// Checks that the server can use the database.
async fn usable(url: &str, statement: Duration) -> Result<(), StoreError> {
    let store = Store::single(url, statement)?;
    preconditions::check(&mut *store.conn().await?).await
}
