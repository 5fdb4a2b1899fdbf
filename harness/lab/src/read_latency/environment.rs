//! A real server on a filled database, and the webhooks to ask about.

use std::path::Path;

use anyhow::{Context, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_postgres::NoTls;

use tenterhook_harness::client::Client;
use tenterhook_harness::keys;
use tenterhook_harness::realtime;
use tenterhook_harness::token::{Claims, TokenKey};

use crate::process::{Process, Program};
use crate::seed_database::{FIRST_COMPANY, USER, WEBHOOKS, WEBHOOKS_OF_COMPANY};

const SECRET: &str = "of a server that exists only to be read from";
/// Number of companies with few rows: more than fit into any cache of a connection.
const FEW: i64 = 50;

/// The caller of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// The company's admin.
    User,
    /// An operator, who sees all companies.
    Operator,
}

/// The server.
pub struct Environment {
    process: Process,
    key: TokenKey,
    companies: i64,
    begins: Timestamp,
    _keys: TempDir,
}

/// A webhook to ask about, with values for the variables of queries.
pub struct Subject {
    user: Client,
    operator: Client,
    variables: Value,
}

impl Subject {
    /// Runs a document. All known values are its variables.
    pub async fn ask(&self, asker: Asker, document: &str) -> anyhow::Result<Value> {
        let caller = match asker {
            Asker::User => &self.user,
            Asker::Operator => &self.operator,
        };
        Ok(caller.query(document, self.variables.clone()).await?)
    }
}

impl Environment {
    /// Starts the server, with a ban threshold and limits on calls that are never reached.
    pub async fn start(server: &Path, database: &str) -> anyhow::Result<Self> {
        let (companies, begins) = filled(database).await?;
        let folder = tempfile::tempdir()?;
        let file = |name: &str, key: &str| {
            let written = keys::file(folder.path(), name, key);
            written.with_context(|| format!("cannot write the key {name}"))
        };
        let process = Program::new(server)
            .argument("serve")
            .setting("DATABASE_URL", database)
            .setting("TENTERHOOK_JWT_SECRET_FILE", file("jwt", SECRET)?)
            .setting("TENTERHOOK_SEALING_KEY_FILE", file("sealing", keys::SEALING_KEY)?)
            .setting("TENTERHOOK_ALLOWED_TARGETS", "127.0.0.0/8")
            .setting("TENTERHOOK_POLICY_BAN_THRESHOLD", "1000000")
            .setting("TENTERHOOK_API_RATE_PER_TOKEN", "1000000")
            .setting("TENTERHOOK_API_RATE_PER_COMPANY", "1000000")
            .serve()
            .await?;
        Ok(Self {
            process,
            key: TokenKey {
                secret: SECRET.to_owned(),
                issuer: "tenterhook".to_owned(),
                audience: "tenterhook".to_owned(),
            },
            companies,
            begins,
            _keys: folder,
        })
    }

    /// One webhook of each of many companies with few rows: the last companies.
    pub async fn few(&self) -> anyhow::Result<Vec<Subject>> {
        let mut subjects = Vec::new();
        for company in (self.companies - FEW).max(2)..self.companies {
            let place = company as usize % WEBHOOKS_OF_COMPANY as usize;
            subjects.push(self.subject(company, place).await?);
        }
        Ok(subjects)
    }

    /// The webhooks of the large company.
    pub async fn many(&self) -> anyhow::Result<Vec<Subject>> {
        let mut subjects = Vec::new();
        for place in 0..WEBHOOKS_OF_COMPANY as usize {
            subjects.push(self.subject(0, place).await?);
        }
        Ok(subjects)
    }

    async fn subject(&self, company: i64, place: usize) -> anyhow::Result<Subject> {
        let now = realtime::now();
        let id = u64::try_from(FIRST_COMPANY + company)?;
        let user = self.caller(&Claims::user(id, USER, "admin"))?;
        let listed = user
            .query("{ webhooks(first: 20) { nodes { id } } }", json!({}))
            .await?;
        let webhook = listed["webhooks"]["nodes"][place]["id"].clone();
        let middle = self.begins + now.duration_since(self.begins) / 2;
        let within = "query($webhook: ID!, $middle: DateTime!) { \
            deliveries(first: 1, filter: { webhookId: $webhook, until: $middle }) { \
            edges { cursor node { id event { id } } } } }";
        let found = user
            .query(within, json!({"webhook": webhook, "middle": middle.to_string()}))
            .await?;
        let edge = &found["deliveries"]["edges"][0];
        ensure!(edge.is_object(), "webhook {webhook} has no history: {found}");
        Ok(Subject {
            variables: json!({
                "webhook": webhook,
                "cursor": edge["cursor"],
                "delivery": edge["node"]["id"],
                "event": edge["node"]["event"]["id"],
                "middle": middle.to_string(),
                "day": (now - SignedDuration::from_hours(24)).to_string(),
                "ever": self.begins.to_string(),
            }),
            operator: self.caller(&Claims::of_scope("operator"))?,
            user,
        })
    }

    /// Stops the server.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.process.terminate().await?;
        self.process.ended().await?;
        Ok(())
    }

    fn caller(&self, claims: &Claims) -> anyhow::Result<Client> {
        self.process.caller(Some(self.key.sign(claims, realtime::now())))
    }
}

/// Number of companies that the fill created, and the beginning of its history.
async fn filled(database: &str) -> anyhow::Result<(i64, Timestamp)> {
    let (client, connection) = tokio_postgres::connect(database, NoTls)
        .await
        .context("cannot connect to the database")?;
    realtime::spawn(async move { drop(connection.await) });
    // Excludes companies of loads that ran on the database since.
    let made = "select count(*), min(created_at)::text from users where company >= $1 and company < $2";
    let end = FIRST_COMPANY + i64::from(*WEBHOOKS.end() / WEBHOOKS_OF_COMPANY);
    let row = client.query_one(made, &[&FIRST_COMPANY, &end]).await?;
    let begins: Option<String> = row.get(1);
    let begins = begins.context("the database was not filled: see `tenterhook-lab fill`")?;
    Ok((row.get(0), begins.parse()?))
}
