//! A real server on its own Postgres, with the webhooks of many users.

use std::path::Path;

use anyhow::Context;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tempfile::TempDir;

use tenterhook_harness::client::{Client, NewWebhook};
use tenterhook_harness::database::{Cluster, Database};
use tenterhook_harness::keys;
use tenterhook_harness::realtime;
use tenterhook_harness::token::{Claims, TokenKey};
use tenterhook_harness::world::{Tally, Target};

use super::receivers::Receivers;
use crate::process::{Process, Program};

/// Webhooks of each company, which has one user here.
pub const WEBHOOKS_OF_COMPANY: u32 = 100;
/// Webhooks that are created concurrently.
const CREATED_AT_ONCE: usize = 16;
/// First company id of the backlog: different from those of loads, and below 2^53.
pub const FIRST_COMPANY: u64 = 4_000_000_000_000;

const SECRET: &str = "of a server that exists only to be overloaded";

/// The server and its database.
pub struct Environment {
    /// The server.
    pub process: Process,
    /// The database that only this server uses.
    pub database: Database,
    key: TokenKey,
    _keys: TempDir,
}

impl Environment {
    /// Starts Postgres and the server. The ban threshold is so high that no number of failures reaches it.
    pub async fn start(server: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = |name: &str, key: &str| {
            let written = keys::file(folder.path(), name, key);
            written.with_context(|| format!("cannot write the key {name}"))
        };
        let database = Cluster::shared().await?.database().await?;
        let process = Program::new(server)
            .argument("serve")
            .setting("DATABASE_URL", database.url(None))
            .setting("TENTERHOOK_JWT_SECRET_FILE", file("jwt", SECRET)?)
            .setting("TENTERHOOK_SEALING_KEY_FILE", file("sealing", keys::SEALING_KEY)?)
            .setting("TENTERHOOK_ALLOWED_TARGETS", "127.0.0.0/8")
            // All receivers share one address here.
            .setting("TENTERHOOK_IN_FLIGHT_PER_HOST", "512")
            .setting("TENTERHOOK_POLICY_BAN_THRESHOLD", "1000000")
            .setting("TENTERHOOK_POLICY_WEBHOOK_LIMIT", "10000")
            .serve()
            .await?;
        let name = || "tenterhook".to_owned();
        Ok(Self {
            process,
            database,
            key: TokenKey {
                secret: SECRET.to_owned(),
                issuer: name(),
                audience: name(),
            },
            _keys: folder,
        })
    }

    /// The server as the target of a load.
    pub fn target(&self) -> Target {
        Target {
            url: self.process.url(),
            key: self.key.clone(),
            real_time: true,
            restart: None,
            names: None,
        }
    }

    /// The platform's client.
    pub fn platform(&self) -> anyhow::Result<Client> {
        self.caller(&Claims::of_scope("platform"))
    }

    fn caller(&self, claims: &Claims) -> anyhow::Result<Client> {
        self.process.caller(Some(self.key.sign(claims, realtime::now())))
    }

    /// Creates webhooks with URLs of `receivers`, numbered from `first`. Returns their companies.
    pub async fn subscribe(
        &self,
        receivers: &Receivers,
        first_company: u64,
        webhooks: u32,
    ) -> anyhow::Result<Vec<u64>> {
        let platform = self.platform()?;
        let companies = webhooks.div_ceil(WEBHOOKS_OF_COMPANY);
        let mut owners = Vec::new();
        for company in (0..companies).map(|number| first_company + u64::from(number)) {
            platform.upsert_user(company, 1, "ADMIN").await?;
            owners.push(self.caller(&Claims::user(company, 1, "admin"))?);
        }
        let create = |webhook: u32| {
            let owner = &owners[(webhook / WEBHOOKS_OF_COMPANY) as usize];
            async move {
                owner
                    .create_webhook(NewWebhook::to(&receivers.url(webhook)))
                    .await
            }
        };
        stream::iter((0..webhooks).map(create))
            .buffer_unordered(CREATED_AT_ONCE)
            .try_for_each(|_| async { Ok(()) })
            .await
            .context("the webhooks cannot be created")?;
        Ok((0..companies)
            .map(|number| first_company + u64::from(number))
            .collect())
    }

    /// The number of deliveries, by status.
    pub async fn tally(&self) -> anyhow::Result<Tally> {
        let (status, metrics) = self.process.caller(None)?.get("/metrics").await?;
        anyhow::ensure!(status == 200, "/metrics returned {status}: {metrics}");
        Tally::parse(&metrics)
    }
}
