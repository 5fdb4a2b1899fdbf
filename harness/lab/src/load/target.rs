//! The environment of a load: a server in this process, a remote one, or server processes on a durable Postgres.
//!
//! Everything that it started ends with it. The processes run with their defaults, except for [`SETTINGS`] and the
//! settings of the caller. Each of [`SETTINGS`] is there because a load could not be measured without it.

use std::fs::{File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use tempfile::TempDir;
use tokio_postgres::NoTls;

use tenterhook_harness::client::Client;
use tenterhook_harness::database::{self, Database};
use tenterhook_harness::keys;
use tenterhook_harness::launch::{AppSees, Server, ServerOptions};
use tenterhook_harness::realtime::{self, Stopwatch};
use tenterhook_harness::signature::Keyring;
use tenterhook_harness::token::TokenKey;
use tenterhook_harness::world::{Tally, Target};

use super::costs::Statistics;
use crate::durable_postgres::{self, DurablePostgres};
use crate::process::{Process, Program};

const SECRET: &str = "of a server that exists only for a load";
/// Most server processes.
pub const MAX_SERVERS: u32 = 8;
/// The settings of each server process.
pub const SETTINGS: [(&str, &str); 9] = [
    ("TENTERHOOK_ALLOWED_TARGETS", "127.0.0.0/8"),
    // The server logs its address at this level, and no single requests.
    ("TENTERHOOK_LOG", "warn,tenterhook=info"),
    // Receivers that fail for the whole run must be called for the whole run.
    ("TENTERHOOK_POLICY_BAN_THRESHOLD", "1000000"),
    // One client publishes for the whole platform, and one creates all webhooks.
    ("TENTERHOOK_API_RATE_PER_TOKEN", "1000000"),
    ("TENTERHOOK_API_RATE_PER_COMPANY", "1000000"),
    ("TENTERHOOK_API_RATE_PER_PLATFORM_TOKEN", "1000000"),
    ("TENTERHOOK_API_RATE_PER_PUBLISHING_TOKEN", "1000000"),
    ("TENTERHOOK_API_RATE_OF_PLATFORM", "1000000"),
    ("TENTERHOOK_API_RATE_OF_PUBLISHING", "1000000"),
];
/// A further setting, if all receivers have one host: here this host stands for hundreds of hosts, each with its own
/// limit.
const OF_ONE_HOST: (&str, &str) = ("TENTERHOOK_IN_FLIGHT_PER_HOST", "512");
/// The settings of a load's Postgres. All others keep their defaults, durability above all.
pub const POSTGRES_SETTINGS: [&str; 2] = ["shared_buffers=512MB", "max_wal_size=4GB"];
/// The library that counts statements, and where it may be, relative to the programs of Postgres.
const COUNTER: &str = "pg_stat_statements";
const LIBRARIES: [&str; 3] = ["../lib", "../lib/postgresql", "../lib64"];
/// Number of page writes that measure the disk.
const SYNCS: usize = 51;
const PAGE: [u8; 8192] = [0; 8192];

/// The servers that a load runs against.
pub enum Against {
    /// A server in this process, on a Postgres without durability: to try a load, not to measure.
    Own,
    /// A remote server with the system clock that allows loopback targets.
    Target(Target),
    /// New server processes.
    Programs(Programs),
}

/// Server processes on a durable Postgres.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The server's binary.
    pub binary: PathBuf,
    /// Number of processes, 1 to [`MAX_SERVERS`].
    pub count: u32,
    /// The database. `None` to start a Postgres for the load.
    pub database: Option<String>,
    /// Settings of the servers, by environment variable.
    pub settings: Vec<(String, String)>,
    /// Settings of the new Postgres, such as `max_wal_size=1GB`.
    pub postgres_settings: Vec<String>,
}

impl Programs {
    /// Refuses what cannot be run, and names the argument.
    ///
    /// # Errors
    ///
    /// If the number of processes is out of bounds.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(
            (1..=MAX_SERVERS).contains(&self.count),
            "--servers must be 1 to {MAX_SERVERS}, not {}",
            self.count
        );
        Ok(())
    }
}

/// The servers of a load, with everything that was started for them.
pub struct LoadTarget {
    /// The servers' base addresses.
    pub urls: Vec<String>,
    /// The key that signs tokens for the servers.
    pub key: TokenKey,
    /// Whether all of it disappears at the end, so that webhooks need not be removed.
    pub passing: bool,
    /// The connection string that the servers use, if it is known.
    pub database: Option<String>,
    program: Option<Program>,
    count: u32,
    processes: Vec<Process>,
    postgres: Option<DurablePostgres>,
    home: Option<TempDir>,
    own: Option<(Server, Database)>,
}

