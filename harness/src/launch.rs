//! Starts the server in this process. The only file of the harness that depends on the server.
//!
//! It uses what an operator uses to start the server: settings, a clock, a Postgres, `run`. Nothing in it takes part in
//! the harness's judgement.

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
use tenterhook_model::attempt::request_name;
use tenterhook_settings::sources::{self, Sources};
use tenterhook_settings::{ClockKind, Keys, Settings, TokenKeys};
use tenterhook_store::distribution::{self, Plan};
use tenterhook_store::{Limits, Sessions, Store, migrations, partitions};

use crate::client::Client;
use crate::realtime::{self, PATIENCE};
use crate::signature::Keyring;
use crate::timekeeper::{AttemptName, Timekeeper};
use crate::token::TokenKey;

/// Few, because worlds run concurrently.
const SERVER_THREADS: usize = 2;
/// Few as well: each new session of Postgres costs it 60 ms of CPU until it knows the tables.
const CONNECTIONS: u16 = 6;
const DAY: SignedDuration = SignedDuration::from_hours(24);
/// Number of future days for which a server creates partitions. It creates missing ones when it starts.
const DAYS_AHEAD: i32 = 3;

/// The folder with the programs of Postgres, found in the same way as by the server.
///
/// # Errors
///
/// If there is none. The error says what to do.
pub async fn postgres_programs() -> anyhow::Result<PathBuf> {
    let chosen = std::env::var_os("PG_BIN_DIR").map(PathBuf::from);
    let (folder, _) = embedded::programs(chosen.as_deref()).await?;
    Ok(folder)
}

/// A Postgres without durability that stops with this process.
pub struct Postgres(EmbeddedPostgres);

impl Postgres {
    /// Finds and starts a Postgres, in the same way as the server.
    pub async fn start() -> anyhow::Result<Self> {
        Ok(Self(EmbeddedPostgres::temporary().await?))
    }

    /// The connection settings of one of its databases.
    pub fn config(&self, database: &str) -> anyhow::Result<tokio_postgres::Config> {
        Ok(self.0.url(database).parse()?)
    }

    /// Creates the server's schema in a database.
    pub async fn migrate(&self, database: &str) -> anyhow::Result<()> {
        migrations::run_pending(&self.0.url(database))
            .await
            .context("the migrations failed")?;
        Ok(())
    }

    /// Creates the partitions that a server would create when it starts at this moment, in a database with the schema.
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
            .context("the partitions could not be created")?;
        Ok(())
    }
}

/// Creates the server's schema in a database of a Citus cluster, and distributes it over the cluster.
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

/// The simulated clock of a world's servers. Clones are the same clock.
#[derive(Clone)]
pub struct SimulatedTime {
    clock: Clock,
    handle: SimClock,
}

impl SimulatedTime {
    /// A clock that stands at `start` until it is advanced.
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
        if let Some(name) = named(attempt) {
            self.handle.stall_request(&name);
        }
    }

    fn resume(&self, attempt: &AttemptName) {
        if let Some(name) = named(attempt) {
            self.handle.resume_request(&name);
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
        // A task that the clock knows, so that time waits between its wake-up and its action.
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

/// The server's name for an attempt's request. A request without valid ids cannot be stalled: it stops time, and the
/// watchdog reports it.
fn named(attempt: &AttemptName) -> Option<String> {
    let (event, webhook) = (attempt.event.parse().ok()?, attempt.webhook.parse().ok()?);
    Some(request_name(event, webhook, attempt.attempt))
}

/// What an app sees besides its own webhooks: the values of the setting `policy.app_sees` (W4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppSees {
    /// Nothing: the default.
    Application,
    /// The general webhooks of the token's user.
    OwnGeneral,
}

/// The settings of a server that a world chooses.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// CIDRs that webhooks may target although they are not public (W10).
    pub allowed_targets: Vec<String>,
    /// Hosts that webhooks may not call (W10).
    pub platform_hosts: Vec<String>,
    /// What an app sees besides its own webhooks (W4).
    pub app_sees: AppSees,
    /// DNS servers for the hosts of webhooks. If empty, those of the machine.
    pub dns_servers: Vec<SocketAddr>,
    /// The key of the tokens that it accepts.
    pub key: TokenKey,
    /// The key that seals credentials: the same for all servers of a database.
    pub sealing_key: String,
    /// A file with authorities for receivers' certificates, in addition to the public ones.
    pub extra_ca_file: Option<PathBuf>,
    /// The endpoint for notices, in addition to the API (R4).
    pub notices: Option<NoticeOptions>,
    /// Further settings, such as `policy.everyone_v1`, each with its value as on the command line.
    pub settings: Vec<(&'static str, String)>,
    /// Whether a REST request may carry its token in the query string.
    pub rest_query_token: bool,
}

/// The platform's endpoint for notices.
#[derive(Debug, Clone)]
pub struct NoticeOptions {
    /// The URL of the endpoint.
    pub url: String,
    /// The signing secrets, one per line.
    pub secrets: String,
}

/// A running server with its own runtime, so that it can be ended at any moment. Dropping it crashes it.
pub struct Server {
    address: SocketAddr,
    stop: Stop,
    running: JoinHandle<anyhow::Result<()>>,
    runtime: Option<Runtime>,
}

impl Server {
    /// Starts a server on a free port, and waits until it is ready. `alone` means that no other server of this database
    /// is running, so that the leases of a predecessor can be taken at once.
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

    /// As [`Server::start`], on the system clock and alone: for measurements.
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
            // Bound here, because a socket belongs to the runtime that created it.
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
                // A server that ends breaks off this call. The reason of its end says more than the call's error.
                Err(error) => realtime::within(PATIENCE, &mut server.running).await.ok_or(error)?,
            },
        };
        bail!("the server ended while it started: {:?}", ended?)
    }

    /// The address on which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops the server as SIGTERM does, and waits for its end.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.drain();
        realtime::within(PATIENCE, &mut self.running)
            .await
            .context("the server did not stop")??
    }

    /// Ends the server at any point of its work: nothing is settled, deregistered or released. When this returns,
    /// nothing of it is running.
    pub async fn crash(mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waits for the runtime's threads, which is not allowed in a task.
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
    let app_sees = match options.app_sees {
        AppSees::Application => "application",
        AppSees::OwnGeneral => "own_general",
    };
    let mut flags = options.settings.clone();
    flags.push(("policy.app_sees", app_sees.to_owned()));
    let chosen = Sources {
        flags,
        ..Sources::default()
    };
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
        rest_query_token: options.rest_query_token,
        allowed_targets: targets.collect::<Result<_, _>>()?,
        database_connections: CONNECTIONS,
        ..sources::load(Settings::default(), &chosen)?.settings
    })
}
