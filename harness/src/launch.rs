//! Starts the server in this process. The only file of the harness that knows it.
//!
//! Promises to use what a person who starts the server uses: settings, a clock, a Postgres, `run`. Nothing of what the
//! harness judges comes from here.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use tenterhook::app::{self, Stop};
use tenterhook_clock::{Clock, SimClock};
use tenterhook_embedded_postgres::{self as embedded, EmbeddedPostgres};
use tenterhook_settings::{ClockKind, Keys, Settings, TokenKeys};
use tenterhook_store::distribution::{self, Plan};
use tenterhook_store::{Limits, Sessions, Store, migrations, partitions};

use crate::client::Client;
use crate::realtime::{self, PATIENCE};
use crate::signature::Keyring;
use crate::timekeeper::{AttemptName, Timekeeper};
use crate::token::TokenKey;

/// Few: worlds run side by side.
const SERVER_THREADS: usize = 2;
const DAY: SignedDuration = SignedDuration::from_hours(24);
/// How many days ahead a server makes partitions. It makes at its start what is missing here.
const DAYS_AHEAD: i32 = 3;

/// The folder with the programs of a Postgres, found as the server would find them.
///
/// # Errors
///
/// When there is none, with the ways out.
pub async fn postgres_programs() -> anyhow::Result<PathBuf> {
    let chosen = std::env::var_os("PG_BIN_DIR").map(PathBuf::from);
    let (folder, _) = embedded::programs(chosen.as_deref()).await?;
    Ok(folder)
}

/// A Postgres that stops with this process and keeps nothing.
pub struct Postgres(EmbeddedPostgres);

impl Postgres {
    /// Finds and starts one, as the server would.
    pub async fn start() -> anyhow::Result<Self> {
        Ok(Self(EmbeddedPostgres::temporary().await?))
    }

    /// What to connect to one of its databases with.
    pub fn config(&self, database: &str) -> anyhow::Result<tokio_postgres::Config> {
        Ok(self.0.url(database).parse()?)
    }

    /// Gives a database the server's schema.
    pub async fn migrate(&self, database: &str) -> anyhow::Result<()> {
        migrations::run_pending(&self.0.url(database))
            .await
            .context("the migrations failed")?;
        Ok(())
    }

    /// Gives a database with the schema the partitions that a server which starts at this moment would make in it.
    pub async fn make_partitions(&self, database: &str, start: Timestamp) -> anyhow::Result<()> {
        let sessions = Sessions {
            limits: Limits::long(migrations::LIMIT),
            reads: false,
        };
        let store = Store::open(&self.0.url(database), 1, sessions, Arc::default())?;
        let (first, last) = (start - DAY, start + DAYS_AHEAD * DAY);
        let (first, last) = (partitions::day(first), partitions::day(last));
        partitions::ensure(&mut *store.conn().await?, first, last)
            .await
            .context("the partitions could not be made")?;
        Ok(())
    }
}

/// Gives a database of a Citus cluster the server's schema, and lays it over the cluster.
pub async fn distribute(url: &str, shards: u16) -> anyhow::Result<()> {
    migrations::run_pending(url)
        .await
        .context("the migrations failed")?;
    let sessions = Sessions {
        limits: Limits::long(migrations::LIMIT),
        reads: false,
    };
    let store = Store::open(url, 1, sessions, Arc::default())?;
    let mut conn = store.conn().await?;
    let plan = Plan::new(&distribution::placed(&mut conn).await?, shards);
    distribution::carry_out(&mut conn, &plan)
        .await
        .context("the tables could not be distributed")
}

/// The simulated clock that the servers of a world share. Clones are the same clock.
#[derive(Clone)]
pub struct SimulatedTime {
    clock: Clock,
    handle: SimClock,
}

impl SimulatedTime {
    /// Stands at `start` until it is advanced.
    pub fn starting_at(start: Timestamp) -> anyhow::Result<Self> {
        let clock = Clock::simulated(start);
        let handle = clock
            .simulation()
            .context("a simulated clock has a handle")?
            .clone();
        handle.set_watchdog(PATIENCE);
        Ok(Self { clock, handle })
    }

    /// See [`World::advance`](crate::world::World::advance).
    pub async fn advance(&self, by: SignedDuration) -> anyhow::Result<Timestamp> {
        Ok(self.handle.advance(by).await?)
    }

    /// See [`World::advance_to`](crate::world::World::advance_to).
    pub async fn advance_to(&self, at: Timestamp) -> anyhow::Result<Timestamp> {
        Ok(self.handle.advance_to(at).await?)
    }

    /// See [`World::advance_to_next`](crate::world::World::advance_to_next).
    pub async fn advance_to_next(&self) -> anyhow::Result<Timestamp> {
        Ok(self.handle.advance_to_next().await?)
    }
}

impl Timekeeper for SimulatedTime {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn stall(&self, attempt: &AttemptName) {
        if let Some((event, webhook)) = parsed(attempt) {
            self.handle.stall_attempt(event, webhook, attempt.attempt);
        }
    }

    fn resume(&self, attempt: &AttemptName) {
        if let Some((event, webhook)) = parsed(attempt) {
            self.handle.resume_attempt(event, webhook, attempt.attempt);
        }
    }

    fn stall_target(&self, target: &str) {
        self.handle.stall_target(target);
    }

    fn resume_target(&self, target: &str) {
        self.handle.resume_target(target);
    }

