//! The servers of a campaign: each behind a relay of its own, started again whenever it is gone.
//!
//! Promises that a caller always finds the address under which a server was last seen, so that calls also meet servers
//! that are down, stopping or starting.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use jiff::{SignedDuration, Timestamp};

use super::machine::WallClock;
use super::names::Names;
use super::proxy::{Proxy, Weather};
use crate::client::Client;
use crate::durable::Cluster;
use crate::keys;
use crate::process::{Process, Program};
use crate::realtime::{self, PATIENCE};
use crate::signature::Keyring;
use crate::system;
use crate::token::{Claims, TokenKey};

/// What signs the tokens of a campaign.
const SECRET: &str = "the secret of a fault campaign, long enough to be one";
/// How long between two tries to start a server whose database may not be there yet.
const START_EVERY: Duration = Duration::from_millis(100);
/// Descriptors that a server is left with beyond those it has open when they are taken away.
const DESCRIPTORS_LEFT: usize = 2;
/// Descriptors that a server has otherwise.
const DESCRIPTORS: usize = 4096;

/// The policy's numbers, made short enough for a round to see retries, bans and a hand-over.
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

/// Attempts of one webhook that a server has on the wire at most (D8): `TENTERHOOK_IN_FLIGHT_PER_WEBHOOK`.
pub(super) const IN_FLIGHT_PER_WEBHOOK: usize = 32;

/// How long name servers must be silent for it to be the servers' own lack (D13): `TENTERHOOK_POLICY_DNS_SILENCE`.
pub(super) const DNS_SILENCE: SignedDuration = SignedDuration::from_millis(800);

/// Settings for binaries that know them: name servers count as silent a little before the attempt's time-out (D13), and a
/// connection to a silent database is given up soon, so that a round is short.
const SETTINGS_IF_TAKEN: [(&str, &str); 2] = [
    ("TENTERHOOK_POLICY_DNS_SILENCE", "800ms"),
    ("TENTERHOOK_DATABASE_TIMEOUT", "4s"),
];
/// A database that does not exist: a command that complains of a setting does so before it connects.
const NOWHERE: &str = "host='127.0.0.1' port=1 user=nobody dbname=nowhere";

/// The servers, and who may call them.
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
    /// What processes before the present one have printed.
    log: PathBuf,
}

/// Who calls the servers. Clones share the addresses.
#[derive(Clone)]
pub struct Callers {
    key: TokenKey,
    keyring: Keyring,
    clients: Arc<Mutex<Vec<Client>>>,
}

impl Callers {
    /// The keys with which receivers check signatures: of all webhooks that were made through these callers.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// A caller of one of the servers, whether or not it lives: counted on from any number.
    pub fn of(&self, number: usize, claims: &Claims) -> Client {
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let token = self.key.sign(claims, realtime::now());
        clients[number % clients.len()].with_token(Some(token))
    }
}

impl Fleet {
    /// Migrates the database and starts this many servers of `binary`.
    pub async fn start(
        count: usize,
        binary: &Path,
        home: &Path,
        cluster: &Cluster,
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
                eprintln!("the servers do not take {name}={value}; theirs is used");
            }
        }
        let mut servers = Vec::new();
        for number in 0..count {
            let proxy = Proxy::start(cluster.socket(), number as u64).await?;
            let mut program = match names {
                Some(names) => {
                    let wrapped = names.wrapped(binary).into_iter();
                    wrapped.fold(Program::new("unshare"), Program::argument)
                }
                None => Program::new(binary),
            };
            program = program.setting("DATABASE_URL", Cluster::url_through(proxy.address()));
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
        let name = || "tenterhook".to_owned();
        let mut fleet = Self {
            servers,
            callers: Callers {
                key: TokenKey {
                    secret: SECRET.to_owned(),
                    issuer: name(),
                    audience: name(),
                },
                keyring: Keyring::default(),
                clients: Arc::default(),
            },
        };
        fleet.ensure_running().await?;
        Ok(fleet)
    }

    /// Who may call them.
    pub fn callers(&self) -> &Callers {
        &self.callers
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.servers.len()
    }

    /// One of them, counted on from any number.
    pub fn server(&mut self, number: usize) -> &mut Server {
        let count = self.servers.len();
        &mut self.servers[number % count]
    }

    /// All of them.
    pub fn servers(&mut self) -> &mut [Server] {
        &mut self.servers
    }

    /// Starts those that are gone, and waits until all serve.
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

    /// Writes what the servers have printed to where their logs are kept.
    pub fn write_logs(&mut self) -> anyhow::Result<()> {
        for server in &self.servers {
            server.write_log()?;
        }
        Ok(())
    }
}

