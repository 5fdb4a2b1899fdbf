//! Resources of the machine that a campaign uses and gives back: a small disk and a wall clock of its own.
//!
//! The machine's own disk and clock are not touched. If the machine lacks a resource, the error says why. A mounted
//! disk is unmounted when dropped, unless it is kept for inspection.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use crate::system::{is_root, run};

/// The size of the disk. No campaign fills it without the fault.
const DISK: &str = "12g";
/// Free space on a full disk, in KiB: a few pages, so that it fills up during the work.
const LEFT_KIB: u64 = 256;
/// Where packages install the library that gives a process its own clock.
const CLOCKS: [&str; 5] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
    "/usr/local/lib/faketime/libfaketimeMT.so.1",
];

/// A small disk in memory that can be filled quickly.
pub struct Disk {
    at: PathBuf,
    kept: bool,
}

impl Disk {
    /// Mounts a disk on an empty folder.
    ///
    /// # Errors
    ///
    /// If this process has no right to mount.
    pub fn mount(at: &Path) -> anyhow::Result<Self> {
        ensure!(
            cfg!(target_os = "linux") && is_root(),
            "only root can mount a small disk"
        );
        let path = at.to_str().context("the path is not UTF-8")?;
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

    /// Leaves almost no free space.
    pub fn fill(&self) -> anyhow::Result<()> {
        let output = run("df", &["--output=used", "-k", &self.at.to_string_lossy()])?;
        let used: u64 = String::from_utf8_lossy(&output.stdout)
            .lines()
            .nth(1)
            .and_then(|line| line.trim().parse().ok())
            .context("`df` did not print the used space")?;
        self.resize(&format!("{}k", used + LEFT_KIB))
    }

    /// Restores the free space.
    pub fn clear(&self) -> anyhow::Result<()> {
        self.resize(DISK)
    }

    /// Keeps the disk mounted after it is dropped.
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
            eprintln!("a disk in memory could not be unmounted: {error}");
        }
    }
}

/// A wall clock for processes that start with its [`environment`](WallClock::environment). It differs from the
/// machine's clock by some seconds. Monotonic time stays the machine's.
#[derive(Debug, Clone)]
pub struct WallClock {
    library: PathBuf,
    file: PathBuf,
}

impl WallClock {
    /// A clock that shows the machine's time and is set through this file.
    ///
    /// # Errors
    ///
    /// If the library is not installed.
    pub fn new(file: PathBuf) -> anyhow::Result<Self> {
        let library = CLOCKS.iter().map(PathBuf::from).find(|path| path.exists());
        let library = library.context("libfaketime is not installed (Debian: apt-get install faketime)")?;
        let clock = Self { library, file };
        clock.set(0)?;
        Ok(clock)
    }

    /// The environment variables that make a process use the clock.
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

    /// Sets the difference from the machine's clock, in seconds. Processes notice within a second.
    pub fn set(&self, seconds: i64) -> anyhow::Result<()> {
        // Renamed into place, so that no process reads half of a number and gets a wildly wrong time.
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{seconds:+}s\n"))?;
        fs::rename(&new, &self.file)?;
        Ok(())
    }
}
