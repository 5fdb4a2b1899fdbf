//! Encryption of what webhooks keep secret (W11, E7): XChaCha20-Poly1305 under one operator's key.
//!
//! Promises that a sealed value opens only with its key, for its webhook and as its field: a value copied to
//! another row or column does not open. Sealing the same value twice gives different bytes. Does not promise
//! anything against whoever holds the key. Sealed bytes are
//!
//! ```text
//! format 1 (1 byte) │ key id (4 bytes) │ nonce (24 bytes) │ ciphertext and tag
//! ```
//!
//! The key id, a digest of the key, tells a value of another key from a damaged one, and lets a later release
//! hold several keys while it re-seals.

#[cfg(test)]
mod tests;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use chacha20poly1305::aead::{Aead, Generate, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretBox, SecretString};
use sha2::{Digest, Sha256};

use super::signing::SigningSecret;
use crate::model::ids::WebhookId;
use crate::model::webhook::Sealed;

const FORMAT: u8 = 1;
const KEY_LENGTH: usize = 32;
const KEY_ID_LENGTH: usize = 4;
const NONCE_LENGTH: usize = 24;

/// The key that seals. Comes from a file; never shown, never logged.
pub struct SealingKey(SecretBox<[u8; KEY_LENGTH]>);

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealingKey")
    }
}

/// Why a text is not a sealing key. Says nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// Neither form, or another length.
    #[error("a sealing key is 32 bytes in hexadecimal or base64")]
    Form,
    /// All bytes alike: a placeholder, not a key.
    #[error(
        "the sealing key is a placeholder: make one of 32 random bytes, such as with `openssl rand -hex 32`"
    )]
    Weak,
}

/// Why a sealed value does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Written by a later release.
    #[error("sealed in a format that this release does not know")]
    Format,
    /// Sealed under another key.
    #[error("sealed with another key")]
    OtherKey,
    /// Cut, changed, or taken from another webhook or field.
    #[error("sealed value is damaged or not this webhook's")]
    Damaged,
}

/// What a sealed value is. The number is part of what is authenticated and never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    /// User and password, sealed together.
    BasicAuth = 1,
    /// A signing secret, the current or the previous one: a rotation moves it unopened.
    SigningSecret = 2,
}

/// HTTP basic credentials (W11).
#[derive(Debug, Clone)]
pub struct BasicAuth {
    /// The user name: without a colon, see [`limits::auth_user`](super::limits::auth_user).
    pub user: String,
    /// The password, if one was given.
    pub password: Option<SecretString>,
}

impl BasicAuth {
    /// The value of the `authorization` header (RFC 7617, in UTF-8).
    pub fn header(&self) -> String {
        let password = self
            .password
            .as_ref()
            .map_or("", |password| password.expose_secret());
        let pair = Zeroizing::new(format!("{}:{password}", self.user));
        format!("Basic {}", BASE64_STANDARD.encode(pair.as_bytes()))
    }

    fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let password = self.password.as_ref().map(|password| password.expose_secret());
        Zeroizing::new(serde_json::to_vec(&(&self.user, password)).expect("two strings have a JSON form"))
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (user, password): (String, Option<String>) = serde_json::from_slice(bytes).ok()?;
        Some(Self {
            user,
            password: password.map(SecretString::from),
        })
    }
}

impl SealingKey {
    /// Reads a key file's content: 32 bytes in hexadecimal or base64, white space around it.
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        let text = text.trim();
        let bytes = Zeroizing::new(hex(text).or_else(|| base64(text)).ok_or(InvalidKey::Form)?);
        Self::from_bytes(bytes.as_slice().try_into().map_err(|_| InvalidKey::Form)?)
    }

    /// Takes 32 bytes as the key, unless they are all alike.
    pub fn from_bytes(bytes: [u8; KEY_LENGTH]) -> Result<Self, InvalidKey> {
        if bytes.iter().all(|byte| *byte == bytes[0]) {
            return Err(InvalidKey::Weak);
        }
        Ok(Self(SecretBox::new(Box::new(bytes))))
    }

    /// Seals a webhook's credentials.
    pub fn seal_auth(&self, webhook: WebhookId, auth: &BasicAuth) -> Sealed {
        self.seal(webhook, Field::BasicAuth, &auth.to_bytes())
    }

    /// Opens a webhook's credentials.
    pub fn open_auth(&self, webhook: WebhookId, sealed: &Sealed) -> Result<BasicAuth, OpenError> {
        BasicAuth::from_bytes(&self.open(webhook, Field::BasicAuth, sealed)?).ok_or(OpenError::Damaged)
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

    fn seal(&self, webhook: WebhookId, field: Field, plain: &[u8]) -> Sealed {
        let nonce = XNonce::generate();
        let ciphertext = self
            .cipher()
            .encrypt(
                &nonce,
                Payload {
                    msg: plain,
                    aad: &bound_to(webhook, field),
                },
            )
            .expect("encryption fails only beyond 256 GiB");
        Sealed([&[FORMAT][..], &self.id(), &nonce, &ciphertext].concat())
    }

    fn open(
        &self,
        webhook: WebhookId,
        field: Field,
        sealed: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (format, rest) = sealed.0.split_first().ok_or(OpenError::Damaged)?;
        if *format != FORMAT {
            return Err(OpenError::Format);
        }
        let (key_id, rest) = rest
            .split_first_chunk::<KEY_ID_LENGTH>()
            .ok_or(OpenError::Damaged)?;
        if *key_id != self.id() {
            return Err(OpenError::OtherKey);
        }
        let (nonce, ciphertext) = rest
            .split_first_chunk::<NONCE_LENGTH>()
            .ok_or(OpenError::Damaged)?;
        self.cipher()
            .decrypt(
                &XNonce::from(*nonce),
                Payload {
                    msg: ciphertext,
                    aad: &bound_to(webhook, field),
                },
            )
            .map(Zeroizing::new)
            .map_err(|_| OpenError::Damaged)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&Key::from(*self.0.expose_secret()))
    }

    fn id(&self) -> [u8; KEY_ID_LENGTH] {
        let digest = Sha256::new()
            .chain_update(b"tenterhook sealing key id")
            .chain_update(self.0.expose_secret());
        let digest: [u8; 32] = digest.finalize().into();
        [digest[0], digest[1], digest[2], digest[3]]
    }
}

/// What a sealed value is authenticated with, so that it opens nowhere else.
fn bound_to(webhook: WebhookId, field: Field) -> [u8; 17] {
    let mut bound = [field as u8; 17];
    bound[1..].copy_from_slice(webhook.0.as_bytes());
    bound
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()));
    let digits = Zeroizing::new(digits.collect::<Option<Vec<u8>>>()?);
    (digits.len() == 2 * KEY_LENGTH).then(|| digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

fn base64(text: &str) -> Option<Vec<u8>> {
    BASE64_STANDARD_NO_PAD.decode(text.trim_end_matches('=')).ok()
}
