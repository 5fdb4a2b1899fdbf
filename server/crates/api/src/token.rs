//! Tokens: who holds one, and what it allows.
//!
//! Promises that a token is accepted only with an algorithm that its key is for, from the issuer and for the audience
//! of the settings, before its end on the one clock (T1). There is no leeway: who issues tokens for a clock that may be
//! behind says so with an earlier `nbf`. Does not know whether its user was removed: that is asked of the store, at each
//! request. Does not judge `iat`, which says when a token was made and gives no right.

mod claims;
mod keys;

use std::sync::Arc;

use jiff::Timestamp;
use jsonwebtoken::{Header, Validation, decode, decode_header};
use sha2::{Digest, Sha256};

use claims::Claims;
pub use keys::{InvalidKeys, KeySet};

use tenterhook_model::access::Caller;

/// The longest token that is looked at, in bytes: what common HTTP servers take as a header.
pub const LONGEST_TOKEN: usize = 8 * 1024;

/// Why a token is not accepted. The sentences are for whoever holds the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not signed with a key of ours, not for us, or not a token at all: one answer, so that nothing can be learned.
    #[error("The token is not valid.")]
    Invalid,
    /// Its end has been reached (T2).
    #[error("The token has expired.")]
    Expired,
    /// It is not valid yet.
    #[error("The token is not valid yet.")]
    Early,
    /// Signed by one of ours, but its claims name nobody.
    #[error("The token does not say who holds it.")]
    Nobody,
}

/// Which token it is, as far as it says: by its subject, else its own id (`jti`), else the id of its key. Hashed, since
/// what a token says has no length that it must keep to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenName([u8; 32]);

/// What a token says that is accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    /// Whoever holds it.
    pub caller: Caller,
    /// Which it is.
    pub name: TokenName,
    /// When it will no longer be accepted.
    pub expires_at: Timestamp,
}

impl TokenName {
    /// The name of the token that says this of itself.
    pub fn of(said: &str) -> Self {
        Self(Sha256::digest(said.as_bytes()).into())
    }
}

/// Judges tokens. Cheap to clone.
#[derive(Clone)]
pub struct Verifier {
    keys: Arc<KeySet>,
    issuer: String,
    audience: String,
}

impl Verifier {
    /// Accepts tokens of these keys, from `issuer`, for `audience`.
    pub fn new(keys: KeySet, issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            keys: Arc::new(keys),
            issuer: issuer.into(),
            audience: audience.into(),
        }
    }

    /// Who holds the token at `now`.
    pub async fn verify(&self, token: &str, now: Timestamp) -> Result<Verified, Refusal> {
        if token.len() > LONGEST_TOKEN {
            return Err(Refusal::Invalid);
        }
        let header: Header = decode_header(token).map_err(|_| Refusal::Invalid)?;
        // It says that the token must not be accepted by who does not know some extension, and we know none (RFC 7515,
        // 4.1.11). The library does not look.
        if header.crit.is_some() {
            return Err(Refusal::Invalid);
        }
        let key = self.keys.key_for(&header).await.ok_or(Refusal::Invalid)?;
        let mut validation = Validation::new(header.alg);
        validation.algorithms = key.algorithms.clone();
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        // The library reads a clock of its own; ours judges below.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let claims = decode::<Claims>(token, &key.key, &validation)
            .map_err(|_| Refusal::Invalid)?
            .claims;
        let now = now.as_microsecond() as f64 / 1e6;
        if claims.nbf.is_some_and(|nbf| now < nbf) {
            return Err(Refusal::Early);
        }
        // Written so that a number that compares to nothing is an end.
        let Some(exp) = claims.exp.filter(|exp| now < *exp) else {
            return Err(Refusal::Expired);
        };
        // Whole microseconds, of which a number of this size is sure; a later end than time has is its end.
        let expires_at = Timestamp::from_microsecond((exp * 1e6).ceil() as i64).unwrap_or(Timestamp::MAX);
        Ok(Verified {
            caller: claims.caller().ok_or(Refusal::Nobody)?,
            name: TokenName::of(claims.name().or(header.kid.as_deref()).unwrap_or_default()),
            expires_at,
        })
    }
}

#[cfg(test)]
mod tests;
