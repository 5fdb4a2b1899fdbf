//! The command line: what each command prepares before the server runs, and what it prints.
//!
//! Standard output has only the result (a token, a schema, the settings). An error message says what to do. Settings
//! are read once, here.

mod core_dumps;
mod descriptors;
mod dev;
mod distribute;
mod doctor;
mod flags;
mod reseal;
mod serve;
mod serve_until_signal;
mod settings;
mod token;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};
use secrecy::ExposeSecret;

use self::flags::Flags;
use tenterhook_api::rest::openapi;
use tenterhook_api::schema;
use tenterhook_embedded_postgres as embedded;
use tenterhook_settings::sources::{self, Loaded, Sources};
use tenterhook_settings::{Settings, files, keys};
use tenterhook_store::migrations;

use crate::telemetry;

/// Webhooks for a platform, delivered under a strict, visible policy.
#[derive(Debug, Parser)]
#[command(name = "tenterhook", version, propagate_version = true, after_help = MORE)]
struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Option<Command>,
}

/// At the end of the help, because sixty settings do not fit into it.
const MORE: &str = "Every setting is a flag too: `tenterhook settings` prints them all.";

/// Sources of settings other than the environment.
#[derive(Debug, Args)]
#[command(next_help_heading = "Settings")]
struct Common {
    /// A TOML file with settings.
    #[arg(long, global = true, env = sources::CONFIG_VARIABLE, hide_env_values = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs everything on this machine: Postgres, keys, tokens (default).
    Dev,
    /// Runs in production, on your DATABASE_URL and with your keys.
    Serve,
    /// Brings the database's schema up to date.
    Migrate,
    /// Prints a token, signed with the development key or with yours.
    Token(token::Arguments),
    /// Encrypts stored secrets with the first sealing key.
    Reseal,
    /// Distributes the tables over a Citus cluster (experimental).
    Distribute(distribute::Arguments),
    /// Prints the GraphQL schema or the OpenAPI description.
    Schema(SchemaArguments),
    /// Checks what the server needs, and says how to fix what fails.
    Doctor(doctor::Arguments),
    /// Prints every setting: flag, value, where it comes from, meaning.
    Settings(settings::Arguments),
}