    fn after(&self, wait: SignedDuration, act: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        let until = self.now().saturating_add(wait).unwrap_or(Timestamp::MAX);
        let clock = self.clock.clone();
        // A task that the clock knows, so that time waits between its waking and its act.
        let woken = self.clock.spawn("delayed answer", async move {
            clock.sleep_until(until).await;
            act();
        });
        Box::pin(async move { drop(woken.await) })
    }

    fn delay(&self, attempt: &AttemptName, wait: SignedDuration) -> BoxFuture<'static, ()> {
        let (time, resumed) = (self.clone(), attempt.clone());
        let woken = self.after(wait, Box::new(move || time.resume(&resumed)));
        self.stall(attempt);
        woken
    }
}

/// A request that does not name its attempt as the contract says cannot be stalled: it holds time still, and the
/// watchdog says so.
fn parsed(attempt: &AttemptName) -> Option<(uuid::Uuid, i64)> {
    Some((attempt.event.parse().ok()?, attempt.webhook.parse().ok()?))
}

/// What a world chooses of a server's settings.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// CIDRs that webhooks may lead to although they are not public (W10).
    pub allowed_targets: Vec<String>,
    /// Hosts that webhooks may not call (W10).
    pub platform_hosts: Vec<String>,
    /// DNS servers that it looks webhooks' hosts up at; none means the machine's own.
    pub dns_servers: Vec<SocketAddr>,
    /// What signs the tokens that it accepts.
    pub key: TokenKey,
    /// What it seals credentials with: the same for all servers of a database.
    pub sealing_key: String,
    /// A file with authorities that receivers are trusted by, besides the public ones.
    pub extra_ca_file: Option<PathBuf>,
    /// Where notices are delivered to besides the API (R4).
    pub notices: Option<NoticeOptions>,
}

/// The platform's own endpoint for notices.
#[derive(Debug, Clone)]
pub struct NoticeOptions {
    /// Its URL.
    pub url: String,
    /// The secrets that sign, one on a line.
    pub secrets: String,
}

/// A running server, on a runtime of its own so that it can be ended in the middle of anything. Dropping it crashes it.
pub struct Server {
    address: SocketAddr,
    stop: Stop,
    running: JoinHandle<anyhow::Result<()>>,
    runtime: Option<Runtime>,
}

impl Server {
    /// Starts one on a free port, and waits until it serves. `alone`: no other server of this database is alive, so what
    /// a predecessor held may be taken at once.
    pub async fn start(
        options: &ServerOptions,
        database: &str,
        time: &SimulatedTime,
        alone: bool,
    ) -> anyhow::Result<Self> {
        let settings = Settings {
            sole_process: alone,
            clock: ClockKind::Simulated,
            ..settings(options, database)?
        };
        Self::launch(settings, time.clock.clone()).await
    }

    /// As [`Server::start`], on the system clock and alone: for what is measured and not simulated.
    pub async fn start_in_real_time(options: &ServerOptions, database: &str) -> anyhow::Result<Self> {
        let settings = Settings {
            sole_process: true,
            clock: ClockKind::System,
            ..settings(options, database)?
        };
        Self::launch(settings, Clock::system()).await
    }

    async fn launch(settings: Settings, clock: Clock) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(SERVER_THREADS)
            .thread_name("server")
            .enable_all()
            .build()?;
        let stop = Stop::default();
        let stopped = stop.clone();
        let (named, name) = oneshot::channel();
        let running = runtime.spawn(async move {
            // Bound here: a socket belongs to the runtime on which it was made.
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let _ = named.send(listener.local_addr()?);
            app::run(Arc::new(settings), listener, clock, stopped).await
        });
        let mut server = Self {
            address: name.await.context("the server cannot listen")?,
            stop,
            running,
            runtime: Some(runtime),
        };
        let caller = Client::new(&format!("http://{}", server.address), None, Keyring::default())?;
        let ended = tokio::select! {
            ended = &mut server.running => ended,
            ready = caller.until_ready() => match ready {
                Ok(()) => return Ok(server),
                // A server that ends breaks the call off, and why it ended says more.
                Err(error) => realtime::within(PATIENCE, &mut server.running).await.ok_or(error)?,
            },
        };
        bail!("the server ended while it started: {:?}", ended?)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops it as SIGTERM would, and waits until it has.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.drain();
        realtime::within(PATIENCE, &mut self.running)
            .await
            .context("it did not stop")??
    }

    /// Ends it in the middle of whatever it does: nothing is settled, signed off or given back. Nothing of it runs any
    /// more when this returns.
    pub async fn crash(mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waits for the runtime's threads, which no task may do.
            let ended = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(PATIENCE)).await;
            ended.expect("ending a runtime does not panic");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn settings(options: &ServerOptions, database: &str) -> anyhow::Result<Settings> {
    let targets = options.allowed_targets.iter().map(|cidr| cidr.parse());
    let notice_url = options.notices.as_ref().map(|notices| notices.url.parse());
    Ok(Settings {
        database_url: Some(database.into()),
        keys: Some(Keys {
            tokens: TokenKeys::Secret(options.key.secret.clone().into()),
            sealing: options.sealing_key.clone().into(),
            notices: options
                .notices
                .as_ref()
                .map(|notices| notices.secrets.clone().into()),
        }),
        jwt_issuer: options.key.issuer.clone(),
        jwt_audience: options.key.audience.clone(),
        platform_hosts: options.platform_hosts.clone(),
        dns_servers: options.dns_servers.clone(),
        extra_ca_file: options.extra_ca_file.clone(),
        notice_url: notice_url.transpose()?,
        allowed_targets: targets.collect::<Result<_, _>>()?,
        ..Settings::default()
    })
}
