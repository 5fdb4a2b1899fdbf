//! Callers: the fake accepts tokens with its key, issuer and audience that have not expired.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde_json::Value;
use sha2::Sha256;
use tenterhook_harness::token::TokenKey;
use tenterhook_harness::world::AppSees;

use super::state::{Hook, State};
use super::{Bend, document::Refused};

/// The claims of a token.
#[derive(Debug, Clone)]
pub struct Caller {
    pub user: String,
    pub company: String,
    pub admin: bool,
    pub app: Option<String>,
    pub scopes: Vec<String>,
    /// Whether it calls a REST route.
    pub through_rest: bool,
}

impl Caller {
    /// The caller that the `Authorization` header identifies.
    pub fn of(authorization: Option<&str>, key: &TokenKey, now: Timestamp) -> Option<Self> {
        let (signed, tag) = authorization?.strip_prefix("Bearer ")?.rsplit_once('.')?;
        let mut mac = Hmac::<Sha256>::new_from_slice(key.secret.as_bytes()).ok()?;
        mac.update(signed.as_bytes());
        mac.verify_slice(&URL_SAFE_NO_PAD.decode(tag).ok()?).ok()?;
        let payload = URL_SAFE_NO_PAD.decode(signed.split('.').nth(1)?).ok()?;
        let claims: Value = serde_json::from_slice(&payload).ok()?;
        let ours = claims["iss"] == key.issuer.as_str() && claims["aud"] == key.audience.as_str();
        if !ours || claims["exp"].as_i64()? <= now.as_second() {
            return None;
        }
        let text = |name: &str| claims[name].as_str().unwrap_or_default().to_owned();
        Some(Self {
            user: text("sub"),
            company: text("company_id"),
            admin: claims["role"] == "admin",
            app: claims["app_id"].as_str().map(str::to_owned),
            scopes: text("scope").split(' ').map(str::to_owned).collect(),
            through_rest: false,
        })
    }

    /// This caller with the scopes that a bend gives to everybody, or takes from a token through an app.
    pub fn with_bent_scopes(&self, bend: Option<Bend>) -> Self {
        let given: &[&str] = match bend {
            Some(Bend::AdminScopeIsNotNeeded) => &["admin"],
            Some(Bend::ScopesMeanNothing) => &["platform", "webhooks:read", "webhooks:write"],
            _ => &[],
        };
        let mut caller = self.clone();
        caller
            .scopes
            .extend(given.iter().map(|scope| (*scope).to_owned()));
        let has_others = caller.has("webhooks:read") && caller.has("webhooks:write");
        if bend == Some(Bend::AdminScopeAloneIsNotEnough) && !has_others {
            caller.scopes.retain(|scope| scope != "admin");
        }
        caller
    }

    pub fn has(&self, scope: &str) -> bool {
        self.scopes.iter().any(|held| held == scope)
    }

    /// Whether it sees everything. A token through an app is never an operator's (W2).
    pub fn is_operator(&self) -> bool {
        self.app.is_none() && self.has("operator")
    }

    /// Refuses a token without the scope. Through an app `admin` replaces the scopes of webhooks, and nothing replaces
    /// `admin` (W2).
    pub fn needs(&self, scope: &str) -> Result<(), Refused> {
        let is_enough = match self.app {
            None => self.has(scope),
            Some(_) => self.has("admin") && scope.starts_with("webhooks:"),
        };
        if self.is_operator() || is_enough {
            Ok(())
        } else {
            Err(Refused::new(
                "FORBIDDEN",
                format!("the token lacks the scope {scope}"),
            ))
        }
    }

    /// Whether the app of the token is installed, if the token is through an app.
    pub fn app_is_there(&self, state: &State) -> bool {
        self.app.as_ref().is_none_or(|app| {
            if state.bends(Bend::AppsNeedNoInstallation) {
                return true;
            }
            let key = (app.clone(), self.company.clone(), self.user.clone());
            state.installed.contains(&key)
        })
    }

    /// Whether the caller can see the webhook (W4–W7, W12).
    pub fn sees(&self, hook: &Hook, state: &State) -> bool {
        if self.is_operator() {
            return true;
        }
        if hook.company != self.company || !self.app_is_there(state) {
            return false;
        }
        match &hook.app {
            None => self.sees_general_of(&hook.user, state),
            Some(_) if state.bends(Bend::AdminSeesApplicationWebhooks) && self.admin => true,
            Some(app) => {
                let own = self.app.as_ref() == Some(app)
                    || (state.bends(Bend::AnotherAppSees) && self.app.is_some());
                own && hook.user == self.user
            }
        }
    }

    /// Whether the caller can see general webhooks of this user of its company, if its app is there (W4).
    pub fn sees_general_of(&self, user: &str, state: &State) -> bool {
        let own = user == self.user;
        match self.app {
            None if self.through_rest && state.bends(Bend::RestShowsOtherUsersWebhooks) => true,
            None => own || self.admin,
            Some(_) if state.bends(Bend::AdminsSeeAllThroughApps) && self.admin => true,
            Some(_) if state.bends(Bend::AppsSeeGeneralWebhooks) => own,
            Some(_) => own && state.app_sees == AppSees::OwnGeneral,
        }
    }

    /// Whether the caller may change a webhook that it can see: through an app only application webhooks, else only
    /// general ones.
    pub fn may_change(&self, hook: &Hook) -> bool {
        self.app.is_some() == hook.app.is_some()
    }
}
