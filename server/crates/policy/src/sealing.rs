//! Encryption of the secrets of webhooks (W11, E7): XChaCha20-Poly1305 under the operator's keys.
//!
//! Guarantees: a sealed value opens only with its key, for its webhook and as its field. A value that was copied to another
//! row or column does not open. Sealing the same value twice gives different bytes. It does not protect against somebody who
//! has the keys. Sealed bytes are
//!
//! ```text
//! format 1 (1 byte) │ key id (4 bytes) │ nonce (24 bytes) │ ciphertext and tag
//! ```
//!
//! The key id, a digest of the key, says which key opens a value, so that a keyring can hold several: the first one seals,
//! all of them open. To replace a key, put the new one first and the old one after it, reseal the values under the old one
//! (`tenterhook reseal`), and remove the old one.

mod credentials;
mod key;
#[cfg(test)]
mod tests;

use std::fmt;

use secrecy::zeroize::Zeroizing;
use subtle::ConstantTimeEq;

pub use self::key::InvalidKey;
use self::key::SealingKey;
use tenterhook_model::ids::WebhookId;
pub use tenterhook_model::secret::BasicAuth;
use tenterhook_model::secret::SigningSecret;
use tenterhook_model::webhook::Sealed;

const FORMAT: u8 = 1;
/// The number of bytes at the start of a sealed value that say how to open it: the format and the key's id.
pub const PREFIX_LENGTH: usize = 5;
/// The maximum number of keys. A rotation needs two.
pub(crate) const MOST_KEYS: usize = 8;

/// The keys that stored secrets are sealed with. Never shown, never logged.
pub struct Keyring {
    /// Not empty; the first seals.
    keys: Vec<(KeyId, SealingKey)>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

/// Which key a value was sealed with: four bytes of the key's digest, which do not reveal the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId([u8; 4]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

/// Why a sealed value does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Written by a later release.
    #[error("sealed in a format that this release does not know")]
    Format,
    /// Sealed under a key that is not in the keyring.
    #[error("sealed with another key: {0}")]
    OtherKey(KeyId),
    /// Truncated, changed, or copied from another webhook or field.
    #[error("the sealed value is damaged or belongs to another webhook")]
    Damaged,
}

/// The kind of a sealed value. The number is authenticated with it, so its meaning never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// User and password, sealed together.
    BasicAuth = 1,
    /// A signing secret, the current or the previous one: a rotation moves it without opening it.
    SigningSecret = 2,
}

/// The key that a value was sealed with, from its first bytes.
pub fn key_of(sealed: &[u8]) -> Result<KeyId, OpenError> {
    match sealed {
        [FORMAT, a, b, c, d, ..] => Ok(KeyId([*a, *b, *c, *d])),
        [] | [FORMAT, ..] => Err(OpenError::Damaged),
        _ => Err(OpenError::Format),
    }
}

impl Keyring {
    /// Reads the keys: each is 32 bytes in hexadecimal or base64, separated by white space or commas.
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        let texts = text.split(|c: char| c.is_whitespace() || c == ',');
        let mut keys: Vec<(KeyId, SealingKey)> = Vec::new();
        for text in texts.filter(|text| !text.is_empty()) {
            let key = SealingKey::parse(text)?;
            let id = key.id();
            if keys.iter().any(|(other, _)| *other == id) {
                return Err(InvalidKey::Twice);
            }
            if keys.len() == MOST_KEYS {
                return Err(InvalidKey::TooMany);
            }
            keys.push((id, key));
        }
        if keys.is_empty() {
            Err(InvalidKey::None)
        } else {
            Ok(Self { keys })
        }
    }

    /// The ids of the keys; the first seals.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> {
        self.keys.iter().map(|(id, _)| *id)
    }

    /// The first bytes of everything that is sealed from now on.
    pub fn prefix(&self) -> [u8; PREFIX_LENGTH] {
        self.sealing().0.prefix()
    }

    /// Seals a webhook's credentials.
    pub fn seal_auth(&self, webhook: WebhookId, auth: &BasicAuth) -> Sealed {
        self.seal(webhook, Field::BasicAuth, &credentials::to_bytes(auth))
    }

    /// Opens a webhook's credentials.
    pub fn open_auth(&self, webhook: WebhookId, sealed: &Sealed) -> Result<BasicAuth, OpenError> {
        credentials::from_bytes(&self.open(webhook, Field::BasicAuth, sealed)?).ok_or(OpenError::Damaged)
    }

    /// Seals a webhook's signing secret.
    pub fn seal_secret(&self, webhook: WebhookId, secret: &SigningSecret) -> Sealed {
        self.seal(webhook, Field::SigningSecret, secret.bytes())
    }

    /// Opens a webhook's signing secret.
    pub fn open_secret(&self, webhook: WebhookId, sealed: &Sealed) -> Result<SigningSecret, OpenError> {
        let bytes = self.open(webhook, Field::SigningSecret, sealed)?;
        SigningSecret::from_bytes(bytes.to_vec()).map_err(|_| OpenError::Damaged)
    }

    /// An HMAC under the first key, to check later whether a value is the same without storing the value. Without the key it
    /// reveals nothing about the value.
    pub fn fingerprint(&self, value: &[u8]) -> Vec<u8> {
        let (id, key) = self.sealing();
        [&id.prefix()[..], &key.mac(value)].concat()
    }

    /// Whether a fingerprint was made from this value.
    pub fn is_of(&self, fingerprint: &[u8], value: &[u8]) -> Result<bool, OpenError> {
        let mac = fingerprint.get(PREFIX_LENGTH..).ok_or(OpenError::Damaged)?;
        let expected = self.key_of(fingerprint)?.mac(value);
        Ok(expected[..].ct_eq(mac).into())
    }

    /// The value resealed under the first key; `None` if it is already sealed under that key.
    pub fn reseal(
        &self,
        webhook: WebhookId,
        field: Field,
        sealed: &Sealed,
    ) -> Result<Option<Sealed>, OpenError> {
        if key_of(&sealed.0)? == self.sealing().0 {
            return Ok(None);
        }
        let plain = self.open(webhook, field, sealed)?;
        Ok(Some(self.seal(webhook, field, &plain)))
    }

    fn sealing(&self) -> &(KeyId, SealingKey) {
        &self.keys[0]
    }

    fn seal(&self, webhook: WebhookId, field: Field, plain: &[u8]) -> Sealed {
        self.sealing().1.seal(plain, &bound_to(webhook, field))
    }

    fn open(
        &self,
        webhook: WebhookId,
        field: Field,
        sealed: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        self.key_of(&sealed.0)?.open(sealed, &bound_to(webhook, field))
    }

    fn key_of(&self, sealed: &[u8]) -> Result<&SealingKey, OpenError> {
        let id = key_of(sealed)?;
        let key = self.keys.iter().find(|(known, _)| *known == id);
        key.map(|(_, key)| key).ok_or(OpenError::OtherKey(id))
    }
}

/// The data that a sealed value is authenticated with, so that it opens nowhere else.
fn bound_to(webhook: WebhookId, field: Field) -> [u8; 17] {
    let mut bound = [field as u8; 17];
    bound[1..].copy_from_slice(webhook.0.as_bytes());
    bound
}
