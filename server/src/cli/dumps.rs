//! Keeps the secrets in memory out of files: no core dump is written when the process dies.
//!
//! Does not promise anything against root, nor against a machine that swaps or is suspended to a disk.

use anyhow::Context;
use rustix::process::{Resource, Rlimit, setrlimit};

/// No core dumps of this process from now on. On Linux also no reading of its memory by processes of the same user: a
/// handler that core dumps are piped to ignores the limit, and heeds this.
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
            .context("the process can't be made one that is not dumped")?;
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
        // Once more changes nothing, and is no error though the limit can't be raised again.
        forbid().unwrap();
    }
}
