mod attacks;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::*;

/// An Ed25519 key made for this test: the private key as PKCS #8 in PEM, and the public one as a JSON Web Key.
const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f
-----END PRIVATE KEY-----";
const PUBLIC: &str = "A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg";

fn now() -> Timestamp {
    "2026-11-23T10:00:00Z".parse().unwrap()
}

fn claims() -> Value {
    json!({
        "iss": "us", "aud": ["others", "them"], "exp": now().as_second() + 1, "company_id": "1", "sub": "7",
        "scope": "webhooks:read"
    })
}

fn ed25519(kid: Option<&str>) -> String {
    let header = Header {
        alg: jsonwebtoken::Algorithm::EdDSA,
        kid: kid.map(str::to_owned),
        ..Header::default()
    };
    encode(
        &header,
        &claims(),
        &EncodingKey::from_ed_pem(PRIVATE.as_bytes()).unwrap(),
    )
    .unwrap()
}

fn jwks(keys: &Value) -> Verifier {
    Verifier::new(
        KeySet::from_jwks(&json!({ "keys": keys }).to_string()).unwrap(),
        "us",
        "them",
    )
}

fn public(kid: &str) -> Value {
    json!({ "kty": "OKP", "crv": "Ed25519", "x": PUBLIC, "kid": kid, "use": "sig" })
}

#[tokio::test]
async fn a_public_key_verifies_tokens_that_name_it() {
    let verifier = jwks(&json!([public("one"), attacks::rsa_key("two")]));
    assert!(verifier.verify(&ed25519(Some("one")), now()).await.is_ok());
    assert_eq!(
        verifier.verify(&ed25519(Some("two")), now()).await,
        Err(Refusal::Invalid)
    );
    assert_eq!(
        verifier.verify(&ed25519(Some("three")), now()).await,
        Err(Refusal::Invalid)
    );
    assert_eq!(
        verifier.verify(&ed25519(None), now()).await,
        Err(Refusal::Invalid)
    );
    assert!(
        jwks(&json!([public("one")]))
            .verify(&ed25519(None), now())
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_public_key_is_not_accepted_as_a_shared_secret() {
    let verifier = jwks(&json!([public("one")]));
    for algorithm in ["HS256", "none"] {
        let header = json!({ "alg": algorithm, "typ": "JWT", "kid": "one" });
        let forged = forged(&header, PUBLIC.as_bytes());
        assert_eq!(verifier.verify(&forged, now()).await, Err(Refusal::Invalid));
    }
}

/// A token with this header, signed with HMAC-SHA256 whatever the header says.
fn forged(header: &Value, key: &[u8]) -> String {
    sealed(&header.to_string(), claims().to_string(), key)
}

/// A token of these two parts, well-formed or not, signed with HMAC-SHA256.
fn sealed(header: &str, payload: impl AsRef<[u8]>, key: &[u8]) -> String {
    use hmac::{Hmac, KeyInit, Mac};
    let signed = format!("{}.{}", BASE64.encode(header), BASE64.encode(payload));
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(signed.as_bytes());
    format!("{signed}.{}", BASE64.encode(mac.finalize().into_bytes()))
}

#[test]
fn a_set_without_usable_keys_is_refused() {
    for keys in [
        json!([]),
        json!([{ "kty": "oct", "k": "c2VjcmV0", "kid": "one" }]),
        json!([{ "kty": "OKP", "crv": "Ed25519", "x": PUBLIC, "use": "enc" }]),
        json!([{ "kty": "OKP", "crv": "Ed25519", "x": PUBLIC, "alg": "RS256" }]),
    ] {
        let set = KeySet::from_jwks(&json!({ "keys": keys }).to_string());
        assert!(matches!(set, Err(InvalidKeys::NoneUsable)), "{keys}");
    }
    assert!(matches!(KeySet::from_jwks("{}"), Err(InvalidKeys::NotASet(_))));
}

#[tokio::test]
async fn a_secret_verifies_only_hs256_until_just_before_exp() {
    let secret = "a secret of thirty-two bytes or more";
    let verifier = Verifier::new(KeySet::shared_secret(&secret.into()), "us", "them");
    let token = forged(&json!({ "alg": "HS256" }), secret.as_bytes());
    let end = now() + jiff::SignedDuration::from_secs(1);
    assert!(
        verifier
            .verify(&token, end - jiff::SignedDuration::from_micros(1))
            .await
            .is_ok()
    );
    assert_eq!(verifier.verify(&token, end).await, Err(Refusal::Expired));
    for algorithm in ["HS384", "HS512", "none", "EdDSA", "RS256"] {
        let token = forged(&json!({ "alg": algorithm }), secret.as_bytes());
        assert_eq!(
            verifier.verify(&token, now()).await,
            Err(Refusal::Invalid),
            "{algorithm}"
        );
    }
    let other = Verifier::new(KeySet::shared_secret(&secret.into()), "us", "somebody");
    assert_eq!(other.verify(&token, now()).await, Err(Refusal::Invalid));
}
