//! The secrets of a webhook in plain form: what signs its requests, and what a receiver asks for.
//!
//! `Debug` output never contains them. `tenterhook_policy::sealing` encrypts them for the database.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretSlice, SecretString};

/// The prefix of every secret's text form.
const PREFIX: &str = "whsec_";
/// The lengths in bytes that the specification allows.
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;
/// Length in bytes of generated secrets.
const NEW_LENGTH: usize = 32;
/// HTTP basic credentials (W11).
#[derive(Debug, Clone)]
pub struct BasicAuth {
    /// The user name, without a colon; `tenterhook_policy::input_limits::auth_user` checks it.
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
}

/// A webhook's signing secret.
#[derive(Debug, Clone)]
pub struct SigningSecret(SecretSlice<u8>);

/// The text is not a signing secret. The error does not contain the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a signing secret is \"whsec_\" and 24 to 64 bytes in base64")]
pub struct InvalidSecret;

impl SigningSecret {
    /// A new secret of 32 random bytes.
    pub fn generate() -> Self {
        Self(SecretSlice::from(rand::random::<[u8; NEW_LENGTH]>().to_vec()))
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Result<Self, InvalidSecret> {
        let encoded = text.strip_prefix(PREFIX).ok_or(InvalidSecret)?;
        Self::from_bytes(BASE64_STANDARD.decode(encoded).map_err(|_| InvalidSecret)?)
    }

    /// A secret of these bytes.
    ///
    /// # Errors
    ///
    /// If there are fewer than 24 or more than 64.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, InvalidSecret> {
        let secret = Self(SecretSlice::from(bytes));
        if LENGTHS.contains(&secret.bytes().len()) {
            Ok(secret)
        } else {
            Err(InvalidSecret)
        }
    }

    /// The bytes that sign.
    pub fn bytes(&self) -> &[u8] {
        self.0.expose_secret()
    }

    /// The text form. It is shown only once.
    pub fn reveal(&self) -> SecretString {
        let encoded = Zeroizing::new(BASE64_STANDARD.encode(self.bytes()));
        SecretString::from(format!("{PREFIX}{}", *encoded))
    }
}
