//! Persisted documents: a client sends a SHA-256 instead of a text.
//!
//! Guarantees:
//!
//! - A hash identifies only the text that has it.
//! - The documents that clients register are bounded in number and in bytes.
//! - With an allow list no other document is executed.
//!
//! Registered documents are kept in memory: they are lost with the process, and the least recently used are dropped
//! first. Clients register them again.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use crate::error::{ErrorCode, RequestError};
use crate::without_mark::without_mark;

/// Maximum number of registered documents.
pub const MOST_DOCUMENTS: usize = 1_000;
/// Maximum total size of registered documents, in bytes.
pub const MOST_BYTES: usize = 8 * 1024 * 1024;
/// Maximum size of a registered document, in bytes. A larger one is executed but not kept.
pub const LARGEST: usize = 64 * 1024;

/// SHA-256.
type Hash = [u8; 32];

/// Why an allow list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AllowListError {
    /// The file cannot be read.
    #[error("can't read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The file has the wrong format.
    #[error("{} must be a JSON object that maps SHA-256 hashes (hexadecimal) to documents", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The parser's error.
        source: serde_json::Error,
    },
    /// A document does not match its hash.
    #[error("{}: the document under {hash:?} has the SHA-256 {actual}", path.display())]
    Hash {
        /// The file.
        path: PathBuf,
        /// The hash in the file.
        hash: String,
        /// The document's actual hash.
        actual: String,
    },
}

/// The document of a request, as text, hash or both.
#[derive(Debug, Default)]
pub struct Named {
    /// The text.
    pub query: Option<String>,
    /// The hash, in `extensions.persistedQuery`.
    pub hash: Option<String>,
}

/// A document to execute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The text of the document.
    pub text: Arc<str>,
    /// Its hash, if the client asked to register it: pass it to [`Documents::keep`] once the text is known to be
    /// GraphQL.
    pub keep: Option<Hash>,
}

/// The source of documents.
pub enum Documents {
    /// The text in the request only.
    Sent,
    /// The text in the request, or one that a client has registered.
    Automatic(Mutex<Registered>),
    /// These documents and no others.
    Allowed(HashMap<Hash, Arc<str>>),
}

/// The documents that clients have registered.
#[derive(Debug, Default)]
pub struct Registered {
    documents: HashMap<Hash, (Arc<str>, u64)>,
    bytes: usize,
    uses: u64,
}

impl Documents {
    /// Accepts the text in the request only.
    pub fn sent() -> Self {
        Self::Sent
    }

    /// Lets clients register documents, and send only the hash from then on.
    pub fn automatic() -> Self {
        Self::Automatic(Mutex::default())
    }

    /// Executes only the documents of this file: a JSON object of SHA-256 to document. Read and checked now, so that a
    /// mistake in the list is not found only when a client uses it.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, has another format, or has a document that does not match its hash.
    pub fn allowed(file: &Path) -> Result<Self, AllowListError> {
        read_allow_list(file).map(Self::Allowed)
    }

    /// Finds the document of a request.
    ///
    /// The two errors of automatic persisted queries must keep their exact messages: some clients compare nothing else.
    pub fn find(&self, named: Named) -> Result<Found, RequestError> {
        let Named { query, hash } = named;
        let hash = hash.as_deref().map(read_hash).transpose()?;
        if let (Some(query), Some(hash)) = (&query, hash)
            && digest(query) != hash
        {
            return Err(RequestError::bad_input(
                "`extensions.persistedQuery.sha256Hash` is not the SHA-256 of `query`.",
            ));
        }
        let missing = || RequestError::new(ErrorCode::PersistedQueryNotFound, "PersistedQueryNotFound");
        match (self, query, hash) {
            (_, None, None) => Err(RequestError::bad_input("The request has no `query`.")),
            (Self::Allowed(allowed), None, Some(hash)) => allowed
                .get(&hash)
                .map(|text| Found {
                    text: text.clone(),
                    keep: None,
                })
                .ok_or_else(missing),
            (Self::Allowed(allowed), Some(query), _) => match allowed.get(&digest(&query)) {
                Some(text) => Ok(Found {
                    text: text.clone(),
                    keep: None,
                }),
                None => Err(RequestError::new(
                    ErrorCode::Forbidden,
                    "Only documents on the server's allow list are executed.",
                )),
            },
            (Self::Automatic(registered), None, Some(hash)) => lock(registered)
                .get(&hash)
                .map(|text| Found { text, keep: None })
                .ok_or_else(missing),
            (Self::Sent, None, Some(_)) => Err(RequestError::bad_input("PersistedQueryNotSupported")),
            (Self::Automatic(_), Some(query), hash) => Ok(Found {
                text: query.into(),
                keep: hash,
            }),
            (Self::Sent, Some(query), _) => Ok(Found {
                text: query.into(),
                keep: None,
            }),
        }
    }

