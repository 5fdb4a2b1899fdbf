//! Where a load takes place: a server in this process, one elsewhere, or real processes on a durable Postgres.
//!
//! Promises that what it started ends with it. The processes run with their defaults but for [`SETTINGS`] and what the
//! caller of a load sets: each stands where a load could not be measured otherwise.

use std::fs::{File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use tempfile::TempDir;
use tokio_postgres::NoTls;

use super::costs::Statistics;
use crate::client::Client;
use crate::database::{self, Database};
use crate::durable::{self, Cluster};
use crate::keys;
use crate::launch::{Server, ServerOptions};
use crate::process::{Process, Program};
use crate::realtime::{self, Stopwatch};
use crate::signature::Keyring;
use crate::token::TokenKey;
use crate::world::{Tally, Target};

const SECRET: &str = "of a server that exists only for a load";
/// The most server processes.
pub const MAX_SERVERS: u32 = 8;
/// What each server process is set to.
pub const SETTINGS: [(&str, &str); 9] = [
    ("TENTERHOOK_ALLOWED_TARGETS", "127.0.0.0/8"),
    // Its own lines say where it listens; none is about a request.
    ("TENTERHOOK_LOG", "warn,tenterhook=info"),
    // Receivers that fail for the whole run are to be called for the whole run.
    ("TENTERHOOK_POLICY_BAN_THRESHOLD", "1000000"),
    // One caller publishes for the whole platform, and one creates all webhooks.
    ("TENTERHOOK_API_RATE_PER_TOKEN", "1000000"),
    ("TENTERHOOK_API_RATE_PER_COMPANY", "1000000"),
    ("TENTERHOOK_API_RATE_PER_PLATFORM_TOKEN", "1000000"),
    ("TENTERHOOK_API_RATE_PER_PUBLISHING_TOKEN", "1000000"),
    ("TENTERHOOK_API_RATE_OF_PLATFORM", "1000000"),
    ("TENTERHOOK_API_RATE_OF_PUBLISHING", "1000000"),
];
/// What a server process is set to more when all receivers are one host: what a host may have at once otherwise stands
/// for hundreds of hosts here.
const OF_ONE_HOST: (&str, &str) = ("TENTERHOOK_IN_FLIGHT_PER_HOST", "512");
/// What the Postgres of a load is set to; the rest is its default, durability above all.
pub const POSTGRES_SETTINGS: [&str; 2] = ["shared_buffers=512MB", "max_wal_size=4GB"];
/// The library that counts statements, and where a Postgres may have it beside its programs.
const COUNTER: &str = "pg_stat_statements";
const LIBRARIES: [&str; 3] = ["../lib", "../lib/postgresql", "../lib64"];
/// How often the disk is asked to keep a page, to know how fast it is.
const SYNCS: usize = 51;
const PAGE: [u8; 8192] = [0; 8192];

/// Where to run a load.
pub enum Against {
    /// A server in this process, on a Postgres that keeps nothing: to try, not to measure.
    Own,
    /// A server elsewhere on the system clock, which allows loopback.
    Target(Target),
    /// Processes of its own.
    Programs(Programs),
}

/// Server processes on a durable Postgres.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The server's binary.
    pub binary: PathBuf,
    /// How many processes, 1 to [`MAX_SERVERS`].
    pub count: u32,
    /// The database; without it a Postgres is started with the load.
    pub database: Option<String>,
    /// Settings of the servers by their environment variables.
    pub settings: Vec<(String, String)>,
    /// Settings of the Postgres that is started, such as `max_wal_size=1GB`.
    pub postgres_settings: Vec<String>,
}

impl Programs {
    /// Refuses what cannot be run, naming the argument.
    ///
    /// # Errors
    ///
    /// When there are too many or none.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(
            (1..=MAX_SERVERS).contains(&self.count),
            "--servers must be 1 to {MAX_SERVERS}, not {}",
            self.count
        );
        Ok(())
    }
}

/// Where a load takes place.
pub struct Place {
    /// The servers' base addresses.
    pub urls: Vec<String>,
    /// What signs the tokens that they accept.
    pub key: TokenKey,
    /// Whether nothing of it is there afterwards, so that nothing need be removed.
    pub passing: bool,
    /// The database as the servers reach it, if it is known.
    pub database: Option<String>,
    program: Option<Program>,
    count: u32,
    processes: Vec<Process>,
    cluster: Option<Cluster>,
    home: Option<TempDir>,
    own: Option<(Server, Database)>,
}

