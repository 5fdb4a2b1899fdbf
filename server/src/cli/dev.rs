//! `tenterhook dev`: runs everything on this machine without any preparation, and prints a command that creates a
//! first webhook.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpListener;

use super::serve_until_signal::{self, Signals};
use super::token::{Claims, Role};
use tenterhook_clock::Clock;
use tenterhook_embedded_postgres::{Durability, EmbeddedPostgres, Options};
use tenterhook_model::ids::{CompanyId, UserId};
use tenterhook_settings::{Keys, Settings, TokenKeys};
use tenterhook_store::migrations;

const TTL: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Number of Postgres connections reserved for people with `psql`.
const SPARE_CONNECTIONS: u16 = 20;

pub(super) async fn run(settings: Settings) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let Some(ready) = signals.unless_stopped(prepare(settings)).await? else {
        return Ok(());
    };
    super::write_stdout(&ready.welcome)?;
    let ended = serve_until_signal::run(ready.settings, ready.listener, ready.clock, signals).await;
    let stopped = match ready.postgres {
        Some(postgres) => postgres.stop().await,
        None => Ok(()),
    };
    // The server's error comes first, because Postgres failing to stop is a consequence of it.
    ended.and(stopped.map_err(Into::into))
}

struct Ready {
    settings: Settings,
    listener: TcpListener,
    clock: Clock,
    postgres: Option<EmbeddedPostgres>,
    welcome: String,
}

async fn prepare(mut settings: Settings) -> anyhow::Result<Ready> {
    let data_dir = super::data_dir(&settings)?;
    let listener = serve_until_signal::listen(settings.listen).await?;
    let postgres = match settings.database_url {
        Some(_) => None,
        None => Some(start_postgres(&settings, &data_dir).await?),
    };
    if let Some(postgres) = &postgres {
        settings.database_url = Some(postgres.url("postgres").into());
        settings.sole_process = true;
    }
    settings.keys = Some(Keys::load_or_make(&settings, &data_dir)?);
    let url = settings
        .database_url
        .as_ref()
        .context("DATABASE_URL is not set")?;
    let done = migrations::run_pending_within(url.expose_secret(), settings.database_long_timeout).await;
    let done = done.context("can't bring the schema up to date")?;
    if !done.is_empty() {
        tracing::info!(count = done.len(), "migrated the database");
    }
    let welcome = welcome(&settings, listener.local_addr()?, &data_dir, postgres.as_ref())?;
    let clock = serve_until_signal::clock(&settings).await?;
    Ok(Ready {
        settings,
        listener,
        clock,
        postgres,
        welcome,
    })
}

async fn start_postgres(settings: &Settings, data_dir: &Path) -> anyhow::Result<EmbeddedPostgres> {
    let options = Options {
        data_dir: data_dir.to_owned(),
        durability: Durability::Durable,
        bin_dir: settings.pg_bin_dir.clone(),
        max_connections: settings.database_connections + SPARE_CONNECTIONS,
    };
    Ok(EmbeddedPostgres::start(options).await?)
}

/// The first steps, with commands that can be pasted.
fn welcome(
    settings: &Settings,
    address: SocketAddr,
    data_dir: &Path,
    postgres: Option<&EmbeddedPostgres>,
) -> anyhow::Result<String> {
    let server = format!("http://{}", reachable(address));
    let database = match postgres {
        Some(postgres) => format!(
            "a Postgres {} that `dev` started, {}",
            postgres.version(),
            postgres.binaries().display()
        ),
        None => "the one that DATABASE_URL names".to_owned(),
    };
    let mut text = format!(
        "\nTenterhook is starting.\n\n  \
         API        {server}/graphql\n  \
         Data       {}\n  \
         Database   {database}\n",
        data_dir.display()
    );
    let secret = match settings.keys.as_ref().map(|keys| &keys.tokens) {
        Some(TokenKeys::Secret(secret)) => secret,
        _ => {
            text +=
                "\nTokens are signed with the keys of TENTERHOOK_JWKS, so there are none to show here.\n\n";
            return Ok(text);
        }
    };
    let tokens = Tokens::sign(secret, settings)?;
    let create = "mutation{createWebhook(input:{subscriptionUrl:\"http://127.0.0.1:9000/\",eventAction:ANY,\
                  eventObject:\"*\"}){webhook{id number state:health{state}} signingSecret userErrors{code message path}}}";
    let install = "mutation{registerApp(input:{appId:\"demo\",name:\"Demo\"}){userErrors{code message}} \
                   installApp(input:{appId:\"demo\",companyId:\"1\",userId:\"1\"}){userErrors{code message}}}";
    write!(
        text,
        "\nTokens for development, valid for a year (for others see `tenterhook token --help`):\n\n\
         # user 1 of company 1\nUSER_TOKEN={}\n\
         # user 2 of company 1, an admin\nADMIN_TOKEN={}\n\
         # user 1 through the app \"demo\"\nAPP_TOKEN={}\n\
         # the platform's back end: publishes events, installs apps\nPLATFORM_TOKEN={}\n\n\
         A first webhook, to a receiver on this machine:\n\n{}\n\n\
         The app \"demo\", installed for user 1:\n\n{}\n\n",
        tokens.user,
        tokens.admin,
        tokens.app,
        tokens.platform,
        curl(&server, &tokens.user, create),
        curl(&server, &tokens.platform, install),
    )?;
    Ok(text)
}

struct Tokens {
    user: String,
    admin: String,
    app: String,
    platform: String,
}

impl Tokens {
    fn sign(secret: &SecretString, settings: &Settings) -> anyhow::Result<Self> {
        let now = Clock::system().now();
        let sign = |claims: Claims| claims.sign(secret, settings, now, TTL);
        let (company, first, second) = (CompanyId::new(1)?, UserId::new(1)?, UserId::new(2)?);
        let app = "demo".parse()?;
        Ok(Self {
            user: sign(Claims::user(company, first, Role::Regular, None))?,
            admin: sign(Claims::user(company, second, Role::Admin, None))?,
            app: sign(Claims::user(company, first, Role::Regular, Some(&app)))?,
            platform: sign(Claims::of_scope("platform"))?,
        })
    }
}

/// JSON has single quotes only inside strings, and ours have none: a shell reads it unchanged.
fn curl(server: &str, token: &str, query: &str) -> String {
    let body = serde_json::json!({ "query": query });
    format!(
        "curl -s {server}/graphql -H 'content-type: application/json' -H 'authorization: Bearer {token}' \\\n  -d '{body}'"
    )
}

/// The loopback address, if the server listens on all addresses.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_welcome_can_be_pasted() {
        let settings = Settings {
            keys: Some(Keys::random()),
            ..Settings::development()
        };
        let address = "0.0.0.0:8080".parse().unwrap();
        let text = welcome(&settings, address, Path::new("/data"), None).unwrap();
        assert!(text.contains("http://127.0.0.1:8080/graphql"));
        let curls: Vec<&str> = text.split("curl ").skip(1).collect();
        assert_eq!(curls.len(), 2);
        for curl in curls {
            let quotes = curl.split("\n\n").next().unwrap().matches('\'').count();
            assert_eq!(quotes, 6, "three quoted words, none with a quote inside: {curl}");
        }
    }
}
