//! Keeps secrets in memory out of files: no core dump is written when the process crashes.
//!
//! No protection against root, nor on a machine that swaps or suspends to disk.

use anyhow::Context;
use rustix::process::{Resource, Rlimit, setrlimit};

/// Switches off core dumps of this process. On Linux it also forbids processes of the same user to read its memory,
/// because a handler that core dumps are piped to ignores the limit but respects this.
pub(super) fn forbid() -> anyhow::Result<()> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none).context("core dumps can't be switched off")?;
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .context("the process can't be marked as not dumpable")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustix::process::getrlimit;

    use super::*;

    #[test]
    fn no_core_is_dumped() {
        forbid().unwrap();
        assert_eq!(getrlimit(Resource::Core).maximum, Some(0));
        #[cfg(target_os = "linux")]
        assert_eq!(
            rustix::process::dumpable_behavior().unwrap(),
            rustix::process::DumpableBehavior::NotDumpable
        );
        // A second call changes nothing. It is not an error, though the limit cannot be raised again.
        forbid().unwrap();
    }
}
