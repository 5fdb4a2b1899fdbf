//! The composition root: starts and stops everything that runs in a server.
//!
//! The server listens before it is ready, so a request during start or drain gets a 503 at once.
//! It stops in order: it accepts nothing new, attempts in progress may finish, and other deliveries are released.

mod front;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use jiff::Timestamp;
use secrecy::ExposeSecret;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::front::front;
use tenterhook_api::http_server::{self, Limits};
use tenterhook_api::token::{KeySet, Verifier};
use tenterhook_api::{self as api, ConnectionCaps, ConnectionLimits, Services};
use tenterhook_clock::Clock;
use tenterhook_engine::outbound;
use tenterhook_engine::{Engine, NoticeEndpoint, Parts, RequestLimits, Share};
use tenterhook_model::ids::LANES;
use tenterhook_outbound_http::target::TargetPolicy;
use tenterhook_outbound_http::{DnsResolver, Transport, TransportConfig, TransportError, authorities};
use tenterhook_policy::sealing::Keyring;
use tenterhook_policy::signing;
use tenterhook_settings::files;
use tenterhook_settings::{JwksSource, Keys, Settings, TokenKeys};
use tenterhook_store::{
    Limits as StatementLimits, Pulse, Sessions, Store, StoreError, kv_settings, partitions,
};

/// How much longer than `attempt_timeout` attempts in progress may take when the server stops: time to settle them.
const GRACE_BEYOND_TIMEOUT: Duration = Duration::from_secs(5);
/// How long open HTTP connections may take to end after the engine has stopped.
const HTTP_GRACE: Duration = Duration::from_secs(5);

/// Stops a server: `drain` directly, or `leave` first. Clones stop the same server.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    leaving: CancellationToken,
    draining: CancellationToken,
}

impl Stop {
    /// From now on the server reports that it is not ready, but still serves: a load balancer notices before the drain.
    pub fn leave(&self) {
        self.leaving.cancel();
    }

    /// From now on the server accepts nothing new, and stops.
    pub fn drain(&self) {
        self.leave();
        self.draining.cancel();
    }
}

/// Serves on `listener` until it is told to [`Stop`], then drains.
///
/// # Errors
///
/// If the database is not available, not migrated or migrated by another version, or a key or file cannot be used.
pub async fn run(
    settings: Arc<Settings>,
    listener: TcpListener,
    clock: Clock,
    stop: Stop,
) -> anyhow::Result<()> {
    let ready: Arc<OnceLock<Router>> = Arc::default();
    let http_stop = CancellationToken::new();
    let http = http_server::serve(
        listener,
        front(ready.clone(), api::starting(clock.clone()), stop.leaving.clone()),
        Limits::new(settings.api.head_within),
        http_stop.clone(),
    );
    let http = async {
        let overdue = async {
            http_stop.cancelled().await;
            clock.real_sleep(HTTP_GRACE).await;
        };
        tokio::select! {
            () = http => {}
            () = overdue => {}
        }
    };
    let life = async {
        let _stop_http = http_stop.clone().drop_guard();
        let Started {
            engine,
            router,
            connections,
            _simulated_time,
        } = start(&settings, &clock).await?;
        // No other code sets it.
        let _ = ready.set(router);
        tracing::info!("ready");
        stop.draining.cancelled().await;
        tracing::info!("draining");
        // At the same time, so that connected clients can switch to another server at once.
        tokio::join!(
            connections.close(&clock),
            engine.stop(settings.policy.attempt_timeout + GRACE_BEYOND_TIMEOUT)
        );
        anyhow::Ok(())
    };
    // Not a separate task: simulated time would wait for its listener.
    let ((), lived) = tokio::join!(http, life);
    lived?;
    tracing::info!("stopped");
    Ok(())
}

struct Started {
    engine: Engine,
    router: Router,
    connections: Arc<ConnectionLimits>,
    /// Held because the writer of simulated time has only a weak reference to it.
    _simulated_time: Arc<Store>,
}

