//! `tenterhook token`: prints a token to standard output, for development, scripts and tests.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::{ArgGroup, Args, ValueEnum};
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{EncodingKey, Header};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use tenterhook_clock::Clock;
use tenterhook_model::ids::{AppId, CompanyId, UserId};
use tenterhook_settings::keys::{self, JWT_KEY};
use tenterhook_settings::{Settings, read_duration};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// A year, so that a project needs one token. A token of a real key is valid for an hour, because it may get lost.
const DEVELOPMENT_TTL: Duration = Duration::from_secs(365 * 24 * 60 * 60);
const PRODUCTION_TTL: Duration = Duration::from_secs(60 * 60);
const LONGEST_TTL: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("whose").required(true).args(["user", "platform", "operator"]))]
pub(super) struct Arguments {
    /// The company of the user.
    #[arg(long, requires = "user", value_name = "ID")]
    company: Option<CompanyId>,
    /// A token of this user.
    #[arg(long, requires = "company", value_name = "ID")]
    user: Option<UserId>,
    /// The user's role.
    #[arg(long, value_enum, default_value_t = Role::Regular, conflicts_with_all = ["platform", "operator"])]
    role: Role,
    /// The app that the token acts through. Its scope is then `admin`, which is enough.
    #[arg(long, requires = "user", value_name = "ID")]
    app: Option<AppId>,
    /// Scopes, separated by spaces. Default: `webhooks:read webhooks:write`; with --app, `admin`.
    #[arg(long, requires = "user", value_name = "SCOPES")]
    scope: Option<String>,
    /// A token of the platform's back end, which publishes events and manages users and apps.
    #[arg(long)]
    platform: bool,
    /// A token of an operator, who sees everything and advances simulated time.
    #[arg(long)]
    operator: bool,
    /// How long the token is valid, such as P30D or 12h [default: P365D for the development key, else PT1H].
    #[arg(long, value_parser = ttl)]
    ttl: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Role {
    Regular,
    Admin,
}

/// The claims of a token.
#[derive(Debug, Serialize)]
pub(super) struct Claims {
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    company_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_id: Option<String>,
    scope: String,
}

#[derive(Serialize)]
struct Whole<'a> {
    #[serde(flatten)]
    claims: &'a Claims,
    iss: &'a str,
    aud: &'a str,
    iat: i64,
    exp: i64,
}

impl Claims {
    /// The claims of a user, through an app or not.
    pub fn user(company: CompanyId, user: UserId, role: Role, app: Option<&AppId>) -> Self {
        let scope = if app.is_some() {
            "admin"
        } else {
            "webhooks:read webhooks:write"
        };
        Self {
            sub: Some(user.to_string()),
            company_id: Some(company.to_string()),
            role: Some(match role {
                Role::Regular => "regular",
                Role::Admin => "admin",
            }),
            app_id: app.map(ToString::to_string),
            scope: scope.to_owned(),
        }
    }

    /// The claims of `platform` or `operator`, without a user.
    pub fn of_scope(scope: &str) -> Self {
        Self {
            sub: None,
            company_id: None,
            role: None,
            app_id: None,
            scope: scope.to_owned(),
        }
    }

    /// Signs a token that is valid from `now` for `ttl`.
    pub fn sign(
        &self,
        secret: &SecretString,
        settings: &Settings,
        now: Timestamp,
        ttl: Duration,
    ) -> anyhow::Result<String> {
        let until = now
            .checked_add(SignedDuration::try_from(ttl)?)
            .context("--ttl is too long")?;
        let whole = Whole {
            claims: self,
            iss: &settings.jwt_issuer,
            aud: &settings.jwt_audience,
            iat: now.as_second(),
            exp: until.as_second(),
        };
        let key = EncodingKey::from_secret(secret.expose_secret().as_bytes());
        Ok(jsonwebtoken::encode(&Header::default(), &whole, &key)?)
    }
}