impl Place {
    /// Starts what is to be started, and waits until it serves.
    ///
    /// # Errors
    ///
    /// When something does not start or serve.
    pub async fn prepare(against: &Against, one_host: bool) -> anyhow::Result<Self> {
        let place = match against {
            Against::Own => Self::own().await?,
            Against::Target(target) => Self {
                urls: vec![target.url.clone()],
                ..Self::empty(target.key.clone())
            },
            Against::Programs(programs) => Self::start(programs, one_host).await?,
        };
        for url in &place.urls {
            let ready = Client::new(url, None, Keyring::default())?.until_ready().await;
            ready.with_context(|| format!("the server at {url}"))?;
        }
        Ok(place)
    }

    fn empty(key: TokenKey) -> Self {
        Self {
            urls: Vec::new(),
            key,
            passing: false,
            database: None,
            program: None,
            count: 0,
            processes: Vec::new(),
            cluster: None,
            home: None,
            own: None,
        }
    }

    async fn own() -> anyhow::Result<Self> {
        let options = ServerOptions {
            allowed_targets: vec!["127.0.0.0/8".to_owned()],
            platform_hosts: Vec::new(),
            dns_servers: Vec::new(),
            key: key("harness"),
            sealing_key: keys::SEALING_KEY.to_owned(),
            extra_ca_file: None,
            notices: None,
        };
        let database = database::Cluster::shared().await?.database().await?;
        let server = Server::start_in_real_time(&options, &database.url(None)).await?;
        Ok(Self {
            urls: vec![format!("http://{}", server.address())],
            passing: true,
            own: Some((server, database)),
            ..Self::empty(options.key)
        })
    }

    async fn start(programs: &Programs, one_host: bool) -> anyhow::Result<Self> {
        // Postgres may run as somebody else.
        let open = Permissions::from_mode(0o711);
        let home = tempfile::Builder::new().permissions(open).tempdir()?;
        let (cluster, database) = match &programs.database {
            Some(given) => (None, given.clone()),
            None => {
                let cluster = cluster(home.path(), &programs.postgres_settings).await?;
                let url = cluster.url(durable::DATABASE);
                (Some(cluster), url)
            }
        };
        let jwt = keys::file(home.path(), "jwt.key", SECRET)?;
        let sealing = keys::file(home.path(), "sealing.key", keys::SEALING_KEY)?;
        let mut program = Program::new(&programs.binary)
            .setting("DATABASE_URL", &database)
            .setting("TENTERHOOK_JWT_SECRET_FILE", jwt)
            .setting("TENTERHOOK_SEALING_KEY_FILE", sealing);
        let of_one_host = one_host.then_some(OF_ONE_HOST);
        for (name, value) in SETTINGS.into_iter().chain(of_one_host) {
            program = program.setting(name, value);
        }
        for (name, value) in &programs.settings {
            program = program.setting(name, value);
        }
        let mut place = Self {
            passing: programs.database.is_none(),
            database: Some(database),
            program: Some(program),
            count: programs.count,
            cluster,
            home: Some(home),
            ..Self::empty(key("tenterhook"))
        };
        if place.passing {
            place.migrate().await?;
        }
        place.start_processes().await?;
        Ok(place)
    }

    async fn migrate(&self) -> anyhow::Result<()> {
        let program = self.program()?.clone().argument("migrate").run().await?;
        let said = String::from_utf8_lossy(&program.stderr);
        ensure!(
            program.status.success(),
            "the database cannot be migrated: {said}"
        );
        Ok(())
    }

    fn program(&self) -> anyhow::Result<&Program> {
        self.program.as_ref().context("no server program was named")
    }

    /// Starts the server processes, whose addresses are others than before.
    ///
    /// # Errors
    ///
    /// When one does not serve.
    pub async fn start_processes(&mut self) -> anyhow::Result<()> {
        let program = self.program()?.clone().argument("serve");
        // At once: one that is there already delivers.
        let started = (0..self.count).map(|_| program.serve());
        self.processes = try_join_all(started).await?;
        self.urls = self.processes.iter().map(Process::url).collect();
        Ok(())
    }

