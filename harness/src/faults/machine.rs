//! What a campaign borrows from the machine, and gives back: a small disk and a wall clock of its own.
//!
//! Promises that the machine's own disk and clock are not touched, and that what this machine cannot lend is said by
//! its reason. What is mounted goes when it is dropped, unless it is kept to be looked at.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use crate::system::{is_root, run};

/// The size of the borrowed disk: no campaign fills it by itself.
const DISK: &str = "12g";
/// What is left of a full disk, in KiB: some pages, so that it fills in the middle of the work.
const LEFT_KIB: u64 = 256;
/// Where packages put the library that lends a process a clock.
const CLOCKS: [&str; 5] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
    "/usr/local/lib/faketime/libfaketimeMT.so.1",
];

/// A small disk in memory that can be filled at once.
pub struct Disk {
    at: PathBuf,
    kept: bool,
}

impl Disk {
    /// Mounts one on an empty folder.
    ///
    /// # Errors
    ///
    /// When this process may not mount anything.
    pub fn mount(at: &Path) -> anyhow::Result<Self> {
        ensure!(
            cfg!(target_os = "linux") && is_root(),
            "only root can mount a small disk"
        );
        let path = at.to_str().context("a path that is no text")?;
        run(
            "mount",
            &[
                "-t",
                "tmpfs",
                "-o",
                &format!("size={DISK},mode=0711"),
                "tmpfs",
                path,
            ],
        )?;
        Ok(Self {
            at: at.to_owned(),
            kept: false,
        })
    }

    /// Leaves next to no room.
    pub fn fill(&self) -> anyhow::Result<()> {
        let output = run("df", &["--output=used", "-k", &self.at.to_string_lossy()])?;
        let used: u64 = String::from_utf8_lossy(&output.stdout)
            .lines()
            .nth(1)
            .and_then(|line| line.trim().parse().ok())
            .context("`df` did not say how much is used")?;
        self.resize(&format!("{}k", used + LEFT_KIB))
    }

    /// Makes room again.
    pub fn clear(&self) -> anyhow::Result<()> {
        self.resize(DISK)
    }

    /// Leaves it mounted when it is dropped.
    pub fn keep(&mut self) {
        self.kept = true;
    }

    fn resize(&self, size: &str) -> anyhow::Result<()> {
        let options = format!("remount,size={size}");
        run("mount", &["-o", &options, &self.at.to_string_lossy()]).map(drop)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = run("umount", &["--lazy", &self.at.to_string_lossy()])
        {
            eprintln!("a disk in memory stays: {error}");
        }
    }
}

/// A wall clock for processes that start with its [`environment`](WallClock::environment): the machine's, some seconds
/// off. Monotonic time stays the machine's.
#[derive(Debug, Clone)]
pub struct WallClock {
    library: PathBuf,
    file: PathBuf,
}

impl WallClock {
    /// One that shows the machine's time and is set through this file.
    ///
    /// # Errors
    ///
    /// When the library is not installed.
    pub fn new(file: PathBuf) -> anyhow::Result<Self> {
        let library = CLOCKS.iter().map(PathBuf::from).find(|path| path.exists());
        let library = library.context("libfaketime is not installed (Debian: apt-get install faketime)")?;
        let clock = Self { library, file };
        clock.set(0)?;
        Ok(clock)
    }

    /// What lets a process live by it.
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        vec![
            ("LD_PRELOAD", self.library.clone().into()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.clone().into()),
            ("FAKETIME_CACHE_DURATION", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
            ("DONT_FAKE_MONOTONIC", "1".into()),
            ("FAKETIME_NO_CACHE", "0".into()),
        ]
    }

    /// Steps it so many seconds off the machine's. Those who live by it notice within a second.
    pub fn set(&self, seconds: i64) -> anyhow::Result<()> {
        // Renamed into place: a process that reads half of a number would live in another century.
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{seconds:+}s\n"))?;
        fs::rename(&new, &self.file)?;
        Ok(())
    }
}