async fn start(settings: &Arc<Settings>, clock: &Clock) -> anyhow::Result<Started> {
    let url = settings
        .database_url
        .as_ref()
        .context("DATABASE_URL is not set")?;
    let keys = settings.keys.as_ref().context("no keys are loaded")?;
    let sealing = Keyring::parse(keys.sealing.expose_secret()).context("the sealing keys cannot be used")?;
    let sealing = Arc::new(sealing);
    let targets = outbound::target_policy(settings)
        .context("TENTERHOOK_PLATFORM_HOSTS has an entry that is not a host")?;
    let extra_ca_pem = extra_ca_pem(settings)?;
    let resolver = Arc::new(DnsResolver::new(clock, &settings.dns_servers)?);
    let notices = notice_endpoint(settings, keys, resolver.clone(), extra_ca_pem.clone(), clock)?;
    let tokens = Verifier::new(
        key_set(&keys.tokens, extra_ca_pem.as_deref(), clock).await?,
        &settings.jwt_issuer,
        &settings.jwt_audience,
    );
    let (store, for_reads) = pools(settings, url.expose_secret())?;
    let events_kept_since = check_database(&store).await?;
    let simulated_time = Arc::new(store.clone());
    write_down_simulated_time(clock, &simulated_time);
    let engine = Engine::start(Parts {
        store,
        clock: clock.clone(),
        policy: Arc::new(settings.policy.clone()),
        sealing: sealing.clone(),
        transport: transport(settings, targets.clone(), resolver, extra_ca_pem.clone(), clock)?,
        limits: RequestLimits {
            total: usize::try_from(settings.in_flight)?,
            per_webhook: usize::try_from(settings.in_flight_per_webhook)?,
            per_host: usize::try_from(settings.in_flight_per_host)?,
        },
        share: Share {
            events: usize::try_from(settings.api.publishing_of_company)?,
            calls: usize::try_from(settings.api.publishing_calls.div_ceil(2))?,
        },
        notices,
        lease: settings.lease,
        alone: settings.sole_process,
    })
    .await
    .context("the engine cannot start on this database")?;
    let connection_limits = ConnectionLimits::new(ConnectionCaps::default());
    let documents = api::documents(&settings.api).context("TENTERHOOK_API_DOCUMENT_ALLOW_LIST")?;
    let services = Services {
        store: for_reads,
        clock: clock.clone(),
        settings: settings.clone(),
        targets,
        sealing,
        tokens,
        documents,
        publisher: engine.publisher(),
        propagation: engine.propagation(),
        prober: engine.prober(),
        replayer: engine.replayer(),
        events_kept_since,
        live: engine.live(),
        connections: connection_limits.clone(),
        gauges: engine.gauges(),
    };
    let router = api::router(Arc::new(services));
    Ok(Started {
        engine,
        router,
        connections: connection_limits,
        _simulated_time: simulated_time,
    })
}

/// Two pools: one for the engine, one for reads of the API, so that many reads cannot take the engine's connections.
fn pools(settings: &Settings, url: &str) -> Result<(Store, Store), StoreError> {
    let connections = usize::from(settings.database_connections);
    let pulse = Arc::<Pulse>::default();
    let pool = |connections, reads| {
        let limits = StatementLimits::of(settings.database_timeout);
        let sessions = Sessions { limits, reads };
        Store::open(url, connections, sessions, pulse.clone())
    };
    Ok((
        pool(connections.div_ceil(2), false)?,
        pool((connections / 2).max(1), true)?,
    ))
}

/// The certificates of additional authorities, if a file is set.
///
/// # Errors
///
/// If the file cannot be read.
pub(crate) fn extra_ca_pem(settings: &Settings) -> anyhow::Result<Option<Vec<u8>>> {
    let pem = settings.extra_ca_file.as_ref().map(|file| {
        files::read(file).with_context(|| format!("cannot read TENTERHOOK_EXTRA_CA_FILE {}", file.display()))
    });
    pem.transpose()
}