    /// Registers a document if the client asked for it.
    pub fn keep(&self, found: &Found) {
        if let (Self::Automatic(registered), Some(hash)) = (self, found.keep) {
            lock(registered).put(hash, &found.text);
        }
    }
}

impl Registered {
    fn get(&mut self, hash: &Hash) -> Option<Arc<str>> {
        self.uses += 1;
        let (text, used) = self.documents.get_mut(hash)?;
        *used = self.uses;
        Some(text.clone())
    }

    fn put(&mut self, hash: Hash, text: &Arc<str>) {
        if text.len() > LARGEST || self.get(&hash).is_some() {
            return;
        }
        while self.documents.len() >= MOST_DOCUMENTS || self.bytes + text.len() > MOST_BYTES {
            // Scanning a thousand entries is cheaper than keeping them in order at each use.
            let oldest = self
                .documents
                .iter()
                .min_by_key(|(_, (_, used))| *used)
                .map(|(hash, _)| *hash);
            let Some((old, _)) = oldest.and_then(|oldest| self.documents.remove(&oldest)) else {
                return;
            };
            self.bytes -= old.len();
        }
        self.bytes += text.len();
        self.documents.insert(hash, (text.clone(), self.uses));
    }
}

/// A thread can only panic here during a look-up, so nothing is half done.
fn lock(registered: &Mutex<Registered>) -> std::sync::MutexGuard<'_, Registered> {
    registered.lock().unwrap_or_else(PoisonError::into_inner)
}

fn digest(text: &str) -> Hash {
    Sha256::digest(text.as_bytes()).into()
}

fn shown(hash: &Hash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read_hash(text: &str) -> Result<Hash, RequestError> {
    hexadecimal(text).ok_or_else(|| {
        RequestError::bad_input("`extensions.persistedQuery.sha256Hash` must be 64 hexadecimal digits.")
    })
}

fn hexadecimal(text: &str) -> Option<Hash> {
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, at) in hash.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(hash)
}

fn read_allow_list(path: &Path) -> Result<HashMap<Hash, Arc<str>>, AllowListError> {
    let path = path.to_owned();
    let text = match read_text(&path) {
        Ok(text) => text,
        Err(source) => return Err(AllowListError::File { path, source }),
    };
    let listed: HashMap<String, String> = match serde_json::from_str(&text) {
        Ok(listed) => listed,
        Err(source) => return Err(AllowListError::Json { path, source }),
    };
    let mut allowed = HashMap::with_capacity(listed.len());
    for (hash, document) in listed {
        // Some tools write `sha256:` before the hash.
        let stated = hexadecimal(hash.strip_prefix("sha256:").unwrap_or(&hash));
        let actual = digest(&document);
        if stated != Some(actual) {
            let actual = shown(&actual);
            return Err(AllowListError::Hash { path, hash, actual });
        }
        allowed.insert(actual, document.into());
    }
    Ok(allowed)
}

