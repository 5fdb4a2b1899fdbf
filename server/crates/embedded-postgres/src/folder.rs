//! The folder of one cluster: its layout, its two locks, and the remains of earlier runs.
//!
//! The process that uses the folder holds `server.lock`. The Postgres processes hold `postgres.lock`, which they
//! inherit. So a later process knows when the Postgres of a killed one has really ended.

#![expect(
    clippy::disallowed_methods,
    reason = "runs before there is a clock, and waits for real processes"
)]

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::info;

use super::EmbeddedError;
use super::account::Account;

/// The longest socket path that every system accepts (macOS: 103 bytes, Linux: 107).
const LONGEST_SOCKET_PATH: usize = 103;
const SOCKET_NAME: &str = ".s.PGSQL.5432";
const TEMPORARY_PREFIX: &str = "tenterhook-pg-";
/// A file system in memory, on Linux.
const MEMORY: &str = "/dev/shm";
/// The free memory, in bytes, that a temporary cluster in memory requires. A new cluster has 39 MB, and 42 MB after the
/// migrations in one database (Postgres 15, 1 December 2026). Its WAL may grow to 256 MB (`max_wal_size`). The rest is for
/// rows, and for the clusters of other processes.
const MEMORY_FREE: u64 = 2 << 30;
/// How long a Postgres whose owner was killed may take to stop: it writes a checkpoint first.
const PREVIOUS_STOPS_WITHIN: Duration = Duration::from_secs(120);

/// A folder that this process has locked.
#[derive(Debug)]
pub(super) struct Folder {
    pub path: PathBuf,
    /// The folder of the socket. Its path is short, and only Postgres's user (and root) may enter it.
    pub socket: PathBuf,
    /// The path to remove when Postgres ends.
    pub remove: Option<PathBuf>,
    _lock: File,
}

impl Folder {
    /// Makes the folder if needed, checks that Postgres can reach it, and locks it.
    pub fn open(path: &Path, account: Option<&Account>) -> Result<Self, EmbeddedError> {
        let path = std::path::absolute(path).map_err(EmbeddedError::io("use", path))?;
        let check_reach = || account.map_or(Ok(()), |account| account.check_reach(&path));
        check_reach()?;
        if !path.exists() {
            make_searchable(&path).map_err(EmbeddedError::io("make", &path))?;
            check_reach()?;
        }
        let lock = lock_now(&path)?.ok_or_else(|| EmbeddedError::InUse { folder: path.clone() })?;
        let in_folder = path.join("socket");
        let (socket, remove) = if fits_a_connection_string(&in_folder) {
            (in_folder, None)
        } else {
            let socket = random_path(&temporary_base(), "tenterhook-socket-");
            (socket.clone(), Some(socket))
        };
        if !socket.exists() {
            make_private(&socket, account)?;
        }
        Ok(Self {
            path,
            socket,
            remove,
            _lock: lock,
        })
    }

    /// A new folder that is removed when Postgres ends. It is in memory if enough is free: a database has some 350
    /// files, and creating them on a disk takes longer than a test uses them.
    pub fn temporary(account: Option<&Account>) -> Result<Self, EmbeddedError> {
        let base = memory().unwrap_or_else(temporary_base);
        loop {
            let path = random_path(&base, TEMPORARY_PREFIX);
            make_private(&path, account)?;
            // Another process may sweep the folder between its creation and its lock. Then this one is lost, and another
            // is made.
            let Ok(Some(lock)) = lock_now(&path) else { continue };
            if !path.exists() {
                continue;
            }
            let socket = path.join("socket");
            make_private(&socket, account)?;
            return Ok(Self {
                remove: Some(path.clone()),
                path,
                socket,
                _lock: lock,
            });
        }
    }

    pub fn data(&self) -> PathBuf {
        self.path.join("postgres")
    }

    pub fn log(&self) -> PathBuf {
        self.path.join("postgres.log")
    }

    /// Exists while `initdb` runs, so that the remains of a killed `initdb` are not used as a cluster.
    pub fn incomplete_mark(&self) -> PathBuf {
        self.path.join("initdb.incomplete")
    }