impl Server {
    /// SIGKILL, and gone.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.write_log()?;
        self.frozen = false;
        self.short = false;
        match self.process.take() {
            Some(process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// SIGTERM: it ends in its own time.
    pub async fn terminate(&self) -> anyhow::Result<()> {
        match &self.process {
            Some(process) => process.terminate().await,
            None => Ok(()),
        }
    }

    /// Waits until it has ended by itself, and says whether that was in good order.
    pub async fn ended(&mut self) -> anyhow::Result<bool> {
        let Some(process) = &mut self.process else {
            return Ok(true);
        };
        let good = process.ended().await?.success();
        self.write_log()?;
        self.process = None;
        Ok(good)
    }

    /// Whether it ended although nobody asked it to; it is gone then.
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

    /// SIGSTOP.
    pub async fn freeze(&mut self) -> anyhow::Result<()> {
        if let Some(process) = &self.process {
            process.freeze().await?;
            self.frozen = true;
        }
        Ok(())
    }

    /// Leaves it next to no file descriptors.
    pub fn exhaust_descriptors(&mut self) -> anyhow::Result<()> {
        let Some(process) = self.process.as_ref().and_then(Process::id) else {
            return Ok(());
        };
        let open = fs::read_dir(format!("/proc/{process}/fd"))?.count();
        self.short = true;
        limit_descriptors(process, open + DESCRIPTORS_LEFT)
    }

    /// Lets its open connections to Postgres fall silent, until it is healed or for good.
    pub fn silence(&self, for_good: bool) {
        self.proxy.silence(for_good);
    }

    /// How its connections to Postgres fare.
    pub fn set_weather(&self, weather: Weather) {
        self.proxy.set(weather);
    }

    /// Sets its wall clock so many seconds off, if it has one of its own.
    pub fn set_clock(&self, seconds: i64) -> anyhow::Result<()> {
        self.clock.as_ref().map_or(Ok(()), |clock| clock.set(seconds))
    }

    /// Takes back what was done to it, other than its end.
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

    /// Starts it, again and again while its database is not there: it refuses to start without.
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
                .unwrap_or_else(|| anyhow::anyhow!("it neither serves nor ends"))
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

/// Whether the binary takes this setting: it refuses one that it does not know, or out of bounds, by its name.
async fn takes(binary: &Path, name: &str, value: &str) -> anyhow::Result<bool> {
    let program = Program::new(binary).argument("migrate");
    let program = program.setting("DATABASE_URL", NOWHERE).setting(name, value);
    let output = program.run().await?;
    Ok(!String::from_utf8_lossy(&output.stderr).contains(name))
}

/// Where a machine has it; without it the fault is not exercised.
pub(super) fn can_limit_descriptors() -> anyhow::Result<()> {
    ensure!(Path::new("/proc/self/fd").exists(), "there is no /proc");
    system::run("prlimit", &["--version"]).map(drop)
}

fn limit_descriptors(process: u32, count: usize) -> anyhow::Result<()> {
    let (process, limit) = (process.to_string(), format!("--nofile={count}:"));
    system::run("prlimit", &["--pid", &process, &limit]).map(drop)
}
