#![doc = include_str!("../README.md")]

mod account;
mod error;
mod find;
mod folder;
mod supervisor;
mod wheel;

use std::path::{Path, PathBuf};

use tracing::info;

use account::Account;
pub use error::EmbeddedError;
use find::{Binaries, Places, Unfit};
pub use find::{OLDEST_MAJOR, Version};
use folder::Folder;
use supervisor::{Cluster, Supervised};

/// What may be lost if the machine crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Nothing that was committed.
    Durable,
    /// Everything: no fsync, several times faster.
    ForTests,
}

/// How to start an embedded Postgres.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder for its data, its log and (if the path is short enough) its socket. Created if missing.
    pub data_dir: PathBuf,
    /// What may be lost if the machine crashes.
    pub durability: Durability,
    /// A folder with `initdb` and `postgres` (`PG_BIN_DIR`). If set, no other place is tried.
    pub bin_dir: Option<PathBuf>,
    /// How many connections Postgres accepts.
    pub max_connections: u16,
}

/// Whether this process runs as root, so that Postgres has to run as another user.
pub fn runs_as_root() -> Result<bool, EmbeddedError> {
    account::is_root()
}

/// The programs for a new cluster, downloaded if there are none on this machine.
pub async fn programs(bin_dir: Option<&Path>) -> Result<(PathBuf, Version), EmbeddedError> {
    let account = Account::for_postgres()?;
    let found = find_programs(bin_dir, None, account.as_ref()).await;
    let binaries = found.map_err(|unfit| unfit.about(Path::new(""), None))?;
    Ok((binaries.dir, binaries.version))
}

async fn find_programs(
    bin_dir: Option<&Path>,
    written_by: Option<u32>,
    account: Option<&Account>,
) -> Result<Binaries, Unfit> {
    match bin_dir {
        Some(dir) => find::at(dir, written_by, account),
        None => find::anywhere(&Places::of_this_machine(), written_by, account).await,
    }
}

/// A running Postgres. Dropping it stops Postgres too, without waiting; [`stop`](Self::stop) waits.
#[derive(Debug)]
pub struct EmbeddedPostgres {
    running: Supervised,
    folder: Folder,
    binaries: Binaries,
}

impl EmbeddedPostgres {
    /// Finds the programs, locks the folder, makes the cluster if there is none, starts it and waits until it is ready.
    pub async fn start(options: Options) -> Result<Self, EmbeddedError> {
        let account = Account::for_postgres()?;
        Self::start_as(options, account).await
    }

    /// A fresh Postgres for a test run, in a folder that is removed when Postgres ends. First the remains of killed runs
    /// are removed. Programs are searched as in [`start`](Self::start), including `PG_BIN_DIR`.
    pub async fn temporary() -> Result<Self, EmbeddedError> {
        let account = Account::for_postgres()?;
        folder::sweep_temporary();
        let options = Options {
            data_dir: PathBuf::new(),
            durability: Durability::ForTests,
            bin_dir: std::env::var_os("PG_BIN_DIR").map(PathBuf::from),
            max_connections: 200,
        };
        let folder = Folder::temporary(account.as_ref())?;
        let path = folder.path.clone();
        let started = Self::start_in(folder, options, account).await;
        if started.is_err() {
            // The error contains what matters from the folder. If it cannot be removed now, the next sweep removes it.
            let _ = std::fs::remove_dir_all(path);
        }
        started
    }

    async fn start_as(options: Options, account: Option<Account>) -> Result<Self, EmbeddedError> {
        let folder = Folder::open(&options.data_dir, account.as_ref())?;
        Self::start_in(folder, options, account).await
    }

    async fn start_in(
        folder: Folder,
        options: Options,
        account: Option<Account>,
    ) -> Result<Self, EmbeddedError> {
        let lock = folder.wait_for_previous().await?;
        folder.discard_incomplete()?;
        let written_by = folder.written_by()?;
        let found = find_programs(options.bin_dir.as_deref(), written_by, account.as_ref()).await;
        let binaries = found.map_err(|unfit| unfit.about(&folder.path, written_by))?;
        let cluster = Cluster {
            folder: &folder,
            binaries: &binaries,
            account: account.as_ref(),
            lock: &lock,
            options: &options,
        };
        if written_by.is_none() {
            info!(folder = %folder.path.display(), postgres = %binaries.version, "creating a new Postgres cluster");
            cluster.initialise().await?;
        }
        let running = cluster.start().await?;
        info!(folder = %folder.path.display(), postgres = %binaries.version, "Postgres is ready");
        Ok(Self {
            running,
            folder,
            binaries,
        })
    }

    /// The connection string for `database`. The database `postgres` always exists, and the user is its superuser.
    pub fn url(&self, database: &str) -> String {
        let quote = |text: &str| format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"));
        let socket = self.folder.socket.to_string_lossy();
        format!("host={} user=postgres dbname={}", quote(&socket), quote(database))
    }

    /// The folder it runs in, as an absolute path.
    pub fn data_dir(&self) -> &Path {
        &self.folder.path
    }

    /// The folder of the running programs.
    pub fn binaries(&self) -> &Path {
        &self.binaries.dir
    }

    /// The running version.
    pub fn version(&self) -> &Version {
        &self.binaries.version
    }

    /// Stops Postgres, which ends open connections, and waits until it has written everything and ended.
    pub async fn stop(self) -> Result<(), EmbeddedError> {
        self.running.stop().await
    }
}

#[cfg(test)]
mod tests;
