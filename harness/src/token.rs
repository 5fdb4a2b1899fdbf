//! Access tokens: JWTs that a caller sends, signed here with HMAC-SHA256 and without a JWT library.
//!
//! A token is compact and has exactly the claims that the API documents, in a fixed order. Tokens are not checked here:
//! how the server checks them is what tests judge.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use sha2::Sha256;

/// Lifetime of the harness's tokens: longer than any scenario.
const LIFETIME: SignedDuration = SignedDuration::from_hours(365 * 24);

/// The key that signs tokens, and the issuer and audience that the server expects.
#[derive(Debug, Clone)]
pub struct TokenKey {
    /// The shared HS256 secret.
    pub secret: String,
    /// `iss`.
    pub issuer: String,
    /// `aud`.
    pub audience: String,
}

/// The claims of a token about its holder. Absent claims are left out.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Claims {
    /// The user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// The user's company.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub company_id: Option<String>,
    /// `regular` or `admin`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    /// The app through which the user acts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_id: Option<String>,
    /// Space-separated scopes.
    pub scope: String,
}

#[derive(Serialize)]
struct Envelope<'a> {
    #[serde(flatten)]
    claims: &'a Claims,
    iss: &'a str,
    aud: &'a str,
    iat: i64,
    exp: i64,
}

impl Claims {
    /// A user token, of the web app or of a personal API token.
    pub fn user(company: u64, user: u64, role: &'static str) -> Self {
        Self {
            sub: Some(user.to_string()),
            company_id: Some(company.to_string()),
            role: Some(role),
            scope: "webhooks:read webhooks:write".to_owned(),
            ..Self::default()
        }
    }

    /// The same user through an app, with the scope `admin` alone, which is enough there (W2).
    pub fn through_app(self, app: &str) -> Self {
        Self {
            app_id: Some(app.to_owned()),
            scope: "admin".to_owned(),
            ..self
        }
    }

    /// A token without a user: `platform` or `operator`.
    pub fn of_scope(scope: &str) -> Self {
        Self {
            scope: scope.to_owned(),
            ..Self::default()
        }
    }

    /// The same claims with other scopes.
    pub fn with_scope(self, scope: &str) -> Self {
        Self {
            scope: scope.to_owned(),
            ..self
        }
    }
}

impl TokenKey {
    /// A token with `claims`, valid for a year from `now`.
    pub fn sign(&self, claims: &Claims, now: Timestamp) -> String {
        self.sign_until(
            claims,
            now,
            now.saturating_add(LIFETIME).unwrap_or(Timestamp::MAX),
        )
    }

    /// A token with `claims` that expires at `expiry`.
    pub fn sign_until(&self, claims: &Claims, now: Timestamp, expiry: Timestamp) -> String {
        let envelope = Envelope {
            claims,
            iss: &self.issuer,
            aud: &self.audience,
            iat: now.as_second(),
            exp: expiry.as_second(),
        };
        let payload = serde_json::to_vec(&envelope).expect("strings and numbers are always JSON");
        self.seal(r#"{"alg":"HS256","typ":"JWT"}"#, payload)
    }

    /// Signs any header and payload with HMAC-SHA256: for tokens that nobody should issue.
    pub fn seal(&self, header: &str, payload: impl AsRef<[u8]>) -> String {
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(payload)
        );
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.secret.as_bytes()).expect("HMAC takes a key of any length");
        mac.update(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7515 appendix A.1, with its key and signing input, proves MAC and encoding.
    #[test]
    fn hs256_signatures_match_rfc_7515() {
        let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        let input = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
                     eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let mut mac = Hmac::<Sha256>::new_from_slice(&URL_SAFE_NO_PAD.decode(key).unwrap()).unwrap();
        mac.update(input.as_bytes());
        assert_eq!(
            URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()),
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
        );
    }

    #[test]
    fn an_app_token_has_its_app_and_no_unset_claims() {
        let key = TokenKey {
            secret: "s".to_owned(),
            issuer: "i".to_owned(),
            audience: "a".to_owned(),
        };
        let token = key.sign(
            &Claims::user(1, 7, "regular").through_app("crm"),
            Timestamp::UNIX_EPOCH,
        );
        let payload = token.split('.').nth(1).unwrap();
        let claims = String::from_utf8(URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
        assert_eq!(
            claims,
            r#"{"sub":"7","company_id":"1","role":"regular","app_id":"crm","scope":"admin","iss":"i","aud":"a","iat":0,"exp":31536000}"#
        );
    }
}
