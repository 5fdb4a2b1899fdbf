//! The servers of a campaign. Each has its own relay to Postgres, and is started again after it has ended.
//!
//! A client keeps the last known address of a server, so that calls also reach servers that are down, stopping or
//! starting.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use jiff::{SignedDuration, Timestamp};

use tenterhook_harness::client::Client;
use tenterhook_harness::keys;
use tenterhook_harness::realtime::{self, PATIENCE};
use tenterhook_harness::signature::Keyring;
use tenterhook_harness::token::{Claims, TokenKey};

use super::dns_server::Names;
use super::machine::WallClock;
use super::proxy::{Proxy, Weather};
use crate::durable_postgres::DurablePostgres;
use crate::process::{Process, Program};
use crate::system;

/// The secret that signs the tokens of a campaign.
const SECRET: &str = "the secret of a fault campaign, long enough to be one";
/// Time between two attempts to start a server while its database is perhaps not available yet.
const START_EVERY: Duration = Duration::from_millis(100);
/// File descriptors that an exhausted server can still open.
const DESCRIPTORS_LEFT: usize = 2;
/// The normal limit of a server's file descriptors.
const DESCRIPTORS: usize = 4096;

/// The numbers of the policy, so short that a round has retries, bans and a hand-over.
pub(super) const SETTINGS: [(&str, &str); 10] = [
    ("TENTERHOOK_ALLOWED_TARGETS", "127.0.0.0/8"),
    ("TENTERHOOK_LOG", "warn,tenterhook=info"),
    ("TENTERHOOK_LEASE", "18s"),
    ("TENTERHOOK_IN_FLIGHT_PER_WEBHOOK", "32"),
    ("TENTERHOOK_API_RATE_PER_TOKEN", "1000000"),
    ("TENTERHOOK_API_RATE_PER_COMPANY", "1000000"),
    ("TENTERHOOK_POLICY_ATTEMPT_TIMEOUT", "1s"),
    ("TENTERHOOK_POLICY_RETRY_DELAYS", "150ms,400ms,900ms"),
    ("TENTERHOOK_POLICY_BAN_THRESHOLD", "60"),
    ("TENTERHOOK_POLICY_BAN_DURATION", "3s"),
];

/// Most concurrent attempts of one webhook in one server (D8): `TENTERHOOK_IN_FLIGHT_PER_WEBHOOK`.
pub(super) const IN_FLIGHT_PER_WEBHOOK: usize = 32;

/// How long name servers must be silent before the servers postpone deliveries (D13): `TENTERHOOK_POLICY_DNS_SILENCE`.
pub(super) const DNS_SILENCE: SignedDuration = SignedDuration::from_millis(800);

/// Settings for binaries that have them. Name servers count as silent shortly before an attempt times out (D13), and a
/// server soon gives up a silent connection to the database, so that a round is short.
const SETTINGS_IF_TAKEN: [(&str, &str); 2] = [
    ("TENTERHOOK_POLICY_DNS_SILENCE", "800ms"),
    ("TENTERHOOK_DATABASE_TIMEOUT", "4s"),
];
/// A database that does not exist. A command reports an invalid setting before it connects.
const NOWHERE: &str = "host='127.0.0.1' port=1 user=nobody dbname=nowhere";

/// The servers, and the clients that call them.
pub struct Fleet {
    servers: Vec<Server>,
    callers: Callers,
}

/// One server.
pub struct Server {
    program: Program,
    proxy: Proxy,
    clock: Option<WallClock>,
    process: Option<Process>,
    frozen: bool,
    short: bool,
    /// The file with the output of earlier processes of this server.
    log: PathBuf,
}

/// Creates clients of the servers. Clones share the addresses.
#[derive(Clone)]
pub struct Callers {
    key: TokenKey,
    keyring: Keyring,
    clients: Arc<Mutex<Vec<Client>>>,
}

impl Callers {
    /// Without clients, until servers run.
    fn new() -> Self {
        let name = || "tenterhook".to_owned();
        Self {
            key: TokenKey {
                secret: SECRET.to_owned(),
                issuer: name(),
                audience: name(),
            },
            keyring: Keyring::default(),
            clients: Arc::default(),
        }
    }

