//! Shared by `dev` and `serve`: the listener, the clock, and the signals that stop the server.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, bail};
use secrecy::ExposeSecret;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::{self, Stop};
use tenterhook_clock::Clock;
use tenterhook_settings::{ClockKind, Settings};
use tenterhook_store::{Store, kv_settings};

/// Binds the address early, so that a port in use is reported before a database is started.
pub(super) async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let doing = || format!("can't listen on {address}: choose another with --listen or TENTERHOOK_LISTEN");
    TcpListener::bind(address).await.with_context(doing)
}

/// Runs the server until SIGINT or SIGTERM, which drain it: at once, or after `drain_delay`, during which it still
/// serves and reports that it is not ready. A second signal ends the delay; one during the drain ends the process at
/// once.
pub(super) async fn run(
    settings: Settings,
    listener: TcpListener,
    clock: Clock,
    mut signals: Signals,
) -> anyhow::Result<()> {
    let (delay, stop) = (settings.drain_delay, Stop::default());
    let server = app::run(Arc::new(settings), listener, clock.clone(), stop.clone());
    tokio::pin!(server);
    let mut name = tokio::select! {
        ended = &mut server => return ended,
        name = signals.next() => name,
    };
    if !delay.is_zero() {
        tracing::info!(
            "{name}: /readyz now returns 503, and the server stops in {delay:?}; a second signal ends the wait"
        );
        stop.leave();
        tokio::select! {
            ended = &mut server => return ended,
            () = clock.real_sleep(delay) => {}
            again = signals.next() => name = again,
        }
    }
    tracing::info!("{name}: stopping; a second signal stops at once");
    stop.drain();
    tokio::select! {
        ended = &mut server => ended,
        name = signals.next() => bail!("{name} again: stopped at once; attempts in flight will be repeated"),
    }
}

/// The clock. Simulated time continues where it was when the server last ran on this database.
pub(super) async fn clock(settings: &Settings) -> anyhow::Result<Clock> {
    let real = Clock::system();
    if settings.clock == ClockKind::System {
        return Ok(real);
    }
    let url = settings
        .database_url
        .as_ref()
        .context("DATABASE_URL is not set")?;
    let store = Store::single(url.expose_secret(), settings.database_timeout)?;
    let stored = kv_settings::get(&mut *store.conn().await?, kv_settings::SIMULATED_NOW).await?;
    store.close();
    let start = stored
        .map_or(Ok(real.now()), |text| text.parse())
        .context("the simulated time in the database")?;
    Ok(Clock::simulated(start))
}

/// The process's signal handlers, installed early so that a signal during the start does not kill the process.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Does `work`; `None` if a signal came first and the work was dropped unfinished.
    pub async fn unless_stopped<T>(
        &mut self,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<Option<T>> {
        tokio::select! {
            done = work => done.map(Some),
            name = self.next() => {
                tracing::info!("{name}: stopped before the server was ready");
                Ok(None)
            }
        }
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
