//! The secrets of a server: keys that sign tokens and notices, and keys that seal stored credentials.
//!
//! Guarantees: secrets come from the environment or from files that only their owner and group can access, never from the
//! command line, where other users may see them. Secrets that can be guessed are refused. No `Debug` shows them.
//! `tenterhook_policy::sealing` checks the form of a sealing key, `tenterhook_policy::signing` that of a signing secret.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::Settings;
use super::strength::{is_pattern, variety};

/// The shortest secret that HS256 allows: as long as its digest (RFC 7518).
pub(crate) const SHORTEST_SECRET: usize = 32;
/// The fewest different characters of a secret. A random one has more, even in hexadecimal.
pub const LEAST_VARIETY: usize = 8;
/// The maximum size of a key file in bytes. A larger file is not a key.
pub(crate) const LARGEST_FILE: u64 = 16 * 1024;
/// Permission bits of everybody. A user who can read a secret has it, and one who can write it can choose it.
const EVERYBODY: u32 = 0o006;
/// The file of the token secret for development, in the data folder.
pub const JWT_KEY: &str = "jwt.key";
/// The file of the sealing key for development, in the data folder.
pub const SEALING_KEY: &str = "sealing.key";

/// Where the platform's public keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JwksSource {
    /// Read at start.
    File(PathBuf),
    /// Fetched at start, and again when a token names an unknown key.
    Url(Url),
}

/// The keys that tokens must be signed with.
#[derive(Debug, Clone)]
pub enum TokenKeys {
    /// A secret shared with the platform: HS256 over its bytes, without surrounding white space.
    Secret(SecretString),
    /// Public keys for RS, ES or EdDSA.
    Jwks(JwksSource),
}

/// The secrets of a server.
#[derive(Debug, Clone)]
pub struct Keys {
    /// The keys that tokens must be signed with.
    pub tokens: TokenKeys,
    /// The keys that seal stored credentials (W11): each 32 bytes in hexadecimal or base64. The first one seals.
    pub sealing: SecretString,
    /// The secrets that sign notices to the platform's own endpoint, one on each line; `None` if no file is set.
    pub notices: Option<SecretString>,
}

/// Why a key is not available.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A setting that names a key file is missing.
    #[error("{0} is not set")]
    Missing(&'static str),
    /// The file can't be read or created.
    #[error("can't {doing} {}", path.display())]
    File {
        /// `read` or `make`.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// Users other than the file's owner and group can read or change it.
    #[error("everybody on this machine can read or change {}: `chmod o-rw` it, and make a new secret if other people use this machine", path.display())]
    Open {
        /// The file.
        path: PathBuf,
    },
    /// The file is too large to be a key.
    #[error("{} has more than {LARGEST_FILE} bytes, too many for a key", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The secret is too short.
    #[error(
        "the secret in {place} has {length} bytes; it must have at least {SHORTEST_SECRET} (`openssl rand -hex 32`)"
    )]
    TooShort {
        /// The file or setting.
        place: String,
        /// Its length without surrounding white space.
        length: usize,
    },
    /// The secret is long enough, but a placeholder.
    #[error("the secret in {place} can be guessed: make one with `openssl rand -hex 32`")]
    Weak {
        /// The file or setting.
        place: String,
    },
}

impl Keys {
    /// Takes the secrets in the settings, and reads the files that the settings name.
    pub fn load(settings: &Settings) -> Result<Self, KeyError> {
        let tokens = match &settings.jwks {
            Some(source) => TokenKeys::Jwks(source.clone()),
            None => TokenKeys::Secret(
                token_secret(settings)?.ok_or(KeyError::Missing("TENTERHOOK_JWT_SECRET_FILE"))?,
            ),
        };
        let sealing = sealing_keys(settings)?.ok_or(KeyError::Missing("TENTERHOOK_SEALING_KEY_FILE"))?;
        let notices = settings.notice_secret_file.as_deref().map(read).transpose()?;
        Ok(Self {
            tokens,
            sealing,
            notices,
        })
    }

