//! A durable Postgres in its own folder that can be stopped, killed and started again.
//!
//! No setting trades durability for speed. Otherwise a crash would prove nothing, and a measurement would not be valid
//! for production. Postgres ends with this process, however this process ends: a shell between the two waits for a pipe
//! to close. It listens only on its Unix socket.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::process::{Child, ChildStdin, Command};
use tokio_postgres::{Client, Config, NoTls};

use tenterhook_harness::launch;
use tenterhook_harness::realtime::{self, PATIENCE};

use crate::system;

/// Ends its program when its standard input closes. `read` waits for that; the program does not inherit the pipe.
const SHELL: &str = r#"
exec 3<&0 </dev/null
"$@" 3<&- &
child=$!
{ read -r _; kill -QUIT "$child"; } <&3 2>/dev/null &
watcher=$!
exec 3<&-
wait "$child"; status=$?
kill "$watcher" 2>/dev/null
exit "$status"
"#;
/// Time between two looks at whether Postgres is running.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The name of the database.
pub const DATABASE: &str = "tenterhook";

/// A Postgres and its data.
pub struct DurablePostgres {
    programs: PathBuf,
    data: PathBuf,
    socket: PathBuf,
    log: PathBuf,
    user: Option<(u32, u32)>,
    environment: Vec<(&'static str, OsString)>,
    settings: Vec<String>,
    running: Option<Running>,
}

/// A program and the shell that started it.
struct Running {
    shell: Child,
    /// The writing end of the pipe, to which nothing is written. Not in the child, because waiting for it would close
    /// the pipe.
    _lifeline: Option<ChildStdin>,
}

impl DurablePostgres {
    /// Creates a Postgres in `home` with its data in `disk`, and starts it with settings such as `max_wal_size=1GB`. A
    /// later setting overrides an earlier one. The user of Postgres must have access to both folders.
    pub async fn create(
        home: &Path,
        disk: &Path,
        environment: Vec<(&'static str, OsString)>,
        settings: &[impl AsRef<str>],
    ) -> anyhow::Result<Self> {
        let mut postgres = Self {
            programs: launch::postgres_programs().await?,
            data: disk.join("data"),
            socket: home.join("socket"),
            log: home.join("postgres.log"),
            user: system::user_for_postgres()?,
            environment,
            settings: settings
                .iter()
                .map(|setting| setting.as_ref().to_owned())
                .collect(),
            running: None,
        };
        for folder in [&postgres.data, &postgres.socket] {
            fs::create_dir(folder)?;
            if let Some((user, group)) = postgres.user {
                std::os::unix::fs::chown(folder, Some(user), Some(group))?;
            }
        }
        let data = postgres.data.display().to_string();
        let arguments = [
            "-D",
            &data,
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        ];
        let mut initdb = postgres.spawn("initdb", &arguments)?;
        let status = initdb.shell.wait().await?;
        ensure!(status.success(), "initdb failed; see {}", postgres.log.display());
        postgres.ensure_running().await?;
        let admin = postgres.connect("postgres").await?;
        admin
            .batch_execute(&format!("create database {DATABASE}"))
            .await?;
        Ok(postgres)
    }

    /// The Unix socket on which it listens.
    pub fn socket(&self) -> PathBuf {
        self.socket.join(".s.PGSQL.5432")
    }

    /// The connection string of one of its databases.
    pub fn url(&self, database: &str) -> String {
        format!(
            "host='{}' port=5432 user=postgres dbname={database}",
            self.socket.display()
        )
    }

    /// The connection string of the database through a relay.
    pub fn url_through(relay: SocketAddr) -> String {
        format!(
            "host='{}' port={} user=postgres dbname={DATABASE}",
            relay.ip(),
            relay.port()
        )
    }

    /// A direct connection that uses no relay.
    pub async fn look(&self) -> anyhow::Result<Client> {
        self.connect(DATABASE).await
    }

    /// Shuts it down and ends open connections (`-m fast`). Does not wait.
    pub fn stop(&self) -> anyhow::Result<()> {
        self.signal("INT")
    }

    /// Ends it at once (`-m immediate`), so that it has to recover when it starts.
    pub fn kill(&self) -> anyhow::Result<()> {
        self.signal("QUIT")
    }

    /// Waits until it responds. Starts it each time that it has ended.
    ///
    /// # Errors
    ///
    /// If it does not start again.
    pub async fn ensure_running(&mut self) -> anyhow::Result<()> {
        let running = async {
            loop {
                let ended = match &mut self.running {
                    Some(running) => running.shell.try_wait()?.is_some(),
                    None => true,
                };
                if ended {
                    self.running = Some(self.start()?);
                }
                if self.connect("postgres").await.is_ok() {
                    return anyhow::Ok(());
                }
                realtime::pause(LOOK_EVERY).await;
            }
        };
        let running = realtime::within(PATIENCE, running).await;
        running.with_context(|| format!("Postgres does not start again; see {}", self.log.display()))?
    }

    /// Waits until it has ended, after [`DurablePostgres::stop`] or [`DurablePostgres::kill`].
    pub async fn ended(&mut self) -> anyhow::Result<()> {
        if let Some(running) = &mut self.running {
            let ended = realtime::within(PATIENCE, running.shell.wait()).await;
            ended.with_context(|| {
                let waits = running.shell.id().map(system::waits_in);
                format!("Postgres does not stop: {}", waits.unwrap_or_default())
            })??;
        }
        Ok(())
    }

    fn start(&self) -> anyhow::Result<Running> {
        let (data, socket) = (self.data.display().to_string(), self.socket.display().to_string());
        let mut arguments = vec!["-D", &data, "-k", &socket, "-p", "5432"];
        for setting in [
            "listen_addresses=",
            "max_connections=200",
            "timezone=UTC",
            "log_timezone=UTC",
            "logging_collector=off",
            "log_checkpoints=off",
        ]
        .into_iter()
        .chain(self.settings.iter().map(String::as_str))
        {
            arguments.extend(["-c", setting]);
        }
        self.spawn("postgres", &arguments)
    }

    fn spawn(&self, program: &str, arguments: &[&str]) -> anyhow::Result<Running> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", SHELL, "sh"])
            .arg(self.programs.join(program))
            .args(arguments)
            .envs(self.environment.iter().cloned())
            .current_dir("/")
            // Its own process group, so that Ctrl-C in a terminal reaches only this process.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log);
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        let mut shell = command.spawn()?;
        let lifeline = shell.stdin.take();
        Ok(Running {
            shell,
            _lifeline: lifeline,
        })
    }

    async fn connect(&self, database: &str) -> anyhow::Result<Client> {
        let mut config = Config::new();
        config.host_path(&self.socket).user("postgres").dbname(database);
        let connected = realtime::within(PATIENCE, config.connect(NoTls)).await;
        let (client, connection) = connected.context("Postgres does not respond")??;
        realtime::spawn(async move { drop(connection.await) });
        Ok(client)
    }

    fn signal(&self, name: &str) -> anyhow::Result<()> {
        let pid = fs::read_to_string(self.data.join("postmaster.pid"))?;
        let pid = pid.lines().next().context("an empty postmaster.pid")?;
        system::run("kill", &["-s", name, pid]).map(drop)
    }
}
