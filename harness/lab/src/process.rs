//! The server as a process: started from its binary, signalled, killed and started again.
//!
//! A process ends with its handle, and its output is kept for inspection. The harness uses only its command line and
//! its HTTP interface.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};

use anyhow::{Context, ensure};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use tenterhook_harness::client::Client;
use tenterhook_harness::realtime::{self, PATIENCE};
use tenterhook_harness::signature::Keyring;

use crate::system::{self, Resident};

/// How to start the server.
#[derive(Debug, Clone)]
pub struct Program {
    binary: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
}

/// A server that was started.
pub struct Process {
    child: Child,
    address: String,
    printed: watch::Sender<String>,
}

impl Program {
    /// The binary on a free port. It gets this process's environment without `DATABASE_URL` and `TENTERHOOK_…`, which
    /// would change its settings.
    pub fn new(binary: impl AsRef<Path>) -> Self {
        let program = Self {
            binary: binary.as_ref().to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
        };
        program.setting("TENTERHOOK_LISTEN", "127.0.0.1:0")
    }

    /// Adds an argument.
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Replaces all arguments by this one: another command of the same program.
    pub fn command_instead(&self, argument: impl Into<OsString>) -> Self {
        Self {
            arguments: vec![argument.into()],
            ..self.clone()
        }
    }

    /// Adds an environment variable.
    pub fn setting(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Runs the program to its end, for commands that end by themselves or must refuse to start.
    pub async fn run(&self) -> anyhow::Result<Output> {
        let output = self.command().stdin(Stdio::null()).output();
        Ok(realtime::within(PATIENCE, output)
            .await
            .context("it was expected to end")??)
    }

    /// Starts the server, and waits until it is ready.
    pub async fn serve(&self) -> anyhow::Result<Process> {
        let mut child = self
            .command()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let printed = watch::Sender::new(String::new());
        let stdout = realtime::spawn(keep(child.stdout.take(), printed.clone()));
        let stderr = realtime::spawn(keep(child.stderr.take(), printed.clone()));
        let mut seen = printed.subscribe();
        let named = tokio::select! {
            named = realtime::within(PATIENCE, seen.wait_for(|text| address(text).is_some())) => named.is_some(),
            // The process has ended if both channels have. By then all output has been read.
            _ = async { (stdout.await, stderr.await) } => false,
        };
        let text = printed.borrow().clone();
        ensure!(named, "it did not print its address:\n{text}");
        let process = Process {
            child,
            address: address(&text).context("just seen")?.to_owned(),
            printed,
        };
        let ready = process.caller(None)?.until_ready().await;
        ready.with_context(|| process.printed())?;
        Ok(process)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        let foreign =
            |name: &OsString| name.to_string_lossy().starts_with("TENTERHOOK_") || name == "DATABASE_URL";
        for (name, _) in std::env::vars_os().filter(|(name, _)| foreign(name)) {
            command.env_remove(name);
        }
        command
            .args(&self.arguments)
            .envs(self.environment.iter().cloned())
            .kill_on_drop(true);
        command
    }
}

impl Process {
    /// Its base address.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A client of this server.
    pub fn caller(&self, token: Option<String>) -> anyhow::Result<Client> {
        Client::new(&self.url(), token, Keyring::default())
    }

    /// All output so far, from both channels.
    pub fn printed(&self) -> String {
        self.printed.borrow().clone()
    }

    /// Its process id; `None` after it has been waited for.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Its exit status, if it has ended.
    pub fn has_ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Kills the process at once, as a power cut would, and waits until it has ended.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Sends SIGTERM.
    pub async fn terminate(&self) -> anyhow::Result<()> {
        self.signal("TERM").await
    }

    /// Sends SIGINT.
    pub async fn interrupt(&self) -> anyhow::Result<()> {
        self.signal("INT").await
    }

    /// Sends SIGSTOP. The process is stopped until [`Process::resume`].
    pub async fn freeze(&self) -> anyhow::Result<()> {
        self.signal("STOP").await
    }

    /// Sends SIGCONT.
    pub async fn resume(&self) -> anyhow::Result<()> {
        self.signal("CONT").await
    }

    /// The highest resident memory since it started, in bytes.
    ///
    /// # Errors
    ///
    /// If the system does not report it: only Linux does.
    pub fn peak_memory(&self) -> anyhow::Result<u64> {
        let process = self.child.id().context("it has ended")?;
        system::memory(process, Resident::Peak)
    }

    /// Waits until the process has ended by itself.
    pub async fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        let ended = realtime::within(PATIENCE, self.child.wait()).await;
        Ok(ended.with_context(|| format!("it did not end:\n{}", self.printed()))??)
    }

    /// Uses the shell's built-in `kill`, which every machine has.
    async fn signal(&self, name: &str) -> anyhow::Result<()> {
        let process = self.child.id().context("it has ended")?;
        let status = Command::new("sh")
            .args(["-c", &format!("kill -{name} {process}")])
            .status()
            .await?;
        ensure!(status.success(), "SIG{name} could not be sent");
        Ok(())
    }
}

async fn keep(channel: Option<impl AsyncRead + Unpin>, printed: watch::Sender<String>) {
    let Some(mut channel) = channel else { return };
    let mut block = vec![0; 8192];
    while let Ok(length @ 1..) = channel.read(&mut block).await {
        printed.send_modify(|text| text.push_str(&String::from_utf8_lossy(&block[..length])));
    }
}

/// The first address of this machine in the text that has a port.
fn address(text: &str) -> Option<&str> {
    text.match_indices("127.0.0.1:").find_map(|(at, host)| {
        let port = text[at + host.len()..]
            .split(|c: char| !c.is_ascii_digit())
            .next()?;
        let complete = text.len() > at + host.len() + port.len();
        (complete && !port.is_empty() && port != "0").then(|| &text[at..at + host.len() + port.len()])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_counts_once_its_port_is_complete() {
        assert_eq!(
            address("asked for 127.0.0.1:0, got http://127.0.0.1:4000/graphql"),
            Some("127.0.0.1:4000")
        );
        for incomplete in [
            "127.0.0.1:0 ",
            "127.0.0.1:40",
            "127.0.0.1: 4000 ",
            "10.0.0.1:4000 ",
        ] {
            assert_eq!(address(incomplete), None, "{incomplete}");
        }
    }

    #[tokio::test]
    async fn a_program_is_run_to_its_end_with_its_settings() {
        let shell = Program::new("/bin/sh")
            .argument("-c")
            .argument("echo $GREETING; exit 3")
            .setting("GREETING", "hi");
        let output = shell.run().await.unwrap();
        assert_eq!(
            (output.stdout.as_slice(), output.status.code()),
            (b"hi\n".as_slice(), Some(3))
        );
    }

    #[tokio::test]
    async fn serve_fails_with_the_output_of_a_program_that_ends() {
        let shell = Program::new("/bin/sh")
            .argument("-c")
            .argument("echo no settings >&2");
        let error = shell.serve().await.err().unwrap().to_string();
        assert!(error.contains("no settings"), "{error}");
    }
}
