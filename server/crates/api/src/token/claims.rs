//! The claims of a token, and the caller that they identify.

use serde::{Deserialize, Deserializer};
use tenterhook_graphql_http::token;

use tenterhook_model::access::{Caller, UserCaller, UserRole};

/// The claims of a token. The library checks `iss` and `aud` with the signature.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    /// A single text (RFC 7519); the library would accept a list that contains our issuer.
    #[serde(rename = "iss")]
    _issuer: String,
    #[serde(default, deserialize_with = "text")]
    sub: Option<String>,
    #[serde(default, deserialize_with = "text")]
    company_id: Option<String>,
    role: Option<String>,
    app_id: Option<String>,
    #[serde(default)]
    scope: String,
    #[serde(default, deserialize_with = "text")]
    jti: Option<String>,
    /// Seconds since 1970, like `exp`.
    nbf: Option<f64>,
    exp: Option<f64>,
}

impl token::Claims for Claims {
    fn not_before(&self) -> Option<f64> {
        self.nbf
    }

    fn expires_at(&self) -> Option<f64> {
        self.exp
    }
}

impl Claims {
    /// The claim that identifies this token: its subject, which stays the same when the token is renewed; otherwise
    /// its own id.
    pub(super) fn name(&self) -> Option<&str> {
        self.sub.as_deref().or(self.jti.as_deref())
    }

    /// The holder of the token; `None` if the claims do not identify one. A token that names an app acts through it,
    /// whatever scopes it has: without `admin` it can do nothing (W2), so it is neither an operator's token nor the
    /// platform's.
    pub(super) fn caller(&self) -> Option<Caller> {
        let has = |scope: &str| self.scope.split(' ').any(|one| one == scope);
        let of_app = self.app_id.is_some();
        if has("operator") && !of_app {
            return Some(Caller::Operator);
        }
        if has("platform") && !of_app {
            return Some(Caller::Platform);
        }
        Some(Caller::User(UserCaller {
            company: self.company_id.as_deref()?.parse().ok()?,
            user: self.sub.as_deref()?.parse().ok()?,
            role: match self.role.as_deref() {
                None | Some("regular") => UserRole::Regular,
                Some("admin") => UserRole::Admin,
                Some(_) => return None,
            },
            app: self.app_id.as_deref().map(str::parse).transpose().ok()?,
            may_read: has("webhooks:read"),
            may_write: has("webhooks:write"),
            has_admin_scope: has("admin"),
        }))
    }
}

/// An id as text or as a number.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Id {
        Text(String),
        Number(u64),
    }
    Ok(Option::<Id>::deserialize(deserializer)?.map(|id| match id {
        Id::Text(text) => text,
        Id::Number(number) => number.to_string(),
    }))
}
