//! The machine: its programs, its users, and figures about its processes.
//!
//! The figures are the kernel's counters. They are available only on Linux: other systems have no `/proc`, and the
//! functions return an error.

use std::fs;
use std::process::{Command, Output};

use anyhow::{Context, bail, ensure};

/// Runs a program of the machine to its end.
pub(crate) fn run(program: &str, arguments: &[&str]) -> anyhow::Result<Output> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("cannot run `{program}`"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        output.status.success(),
        "`{program} {}`: {}",
        arguments.join(" "),
        said.trim()
    );
    Ok(output)
}

/// Whether this process runs as root.
pub(crate) fn is_root() -> bool {
    run("id", &["-u"]).is_ok_and(|output| output.stdout.starts_with(b"0"))
}

/// User and group for Postgres, if this process runs as root, because Postgres refuses to run as root.
pub(crate) fn user_for_postgres() -> anyhow::Result<Option<(u32, u32)>> {
    if !is_root() {
        return Ok(None);
    }
    let number = |option, name| -> anyhow::Result<u32> {
        let output = run("id", &[option, name])?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().parse()?)
    };
    for name in ["postgres", "nobody"] {
        if let (Ok(user), Ok(group)) = (number("-u", name), number("-g", name)) {
            return Ok(Some((user, group)));
        }
    }
    bail!("Postgres does not run as root, and there is neither a user `postgres` nor `nobody`")
}

/// Ticks per second in the CPU times of `/proc`: the same on every machine that we use.
const TICKS: f64 = 100.0;

/// A line of `/proc/…/stat`.
struct Stat {
    name: String,
    parent: u32,
    /// CPU seconds: its own, and those of children that have ended and were waited for.
    own: f64,
    ended: f64,
}

impl Stat {
    fn read(path: &str) -> anyhow::Result<Self> {
        let line = fs::read_to_string(path).with_context(|| format!("{path} cannot be read"))?;
        Self::parse(&line).with_context(|| format!("{path} is not as expected: {line}"))
    }

    /// The name is in parentheses, and may itself contain parentheses.
    fn parse(line: &str) -> Option<Self> {
        let (before, after) = line.rsplit_once(')')?;
        let fields: Vec<&str> = after.split_ascii_whitespace().collect();
        let seconds = |at: usize| Some(fields.get(at)?.parse::<f64>().ok()? / TICKS);
        Some(Self {
            name: before.split_once('(')?.1.to_owned(),
            parent: fields.get(1)?.parse().ok()?,
            own: seconds(11)? + seconds(12)?,
            ended: seconds(13)? + seconds(14)?,
        })
    }
}

/// CPU seconds that a process and its children have used, including children that have ended.
///
/// # Errors
///
/// If it has ended, or this is not Linux.
pub fn cpu(process: u32) -> anyhow::Result<f64> {
    let mut total = 0.0;
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let number = name.to_string_lossy();
        if number.bytes().all(|byte| byte.is_ascii_digit())
            // The time of a child that ends meanwhile is counted by its parent.
            && let Ok(stat) = Stat::read(&format!("/proc/{number}/stat"))
            && stat.parent == process
        {
            total += stat.own + stat.ended;
        }
    }
    let stat = Stat::read(&format!("/proc/{process}/stat"))?;
    Ok(total + stat.own + stat.ended)
}

/// CPU seconds of this process's running threads with this name.
///
/// # Errors
///
/// If this is not Linux.
pub fn cpu_of_threads(name: &str) -> anyhow::Result<f64> {
    let mut total = 0.0;
    for entry in fs::read_dir("/proc/self/task")? {
        let path = entry?.path().join("stat");
        total += Stat::read(&path.to_string_lossy())
            .ok()
            .filter(|stat| stat.name == name)
            .map_or(0.0, |stat| stat.own);
    }
    Ok(total)
}

/// The parent of a process, and the process's name.
///
/// # Errors
///
/// If it has ended, or this is not Linux.
pub fn parent(process: u32) -> anyhow::Result<(u32, String)> {
    let stat = Stat::read(&format!("/proc/{process}/stat"))?;
    Ok((stat.parent, stat.name))
}

/// Where the kernel says that a process and its children wait. For errors about a process that does not end.
pub fn waits_in(process: u32) -> String {
    let told = |file: &str| fs::read_to_string(format!("/proc/{process}/{file}")).unwrap_or_default();
    let mut text = format!(
        "{} ({process}) {} [{}]",
        told("comm").trim(),
        told("wchan"),
        told("syscall").trim()
    );
    // Each thread has its own children.
    let threads = fs::read_dir(format!("/proc/{process}/task"))
        .into_iter()
        .flatten();
    for thread in threads.flatten() {
        let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        for child in children
            .split_ascii_whitespace()
            .filter_map(|child| child.parse().ok())
        {
            text += "; ";
            text += &waits_in(child);
        }
    }
    text
}

/// A figure of a process's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resident {
    /// The current value.
    Now,
    /// The highest value since it started.
    Peak,
}

/// A process's resident memory in bytes.
///
/// # Errors
///
/// If it has ended, or this is not Linux.
pub fn memory(process: u32, which: Resident) -> anyhow::Result<u64> {
    let name = match which {
        Resident::Now => "VmRSS:",
        Resident::Peak => "VmHWM:",
    };
    let path = format!("/proc/{process}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))?;
    let kib = status.lines().find_map(|line| {
        let amount = line.strip_prefix(name)?.trim();
        amount.strip_suffix(" kB")?.parse::<u64>().ok()
    });
    Ok(kib.with_context(|| format!("{path} has no {name}"))? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn waits_are_listed_for_a_process_and_its_children() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let (own, started) = (std::process::id(), child.id());
        let told = waits_in(own);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(told.contains(&format!("({own})")), "{told}");
        assert!(told.contains(&format!("({started})")), "{told}");
    }

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let line = "77 (a) (b c) S 12 1 1 0 -1 4 1 2 3 4 150 50 30 20 20 0 1 0 9 9 9";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.name.as_str(), stat.parent), ("a) (b c", 12));
        assert_eq!((stat.own, stat.ended), (2.0, 0.5));
        assert!(Stat::parse("77 (a) S 12").is_none());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_and_cpu_of_this_process_are_read() {
        let this = std::process::id();
        // In this order, because other tests may use more in between.
        let now = memory(this, Resident::Now).unwrap();
        assert!(now > 0);
        assert!(memory(this, Resident::Peak).unwrap() >= now);
        assert!(cpu(this).unwrap() >= 0.0);
        assert!(parent(this).unwrap().0 > 0);
    }
}
