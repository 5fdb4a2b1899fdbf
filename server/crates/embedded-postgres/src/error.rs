//! Why Postgres is not available, always with what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use super::find::OLDEST_MAJOR;

/// Why Postgres did not start or stop.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// No usable programs were found.
    #[error(
        "no usable Postgres ({OLDEST_MAJOR} or newer) was found. Do one of these:\n  \
         apt-get install postgresql       (Debian, Ubuntu)\n  \
         brew install postgresql@18       (macOS)\n  \
         DATABASE_URL=postgres://…        (a database that already runs)\n  \
         PG_BIN_DIR=/path/to/bin          (a folder with initdb and postgres)\n\
         Tried:{}",
        list(tried)
    )]
    NotFound {
        /// The places that were tried, one line each.
        tried: Vec<String>,
    },
    /// `PG_BIN_DIR` names a folder that can't be used.
    #[error("PG_BIN_DIR={} can't be used: {reason}. Set it to a folder with initdb and postgres, or unset it", dir.display())]
    BinDir {
        /// The folder.
        dir: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The data was written by a major version that is not installed.
    #[error(
        "the data in {} was written by Postgres {written_by}, and no Postgres {written_by} was found. Install it, set \
         PG_BIN_DIR to its programs, or move the folder away to start empty. Tried:{}", folder.display(), list(tried)
    )]
    WrongVersion {
        /// The data folder.
        folder: PathBuf,
        /// The major version of the data.
        written_by: u32,
        /// The places that were tried, one line each.
        tried: Vec<String>,
    },
    /// Another process runs a server in this folder.
    #[error("the data folder {} is in use by another process: stop it, or choose another data folder", folder.display())]
    InUse {
        /// The data folder.
        folder: PathBuf,
    },
    /// This process runs as root, and there is no user to drop privileges to.
    #[error(
        "Postgres refuses to run as root, and there is neither a user \"postgres\" nor \"nobody\" to run it as"
    )]
    NoAccount,
    /// Postgres's user can't reach the data folder.
    #[error(
        "Postgres runs as user \"{user}\" (never as root), who can't enter {}: choose another data folder \
         (/var/lib/tenterhook, say), or `chmod o+x` that one", dir.display()
    )]
    Unreachable {
        /// Postgres's user.
        user: String,
        /// The first folder on the way that the user can't enter.
        dir: PathBuf,
    },
    /// `initdb` or `postgres` ended with an error.
    #[error("{program} failed ({status}). The end of {}:\n{log}", log_file.display())]
    Failed {
        /// `initdb` or `postgres`.
        program: &'static str,
        /// The exit status.
        status: String,
        /// The path of the whole log.
        log_file: PathBuf,
        /// The last lines of the log.
        log: String,
    },
    /// Postgres was asked to stop and did not.
    #[error("Postgres did not stop within {seconds} s; it is still stopping")]
    StillStopping {
        /// How long the server waited.
        seconds: u64,
    },
    /// An operation of the operating system failed.
    #[error("can't {doing}")]
    Io {
        /// The operation, with the path.
        doing: String,
        /// The error of the operating system.
        source: io::Error,
    },
}

impl EmbeddedError {
    /// Makes an [`EmbeddedError::Io`] from the system's error: `map_err(EmbeddedError::io("open", path))`.
    pub(super) fn io(verb: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let doing = format!("{verb} {}", path.display());
        |source| Self::Io { doing, source }
    }
}

fn list(lines: &[String]) -> String {
    lines.iter().map(|line| format!("\n  {line}")).collect()
}