#[derive(Debug, Args)]
struct SchemaArguments {
    /// Prints the OpenAPI description of the REST routes and payloads instead.
    #[arg(long)]
    openapi: bool,
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let Arguments { common, command } = Arguments::parse();
    match run(&common, command.unwrap_or(Command::Dev)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(common: &Common, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Dev => {
            let settings = with_log(common.load(Settings::development())?)?;
            core_dumps::forbid()?;
            descriptors::raise(settings.in_flight);
            in_runtime(dev::run(settings))?;
        }
        Command::Serve => {
            let settings = with_log(common.load(Settings::default())?)?;
            core_dumps::forbid()?;
            descriptors::raise(settings.in_flight);
            in_runtime(serve::run(settings))?;
        }
        Command::Migrate => {
            let settings = with_log(common.load(Settings::default())?)?;
            in_runtime(migrate(&settings))?;
        }
        Command::Token(arguments) => {
            let settings = common.load(Settings::development())?.settings;
            write_stdout(&format!("{}\n", token::print(&settings, &arguments)?))?;
        }
        Command::Reseal => {
            let settings = with_log(common.load(Settings::default())?)?;
            core_dumps::forbid()?;
            return in_runtime(reseal::run(&settings));
        }
        Command::Distribute(arguments) => {
            let settings = with_log(common.load(Settings::default())?)?;
            return in_runtime(distribute::run(&settings, &arguments));
        }
        Command::Schema(SchemaArguments { openapi: true }) => write_stdout(openapi::text())?,
        Command::Schema(SchemaArguments { openapi: false }) => write_stdout(&schema::sdl())?,
        Command::Doctor(arguments) => {
            let loaded = common.load(Settings::default())?;
            return in_runtime(doctor::run(&loaded, &arguments));
        }
        Command::Settings(arguments) => {
            let loaded = common.load(Settings::default())?;
            for line in passed_over(&loaded).iter().chain(&loaded.retired) {
                eprintln!("{line}");
            }
            write_stdout(&settings::print(&loaded, &arguments))?
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the settings and starts logging according to them.
fn with_log(loaded: Loaded) -> anyhow::Result<Settings> {
    telemetry::init(&loaded.settings.log)?;
    if let Some(line) = passed_over(&loaded) {
        tracing::info!("{line}");
    }
    for line in &loaded.retired {
        tracing::warn!("{line}");
    }
    Ok(loaded.settings)
}

/// The log line about variables that look like settings but are service links of Kubernetes.
fn passed_over(loaded: &Loaded) -> Option<String> {
    let names = loaded.service_links.join(", ");
    let line = format!(
        "ignored, because they are service links of Kubernetes and not settings: {names} (`enableServiceLinks: false` in \
         the pod prevents them)"
    );
    (!names.is_empty()).then_some(line)
}

impl Common {
    fn load(&self, base: Settings) -> anyhow::Result<Loaded> {
        let text = self.config.as_deref().map(|path| {
            files::read_text(path).with_context(|| format!("can't read the settings file {}", path.display()))
        });
        let text = text.transpose()?;
        let sources = Sources {
            file: self.config.as_deref().zip(text.as_deref()),
            environment: std::env::vars_os().collect(),
            flags: self.flags.0.clone(),
        };
        let loaded = sources::load(base, &sources)?;
        if let Some(path) = &self.config {
            let secrets: Vec<_> = loaded.secrets_of_file().collect();
            if !secrets.is_empty() && keys::is_open_to_everybody(path)? {
                bail!(
                    "{} contains secrets ({}), and everybody on this machine can read or change it: run `chmod o-rw` on it",
                    path.display(),
                    secrets.join(", ")
                );
            }
        }
        Ok(loaded)
    }
}

async fn migrate(settings: &Settings) -> anyhow::Result<()> {
    let url = settings.database_url.as_ref();
    let url =
        url.context("DATABASE_URL is not set: it says which database to migrate (`dev` migrates its own)")?;
    let done = migrations::run_pending_within(url.expose_secret(), settings.database_long_timeout).await?;
    write_stdout(
        &done
            .iter()
            .map(|migration| format!("{migration}\n"))
            .collect::<String>(),
    )?;
    eprintln!(
        "{}",
        if done.is_empty() {
            "nothing to do: the schema is up to date"
        } else {
            "done"
        }
    );
    Ok(())
}

/// Several threads, because migrations block one.
fn in_runtime<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime
        .context("can't start the threads of the server")?
        .block_on(work)
}

/// The chosen data folder, or the usual place for the current user.
fn data_dir(settings: &Settings) -> anyhow::Result<PathBuf> {
    if let Some(chosen) = &settings.data_dir {
        return Ok(chosen.clone());
    }
    if embedded::runs_as_root()? {
        // Not in root's home: the user that Postgres runs as has no access there.
        return Ok(PathBuf::from("/var/lib/tenterhook"));
    }
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .map(|folder| folder.join("tenterhook"))
        .context("neither XDG_DATA_HOME nor HOME is set to an absolute path: set TENTERHOOK_DATA_DIR")
}

/// Writes to standard output. It is not an error if the reader closes it early (`| head`).
fn write_stdout(text: &str) -> anyhow::Result<()> {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("can't write to standard output")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenterhook_settings::table::TABLE;
    use tenterhook_settings::{ClockKind, Origin};

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn flags_are_settings_and_may_be_anywhere() {
        let Arguments { common, command } = Arguments::try_parse_from([
            "tenterhook",
            "--listen",
            "127.0.0.1:1",
            "dev",
            "--clock",
            "simulated",
        ])
        .unwrap();
        assert!(matches!(command, Some(Command::Dev)));
        let chosen = [("listen", "127.0.0.1:1"), ("clock", "simulated")];
        assert_eq!(common.flags.0, chosen.map(|(key, text)| (key, text.to_owned())));
        let loaded = common.load(Settings::default()).unwrap();
        assert_eq!(loaded.settings.clock, ClockKind::Simulated);
        assert_eq!(loaded.origins["listen"], Origin::CommandLine);
    }

    #[test]
    fn every_setting_has_a_flag() {
        for entry in TABLE {
            let flag = format!("--{}", entry.flag());
            let Arguments { common, .. } =
                Arguments::try_parse_from(["tenterhook", "serve", &flag, "it"]).unwrap();
            assert_eq!(common.flags.0, [(entry.key, "it".to_owned())]);
        }
        let wrong = ["tenterhook", "--api-rate-burst", "soon"];
        let wrong = Arguments::try_parse_from(wrong)
            .unwrap()
            .common
            .load(Settings::default());
        let wrong = wrong.unwrap_err().to_string();
        assert!(
            wrong.contains("--api-rate-burst is \"soon\", but must be"),
            "{wrong}"
        );
    }

    /// Lines and columns of a small terminal.
    const SCREEN: (usize, usize) = (30, 80);

    /// The help of every command shows the most important options and says where the others are.
    #[test]
    fn every_help_fits_on_a_screen() {
        use clap::CommandFactory;
        let names = Arguments::command()
            .get_subcommands()
            .map(|command| command.get_name().to_owned())
            .collect::<Vec<_>>();
        assert!(names.len() > 8, "{names:?}");
        let help = |words: &[&str]| {
            Arguments::try_parse_from(["tenterhook"].iter().chain(words))
                .unwrap_err()
                .to_string()
        };
        let mut helps = vec![help(&["--help"]), help(&["-h"])];
        for name in &names {
            helps.extend(["--help", "-h"].map(|flag| help(&[name.as_str(), flag])));
        }
        for text in &helps {
            let lines = text
                .lines()
                .map(|line| line.chars().count().div_ceil(SCREEN.1).max(1));
            assert!(lines.sum::<usize>() <= SCREEN.0, "{text}");
            for flag in ["--config", "--listen", "--data-dir", "--database-url", "--clock"] {
                assert!(text.contains(flag), "no {flag} in\n{text}");
            }
            assert!(!text.contains("--api-rate-burst"), "{text}");
        }
        for name in &names {
            assert!(
                helps[0].contains(&format!("\n  {name} ")),
                "no {name} in\n{}",
                helps[0]
            );
        }
        assert!(helps[0].contains("`tenterhook settings`"), "{}", helps[0]);
        assert!(
            helps[0].lines().all(|line| line.chars().count() <= SCREEN.1),
            "{}",
            helps[0]
        );
    }

    #[test]
    fn the_settings_command_lists_options_that_help_leaves_out() {
        let loaded = sources::load(Settings::default(), &Sources::default()).unwrap();
        let text = settings::print(&loaded, &settings::Arguments { markdown: false });
        for entry in TABLE {
            for part in [entry.variable(), format!("--{}: ", entry.flag()), entry.summary()] {
                assert!(text.contains(&part), "no {part} in\n{text}");
            }
        }
    }

    #[test]
    fn a_settings_file_with_secrets_must_not_be_public() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.toml");
        let load = |text: &str, mode| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let arguments = ["tenterhook", "--config", path.to_str().unwrap()];
            let arguments = Arguments::try_parse_from(arguments).unwrap();
            arguments.common.load(Settings::default())
        };
        let secret = "database_url = 'postgres://u:hunter2@h/d'";
        let error = load(secret, 0o644).unwrap_err().to_string();
        assert!(
            error.contains("database_url") && !error.contains("hunter2"),
            "{error}"
        );
        assert!(load(secret, 0o640).is_ok());
        assert!(load("log = 'debug'", 0o644).is_ok());
    }

    #[test]
    fn a_settings_file_that_is_not_there_is_named() {
        let arguments = Arguments::try_parse_from(["tenterhook", "--config", "no/such.toml"]).unwrap();
        let error = arguments.common.load(Settings::default()).unwrap_err();
        assert_eq!(error.to_string(), "can't read the settings file no/such.toml");
    }
}
