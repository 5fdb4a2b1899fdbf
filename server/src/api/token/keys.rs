//! The keys that tokens may be signed with.
//!
//! Promises that a key verifies only the algorithms it is for: a public key is never taken for a shared secret.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Header};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::clock::Clock;

/// How long a token with an unknown key must wait until the key set is fetched again: strangers cannot make us ask.
const FETCH_PAUSE: Duration = Duration::from_secs(30);
/// How long a fetch may take.
const FETCH_TIMEOUT: jiff::SignedDuration = jiff::SignedDuration::from_secs(5);

/// A key with the algorithms it is for.
pub(super) struct VerifyingKey {
    id: Option<String>,
    pub(super) key: DecodingKey,
    pub(super) algorithms: Vec<Algorithm>,
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum InvalidKeys {
    /// Not a JSON Web Key Set.
    #[error("not a JSON Web Key Set: {0}")]
    NotASet(#[from] serde_json::Error),
    /// None that could verify a token.
    #[error("the key set has no RSA, EC (P-256, P-384) or Ed25519 key for signatures")]
    NoneUsable,
    /// The set could not be fetched.
    #[error("the key set cannot be fetched: {0}")]
    NotFetched(String),
}

/// The keys that tokens may be signed with.
pub struct KeySet {
    keys: RwLock<Arc<[Arc<VerifyingKey>]>>,
    source: Option<Source>,
}

/// Where a key set is fetched from.
struct Source {
    client: reqwest::Client,
    url: Url,
    clock: Clock,
    /// When it was last fetched; locked while it is.
    fetched: tokio::sync::Mutex<Instant>,
}

impl KeySet {
    /// A secret shared with the platform: HS256.
    pub fn shared_secret(secret: &SecretString) -> Self {
        Self::of(vec![VerifyingKey {
            id: None,
            key: DecodingKey::from_secret(secret.expose_secret().as_bytes()),
            algorithms: vec![Algorithm::HS256],
        }])
    }

    /// The public keys of a JSON Web Key Set. Keys for encryption, of unknown kinds, and shared ones are passed over.
    pub fn from_jwks(json: &str) -> Result<Self, InvalidKeys> {
        Ok(Self::of(read(json)?))
    }

    /// The public keys at `url`, fetched now and again when a token names a key that is not among them.
    pub async fn fetched(client: reqwest::Client, url: Url, clock: Clock) -> Result<Self, InvalidKeys> {
        let fetched = tokio::sync::Mutex::new(clock.monotonic());
        let source = Source {
            client,
            url,
            clock,
            fetched,
        };
        let keys = source.fetch().await?;
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

    /// The key that a token says it is signed with.
    pub(super) async fn key_for(&self, header: &Header) -> Option<Arc<VerifyingKey>> {
        if let Some(key) = self.known(header) {
            return Some(key);
        }
        let source = self.source.as_ref()?;
        let mut fetched = source.fetched.lock().await;
        // Whoever held the lock before may have fetched it.
        if let Some(key) = self.known(header) {
            return Some(key);
        }
        if source.clock.monotonic().duration_since(*fetched) < FETCH_PAUSE {
            return None;
        }
        *fetched = source.clock.monotonic();
        match source.fetch().await {
            Ok(keys) => {
                let keys = keys.into_iter().map(Arc::new).collect();
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
            }
            Err(error) => tracing::warn!(%error, url = %source.url, "keeping the keys there are"),
        }
        self.known(header)
    }

    /// A token without a key id can only mean the one key there is.
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

impl Source {
    async fn fetch(&self) -> Result<Vec<VerifyingKey>, InvalidKeys> {
        let fetch = async {
            self.client
                .get(self.url.clone())
                .send()
                .await?
                .error_for_status()?
                .text()
                .await
        };
        let until = self
            .clock
            .now()
            .checked_add(FETCH_TIMEOUT)
            .unwrap_or(jiff::Timestamp::MAX);
        let text = match self.clock.deadline(until, fetch).await {
            Ok(Ok(text)) => text,
            Ok(Err(error)) => return Err(InvalidKeys::NotFetched(error.to_string())),
            Err(elapsed) => return Err(InvalidKeys::NotFetched(elapsed.to_string())),
        };
        read(&text)
    }
}

fn read(json: &str) -> Result<Vec<VerifyingKey>, InvalidKeys> {
    let set: JwkSet = serde_json::from_str(json)?;
    let keys: Vec<VerifyingKey> = set.keys.iter().filter_map(usable).collect();
    if keys.is_empty() {
        Err(InvalidKeys::NoneUsable)
    } else {
        Ok(keys)
    }
}

fn usable(jwk: &Jwk) -> Option<VerifyingKey> {
    use jsonwebtoken::jwk::PublicKeyUse;
    if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    let possible: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512],
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => &[Algorithm::ES256],
            EllipticCurve::P384 => &[Algorithm::ES384],
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
        _ => return None,
    };
    let declared = jwk.common.key_algorithm.map(|algorithm| algorithm.to_string());
    let algorithms: Vec<Algorithm> = possible
        .iter()
        .filter(|algorithm| {
            declared
                .as_ref()
                .is_none_or(|name| *name == format!("{algorithm:?}"))
        })
        .copied()
        .collect();
    let key = DecodingKey::from_jwk(jwk)
        .ok()
        .filter(|_| !algorithms.is_empty())?;
    Some(VerifyingKey {
        id: jwk.common.key_id.clone(),
        key,
        algorithms,
    })
}
