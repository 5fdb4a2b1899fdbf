//! `tenterhook doctor`: checks what the server will need, one line each, and says how to fix what fails. It also warns of
//! settings that have no effect any more.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use clap::Args;
use jiff::{SignedDuration, ToSpan};
use secrecy::ExposeSecret;
use url::Url;

use super::descriptors;
use super::reseal::{self, Standing};
use crate::app;
use tenterhook_api::{self as api, Documents};
use tenterhook_clock::Clock;
use tenterhook_embedded_postgres as embedded;
use tenterhook_engine::outbound;
use tenterhook_model::ids::LANES;
use tenterhook_outbound_http::{DnsResolver, ExcerptLimits, Request, Transport, TransportConfig};
use tenterhook_policy::signing;
use tenterhook_settings::{ClockKind, JwksSource, Keys, Loaded, Settings, TokenKeys};
use tenterhook_store::{Store, StoreError, kv_settings, migrations, nodes, partitions, preconditions};

/// Above this difference the machine's clock should be corrected, although the server follows the database's.
const SKEW: SignedDuration = SignedDuration::from_secs(1);
const PROBE_WITHIN: SignedDuration = SignedDuration::from_secs(10);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A public HTTPS URL to check outgoing TLS with: it gets one empty POST.
    #[arg(long, value_name = "URL", default_value = "https://example.com/")]
    probe: Url,
}

/// The result of a check: a line for people, or an error with what to do.
type Finding = anyhow::Result<String>;

