use jsonwebtoken::{EncodingKey, encode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::*;

const SECRET: &str = "a secret of thirty-two bytes or more";

#[derive(Debug, PartialEq, Deserialize)]
struct AppClaims {
    sub: String,
    exp: Option<f64>,
    nbf: Option<f64>,
}

impl Claims for AppClaims {
    fn not_before(&self) -> Option<f64> {
        self.nbf
    }

    fn expires_at(&self) -> Option<f64> {
        self.exp
    }
}

fn now() -> Timestamp {
    "2026-11-23T10:00:00Z".parse().unwrap()
}

/// A token with these claims in addition to those that every token has.
fn token(more: Value) -> String {
    let mut claims = json!({ "iss": "us", "aud": "them", "sub": "ann", "exp": now().as_second() + 1 });
    claims
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let header = Header {
        kid: Some("one".to_owned()),
        ..Header::default()
    };
    encode(&header, &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

async fn verdict(token: &str) -> Result<Verified<AppClaims>, Refusal> {
    let keys = KeySet::shared_secret(&SECRET.into());
    Verifier::new(keys, "us", "them").verify(token, now()).await
}

#[tokio::test]
async fn the_claims_the_key_and_the_expiry_of_a_valid_token_are_returned() {
    let verified = verdict(&token(json!({}))).await.unwrap();
    assert_eq!(verified.claims.sub, "ann");
    assert_eq!(verified.key_id.as_deref(), Some("one"));
    assert_eq!(verified.expires_at.as_second(), now().as_second() + 1);
}

#[tokio::test]
async fn a_token_is_valid_from_nbf_until_just_before_exp() {
    let second = now().as_second();
    for (claims, expected) in [
        (json!({ "exp": second }), Some(Refusal::Expired)),
        (json!({ "exp": second as f64 + 0.001 }), None),
        (json!({ "nbf": second + 1 }), Some(Refusal::Early)),
        (json!({ "nbf": second }), None),
    ] {
        assert_eq!(verdict(&token(claims.clone())).await.err(), expected, "{claims}");
    }
}

#[tokio::test]
async fn a_token_of_another_issuer_or_audience_is_refused() {
    for claims in [json!({ "aud": "others" }), json!({ "iss": "others" })] {
        assert_eq!(
            verdict(&token(claims.clone())).await.err(),
            Some(Refusal::Invalid),
            "{claims}"
        );
    }
    let long = "a".repeat(LONGEST_TOKEN + 1);
    for text in ["", "a.b.c", &long] {
        assert_eq!(verdict(text).await.err(), Some(Refusal::Invalid));
    }
}
