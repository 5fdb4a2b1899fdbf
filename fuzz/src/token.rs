//! The verification of tokens, with arbitrary claims, signed and unsigned.
//!
//! Properties: Nothing panics. A token without a valid signature is refused. A token signed with our secret is accepted
//! only if header and claims, read by a second reader, allow it. A token that is signed with a public key as HMAC
//! secret never verifies against that key.

use std::sync::LazyLock;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures_util::FutureExt;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde_json::Value;
use sha2::Sha256;
use tenterhook_api::token::{KeySet, Verifier};
use tenterhook_model::access::{Caller, UserRole};

use super::fields::fields;

const NOW: i64 = 1_795_428_000;
const SECRET: &[u8] = b"a secret of thirty-two bytes or more";
/// The public key of RFC 8037, appendix A.
const PUBLIC: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

static SHARED: LazyLock<Verifier> = LazyLock::new(|| {
    let secret = String::from_utf8_lossy(SECRET).into_owned();
    Verifier::new(KeySet::shared_secret(&secret.into()), "issuer", "audience")
});
static PUBLISHED: LazyLock<Verifier> = LazyLock::new(|| {
    let set = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","x":"{PUBLIC}"}}]}}"#);
    Verifier::new(KeySet::from_jwks(&set).expect("a key set"), "issuer", "audience")
});

/// Uses the bytes as a token, and then as header and claims with a newline between them.
pub fn check(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        assert!(
            verify(&SHARED, text).is_none() || text == signed_by_us(text),
            "nobody signed it"
        );
        assert!(verify(&PUBLISHED, text).is_none(), "nobody signed it");
    }
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let (Some(header), Some(claims)) = (parts.next(), parts.next()) else {
        return;
    };
    if let Some(caller) = verify(&SHARED, &token(header, claims, SECRET)) {
        justified(header, claims, &caller);
    }
    for key in [
        PUBLIC.as_bytes(),
        &BASE64_URL_SAFE_NO_PAD.decode(PUBLIC).expect("base64"),
    ] {
        assert!(
            verify(&PUBLISHED, &token(header, claims, key)).is_none(),
            "a public key as a secret"
        );
    }
}

/// Verifies a token without waiting: the keys are already there.
fn verify(verifier: &Verifier, token: &str) -> Option<Caller> {
    let now = Timestamp::from_second(NOW).expect("a moment");
    verifier
        .verify(token, now)
        .now_or_never()
        .expect("nothing to wait for")
        .ok()
        .map(|verified| verified.caller)
}

fn token(header: &[u8], claims: &[u8], key: &[u8]) -> String {
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let message = format!("{}.{}", encode(header), encode(claims));
    let mut mac = <Hmac<Sha256>>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(message.as_bytes());
    format!("{message}.{}", encode(&mac.finalize().into_bytes()))
}

/// A token with the header and claims of this one and our signature. A corpus may contain such a token.
fn signed_by_us(text: &str) -> String {
    let mut parts = text
        .split('.')
        .map(|part| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap_or_default());
    let (header, claims) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    token(&header, &claims, SECRET)
}

/// An object's fields as plain JSON. Fields that do not parse are left out, because nothing uses them.
fn read(json: &[u8]) -> Value {
    let text = String::from_utf8_lossy(json);
    let fields = fields(&text).expect("what is accepted is a JSON object");
    let fields = fields
        .into_iter()
        .filter_map(|(key, value)| Some((key, serde_json::from_str(value).ok()?)));
    Value::Object(fields.collect())
}

/// An independent check: the claims read as plain JSON.
fn justified(header: &[u8], claims: &[u8], caller: &Caller) {
    let header = read(header);
    assert_eq!(header["alg"], "HS256");
    assert!(header["crit"].is_null());
    let claims = read(claims);
    assert_eq!(claims["iss"], "issuer");
    let for_us = |audience: &Value| audience == "audience";
    let audience = &claims["aud"];
    assert!(for_us(audience) || audience.as_array().is_some_and(|all| all.iter().any(for_us)));
    assert!(claims["exp"].as_f64().is_some_and(|end| end > NOW as f64));
    assert!(claims["nbf"].is_null() || claims["nbf"].as_f64().is_some_and(|begin| begin <= NOW as f64));
    let scopes: Vec<&str> = claims["scope"].as_str().unwrap_or_default().split(' ').collect();
    let has = |scope| scopes.contains(&scope);
    // A token that names an app acts through it, whatever scopes it has (W2).
    let of_app = claims["app_id"].is_string();
    match caller {
        Caller::Operator => assert!(has("operator") && !of_app),
        Caller::Platform => assert!(has("platform") && !has("operator") && !of_app),
        Caller::User(user) => {
            assert!(of_app || (!has("operator") && !has("platform")));
            let says = |name: &str, id: i64| {
                let text = id.to_string();
                claims[name] == text || claims[name] == id
            };
            assert!(says("company_id", user.company.get()) && says("sub", user.user.get()));
            assert_eq!(user.role == UserRole::Admin, claims["role"] == "admin");
            assert_eq!(
                user.app.as_ref().map(|app| app.as_str()),
                claims["app_id"].as_str()
            );
            assert_eq!(
                (user.may_read, user.may_write, user.has_admin_scope),
                (has("webhooks:read"), has("webhooks:write"), has("admin"))
            );
        }
    }
}
