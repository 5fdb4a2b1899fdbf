//! The secrets of a server: what signs tokens and notices, and what seals stored credentials.
//!
//! Promises that they come from files, never from the environment or the command line where other users may see
//! them, and that no `Debug` shows them. What a sealing key must look like is [`crate::policy::sealing`]'s to
//! say, what a signing secret [`crate::policy::signing`]'s.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::Settings;

/// The shortest secret that HS256 may be used with: as long as its digest (RFC 7518).
pub const SHORTEST_SECRET: usize = 32;
/// The secret of development, in the data folder.
pub const JWT_KEY: &str = "jwt.key";
/// The sealing key of development, in the data folder.
pub const SEALING_KEY: &str = "sealing.key";

/// Where the public keys of a platform are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JwksSource {
    /// Read at start.
    File(PathBuf),
    /// Fetched, and fetched again when a token names an unknown key.
    Url(Url),
}

/// What tokens must be signed with.
#[derive(Debug, Clone)]
pub enum TokenKeys {
    /// A secret shared with the platform: HS256 over its bytes, without white space around.
    Secret(SecretString),
    /// Public keys: RS, ES or EdDSA.
    Jwks(JwksSource),
}

/// The secrets of a server.
#[derive(Debug, Clone)]
pub struct Keys {
    /// What tokens must be signed with.
    pub tokens: TokenKeys,
    /// What stored credentials are sealed with (W11): 32 bytes in hexadecimal or base64.
    pub sealing: SecretString,
    /// What notices to the platform's own endpoint are signed with, one secret on a line; `None` where there is no file.
    pub notices: Option<SecretString>,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A setting that names a key file is missing.
    #[error("{0} is not set")]
    Missing(&'static str),
    /// The file can't be read or made.
    #[error("can't {doing} {}", path.display())]
    File {
        /// `read` or `make`.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the machine said.
        source: io::Error,
    },
    /// The secret is too easy to guess.
    #[error("the secret in {} has {length} bytes; it must have at least {SHORTEST_SECRET} (`openssl rand -hex 32`)", path.display())]
    TooShort {
        /// The file.
        path: PathBuf,
        /// Its length without white space around.
        length: usize,
    },
}

impl Keys {
    /// Reads the files that the settings name.
    pub fn load(settings: &Settings) -> Result<Self, KeyError> {
        let tokens = match (&settings.jwks, &settings.jwt_secret_file) {
            (Some(source), _) => TokenKeys::Jwks(source.clone()),
            (None, Some(path)) => TokenKeys::Secret(token_secret(path)?),
            (None, None) => return Err(KeyError::Missing("TENTERHOOK_JWT_SECRET_FILE")),
        };
        let sealing = settings
            .sealing_key_file
            .as_deref()
            .ok_or(KeyError::Missing("TENTERHOOK_SEALING_KEY_FILE"))?;
        Ok(Self {
            tokens,
            sealing: read(sealing)?,
            notices: settings.notice_secret_file.as_deref().map(read).transpose()?,
        })
    }

    /// As [`load`](Self::load), but what is not set is kept in `data_dir`, and made there the first time.
    pub fn load_or_make(settings: &Settings, data_dir: &Path) -> Result<Self, KeyError> {
        let mut settings = settings.clone();
        if settings.jwks.is_none() && settings.jwt_secret_file.is_none() {
            settings.jwt_secret_file = Some(made(data_dir, JWT_KEY)?);
        }
        if settings.sealing_key_file.is_none() {
            settings.sealing_key_file = Some(made(data_dir, SEALING_KEY)?);
        }
        Self::load(&settings)
    }