/// The token that `arguments` ask for.
pub(super) fn print(settings: &Settings, arguments: &Arguments) -> anyhow::Result<String> {
    if settings.jwks.is_some() {
        bail!(
            "tokens are signed with the keys of TENTERHOOK_JWKS, whose private keys the platform has: ask the platform for a token"
        );
    }
    let (secret, default_ttl) = match keys::token_secret(settings)? {
        Some(secret) => (secret, PRODUCTION_TTL),
        None => {
            let path = super::data_dir(settings)?.join(JWT_KEY);
            let hint = "start `tenterhook dev` once, which creates it, or set TENTERHOOK_JWT_SECRET_FILE";
            (keys::token_secret_in(&path).context(hint)?, DEVELOPMENT_TTL)
        }
    };
    let ttl = arguments.ttl.unwrap_or(default_ttl);
    arguments
        .claims()
        .sign(&secret, settings, Clock::system().now(), ttl)
}

impl Arguments {
    fn claims(&self) -> Claims {
        match (self.company, self.user) {
            (Some(company), Some(user)) => {
                let claims = Claims::user(company, user, self.role, self.app.as_ref());
                let scope = self.scope.clone().unwrap_or(claims.scope);
                Claims { scope, ..claims }
            }
            _ => Claims::of_scope(if self.platform { "platform" } else { "operator" }),
        }
    }
}

fn ttl(text: &str) -> Result<Duration, String> {
    let ttl = read_duration(text)?;
    if ttl.is_zero() || ttl > LONGEST_TTL {
        return Err(format!(
            "must be above zero and at most {} days",
            LONGEST_TTL.as_secs() / DAY.as_secs()
        ));
    }
    Ok(ttl)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use jsonwebtoken::{DecodingKey, Validation};
    use serde_json::{Value, json};

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        token: Arguments,
    }

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Line::try_parse_from(format!("token {line}").split_whitespace()).map(|line| line.token)
    }

    fn payload(line: &str) -> Value {
        let secret = SecretString::from("s".repeat(32));
        let now = "2026-11-23T10:00:00Z".parse().unwrap();
        let claims = parse(line).unwrap().claims();
        let token = claims.sign(&secret, &Settings::default(), now, DAY).unwrap();
        let mut validation = Validation::new(jsonwebtoken::Algorithm::HS256);
        validation.validate_exp = false;
        validation.set_audience(&["tenterhook"]);
        validation.set_issuer(&["tenterhook"]);
        let key = DecodingKey::from_secret(secret.expose_secret().as_bytes());
        let mut payload = jsonwebtoken::decode::<Value>(&token, &key, &validation)
            .unwrap()
            .claims;
        let fields = payload.as_object_mut().unwrap();
        assert_eq!(fields.remove("iat"), Some(json!(1_795_428_000)));
        assert_eq!(fields.remove("exp"), Some(json!(1_795_514_400)));
        assert!(fields.remove("iss").is_some() && fields.remove("aud").is_some());
        payload
    }

    #[test]
    fn a_users_token_names_user_company_and_role() {
        let read_write = "webhooks:read webhooks:write";
        assert_eq!(
            payload("--company 1 --user 2"),
            json!({"sub": "2", "company_id": "1", "role": "regular", "scope": read_write})
        );
        assert_eq!(
            payload("--company 1 --user 2 --role admin --scope webhooks:read"),
            json!({"sub": "2", "company_id": "1", "role": "admin", "scope": "webhooks:read"})
        );
        assert_eq!(
            payload("--company 1 --user 2 --app crm"),
            json!({"sub": "2", "company_id": "1", "role": "regular", "app_id": "crm", "scope": "admin"})
        );
    }

    #[test]
    fn platform_and_operator_tokens_name_no_user() {
        assert_eq!(payload("--platform"), json!({"scope": "platform"}));
        assert_eq!(payload("--operator"), json!({"scope": "operator"}));
    }

    #[test]
    fn contradictory_options_are_refused() {
        for line in [
            "",
            "--company 1",
            "--user 1",
            "--platform --operator",
            "--platform --company 1 --user 1",
            "--platform --role admin",
            "--operator --app crm",
            "--company 0 --user 1",
            "--company 1 --user 9007199254740992",
            "--company 1 --user 1 --app a/b",
            "--platform --ttl 0s",
            "--platform --ttl P3651D",
            "--platform --ttl tomorrow",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        assert_eq!(
            parse("--platform --ttl P365D").unwrap().ttl,
            Some(DEVELOPMENT_TTL)
        );
        assert_eq!(parse("--platform --ttl P3650D").unwrap().ttl, Some(LONGEST_TTL));
        assert_eq!(
            parse("--platform --ttl 1ms").unwrap().ttl,
            Some(Duration::from_millis(1))
        );
    }
}