impl LoadTarget {
    /// Starts what is needed, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// If something does not start or does not become ready.
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
            postgres: None,
            home: None,
            own: None,
        }
    }

    async fn own() -> anyhow::Result<Self> {
        let options = ServerOptions {
            allowed_targets: vec!["127.0.0.0/8".to_owned()],
            platform_hosts: Vec::new(),
            app_sees: AppSees::Application,
            dns_servers: Vec::new(),
            key: key("harness"),
            sealing_key: keys::SEALING_KEY.to_owned(),
            extra_ca_file: None,
            notices: None,
            settings: Vec::new(),
            rest_query_token: false,
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
        // Postgres may run as another user.
        let open = Permissions::from_mode(0o711);
        let home = tempfile::Builder::new().permissions(open).tempdir()?;
        let (postgres, database) = match &programs.database {
            Some(given) => (None, given.clone()),
            None => {
                let postgres = postgres(home.path(), &programs.postgres_settings).await?;
                let url = postgres.url(durable_postgres::DATABASE);
                (Some(postgres), url)
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
            postgres,
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
        self.program.as_ref().context("no server program was given")
    }

    /// Starts the server processes. Their addresses are different each time.
    ///
    /// # Errors
    ///
    /// If one does not become ready.
    pub async fn start_processes(&mut self) -> anyhow::Result<()> {
        let program = self.program()?.clone().argument("serve");
        // All at the same time, because the first one to run already delivers.
        let started = (0..self.count).map(|_| program.serve());
        self.processes = try_join_all(started).await?;
        self.urls = self.processes.iter().map(Process::url).collect();
        Ok(())
    }

    /// Stops the server processes with SIGTERM.
    ///
    /// # Errors
    ///
    /// If one does not end.
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

    /// A connection that reads the database's statistics, if the database is known.
    ///
    /// # Errors
    ///
    /// If it cannot be reached.
    pub async fn statistics(&self) -> anyhow::Result<Option<Statistics>> {
        match (&self.postgres, &self.database) {
            // Through another database, so that reading is not counted.
            (Some(postgres), _) => Statistics::look(&postgres.url("postgres"), durable_postgres::DATABASE)
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

    /// The number of deliveries by status, from a server's metrics.
    ///
    /// # Errors
    ///
    /// If the metrics cannot be read.
    pub async fn tally(&self) -> anyhow::Result<Tally> {
        let url = self.urls.first().context("no server")?;
        let caller = Client::new(url, None, Keyring::default())?;
        let (status, metrics) = caller.get("/metrics").await?;
        ensure!(status == 200, "/metrics returned {status}: {metrics}");
        Tally::parse(&metrics)
    }

    /// The median time in milliseconds in which the disk writes a page durably. Only if the Postgres belongs to the
    /// load.
    ///
    /// # Errors
    ///
    /// If the page cannot be written.
    pub fn sync_millis(&self) -> anyhow::Result<Option<f64>> {
        let (Some(home), Some(_)) = (&self.home, &self.postgres) else {
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

    /// Ends everything. Servers on a database that stays are stopped with SIGTERM.
    ///
    /// # Errors
    ///
    /// If something does not end.
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
        if let Some(mut postgres) = self.postgres.take() {
            postgres.kill()?;
            postgres.ended().await?;
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

/// A durable Postgres that counts statements, if it has the library for it.
async fn postgres(home: &Path, settings: &[String]) -> anyhow::Result<DurablePostgres> {
    let programs = tenterhook_harness::launch::postgres_programs().await?;
    let counts = LIBRARIES
        .iter()
        .any(|folder| programs.join(folder).join(format!("{COUNTER}.so")).exists());
    let preload = format!("shared_preload_libraries={COUNTER}");
    let settings: Vec<&str> = POSTGRES_SETTINGS
        .into_iter()
        .chain(counts.then_some(preload.as_str()))
        .chain(settings.iter().map(String::as_str))
        .collect();
    let postgres = DurablePostgres::create(home, home, Vec::new(), &settings).await?;
    if counts {
        let (client, connection) = tokio_postgres::connect(&postgres.url("postgres"), NoTls).await?;
        realtime::spawn(async move { drop(connection.await) });
        client
            .batch_execute(&format!("create extension {COUNTER}"))
            .await?;
    }
    Ok(postgres)
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
