//! Verifies JSON Web Tokens.
//!
//! Guarantees: a token is accepted only with an algorithm that its key is for, from the issuer and for the audience
//! that the verifier was made for, and before it expires by the caller's clock. There is no leeway: an issuer whose
//! clock may be ahead of ours sets an earlier `nbf`.
//!
//! `iat` is not checked, because it only says when a token was made and gives no right.

mod keys;

use std::sync::Arc;

use jiff::Timestamp;
use jsonwebtoken::{Header, Validation, decode, decode_header};
use serde::de::DeserializeOwned;

pub use keys::{InvalidKeys, KeySet};

/// Maximum length of a token in bytes: the size of a header that common HTTP servers accept.
pub const LONGEST_TOKEN: usize = 8 * 1024;

/// Why a token is refused. The messages are for the holder of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not signed with one of our keys, not for us, or not a token: one message, so that it reveals nothing.
    #[error("The token is not valid.")]
    Invalid,
    /// It has expired.
    #[error("The token has expired.")]
    Expired,
    /// It is not valid yet.
    #[error("The token is not valid yet.")]
    Early,
    /// The signature is valid, but the claims do not identify a caller.
    #[error("The token does not identify its holder.")]
    Nobody,
}

/// The claims of a token. The issuer and the audience are checked with the signature. They must be there; whether `iss`
/// may be a list is for the app to refuse.
pub trait Claims: DeserializeOwned {
    /// `nbf`, in seconds since 1970.
    fn not_before(&self) -> Option<f64>;

    /// `exp`, in seconds since 1970.
    fn expires_at(&self) -> Option<f64>;
}

/// An accepted token.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified<C> {
    /// The claims, read as the type of the app.
    pub claims: C,
    /// The id of its key, if its header has one.
    pub key_id: Option<String>,
    /// When it expires.
    pub expires_at: Timestamp,
}

/// Verifies tokens. Cheap to clone.
#[derive(Clone)]
pub struct Verifier {
    keys: Arc<KeySet>,
    issuer: String,
    audience: String,
}

impl Verifier {
    /// Accepts tokens signed with these keys, from `issuer`, for `audience`.
    pub fn new(keys: KeySet, issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            keys: Arc::new(keys),
            issuer: issuer.into(),
            audience: audience.into(),
        }
    }

    /// Verifies the token at `now`, and returns its claims.
    ///
    /// # Errors
    ///
    /// Why it is refused; never [`Refusal::Nobody`], which is for the app.
    pub async fn verify<C: Claims>(&self, token: &str, now: Timestamp) -> Result<Verified<C>, Refusal> {
        if token.len() > LONGEST_TOKEN {
            return Err(Refusal::Invalid);
        }
        let header: Header = decode_header(token).map_err(|_| Refusal::Invalid)?;
        // `crit` means that the token must be refused by a server that does not support the listed extensions, and we
        // support none (RFC 7515, 4.1.11). The library does not check it.
        if header.crit.is_some() {
            return Err(Refusal::Invalid);
        }
        let key = self.keys.key_for(&header).await.ok_or(Refusal::Invalid)?;
        let mut validation = Validation::new(header.alg);
        validation.algorithms = key.algorithms.clone();
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        // The library uses a clock of its own; ours decides below.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let claims = decode::<C>(token, &key.key, &validation)
            .map_err(|_| Refusal::Invalid)?
            .claims;
        let now = now.as_microsecond() as f64 / 1e6;
        if claims.not_before().is_some_and(|nbf| now < nbf) {
            return Err(Refusal::Early);
        }
        // Written so that NaN counts as expired.
        let Some(exp) = claims.expires_at().filter(|exp| now < *exp) else {
            return Err(Refusal::Expired);
        };
        // A double of this size is exact to whole microseconds. An expiry after the last possible time becomes that
        // time.
        let expires_at = Timestamp::from_microsecond((exp * 1e6).ceil() as i64).unwrap_or(Timestamp::MAX);
        Ok(Verified {
            claims,
            key_id: header.kid,
            expires_at,
        })
    }
}

#[cfg(test)]
mod tests;