    /// The signing keys of all webhooks that were created through these clients, for the receivers.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// A client of one of the servers, whether or not it is running. The number wraps around.
    pub fn of(&self, number: usize, claims: &Claims) -> Client {
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let token = self.key.sign(claims, realtime::now());
        clients[number % clients.len()].with_token(Some(token))
    }
}

impl Fleet {
    /// Migrates the database, and starts `count` servers of `binary`.
    pub async fn start(
        count: usize,
        binary: &Path,
        home: &Path,
        postgres: &DurablePostgres,
        names: Option<&Names>,
        clocks: &[WallClock],
    ) -> anyhow::Result<Self> {
        let file = |name: &str, key: &str| keys::file(home, name, key).map(OsString::from);
        let key_files = [
            ("TENTERHOOK_JWT_SECRET_FILE", file("jwt.key", SECRET)?),
            (
                "TENTERHOOK_SEALING_KEY_FILE",
                file("sealing.key", keys::SEALING_KEY)?,
            ),
        ];
        let mut settings: Vec<(&str, &str)> = SETTINGS.to_vec();
        for (name, value) in SETTINGS_IF_TAKEN {
            if takes(binary, name, value).await? {
                settings.push((name, value));
            } else {
                eprintln!("the servers do not know {name}={value}; their default is used");
            }
        }
        let mut servers = Vec::new();
        for number in 0..count {
            let proxy = Proxy::start(postgres.socket(), number as u64).await?;
            let mut program = match names {
                Some(names) => {
                    let wrapped = names.wrapped(binary).into_iter();
                    wrapped.fold(Program::new("unshare"), Program::argument)
                }
                None => Program::new(binary),
            };
            program = program.setting("DATABASE_URL", DurablePostgres::url_through(proxy.address()));
            let clock = clocks.get(number).cloned();
            let environment = clock.iter().flat_map(WallClock::environment);
            for (name, value) in settings
                .iter()
                .map(|(name, value)| (*name, value.into()))
                .chain(key_files.clone())
                .chain(environment)
            {
                program = program.setting(name, value);
            }
            servers.push(Server {
                program,
                proxy,
                clock,
                process: None,
                frozen: false,
                short: false,
                log: home.join(format!("server-{number}.log")),
            });
        }
        let migration = servers[0].program.clone().argument("migrate").run().await?;
        ensure!(
            migration.status.success(),
            "the database cannot be migrated: {}",
            String::from_utf8_lossy(&migration.stderr)
        );
        let mut fleet = Self {
            servers,
            callers: Callers::new(),
        };
        fleet.ensure_running().await?;
        Ok(fleet)
    }

    /// The clients of the servers.
    pub fn callers(&self) -> &Callers {
        &self.callers
    }

    /// The number of servers.
    pub fn count(&self) -> usize {
        self.servers.len()
    }

    /// One of the servers. The number wraps around.
    pub fn server(&mut self, number: usize) -> &mut Server {
        let count = self.servers.len();
        &mut self.servers[number % count]
    }

    /// All servers.
    pub fn servers(&mut self) -> &mut [Server] {
        &mut self.servers
    }

    /// Starts servers that have ended, and waits until all are ready.
    pub async fn ensure_running(&mut self) -> anyhow::Result<()> {
        let mut clients = Vec::new();
        for server in &mut self.servers {
            if server.process.is_none() {
                server.begin().await?;
            }
            let process = server.process.as_ref().context("just started")?;
            clients.push(Client::new(&process.url(), None, self.callers.keyring.clone())?);
        }
        for client in &clients {
            client.until_ready().await?;
        }
        *self
            .callers
            .clients
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = clients;
        Ok(())
    }

    /// Appends the output of the running servers to their log files.
    pub fn write_logs(&mut self) -> anyhow::Result<()> {
        for server in &self.servers {
            server.write_log()?;
        }
        Ok(())
    }
}

