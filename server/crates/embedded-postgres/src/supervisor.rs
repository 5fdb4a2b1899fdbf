//! Runs `initdb` and `postgres` so that they never outlive this process.
//!
//! A shell between this process and the program reads from a pipe that this process holds open. However this process
//! ends, the kernel closes the pipe and the shell stops its child. This needs no unsafe code. Unlike PR_SET_PDEATHSIG it
//! also works on macOS and does not depend on the thread that started it.

#![expect(
    clippy::disallowed_methods,
    reason = "runs before there is a clock, and waits for real processes"
)]

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use tracing::info;

use super::account::{Account, as_account};
use super::find::Binaries;
use super::folder::Folder;
use super::{Durability, EmbeddedError, Options};

/// Standard input is the pipe. Standard output is the lock, which the program inherits as descriptor 4. Standard error
/// is the log.
///
/// The signal is repeated because a shell starts background processes with SIGINT ignored: a signal is lost if it comes
/// before the child has set its own handler. SIGINT is Postgres's fast shutdown. After a failure the folder is not
/// removed, so that its log can be read.
const SHELL: &str = r#"
exec 3<&0 4>&1 >&2 </dev/null
remove=$1; shift
"$@" 3<&- &
child=$!
{ read -r _; while kill -INT "$child"; do sleep 1; done; } <&3 4>&- 2>/dev/null &
watcher=$!
exec 3<&-
wait "$child"; status=$?
kill "$watcher" 2>/dev/null
[ -z "$remove" ] || [ "$status" != 0 ] || rm -rf "$remove"
exit "$status"
"#;

const LOOK_EVERY: Duration = Duration::from_millis(10);
const REPORT_EVERY: Duration = Duration::from_secs(10);
const STOPS_WITHIN: Duration = Duration::from_secs(60);

/// What a program of a cluster needs to start.
pub(super) struct Cluster<'a> {
    pub folder: &'a Folder,
    pub binaries: &'a Binaries,
    pub account: Option<&'a Account>,
    pub lock: &'a File,
    pub options: &'a Options,
}

