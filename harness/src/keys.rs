//! Keys of servers in tests, and their files.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The key with which servers seal credentials. Chosen at random once, and the same in every run.
pub const SEALING_KEY: &str = "5ea1ed0c93b7f2184d6a3c9be07f52d1a8643ef90b1d7cc25ea8907d4f36b1ea";

/// Writes a key to a file that only its owner can read, because a server accepts no other. Overwrites an existing file.
pub fn file(folder: &Path, name: &str, key: &str) -> io::Result<PathBuf> {
    let path = folder.join(name);
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)?;
    file.write_all(key.as_bytes())?;
    Ok(path)
}
