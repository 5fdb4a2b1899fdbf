//! What the command lines of the harness and of the laboratory share: the arguments that name a server, and printing.

use std::io::{ErrorKind, Write as _, stdout};
use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::Args;

use crate::token::TokenKey;
use crate::world::{Restart, Target};

/// A remote server.
#[derive(Args, Clone)]
pub struct TargetArgs {
    /// The base address of a remote server, such as http://127.0.0.1:8080.
    #[arg(long, value_name = "URL", requires = "jwt_key")]
    target: Option<String>,
    /// The file with the secret that signs the server's tokens; in development `jwt.key` in its data folder.
    #[arg(long, value_name = "FILE", requires = "target")]
    jwt_key: Option<PathBuf>,
    /// A shell command that kills the server and starts it again on the same database and clock, such as `systemctl
    /// kill -s KILL tenterhook`. Without it the scenario that needs a restart is skipped.
    #[arg(long, value_name = "COMMAND", requires = "target")]
    restart_command: Option<String>,
    /// The `iss` claim of its tokens.
    #[arg(long, value_name = "NAME", default_value = "tenterhook")]
    jwt_issuer: String,
    /// The `aud` claim of its tokens.
    #[arg(long, value_name = "NAME", default_value = "tenterhook")]
    jwt_audience: String,
}

impl TargetArgs {
    /// The server, if one was named: on a simulated clock, or on the system clock.
    pub fn target(&self, real_time: bool) -> anyhow::Result<Option<Target>> {
        let Some((url, file)) = self.target.as_ref().zip(self.jwt_key.as_ref()) else {
            return Ok(None);
        };
        ensure!(
            url.starts_with("http://"),
            "the target must be an address such as http://127.0.0.1:8080, not {url}"
        );
        let secret = std::fs::read_to_string(file).with_context(|| {
            format!(
                "cannot read the key {}; a development server keeps its own as `jwt.key` in its data folder",
                file.display()
            )
        })?;
        Ok(Some(Target {
            url: url.trim_end_matches('/').to_owned(),
            key: TokenKey {
                secret: secret.trim().to_owned(),
                issuer: self.jwt_issuer.clone(),
                audience: self.jwt_audience.clone(),
            },
            real_time,
            restart: self.restart_command.clone().map(restart_by),
            names: None,
        }))
    }
}

fn restart_by(command: String) -> Restart {
    Restart::by(move || {
        let command = command.clone();
        Box::pin(async move {
            let run = tokio::process::Command::new("sh")
                .arg("-c")
                .arg(&command)
                .status();
            let status = run.await.context("cannot run sh")?;
            ensure!(
                status.success(),
                "the restart command ended with {status}: {command}"
            );
            Ok(())
        })
    })
}

/// Prints to standard output without buffering, also if that is a file. A reader that closes the pipe is no error.
///
/// # Errors
///
/// If standard output cannot be written, such as a full disk.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