    /// The major version that wrote the data; `None` if there is no data.
    pub fn written_by(&self) -> Result<Option<u32>, EmbeddedError> {
        let file = self.data().join("PG_VERSION");
        match fs::read_to_string(&file) {
            Ok(text) => Ok(text
                .split(['.', '\n'])
                .next()
                .and_then(|major| major.parse().ok())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(EmbeddedError::io("read", &file)(error)),
        }
    }

    /// Removes the remains of a killed `initdb`.
    pub fn discard_incomplete(&self) -> Result<(), EmbeddedError> {
        if !self.incomplete_mark().exists() {
            return Ok(());
        }
        info!(folder = %self.path.display(), "an earlier start did not finish: starting over");
        let data = self.data();
        match fs::remove_dir_all(&data) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(EmbeddedError::io("remove", &data)(error))
            }
            _ => Ok(()),
        }
    }

    /// Makes the empty folder for `initdb`. It is marked as incomplete before anything is in it, so that the mark
    /// survives a power failure.
    pub fn begin_initialising(&self, account: Option<&Account>) -> Result<(), EmbeddedError> {
        let mark = self.incomplete_mark();
        File::create(&mark)
            .and_then(|file| file.sync_all())
            .map_err(EmbeddedError::io("write", &mark))?;
        File::open(&self.path)
            .and_then(|dir| dir.sync_all())
            .map_err(EmbeddedError::io("sync", &self.path))?;
        let data = self.data();
        if data.exists() {
            Ok(())
        } else {
            make_private(&data, account)
        }
    }

    /// Removes the mark: from now on this is a cluster.
    pub fn end_initialising(&self) -> Result<(), EmbeddedError> {
        let mark = self.incomplete_mark();
        fs::remove_file(&mark).map_err(EmbeddedError::io("remove", &mark))
    }

    /// Waits until the Postgres of a killed owner has ended. Returns the lock, which the Postgres processes inherit.
    pub async fn wait_for_previous(&self) -> Result<File, EmbeddedError> {
        let path = self.path.join("postgres.lock");
        let file = open_lock(&path).map_err(EmbeddedError::io("open", &path))?;
        let pause = Duration::from_millis(20);
        let mut waited = Duration::ZERO;
        while !try_lock(&file).map_err(EmbeddedError::io("lock", &path))? {
            if waited.is_zero() {
                info!(folder = %self.path.display(), "waiting for an earlier Postgres to end");
            }
            if waited >= PREVIOUS_STOPS_WITHIN {
                return Err(EmbeddedError::InUse {
                    folder: self.path.clone(),
                });
            }
            tokio::time::sleep(pause).await;
            waited += pause;
        }
        Ok(file)
    }
}

/// Removes temporary folders whose process and Postgres have both ended.
pub(super) fn sweep_temporary() {
    let bases = [temporary_base(), PathBuf::from(MEMORY)];
    // A folder that cannot be read contains nothing of this program.
    for entry in bases
        .iter()
        .filter_map(|base| fs::read_dir(base).ok())
        .flatten()
        .flatten()
    {
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX) && is_abandoned(&path) {
            // Another user's folder cannot be removed; it does no harm.
            let _ = fs::remove_dir_all(&path);
        }
    }
}

/// True if both locks are free. A folder without `server.lock` is just being made.
fn is_abandoned(path: &Path) -> bool {
    let free = |name: &str| File::open(path.join(name)).map(|file| file.try_lock().is_ok());
    matches!(free("server.lock"), Ok(true)) && !matches!(free("postgres.lock"), Ok(false))
}

/// `None` if another process has the lock.
fn lock_now(folder: &Path) -> Result<Option<File>, EmbeddedError> {
    let path = folder.join("server.lock");
    let file = open_lock(&path).map_err(EmbeddedError::io("open", &path))?;
    let locked = try_lock(&file).map_err(EmbeddedError::io("lock", &path))?;
    Ok(locked.then_some(file))
}

fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
}

fn try_lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// A folder that others may pass through but not list: Postgres's user must reach its contents.
fn make_searchable(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o711))
}

/// A new folder for Postgres's user only. Fails if it exists, so that no one can have prepared it.
fn make_private(path: &Path, account: Option<&Account>) -> Result<(), EmbeddedError> {
    DirBuilder::new()
        .mode(0o700)
        .create(path)
        .map_err(EmbeddedError::io("make", path))?;
    match account {
        Some(account) => {
            chown(path, Some(account.uid), Some(account.gid)).map_err(EmbeddedError::io("chown", path))
        }
        None => Ok(()),
    }
}

/// In a connection string a comma separates hosts, and systems limit the length of a socket's path.
fn fits_a_connection_string(socket_folder: &Path) -> bool {
    let length = socket_folder.join(SOCKET_NAME).as_os_str().len();
    length <= LONGEST_SOCKET_PATH && socket_folder.to_str().is_some_and(|text| !text.contains(','))
}

fn random_path(base: &Path, prefix: &str) -> PathBuf {
    base.join(format!("{prefix}{:016x}", rand::random::<u64>()))
}

/// The file system in memory, unless `TMPDIR` is set or too little is free.
fn memory() -> Option<PathBuf> {
    if std::env::var_os("TMPDIR").is_some() {
        return None;
    }
    let stat = rustix::fs::statvfs(MEMORY).ok()?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    (free >= MEMORY_FREE && rustix::fs::access(MEMORY, rustix::fs::Access::WRITE_OK).is_ok())
        .then(|| PathBuf::from(MEMORY))
}

/// The system's folder for temporary files, if a socket's path in it is short enough. Otherwise `/tmp`.
fn temporary_base() -> PathBuf {
    let base = std::env::temp_dir();
    let deepest = base.join(format!("{TEMPORARY_PREFIX}{:016x}", 0)).join("socket");
    let usable =
        base.is_absolute() && base.as_os_str() != OsStr::new("/") && fits_a_connection_string(&deepest);
    if usable { base } else { PathBuf::from("/tmp") }
}
