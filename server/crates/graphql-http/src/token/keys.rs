//! The keys that may sign tokens.
//!
//! A key verifies only the algorithms it is for: a public key is never used as a shared secret. A token's header only
//! selects one of our keys by id; keys and addresses in the header are ignored.

mod jwk;
mod source;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jsonwebtoken::{Algorithm, DecodingKey, Header};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use source::{FETCH_TIMEOUT, LARGEST_SET, Source};
use tenterhook_clock::Clock;

/// A key with the algorithms it is for.
pub(super) struct VerifyingKey {
    id: Option<String>,
    pub(super) key: DecodingKey,
    pub(super) algorithms: Vec<Algorithm>,
}

/// Why a key set cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidKeys {
    /// The text is not a JSON Web Key Set.
    #[error("not a JSON Web Key Set: {0}")]
    NotASet(#[from] serde_json::Error),
    /// No key in the set can verify a token.
    #[error("the key set has no RSA (2048 to 4096 bits), EC (P-256, P-384) or Ed25519 key for signatures")]
    NoneUsable,
    /// The set could not be fetched.
    #[error("the key set cannot be fetched: {0}")]
    NotFetched(String),
    /// The set exceeds the size limit.
    #[error("the key set has more than {LARGEST_SET} bytes")]
    TooLarge,
}

/// The keys that may sign tokens.
pub struct KeySet {
    keys: RwLock<Arc<[Arc<VerifyingKey>]>>,
    source: Option<Source>,
}

impl KeySet {
    /// A secret shared with the platform, for HS256.
    pub fn shared_secret(secret: &SecretString) -> Self {
        Self::of(vec![VerifyingKey {
            id: None,
            key: DecodingKey::from_secret(secret.expose_secret().as_bytes()),
            algorithms: vec![Algorithm::HS256],
        }])
    }

    /// The public keys of a JSON Web Key Set. Keys for encryption, of unknown kinds, weak keys and shared secrets are
    /// ignored.
    pub fn from_jwks(json: &str) -> Result<Self, InvalidKeys> {
        Ok(Self::of(jwk::read(json.as_bytes())?))
    }

    /// The public keys at `url`, fetched now. They are fetched again when a token names a key that is not among them,
    /// and when they are too old (see `source`).
    pub async fn fetched(client: reqwest::Client, url: Url, clock: Clock) -> Result<Self, InvalidKeys> {
        Self::fetched_within(FETCH_TIMEOUT, client, url, clock).await
    }

    async fn fetched_within(
        timeout: Duration,
        client: reqwest::Client,
        url: Url,
        clock: Clock,
    ) -> Result<Self, InvalidKeys> {
        let source = Source::new(client, url, clock, timeout);
        let keys = source
            .fetch(&mut *source.history.lock().await, source.now())
            .await?;
        Ok(Self {
            source: Some(source),
            ..Self::of(keys)
        })
    }

    fn of(keys: Vec<VerifyingKey>) -> Self {
        Self {
            keys: RwLock::new(keys.into_iter().map(Arc::new).collect()),
            source: None,
        }
    }

    /// The number of keys.
    pub fn count(&self) -> usize {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The key that a token's header selects.
    pub(super) async fn key_for(&self, header: &Header) -> Option<Arc<VerifyingKey>> {
        match &self.source {
            Some(source) => self.key_at(source, header, source.now()).await,
            None => self.known(header),
        }
    }

    async fn key_at(&self, source: &Source, header: &Header, now: Instant) -> Option<Arc<VerifyingKey>> {
        if let Some(key) = self.known(header) {
            // One request waits for fetching an old set again; all others continue with the keys that we have.
            let Ok(mut history) = source.history.try_lock() else {
                return Some(key);
            };
            if !history.is_stale(now) {
                return Some(key);
            }
            self.adopt(source.fetch(&mut history, now).await);
            return self.known(header);
        }
        let mut history = source.history.lock().await;
        // The previous holder of the lock may have fetched it.
        if let Some(key) = self.known(header) {
            return Some(key);
        }
        if history.may_fetch(now) {
            self.adopt(source.fetch(&mut history, now).await);
        }
        self.known(header)
    }

    /// If a set could not be fetched, the current keys stay.
    fn adopt(&self, fetched: Result<Vec<VerifyingKey>, InvalidKeys>) {
        if let Ok(keys) = fetched {
            let keys = keys.into_iter().map(Arc::new).collect();
            *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        }
    }

    /// A token without a key id is accepted only if there is a single key.
    fn known(&self, header: &Header) -> Option<Arc<VerifyingKey>> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut candidates = keys.iter().filter(|key| match (&key.id, &header.kid) {
            (Some(id), Some(kid)) => id == kid,
            (None, _) | (_, None) => keys.len() == 1,
        });
        candidates
            .find(|key| key.algorithms.contains(&header.alg))
            .cloned()
    }
}

#[cfg(test)]
mod tests;
