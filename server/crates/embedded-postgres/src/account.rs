//! The user that Postgres runs as: this process's own user or, if that is root (which Postgres refuses), another one.
//!
//! A command made by [`as_account`] has none of root's groups, and a working folder that its user can enter.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::EmbeddedError;

/// A user to drop privileges to. It must be in the user database, because Postgres looks itself up there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
}

impl Account {
    /// `None` if privileges need not be dropped. For root, the user "postgres", or else "nobody".
    pub fn for_postgres() -> Result<Option<Self>, EmbeddedError> {
        if !is_root()? {
            return Ok(None);
        }
        for name in ["postgres", "nobody"] {
            if let Some(account) = Self::named(name)? {
                return Ok(Some(account));
            }
        }
        Err(EmbeddedError::NoAccount)
    }

    /// Looks up a user and its primary group.
    pub fn named(name: &str) -> Result<Option<Self>, EmbeddedError> {
        let (uid, gid) = (id(["-u", name])?, id(["-g", name])?);
        Ok(uid.zip(gid).map(|(uid, gid)| Self {
            name: name.to_owned(),
            uid,
            gid,
        }))
    }

    /// Checks that this user can enter every existing folder on the way to `path`. The error names the first that it
    /// cannot enter.
    pub fn check_reach(&self, path: &Path) -> Result<(), EmbeddedError> {
        let mut folders: Vec<&Path> = path.ancestors().collect();
        folders.reverse();
        let script =
            r#"for dir; do [ -e "$dir" ] || exit 0; [ -x "$dir" ] || { printf %s "$dir"; exit 1; }; done"#;
        let output = as_account(Some(self), "/bin/sh")
            .args(["-c", script, "sh"])
            .args(folders)
            .output()
            .map_err(EmbeddedError::io("run", Path::new("/bin/sh")))?;
        if output.status.success() {
            return Ok(());
        }
        let dir = PathBuf::from(String::from_utf8_lossy(&output.stdout).into_owned());
        Err(EmbeddedError::Unreachable {
            user: self.name.clone(),
            dir,
        })
    }
}

/// A command that will run as `account`, or as this process's own user.
pub(super) fn as_account(account: Option<&Account>, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/");
    // This process's secrets may be in its environment, and a child must not get them.
    let ours = |name: &OsString| name == "DATABASE_URL" || name.as_bytes().starts_with(b"TENTERHOOK_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| ours(name)) {
        command.env_remove(name);
    }
    if let Some(account) = account {
        command.uid(account.uid).gid(account.gid);
    }
    command
}

pub(super) fn is_root() -> Result<bool, EmbeddedError> {
    Ok(id(["-u"])? == Some(0))
}

/// The output of `id`: the only portable way without unsafe code.
fn id<const N: usize>(arguments: [&str; N]) -> Result<Option<u32>, EmbeddedError> {
    let output = Command::new("id")
        .args(arguments)
        .output()
        .map_err(EmbeddedError::io("run", Path::new("id")))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().parse().ok())
}