impl Cluster<'_> {
    /// Runs `initdb`. Connections need no password, because the socket's folder limits access.
    pub async fn initialise(&self) -> Result<(), EmbeddedError> {
        self.folder.begin_initialising(self.account)?;
        let data = self.folder.data();
        let mut arguments: Vec<&OsStr> = vec![OsStr::new("-D"), data.as_os_str()];
        arguments.extend(
            "-U postgres -A trust -E UTF8 --locale=C"
                .split(' ')
                .map(OsStr::new),
        );
        if self.options.durability == Durability::ForTests {
            arguments.push(OsStr::new("--no-sync"));
        }
        let mut initdb = self.spawn("initdb", &arguments, None)?;
        let status = loop {
            match initdb.ended()? {
                Some(status) => break status,
                None => tokio::time::sleep(LOOK_EVERY).await,
            }
        };
        if !status.success() {
            return Err(self.failed("initdb", status));
        }
        self.folder.end_initialising()
    }

    /// Starts `postgres` and returns when it accepts connections. After a crash this may take a while, because it
    /// recovers first.
    pub async fn start(&self) -> Result<Supervised, EmbeddedError> {
        let before = self.status_file();
        let arguments = self.arguments();
        let arguments: Vec<&OsStr> = arguments.iter().map(OsString::as_os_str).collect();
        let mut postgres = self.spawn(
            "postgres",
            &arguments,
            self.folder.remove.as_deref().map(AsRef::as_ref),
        )?;
        let mut since_report = Duration::ZERO;
        loop {
            if let Some(status) = postgres.ended()? {
                return Err(self.failed("postgres", status));
            }
            // A file left by a killed Postgres also says "ready". The new one differs at least in its start time.
            let status = self.status_file();
            if status != before && status.lines().nth(7).is_some_and(|line| line.trim() == "ready") {
                return Ok(postgres);
            }
            tokio::time::sleep(LOOK_EVERY).await;
            since_report += LOOK_EVERY;
            if since_report >= REPORT_EVERY {
                since_report = Duration::ZERO;
                info!(log = %self.log_end(1), "Postgres is still starting");
            }
        }
    }

    fn spawn(
        &self,
        program: &str,
        arguments: &[&OsStr],
        remove: Option<&OsStr>,
    ) -> Result<Supervised, EmbeddedError> {
        let log_file = self.folder.log();
        let log = File::create(&log_file).map_err(EmbeddedError::io("write", &log_file))?;
        let program = self.binaries.dir.join(program);
        let lock = self
            .lock
            .try_clone()
            .map_err(EmbeddedError::io("share the lock of", &self.folder.path))?;
        let mut shell = as_account(self.account, "/bin/sh")
            .args(["-c", SHELL, "sh"])
            .arg(remove.unwrap_or_default())
            .arg(&program)
            .args(arguments)
            // A process group of its own: Ctrl-C in a terminal reaches only this process, which stops Postgres at the
            // end of its own shutdown.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(lock)
            .stderr(log)
            .spawn()
            .map_err(EmbeddedError::io("run", &program))?;
        let lifeline = shell.stdin.take();
        Ok(Supervised { lifeline, shell })
    }

    fn arguments(&self) -> Vec<OsString> {
        let mut settings = vec![
            "listen_addresses=".to_owned(),
            format!("max_connections={}", self.options.max_connections),
            "timezone=UTC".to_owned(),
            "log_timezone=UTC".to_owned(),
            "logging_collector=off".to_owned(),
            // Errors in statements are returned to the client. Without this setting the log would grow with them.
            "log_min_messages=log".to_owned(),
            "log_checkpoints=off".to_owned(),
        ];
        if self.options.durability == Durability::ForTests {
            let fast = "fsync=off synchronous_commit=off full_page_writes=off autovacuum=off wal_level=minimal max_wal_senders=0 max_wal_size=256MB";
            settings.extend(fast.split(' ').map(str::to_owned));
        }
        let place = [
            "-D".into(),
            self.folder.data().into(),
            "-k".into(),
            self.folder.socket.clone().into(),
        ];
        let port = ["-p".into(), "5432".into()];
        let settings = settings
            .into_iter()
            .flat_map(|setting| [OsString::from("-c"), setting.into()]);
        place.into_iter().chain(port).chain(settings).collect()
    }

    fn status_file(&self) -> String {
        fs::read_to_string(self.folder.data().join("postmaster.pid")).unwrap_or_default()
    }

    fn failed(&self, program: &'static str, status: ExitStatus) -> EmbeddedError {
        let (log_file, log) = (self.folder.log(), self.log_end(12));
        EmbeddedError::Failed {
            program,
            status: status.to_string(),
            log_file,
            log,
        }
    }

    fn log_end(&self, lines: usize) -> String {
        let log = fs::read_to_string(self.folder.log()).unwrap_or_default();
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

/// A program that ends when this is dropped or this process ends.
#[derive(Debug)]
pub(super) struct Supervised {
    /// This process's end of the pipe. Nothing is ever written to it.
    lifeline: Option<std::process::ChildStdin>,
    shell: Child,
}

impl Supervised {
    /// Closes the pipe and waits until the program has ended.
    pub async fn stop(mut self) -> Result<(), EmbeddedError> {
        self.lifeline = None;
        let mut waited = Duration::ZERO;
        while self.ended()?.is_none() {
            if waited >= STOPS_WITHIN {
                return Err(EmbeddedError::StillStopping {
                    seconds: STOPS_WITHIN.as_secs(),
                });
            }
            tokio::time::sleep(LOOK_EVERY).await;
            waited += LOOK_EVERY;
        }
        Ok(())
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>, EmbeddedError> {
        self.shell
            .try_wait()
            .map_err(EmbeddedError::io("wait for", "/bin/sh".as_ref()))
    }
}
