//! One sealing key: its text form, the check for weak keys, and the cipher.

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use chacha20poly1305::aead::{Aead, Generate, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretBox};
use sha2::{Digest, Sha256};

use super::{FORMAT, KeyId, OpenError, PREFIX_LENGTH};
use tenterhook_model::webhook::Sealed;
use tenterhook_settings::strength::{is_pattern, variety};

pub(super) const KEY_LENGTH: usize = 32;
const NONCE_LENGTH: usize = 24;
const MAC_LENGTH: usize = 32;
/// The fewest different bytes of a key. Of random keys one in 2⁵⁰ has fewer.
pub(super) const LEAST_VARIETY: usize = 16;

/// A key that seals and opens. Never shown, never logged.
pub(super) struct SealingKey(SecretBox<[u8; KEY_LENGTH]>);

/// Why a text is not a list of sealing keys. The error does not contain the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// No key in it.
    #[error("no sealing key is set")]
    None,
    /// More than a rotation ever needs.
    #[error("more than {} sealing keys", super::MOST_KEYS)]
    TooMany,
    /// Neither hexadecimal nor base64, or another length.
    #[error("a sealing key is 32 bytes in hexadecimal or base64")]
    Form,
    /// A placeholder, a pattern, or typed text instead of a random key.
    #[error(
        "the sealing key can be guessed: make one of 32 random bytes, such as with `openssl rand -hex 32`"
    )]
    Weak,
    /// Two keys with the same id: nearly always the same key.
    #[error("a sealing key is listed twice")]
    Twice,
}

impl SealingKey {
    /// Reads 32 bytes in hexadecimal or base64.
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        let bytes = Zeroizing::new(hex(text).or_else(|| base64(text)).ok_or(InvalidKey::Form)?);
        let bytes: [u8; KEY_LENGTH] = bytes.as_slice().try_into().map_err(|_| InvalidKey::Form)?;
        if is_weak(&bytes) {
            return Err(InvalidKey::Weak);
        }
        Ok(Self::of(bytes))
    }

    pub fn of(bytes: [u8; KEY_LENGTH]) -> Self {
        Self(SecretBox::new(Box::new(bytes)))
    }

    pub fn id(&self) -> KeyId {
        let digest = Sha256::new()
            .chain_update(b"tenterhook sealing key id")
            .chain_update(self.0.expose_secret());
        let digest: [u8; 32] = digest.finalize().into();
        KeyId([digest[0], digest[1], digest[2], digest[3]])
    }

    pub fn seal(&self, plain: &[u8], bound_to: &[u8]) -> Sealed {
        let nonce = XNonce::generate();
        let payload = Payload {
            msg: plain,
            aad: bound_to,
        };
        let ciphertext = self.cipher().encrypt(&nonce, payload);
        let ciphertext = ciphertext.expect("encryption fails only beyond 256 GiB");
        Sealed([&self.id().prefix()[..], &nonce, &ciphertext].concat())
    }

    /// Opens a value that is sealed under this key, according to [`key_of`](super::key_of).
    pub fn open(&self, sealed: &Sealed, bound_to: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let rest = sealed.0.get(PREFIX_LENGTH..).ok_or(OpenError::Damaged)?;
        let (nonce, ciphertext) = rest
            .split_first_chunk::<NONCE_LENGTH>()
            .ok_or(OpenError::Damaged)?;
        let payload = Payload {
            msg: ciphertext,
            aad: bound_to,
        };
        let plain = self.cipher().decrypt(&XNonce::from(*nonce), payload);
        plain.map(Zeroizing::new).map_err(|_| OpenError::Damaged)
    }

    /// HMAC-SHA256 under a key derived from this one. The key itself is used only for the cipher.
    pub fn mac(&self, value: &[u8]) -> [u8; MAC_LENGTH] {
        let derived = Sha256::new()
            .chain_update(b"tenterhook fingerprint key")
            .chain_update(self.0.expose_secret());
        let derived = Zeroizing::new(<[u8; MAC_LENGTH]>::from(derived.finalize()));
        let mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(&derived[..]);
        let mut mac = mac.expect("HMAC takes a key of any length");
        mac.update(value);
        mac.finalize().into_bytes().into()
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&Key::from(*self.0.expose_secret()))
    }
}

impl KeyId {
    pub(super) fn prefix(self) -> [u8; PREFIX_LENGTH] {
        let [a, b, c, d] = self.0;
        [FORMAT, a, b, c, d]
    }
}

/// Typed text is nearly always printable when it is read as bytes; of random keys one in 2⁴⁵ is.
fn is_weak(bytes: &[u8; KEY_LENGTH]) -> bool {
    let typed = bytes.iter().all(|byte| (b' '..=b'~').contains(byte));
    typed || variety(bytes) < LEAST_VARIETY || is_pattern(bytes)
}

pub(super) fn hex(text: &str) -> Option<Vec<u8>> {
    let digits = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()));
    let digits = Zeroizing::new(digits.collect::<Option<Vec<u8>>>()?);
    (digits.len() == 2 * KEY_LENGTH).then(|| digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

fn base64(text: &str) -> Option<Vec<u8>> {
    BASE64_STANDARD_NO_PAD.decode(text.trim_end_matches('=')).ok()
}
