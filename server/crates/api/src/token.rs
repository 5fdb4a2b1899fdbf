//! Tokens: their holders and their rights.
//!
//! Guarantees: a token is accepted only with an algorithm that its key is for, from the issuer and for the audience
//! in the settings, and before it expires by our clock (T1). There is no leeway: an issuer whose clock may be ahead
//! of ours sets an earlier `nbf`.
//!
//! Whether the user was removed is not checked here: every request reads that from the store. `iat` is not checked,
//! because it only says when a token was made and gives no right.

mod claims;

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tenterhook_graphql_http::token;

use claims::Claims;
pub use tenterhook_graphql_http::token::{InvalidKeys, KeySet, LONGEST_TOKEN, Refusal};

use tenterhook_model::access::Caller;

/// Identifies a token: by its subject, otherwise its own id (`jti`), otherwise the id of its key. Hashed, because the
/// length of these claims is not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenName([u8; 32]);

/// The content of an accepted token.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    /// The holder of the token.
    pub caller: Caller,
    /// Which it is.
    pub name: TokenName,
    /// When the token expires.
    pub expires_at: Timestamp,
}

impl TokenName {
    /// The name made from this claim.
    pub fn of(said: &str) -> Self {
        Self(Sha256::digest(said.as_bytes()).into())
    }
}

/// Verifies tokens. Cheap to clone.
#[derive(Clone)]
pub struct Verifier(token::Verifier);

impl Verifier {
    /// Accepts tokens signed with these keys, from `issuer`, for `audience`.
    pub fn new(keys: KeySet, issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self(token::Verifier::new(keys, issuer, audience))
    }

    /// Verifies the token at `now` and returns its holder.
    pub async fn verify(&self, token: &str, now: Timestamp) -> Result<Verified, Refusal> {
        let token::Verified::<Claims> {
            claims,
            key_id,
            expires_at,
        } = self.0.verify(token, now).await?;
        Ok(Verified {
            caller: claims.caller().ok_or(Refusal::Nobody)?,
            name: TokenName::of(claims.name().or(key_id.as_deref()).unwrap_or_default()),
            expires_at,
        })
    }
}

#[cfg(test)]
mod tests;