impl Server {
    /// Sends SIGKILL, and waits for the end.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.write_log()?;
        self.frozen = false;
        self.short = false;
        match self.process.take() {
            Some(process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// Sends SIGTERM. The server ends in its own time.
    pub async fn terminate(&self) -> anyhow::Result<()> {
        match &self.process {
            Some(process) => process.terminate().await,
            None => Ok(()),
        }
    }

    /// Waits until the server has ended. Returns whether its exit code was 0.
    pub async fn ended(&mut self) -> anyhow::Result<bool> {
        let Some(process) = &mut self.process else {
            return Ok(true);
        };
        let good = process.ended().await?.success();
        self.write_log()?;
        self.process = None;
        Ok(good)
    }

    /// Whether the server ended without being asked to. Its process is then forgotten.
    pub fn has_died(&mut self) -> anyhow::Result<bool> {
        let Some(process) = &mut self.process else {
            return Ok(false);
        };
        if process.has_ended()?.is_none() {
            return Ok(false);
        }
        self.write_log()?;
        self.process = None;
        Ok(true)
    }

    /// Sends SIGSTOP.
    pub async fn freeze(&mut self) -> anyhow::Result<()> {
        if let Some(process) = &self.process {
            process.freeze().await?;
            self.frozen = true;
        }
        Ok(())
    }

    /// Leaves the server almost no free file descriptors.
    pub fn exhaust_descriptors(&mut self) -> anyhow::Result<()> {
        let Some(process) = self.process.as_ref().and_then(Process::id) else {
            return Ok(());
        };
        let open = fs::read_dir(format!("/proc/{process}/fd"))?.count();
        self.short = true;
        limit_descriptors(process, open + DESCRIPTORS_LEFT)
    }

    /// Silences its open connections to Postgres, until it is healed, or permanently.
    pub fn silence(&self, for_good: bool) {
        self.proxy.silence(for_good);
    }

    /// Sets the fault of its connections to Postgres.
    pub fn set_weather(&self, weather: Weather) {
        self.proxy.set(weather);
    }

    /// Sets the error of its wall clock, in seconds, if it has its own clock.
    pub fn set_clock(&self, seconds: i64) -> anyhow::Result<()> {
        self.clock.as_ref().map_or(Ok(()), |clock| clock.set(seconds))
    }

    /// Undoes all faults of the server, except that it ended.
    pub async fn heal(&mut self) -> anyhow::Result<()> {
        self.set_weather(Weather::Fair);
        self.proxy.end_silence();
        if let Some(process) = &self.process {
            if self.frozen {
                process.resume().await?;
            }
            if let Some(id) = process.id().filter(|_| self.short) {
                limit_descriptors(id, DESCRIPTORS)?;
            }
        }
        (self.frozen, self.short) = (false, false);
        Ok(())
    }

    /// Starts the server. Repeats that while the database is not available, because a server does not start without it.
    async fn begin(&mut self) -> anyhow::Result<()> {
        let program = self.program.clone().argument("serve");
        let mut last = None;
        let started = async {
            loop {
                match program.serve().await {
                    Ok(process) => return process,
                    Err(error) => last = Some(error),
                }
                realtime::pause(START_EVERY).await;
            }
        };
        match realtime::within(PATIENCE, started).await {
            Some(process) => {
                self.process = Some(process);
                Ok(())
            }
            None => Err(last
                .unwrap_or_else(|| anyhow::anyhow!("the process neither serves nor ends"))
                .context("a server cannot be started")),
        }
    }

    fn write_log(&self) -> anyhow::Result<()> {
        use std::io::Write;
        let Some(process) = &self.process else {
            return Ok(());
        };
        let mut log = fs::File::options().create(true).append(true).open(&self.log)?;
        let at: Timestamp = realtime::now();
        writeln!(log, "{}\n--- until {at}", process.printed())?;
        Ok(())
    }
}

/// Whether the binary has this setting. It refuses an unknown setting or value with an error that contains the name.
async fn takes(binary: &Path, name: &str, value: &str) -> anyhow::Result<bool> {
    let program = Program::new(binary).argument("migrate");
    let program = program.setting("DATABASE_URL", NOWHERE).setting(name, value);
    let output = program.run().await?;
    Ok(!String::from_utf8_lossy(&output.stderr).contains(name))
}

/// Fails on machines that cannot limit descriptors. There the fault is left out.
pub(super) fn can_limit_descriptors() -> anyhow::Result<()> {
    ensure!(Path::new("/proc/self/fd").exists(), "there is no /proc");
    system::run("prlimit", &["--version"]).map(drop)
}

fn limit_descriptors(process: u32, count: usize) -> anyhow::Result<()> {
    let (process, limit) = (process.to_string(), format!("--nofile={count}:"));
    system::run("prlimit", &["--pid", &process, &limit]).map(drop)
}