pub(super) async fn run(loaded: &Loaded, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let settings = &loaded.settings;
    let clock = Clock::system();
    let mut findings: Vec<(&str, Finding)> = vec![
        ("settings", Ok("no contradictions".to_owned())),
        (
            "open files",
            descriptors::allowed(settings.in_flight).map_err(anyhow::Error::msg),
        ),
    ];
    match &settings.database_url {
        None => {
            let missing = "DATABASE_URL is not set: `serve` needs it, `dev` does not";
            findings.push(("mode", Ok(missing.to_owned())));
            findings.push(("Postgres for `dev`", programs(settings).await));
        }
        Some(url) => {
            findings.push(("keys", keys(settings)));
            let statement = settings.database_timeout;
            let (store, connection) = connected(url.expose_secret(), statement).await;
            findings.push(("connection", connection));
            // If the database cannot be reached, the other five checks are skipped.
            if let Some(store) = store {
                findings.push(("migrations", migrated(url.expose_secret(), statement).await));
                findings.extend(database(&store, settings, &clock).await);
            }
        }
    }
    if let Some(source) = &settings.jwks {
        findings.push(("key set", key_set(settings, source, &clock).await));
    }
    if settings.api.document_allow_list.is_some() {
        findings.push(("allow list", allow_list(settings)));
    }
    findings.push(("outgoing TLS", outgoing(settings, &clock, &arguments.probe).await));
    let all_good = findings.iter().all(|(_, finding)| finding.is_ok());
    let warnings = loaded
        .retired
        .iter()
        .map(|line| format!("warn  settings: {line}\n"));
    let lines = findings.into_iter().map(|(name, finding)| match finding {
        Ok(line) => format!("ok    {name}: {line}\n"),
        Err(error) => format!("FAIL  {name}: {error:#}\n"),
    });
    super::write_stdout(&warnings.chain(lines).collect::<String>())?;
    Ok(if all_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn programs(settings: &Settings) -> Finding {
    let (dir, version) = embedded::programs(settings.pg_bin_dir.as_deref()).await?;
    Ok(format!("{version} in {}", dir.display()))
}

fn keys(settings: &Settings) -> Finding {
    let missing = settings.missing_in_production();
    if !missing.is_empty() {
        bail!("`serve` needs {}", missing.join("; "));
    }
    let keys = Keys::load(settings)?;
    let sealing = reseal::keyring(settings)?.ids().count();
    if let Some(secrets) = &keys.notices {
        signing::listed(secrets.expose_secret()).context("TENTERHOOK_NOTICE_SECRET_FILE")?;
    }
    Ok(format!(
        "all present, and none is easy to guess; number of sealing keys: {sealing}"
    ))
}

/// Reads or fetches it as `serve` does.
async fn key_set(settings: &Settings, source: &JwksSource, clock: &Clock) -> Finding {
    let tokens = TokenKeys::Jwks(source.clone());
    let keys = app::key_set(&tokens, app::extra_ca_pem(settings)?.as_deref(), clock).await?;
    Ok(format!("usable, with {} key(s) for signatures", keys.count()))
}

fn allow_list(settings: &Settings) -> Finding {
    match api::documents(&settings.api).context("TENTERHOOK_API_DOCUMENT_ALLOW_LIST")? {
        Documents::Allowed(documents) => Ok(format!("{} documents", documents.len())),
        Documents::Sent | Documents::Automatic(_) => Ok("none".to_owned()),
    }
}

async fn migrated(url: &str, statement: Duration) -> Finding {
    let pending = migrations::pending(url, statement).await?;
    ensure!(pending == 0, "{pending} pending: run `tenterhook migrate`");
    Ok("none pending".to_owned())
}

/// The database if it can be reached, and how the connection is protected.
async fn connected(url: &str, statement: Duration) -> (Option<Store>, Finding) {
    let found: Result<(Store, String), StoreError> = async {
        let store = Store::single(url, statement)?;
        let protection = store.conn().await?.protection().to_string();
        Ok((store, protection))
    }
    .await;
    match found {
        Ok((store, protection)) => (Some(store), Ok(protection)),
        Err(error) => (None, Err(error.into())),
    }
}

async fn database(store: &Store, settings: &Settings, clock: &Clock) -> Vec<(&'static str, Finding)> {
    vec![
        ("database", skew(store, clock).await),
        ("encoding", usable(store).await),
        ("lanes", lanes(store).await),
        ("sealed values", sealed(store, settings).await),
        ("partitions", partitioned(store, settings).await),
    ]
}

async fn skew(store: &Store, clock: &Clock) -> Finding {
    let mut conn = store.conn().await?;
    let theirs = nodes::database_time(&mut conn).await?;
    let ahead = theirs.duration_since(clock.now());
    ensure!(
        ahead.abs() < SKEW,
        "its clock and this machine's differ by {ahead:#}: correct the wrong one"
    );
    Ok(format!(
        "reachable; its clock and this machine's differ by {} ms",
        ahead.as_millis().abs()
    ))
}

async fn usable(store: &Store) -> Finding {
    preconditions::check(&mut *store.conn().await?).await?;
    Ok("UTF8; the database accepts writes".to_owned())
}

async fn lanes(store: &Store) -> Finding {
    let stored = kv_settings::get(&mut *store.conn().await?, "lanes").await?;
    ensure!(
        stored == Some(LANES.to_string()),
        "the database has {}, and this release needs {LANES}: they are not compatible",
        stored.as_deref().unwrap_or("none")
    );
    Ok(LANES.to_string())
}

/// Checks that they can be opened, and whether a key is being replaced.
async fn sealed(store: &Store, settings: &Settings) -> Finding {
    let standing = Standing::of(store, &reseal::keyring(settings)?).await?;
    let lost = standing.lost();
    ensure!(
        lost == 0,
        "{lost} values are damaged or sealed with a key that is not configured, so their webhooks get no deliveries: add \
         the missing key after the others"
    );
    Ok(match standing.others() {
        0 => "all sealed with the first key".to_owned(),
        others => format!("{others} values are sealed with an older key: run `tenterhook reseal`"),
    })
}

/// Checks the partitions for today and tomorrow, by the clock that the server will use.
async fn partitioned(store: &Store, settings: &Settings) -> Finding {
    if settings.clock == ClockKind::Simulated {
        return Ok("created as simulated time advances".to_owned());
    }
    let mut conn = store.conn().await?;
    let today = partitions::day(nodes::database_time(&mut conn).await?);
    for day in [today, today.checked_add(1.day())?] {
        let missing = partitions::missing(&mut conn, day).await?;
        ensure!(
            missing.is_empty(),
            "{} missing: start a server, which creates them",
            missing.join(", ")
        );
    }
    Ok("present for today and tomorrow".to_owned())
}

/// Sends a request in the same way as an attempt: names, address checks, certificate authorities.
async fn outgoing(settings: &Settings, clock: &Clock, probe: &Url) -> Finding {
    let targets = outbound::target_policy(settings);
    let transport = Transport::new(
        clock.clone(),
        TransportConfig {
            targets: Arc::new(targets.context("TENTERHOOK_PLATFORM_HOSTS")?),
            resolver: Arc::new(DnsResolver::new(clock, &settings.dns_servers)?),
            extra_ca_pem: app::extra_ca_pem(settings)?,
            user_agent: "tenterhook-doctor".to_owned(),
            patience: outbound::patience(&settings.policy),
        },
    )?;
    let request = Request {
        url: probe.clone(),
        headers: Vec::new(),
        body: Bytes::new(),
        deadline: clock.now() + PROBE_WITHIN,
        excerpt_limits: ExcerptLimits {
            failed: 0,
            success: 0,
        },
        name: "probe".to_owned(),
    };
    let outcome = transport.send(request).await.outcome;
    match (outcome.status, outcome.error_message) {
        (Some(status), _) => Ok(format!("{probe} responded with {status}")),
        (None, message) => bail!(
            "{probe}: {}. Is there a firewall? (To try another URL, pass it with --probe.)",
            message.unwrap_or_else(|| "no response".to_owned())
        ),
    }
}