fn read_text(path: &Path) -> io::Result<String> {
    let bytes = std::fs::read(path)?;
    String::from_utf8(without_mark(&bytes).to_vec())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn automatic() -> Documents {
        Documents::automatic()
    }

    fn named(query: Option<&str>, hash: Option<&str>) -> Named {
        Named {
            query: query.map(str::to_owned),
            hash: hash.map(str::to_owned),
        }
    }

    fn code(found: Result<Found, RequestError>) -> ErrorCode {
        found.unwrap_err().code()
    }

    #[test]
    fn a_document_is_registered_and_then_found_by_its_hash() {
        let (documents, text) = (automatic(), "{a}");
        let hash = shown(&digest(text));
        assert_eq!(
            code(documents.find(named(None, Some(&hash)))),
            ErrorCode::PersistedQueryNotFound
        );
        let sent = documents.find(named(Some(text), Some(&hash))).unwrap();
        assert_eq!(
            code(documents.find(named(None, Some(&hash)))),
            ErrorCode::PersistedQueryNotFound,
            "not before it is known to be GraphQL"
        );
        documents.keep(&sent);
        let found = documents.find(named(None, Some(&hash.to_uppercase()))).unwrap();
        assert_eq!(&*found.text, text);
        let unasked = documents.find(named(Some("{b}"), None)).unwrap();
        documents.keep(&unasked);
        assert_eq!(
            code(documents.find(named(None, Some(&shown(&digest("{b}")))))),
            ErrorCode::PersistedQueryNotFound
        );
    }

    #[test]
    fn a_hash_stands_for_its_own_text_alone() {
        let documents = automatic();
        for hash in [shown(&digest("{b}")).as_str(), "", "12", &"g".repeat(64)] {
            assert_eq!(
                code(documents.find(named(Some("{a}"), Some(hash)))),
                ErrorCode::BadUserInput,
                "{hash}"
            );
        }
        assert_eq!(code(documents.find(named(None, None))), ErrorCode::BadUserInput);
    }

    #[test]
    fn registrations_are_bounded_and_the_least_recent_is_dropped() {
        let mut registered = Registered::default();
        let text: Arc<str> = "{a}".into();
        let hash = |n: usize| digest(&n.to_string());
        for n in 0..MOST_DOCUMENTS {
            registered.put(hash(n), &text);
        }
        assert!(registered.get(&hash(0)).is_some(), "at the bound all are kept");
        registered.put(hash(MOST_DOCUMENTS), &text);
        assert_eq!(registered.documents.len(), MOST_DOCUMENTS);
        assert_eq!(registered.bytes, MOST_DOCUMENTS * text.len());
        assert!(registered.get(&hash(0)).is_some() && registered.get(&hash(1)).is_none());
    }

    #[test]
    fn registrations_are_bounded_in_bytes() {
        let mut registered = Registered::default();
        let hash = |n: usize| digest(&n.to_string());
        let largest: Arc<str> = "a".repeat(LARGEST).into();
        let larger: Arc<str> = "a".repeat(LARGEST + 1).into();
        registered.put(hash(0), &larger);
        assert_eq!(registered.bytes, 0);
        let fit = MOST_BYTES / LARGEST;
        for n in 0..fit {
            registered.put(hash(n), &largest);
        }
        assert_eq!((registered.documents.len(), registered.bytes), (fit, MOST_BYTES));
        registered.put(hash(fit), &largest);
        assert_eq!((registered.documents.len(), registered.bytes), (fit, MOST_BYTES));
        assert!(registered.get(&hash(0)).is_none() && registered.get(&hash(fit)).is_some());
    }

    #[test]
    fn an_allow_list_lets_nothing_else_through() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("allowed.json");
        let hash = shown(&digest("{a}"));
        std::fs::write(&path, format!("{{\"sha256:{hash}\":\"{{a}}\"}}")).unwrap();
        let documents = Documents::allowed(&path).unwrap();
        assert!(documents.find(named(None, Some(&hash))).is_ok());
        assert!(documents.find(named(Some("{a}"), None)).is_ok());
        let other = shown(&digest("{b}"));
        assert_eq!(
            code(documents.find(named(None, Some(&other)))),
            ErrorCode::PersistedQueryNotFound
        );
        assert_eq!(
            code(documents.find(named(Some("{b}"), Some(&other)))),
            ErrorCode::Forbidden
        );
        for wrong in [format!("{{\"{hash}\":\"{{b}}\"}}"), "[]".to_owned()] {
            std::fs::write(&path, wrong).unwrap();
            assert!(Documents::allowed(&path).is_err());
        }
        std::fs::remove_file(&path).unwrap();
        assert!(Documents::allowed(&path).is_err());
    }

    #[test]
    fn a_hash_alone_needs_registration_or_an_allow_list() {
        let documents = Documents::sent();
        let hash = shown(&digest("{a}"));
        assert_eq!(
            code(documents.find(named(None, Some(&hash)))),
            ErrorCode::BadUserInput
        );
        assert!(documents.find(named(Some("{a}"), Some(&hash))).is_ok());
    }
}
