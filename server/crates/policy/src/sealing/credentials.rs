//! HTTP basic authentication of a webhook: its sealed form, and its header.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

/// HTTP basic credentials (W11).
#[derive(Debug, Clone)]
pub struct BasicAuth {
    /// The user name, without a colon; see [`limits::auth_user`](crate::limits::auth_user).
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

    pub(super) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let password = self.password.as_ref().map(|password| password.expose_secret());
        Zeroizing::new(serde_json::to_vec(&(&self.user, password)).expect("two strings have a JSON form"))
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (user, password): (String, Option<String>) = serde_json::from_slice(bytes).ok()?;
        Some(Self {
            user,
            password: password.map(SecretString::from),
        })
    }
}
