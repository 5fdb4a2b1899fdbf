//! Parses a JSON Web Key Set into keys that may verify a token.
//!
//! A key verifies only the algorithms it is for. Keys that are weak or not public keys for signatures are ignored. A
//! shared secret in a published set is never used, whoever published it.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse, RSAKeyParameters};
use jsonwebtoken::{Algorithm, DecodingKey};

use super::{InvalidKeys, VerifyingKey};
use crate::without_mark::without_mark;

/// Minimum size of an RSA modulus in bits (RFC 7518).
pub const SHORTEST_RSA_BITS: usize = 2048;
/// Maximum size of an RSA modulus in bits: the library's limit, which also bounds the cost of a signature.
pub const LONGEST_RSA_BITS: usize = 4096;

/// The usable keys of a set.
pub fn read(json: &[u8]) -> Result<Vec<VerifyingKey>, InvalidKeys> {
    let set: JwkSet = serde_json::from_slice(without_mark(json))?;
    let keys: Vec<VerifyingKey> = set.keys.iter().filter_map(usable).collect();
    if keys.is_empty() {
        Err(InvalidKeys::NoneUsable)
    } else {
        Ok(keys)
    }
}

fn usable(jwk: &Jwk) -> Option<VerifyingKey> {
    if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    let possible: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(key) if is_strong(key) => {
            &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512]
        }
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

/// An exponent of 1 would make every message its own signature.
fn is_strong(key: &RSAKeyParameters) -> bool {
    let modulus = bits(&key.n);
    let strong = modulus.is_some_and(|bits| (SHORTEST_RSA_BITS..=LONGEST_RSA_BITS).contains(&bits));
    strong && bits(&key.e).is_some_and(|bits| bits > 1)
}

/// Number of bits of a number in Base64url.
fn bits(number: &str) -> Option<usize> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(number).ok()?;
    let leading = bytes.iter().position(|byte| *byte != 0)?;
    Some((bytes.len() - leading) * 8 - bytes[leading].leading_zeros() as usize)
}