    /// Ends the server processes in good order.
    ///
    /// # Errors
    ///
    /// When one does not end.
    pub async fn stop_processes(&mut self) -> anyhow::Result<()> {
        for process in &self.processes {
            process.terminate().await?;
        }
        for mut process in self.processes.drain(..) {
            process.ended().await?;
        }
        Ok(())
    }

    /// The server processes' ids.
    pub fn processes(&self) -> Vec<u32> {
        self.processes.iter().filter_map(Process::id).collect()
    }

    /// A look at what the database counts, if it is known.
    ///
    /// # Errors
    ///
    /// When it cannot be reached.
    pub async fn statistics(&self) -> anyhow::Result<Option<Statistics>> {
        match (&self.cluster, &self.database) {
            // From beside, so that looking does not count.
            (Some(cluster), _) => Statistics::look(&cluster.url("postgres"), durable::DATABASE)
                .await
                .map(Some),
            (None, Some(url)) => {
                let config: tokio_postgres::Config = url.parse()?;
                let name = config.get_dbname().unwrap_or_default().to_owned();
                Statistics::look(url, &name).await.map(Some)
            }
            (None, None) => Ok(None),
        }
    }

    /// Where all deliveries stand, as a server tells it.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub async fn tally(&self) -> anyhow::Result<Tally> {
        let url = self.urls.first().context("no server")?;
        let caller = Client::new(url, None, Keyring::default())?;
        let (status, metrics) = caller.get("/metrics").await?;
        ensure!(status == 200, "/metrics answered {status}: {metrics}");
        Tally::parse(&metrics)
    }

    /// How long the disk takes to keep a page, in milliseconds: the median of some. Only where the Postgres is its own.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn sync_millis(&self) -> anyhow::Result<Option<f64>> {
        let (Some(home), Some(_)) = (&self.home, &self.cluster) else {
            return Ok(None);
        };
        let mut file = File::create(home.path().join("page"))?;
        let mut took = Vec::new();
        for _ in 0..SYNCS {
            let watch = Stopwatch::start();
            file.write_all(&PAGE)?;
            file.sync_data()?;
            took.push(watch.seconds() * 1e3);
        }
        took.sort_by(f64::total_cmp);
        Ok(Some(took[SYNCS / 2]))
    }

    /// Ends all of it; in good order what others go on with.
    ///
    /// # Errors
    ///
    /// When something does not end.
    pub async fn end(mut self) -> anyhow::Result<()> {
        if self.passing {
            for process in self.processes.drain(..) {
                process.kill().await?;
            }
        }
        self.stop_processes().await?;
        if let Some((server, _database)) = self.own.take() {
            server.stop().await?;
        }
        if let Some(mut cluster) = self.cluster.take() {
            cluster.kill()?;
            cluster.ended().await?;
        }
        Ok(())
    }
}

fn key(name: &str) -> TokenKey {
    TokenKey {
        secret: SECRET.to_owned(),
        issuer: name.to_owned(),
        audience: name.to_owned(),
    }
}

/// A durable Postgres that counts statements, if it can.
async fn cluster(home: &Path, settings: &[String]) -> anyhow::Result<Cluster> {
    let programs = crate::launch::postgres_programs().await?;
    let counts = LIBRARIES
        .iter()
        .any(|folder| programs.join(folder).join(format!("{COUNTER}.so")).exists());
    let preload = format!("shared_preload_libraries={COUNTER}");
    let settings: Vec<&str> = POSTGRES_SETTINGS
        .into_iter()
        .chain(counts.then_some(preload.as_str()))
        .chain(settings.iter().map(String::as_str))
        .collect();
    let cluster = Cluster::create(home, home, Vec::new(), &settings).await?;
    if counts {
        let (client, connection) = tokio_postgres::connect(&cluster.url("postgres"), NoTls).await?;
        realtime::spawn(async move { drop(connection.await) });
        client
            .batch_execute(&format!("create extension {COUNTER}"))
            .await?;
    }
    Ok(cluster)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_one_to_eight_servers() {
        let check = |count| {
            let programs = Programs {
                binary: PathBuf::new(),
                count,
                database: None,
                settings: Vec::new(),
                postgres_settings: Vec::new(),
            };
            programs.check()
        };
        for count in [1, 8] {
            check(count).unwrap();
        }
        for count in [0, 9] {
            let error = check(count).unwrap_err().to_string();
            assert!(error.starts_with("--servers"), "{error}");
        }
    }
}