/// The keys that verify tokens. A key set is read from its file or fetched from its URL.
///
/// # Errors
///
/// If the key set cannot be read or fetched, or has no usable key.
pub async fn key_set(
    tokens: &TokenKeys,
    extra_ca_pem: Option<&[u8]>,
    clock: &Clock,
) -> anyhow::Result<KeySet> {
    match tokens {
        TokenKeys::Secret(secret) => Ok(KeySet::shared_secret(secret)),
        TokenKeys::Jwks(JwksSource::File(file)) => {
            let json = files::read_text(file)
                .with_context(|| format!("cannot read TENTERHOOK_JWKS {}", file.display()))?;
            KeySet::from_jwks(&json).with_context(|| format!("TENTERHOOK_JWKS {}", file.display()))
        }
        TokenKeys::Jwks(JwksSource::Url(url)) => {
            let fetched = KeySet::fetched(jwks_client(extra_ca_pem)?, url.clone(), clock.clone());
            fetched.await.context("TENTERHOOK_JWKS")
        }
    }
}

/// The endpoint for notices (R4). The operator chooses it, so its address may be one that webhooks may not use (W10).
fn notice_endpoint(
    settings: &Settings,
    keys: &Keys,
    resolver: Arc<DnsResolver>,
    extra_ca_pem: Option<Vec<u8>>,
    clock: &Clock,
) -> anyhow::Result<Option<NoticeEndpoint>> {
    let Some(url) = &settings.notice_url else {
        return Ok(None);
    };
    let secrets = keys
        .notices
        .as_ref()
        .context("TENTERHOOK_NOTICE_SECRET_FILE is not set")?;
    let targets = TargetPolicy::anywhere();
    Ok(Some(NoticeEndpoint {
        url: targets
            .vet_url(url.as_str())
            .context("TENTERHOOK_NOTICE_URL cannot be used")?,
        secrets: signing::listed(secrets.expose_secret())
            .context("TENTERHOOK_NOTICE_SECRET_FILE cannot be used")?,
        transport: transport(settings, targets, resolver, extra_ca_pem, clock)?,
    }))
}

fn transport(
    settings: &Settings,
    targets: TargetPolicy,
    resolver: Arc<DnsResolver>,
    extra_ca_pem: Option<Vec<u8>>,
    clock: &Clock,
) -> Result<Transport, TransportError> {
    let config = TransportConfig {
        targets: Arc::new(targets),
        resolver,
        extra_ca_pem,
        user_agent: concat!("Tenterhook/", env!("CARGO_PKG_VERSION")).to_owned(),
        patience: outbound::patience(&settings.policy),
    };
    Transport::new(clock.clone(), config)
}

/// The HTTP client for key sets. The operator chooses their addresses, so they are not checked as a webhook's are.
fn jwks_client(extra_ca_pem: Option<&[u8]>) -> anyhow::Result<reqwest::Client> {
    // The client uses the process's provider, and panics if there is none. An error: one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let authorities: Result<Vec<_>, _> = authorities(extra_ca_pem)?
        .iter()
        .map(|der| reqwest::Certificate::from_der(der))
        .collect();
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .tls_certs_only(authorities?);
    Ok(client.build()?)
}

/// Checks the number of lanes: rows are stored by lane, so a server with another number would not find them. Returns since
/// when events are kept for late attempts.
async fn check_database(store: &Store) -> anyhow::Result<Timestamp> {
    let mut conn = store.conn().await.context("the database cannot be reached")?;
    let pinned = kv_settings::get(&mut conn, kv_settings::LANES)
        .await
        .context("the settings in the database cannot be read")?;
    anyhow::ensure!(
        pinned.as_deref() == Some(LANES.to_string().as_str()),
        "this database was created with {} lanes, and this server has {LANES}: the numbers must be the same",
        pinned.as_deref().unwrap_or("no")
    );
    partitions::events_kept_since(&mut conn)
        .await
        .context("the settings in the database cannot be read")
}

/// Stores simulated time whenever it moves, so that a restart continues there.
fn write_down_simulated_time(clock: &Clock, store: &Arc<Store>) {
    let Some(simulation) = clock.simulation() else {
        return;
    };
    let store = Arc::downgrade(store);
    simulation.on_move(move |now| {
        let store = store.upgrade();
        Box::pin(async move {
            let Some(store) = store else { return };
            let written = async {
                let mut conn = store.conn().await?;
                kv_settings::put(&mut conn, kv_settings::SIMULATED_NOW, &now.to_string()).await
            };
            if let Err(error) = written.await {
                tracing::error!(%error, "simulated time could not be stored");
            }
        })
    });
}