    /// Like [`load`](Self::load), but a key that is not set is kept in `data_dir` and created there the first time.
    pub fn load_or_make(settings: &Settings, data_dir: &Path) -> Result<Self, KeyError> {
        let mut settings = settings.clone();
        if settings.jwks.is_none() && settings.jwt_secret.is_none() && settings.jwt_secret_file.is_none() {
            settings.jwt_secret_file = Some(made(data_dir, JWT_KEY)?);
        }
        if settings.sealing_key.is_none() && settings.sealing_key_file.is_none() {
            settings.sealing_key_file = Some(made(data_dir, SEALING_KEY)?);
        }
        Self::load(&settings)
    }

    /// Random keys, for a temporary server.
    pub fn random() -> Self {
        Self {
            tokens: TokenKeys::Secret(random().into()),
            sealing: random().into(),
            notices: None,
        }
    }
}

/// The secret that signs tokens, if it is set directly or by file.
pub fn token_secret(settings: &Settings) -> Result<Option<SecretString>, KeyError> {
    match (&settings.jwt_secret, &settings.jwt_secret_file) {
        (Some(secret), _) => strong(secret.clone(), || "TENTERHOOK_JWT_SECRET".to_owned()).map(Some),
        (None, Some(path)) => token_secret_in(path).map(Some),
        (None, None) => Ok(None),
    }
}

/// The secret in a file, for signing tokens.
pub fn token_secret_in(path: &Path) -> Result<SecretString, KeyError> {
    strong(read(path)?, || path.display().to_string())
}

/// The keys that seal, if they are set directly or by file. They are not checked here.
pub fn sealing_keys(settings: &Settings) -> Result<Option<SecretString>, KeyError> {
    match (&settings.sealing_key, &settings.sealing_key_file) {
        (Some(keys), _) => Ok(Some(keys.clone())),
        (None, Some(path)) => read(path).map(Some),
        (None, None) => Ok(None),
    }
}

/// Refuses a secret that is too short or too easy to guess.
fn strong(secret: SecretString, place: impl Fn() -> String) -> Result<SecretString, KeyError> {
    let bytes = secret.expose_secret().as_bytes();
    if bytes.len() < SHORTEST_SECRET {
        return Err(KeyError::TooShort {
            place: place(),
            length: bytes.len(),
        });
    }
    if variety(bytes) < LEAST_VARIETY || is_pattern(bytes) {
        return Err(KeyError::Weak { place: place() });
    }
    Ok(secret)
}

/// Whether users other than the file's owner and group can read or change it. A link is followed.
pub fn is_open_to_everybody(path: &Path) -> io::Result<bool> {
    Ok(fs::metadata(path)?.permissions().mode() & EVERYBODY != 0)
}

/// The content of a file with a secret. Links are followed, because orchestrators mount secrets as links.
fn read(path: &Path) -> Result<SecretString, KeyError> {
    let failed = || file_error("read", path);
    let file = File::open(path).map_err(failed())?;
    let mode = file.metadata().map_err(failed())?.permissions().mode();
    if mode & EVERYBODY != 0 {
        return Err(KeyError::Open {
            path: path.to_owned(),
        });
    }
    let mut text = Zeroizing::new(String::new());
    file.take(LARGEST_FILE + 1)
        .read_to_string(&mut text)
        .map_err(failed())?;
    if text.len() as u64 > LARGEST_FILE {
        return Err(KeyError::TooLarge {
            path: path.to_owned(),
        });
    }
    // An editor may have put a byte order mark at the beginning.
    Ok(text.trim_start_matches('\u{feff}').trim().into())
}

/// The file in `data_dir`, created if it does not exist. If two processes create it at once, both use the same file.
fn made(data_dir: &Path, name: &str) -> Result<PathBuf, KeyError> {
    let path = data_dir.join(name);
    if path.exists() {
        return Ok(path);
    }
    // Other users may traverse the folder: Postgres's user has to (see `embedded`).
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
    // A draft that cannot be removed is a key that is not used.
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
mod tests;
