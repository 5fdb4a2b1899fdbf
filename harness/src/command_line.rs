//! What the command lines of the harness and of the laboratory share: the arguments that name a server, printing, exit codes,
//! and the check of their help.

use std::io::{ErrorKind, Write as _, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::{Args, Command};

use crate::rules::RULES;
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

/// Prints to standard output without buffering, also if that is a file. A reader that closes the pipe is not an error.
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

/// The exit code of a command that is done. An error is printed to standard error, and its code is 2.
pub fn exit_code(done: anyhow::Result<u8>) -> ExitCode {
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("could not run: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Lines and columns that the help of a program may have, so that nobody has to scroll to find a command.
const SCREEN: (usize, usize) = (30, 100);

/// What is wrong with the help of a program and of its commands: it does not fit on a screen, or it cites a rule other than as a
/// value of `--rule`. Rule codes are for code, tests and documents.
pub fn help_faults(mut command: Command) -> Vec<String> {
    command.build();
    let mut faults = Vec::new();
    let whole = command.render_long_help().to_string();
    let (lines, columns) = SCREEN;
    let is_wide = |line: &str| line.chars().count() > columns;
    if whole.lines().count() > lines || whole.lines().any(is_wide) {
        faults.push(format!("more than {lines} lines or {columns} columns:\n{whole}"));
    }
    let of_commands = command.get_subcommands_mut();
    let mut helps: Vec<String> = of_commands
        .map(|command| command.render_long_help().to_string())
        .collect();
    helps.push(whole);
    for text in helps {
        if let Some(rule) = cited_rule(&text) {
            faults.push(format!("cites {rule}:\n{text}"));
        }
    }
    faults
}

/// The first rule in the text that is not a value of `--rule`.
fn cited_rule(text: &str) -> Option<&'static str> {
    let words: Vec<&str> = text
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .collect();
    let mut pairs = words.windows(2).filter(|pair| pair[0] != "--rule");
    pairs.find_map(|pair| {
        let (rule, _) = RULES.iter().find(|(rule, _)| *rule == pair[1])?;
        Some(*rule)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_a_help_are_found() {
        let program = |about: &str, of_command: &str| {
            let run = Command::new("run").after_help(of_command.to_owned());
            Command::new("program").about(about.to_owned()).subcommand(run)
        };
        let first_words = |command| -> Vec<String> {
            let faults = help_faults(command);
            let first = |fault: &String| fault.split([':', '\n']).next().map(str::to_owned);
            faults.iter().filter_map(first).collect()
        };
        let (long, wide) = ("line\n".repeat(31), "x".repeat(101));
        assert_eq!(first_words(program("Plays it.", "run --rule B4")), [""; 0]);
        for (about, of_command, fault) in [
            (long.as_str(), "", "more than 30 lines or 100 columns"),
            (wide.as_str(), "", "more than 30 lines or 100 columns"),
            ("See B4.", "", "cites B4"),
            ("", "See --only B4.", "cites B4"),
        ] {
            assert_eq!(
                first_words(program(about, of_command)),
                [fault],
                "{about:.20} {of_command}"
            );
        }
    }
}