    /// Keys that nobody else knows, for a server that is thrown away.
    pub fn random() -> Self {
        Self {
            tokens: TokenKeys::Secret(random().into()),
            sealing: random().into(),
            notices: None,
        }
    }
}

/// The secret in a file that signs tokens.
pub fn token_secret(path: &Path) -> Result<SecretString, KeyError> {
    let secret = read(path)?;
    let length = secret.expose_secret().len();
    if length < SHORTEST_SECRET {
        Err(KeyError::TooShort {
            path: path.to_owned(),
            length,
        })
    } else {
        Ok(secret)
    }
}

fn read(path: &Path) -> Result<SecretString, KeyError> {
    let text = fs::read_to_string(path).map_err(file_error("read", path))?;
    Ok(text.trim().into())
}

/// The file in `data_dir`, made if it is not there. Of two processes that make it at once both use the same.
fn made(data_dir: &Path, name: &str) -> Result<PathBuf, KeyError> {
    let path = data_dir.join(name);
    if path.exists() {
        return Ok(path);
    }
    // Others may pass through: Postgres's user has to (see `embedded`).
    DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(data_dir)
        .map_err(file_error("make", data_dir))?;
    let draft = data_dir.join(format!("{name}.{:016x}", rand::random::<u64>()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| {
            writeln!(file, "{}", random())?;
            file.sync_all()
        });
    let linked = written.and_then(|()| match fs::hard_link(&draft, &path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    // A draft that stays is a key that nobody uses.
    let _ = fs::remove_file(&draft);
    linked.map_err(file_error("make", &path)).map(|()| path)
}

/// 32 random bytes in hexadecimal.
fn random() -> String {
    rand::random::<[u8; 32]>()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn file_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeyError {
    let path = path.to_owned();
    move |source| KeyError::File { doing, path, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn secret(keys: &Keys) -> &str {
        match &keys.tokens {
            TokenKeys::Secret(secret) => secret.expose_secret(),
            TokenKeys::Jwks(_) => panic!("a secret was expected"),
        }
    }

    #[test]
    fn development_keys_are_made_once_and_for_us_alone() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("new/folder");
        let first = Keys::load_or_make(&Settings::development(), &data_dir).unwrap();
        let second = Keys::load_or_make(&Settings::development(), &data_dir).unwrap();
        assert_eq!(secret(&first), secret(&second));
        assert_eq!(first.sealing.expose_secret(), second.sealing.expose_secret());
        assert_ne!(secret(&first), first.sealing.expose_secret());
        let mut names: Vec<_> = fs::read_dir(&data_dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, [JWT_KEY, SEALING_KEY]);
        for name in names {
            let mode = fs::metadata(data_dir.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn what_is_set_is_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        fs::write(&file, format!("  {}\n", "s".repeat(32))).unwrap();
        let data_dir = folder.path().join("data");
        let settings = Settings {
            jwt_secret_file: Some(file),
            ..Settings::development()
        };
        let keys = Keys::load_or_make(&settings, &data_dir).unwrap();
        assert_eq!(secret(&keys), "s".repeat(32));
        assert!(!data_dir.join(JWT_KEY).exists());
        assert!(data_dir.join(SEALING_KEY).exists());
    }

    #[test]
    fn a_secret_has_at_least_32_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        fs::write(&file, format!("{}\n", "s".repeat(SHORTEST_SECRET - 1))).unwrap();
        let error = token_secret(&file).unwrap_err();
        assert!(matches!(error, KeyError::TooShort { length: 31, .. }), "{error}");
        fs::write(&file, "s".repeat(SHORTEST_SECRET)).unwrap();
        assert!(token_secret(&file).is_ok());
        assert!(matches!(
            token_secret(&folder.path().join("none")),
            Err(KeyError::File { doing: "read", .. })
        ));
    }

    #[test]
    fn production_makes_nothing_up() {
        let missing = Keys::load(&Settings::default()).unwrap_err().to_string();
        assert_eq!(missing, "TENTERHOOK_JWT_SECRET_FILE is not set");
    }

    #[test]
    fn the_secrets_of_notices_come_from_their_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("notices");
        let settings = Settings {
            notice_secret_file: Some(file.clone()),
            ..Settings::development()
        };
        let load = || Keys::load_or_make(&settings, folder.path());
        assert!(matches!(load(), Err(KeyError::File { doing: "read", .. })));
        fs::write(&file, "one\n\ntwo\n").unwrap();
        let keys = load().unwrap();
        assert_eq!(keys.notices.as_ref().unwrap().expose_secret(), "one\n\ntwo");
        assert!(!format!("{keys:?}").contains("two"));
    }

    #[test]
    fn nothing_shows_a_secret() {
        let keys = Keys::random();
        let shown = format!("{keys:?}");
        assert!(
            !shown.contains(secret(&keys)) && !shown.contains(keys.sealing.expose_secret()),
            "{shown}"
        );
    }
}
