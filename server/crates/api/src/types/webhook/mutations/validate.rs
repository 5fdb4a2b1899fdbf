//! Checks a webhook's settings before they are stored, all of them together.

use std::fmt;

use async_graphql::{Context, MaybeUndefined};
use jiff::Timestamp;
use secrecy::SecretString;
use url::Url;

use crate::context::{Ask, Services};
use crate::types::webhook::mutations::{CreateWebhookInput, UpdateWebhookInput};
use crate::user_error::{Path, Problem, Problems, UserErrorCode};
use tenterhook_model::webhook::{EventAction, PayloadVersion, Webhook};
use tenterhook_outbound_http::target::UrlRefusal;
use tenterhook_policy::matching::NotInCatalog;
use tenterhook_policy::sealing::BasicAuth;
use tenterhook_policy::{input_limits, matching};
use tenterhook_store::StoreError;

/// The settings of a new webhook that are not stored as they came.
pub(super) struct Subscription {
    pub url: Url,
    pub auth: Option<BasicAuth>,
}

impl Subscription {
    /// Checks all settings of a new webhook.
    pub async fn check(ctx: &impl Ask, input: &CreateWebhookInput) -> Result<Self, Problems> {
        let services = ctx.services();
        let mut problems = Problems::none();
        let url = target(services, &input.subscription_url, &mut problems).await;
        let (action, object) = (input.event_action.into(), input.event_object.0.as_str());
        catalogued(services, action, object, input.version(), &mut problems);
        if let Some(name) = &input.name {
            problems.check(&at("name"), input_limits::text(name, input_limits::NAME_CHARS));
        }
        let given = |text: &Option<String>| MaybeUndefined::from(text.clone().map(Some));
        let credentials = Credentials::check(
            given(&input.http_auth_user),
            given(&input.http_auth_password),
            &mut problems,
        );
        let auth = problems.take(credentials.merged(None));
        match url {
            Some(url) if problems.is_empty() => Ok(Self {
                url,
                auth: auth.flatten(),
            }),
            _ => Err(problems),
        }
    }
}

/// The changes to a webhook.
pub(super) struct Change {
    url: Option<Url>,
    action: Option<EventAction>,
    object: Option<String>,
    name: MaybeUndefined<String>,
    credentials: Credentials,
}

impl Change {
    /// Checks all that can be checked without the webhook.
    pub async fn check(ctx: &Context<'_>, input: UpdateWebhookInput) -> Result<Self, Problems> {
        let mut problems = Problems::none();
        let url = match needed(input.subscription_url, at("subscriptionUrl"), &mut problems) {
            Some(url) => target(ctx.services(), &url, &mut problems).await,
            None => None,
        };
        if let MaybeUndefined::Value(name) = &input.name {
            problems.check(&at("name"), input_limits::text(name, input_limits::NAME_CHARS));
        }
        let change = Self {
            url,
            action: needed(input.event_action, at("eventAction"), &mut problems).map(Into::into),
            object: needed(input.event_object, at("eventObject"), &mut problems).map(|object| object.0),
            name: input.name,
            credentials: Credentials::check(input.http_auth_user, input.http_auth_password, &mut problems),
        };
        if problems.is_empty() {
            Ok(change)
        } else {
            Err(problems)
        }
    }

    /// Applies the changes to the webhook, or returns the faults that depend on this webhook.
    pub fn apply(
        &self,
        services: &Services,
        mut webhook: Webhook,
        now: Timestamp,
    ) -> Result<Result<Webhook, Problems>, StoreError> {
        let mut problems = Problems::none();
        if let Some(url) = &self.url {
            webhook.url = url.to_string();
        }
        if self.action.is_some() || self.object.is_some() {
            webhook.action = self.action.unwrap_or(webhook.action);
            webhook.object = self.object.clone().unwrap_or(webhook.object);
            catalogued(
                services,
                webhook.action,
                &webhook.object,
                webhook.version,
                &mut problems,
            );
        }
        match &self.name {
            MaybeUndefined::Value(name) => webhook.name = Some(name.clone()),
            MaybeUndefined::Null => webhook.name = None,
            MaybeUndefined::Undefined => {}
        }
        if self.credentials.are_given() {
            let opened = webhook
                .auth
                .as_ref()
                .map(|sealed| services.sealing.open_auth(webhook.id, sealed));
            let current = opened.transpose().map_err(|error| StoreError::Inconsistent {
                table: "webhooks",
                what: format!("auth of webhook {}: {error}", webhook.number),
            })?;
            let auth = problems.take(self.credentials.merged(current)).flatten();
            webhook.auth = auth.map(|auth| services.sealing.seal_auth(webhook.id, &auth));
        }
        webhook.updated_at = now.max(webhook.created_at);
        Ok(if problems.is_empty() {
            Ok(webhook)
        } else {
            Err(problems)
        })
    }
}

const NO_USER: &str = "a password needs a user name, which may be empty";

/// HTTP basic credentials in an input (W11).
struct Credentials {
    user: MaybeUndefined<String>,
    password: MaybeUndefined<SecretString>,
}

impl Credentials {
    fn check(
        user: MaybeUndefined<String>,
        password: MaybeUndefined<String>,
        problems: &mut Problems,
    ) -> Self {
        if let MaybeUndefined::Value(user) = &user {
            problems.check(&at("httpAuthUser"), input_limits::auth_user(user));
        }
        if let MaybeUndefined::Value(password) = &password {
            problems.check(&at("httpAuthPassword"), input_limits::auth_password(password));
        }
        Self {
            user,
            password: password.map_value(SecretString::from),
        }
    }

    fn are_given(&self) -> bool {
        !self.user.is_undefined() || !self.password.is_undefined()
    }

    /// The credentials after the change. A password without a user name is refused.
    fn merged(&self, current: Option<BasicAuth>) -> Result<Option<BasicAuth>, (Path, &'static str)> {
        let (current_user, current_password) = match current {
            Some(auth) => (Some(auth.user), auth.password),
            None => (None, None),
        };
        let user = match &self.user {
            MaybeUndefined::Value(user) => Some(user.clone()),
            MaybeUndefined::Null => None,
            MaybeUndefined::Undefined => current_user,
        };
        let password = match &self.password {
            MaybeUndefined::Value(password) => Some(password.clone()),
            MaybeUndefined::Null => None,
            MaybeUndefined::Undefined => current_password.filter(|_| user.is_some()),
        };
        match (user, password) {
            (Some(user), password) => Ok(Some(BasicAuth { user, password })),
            (None, Some(_)) => Err((at("httpAuthPassword"), NO_USER)),
            (None, None) => Ok(None),
        }
    }
}

impl Problems {
    fn take<T>(&mut self, found: Result<T, (Path, &'static str)>) -> Option<T> {
        found
            .map_err(|(path, message)| self.add(UserErrorCode::Invalid, path, message))
            .ok()
    }
}

/// Why a subscription URL is refused, in the words of this API.
struct RefusedUrl(UrlRefusal);

impl fmt::Display for RefusedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            UrlRefusal::Credentials => f.write_str(
                "the URL must not contain credentials: give the webhook a user and a password for HTTP Basic authentication",
            ),
            UrlRefusal::OwnHost => f.write_str("the platform's own hosts cannot be called"),
            refusal => fmt::Display::fmt(refusal, f),
        }
    }
}

impl Problem for RefusedUrl {
    fn code(&self) -> UserErrorCode {
        match &self.0 {
            UrlRefusal::TooLong => UserErrorCode::TooLong,
            refusal if refusal.is_about_the_address() => UserErrorCode::ForbiddenAddress,
            _ => UserErrorCode::InvalidUrl,
        }
    }
}

/// Checks a subscription URL: first its text, then the addresses that its host name resolves to (W10).
async fn target(services: &Services, text: &str, problems: &mut Problems) -> Option<Url> {
    let path = at("subscriptionUrl");
    let url = problems.check(&path, services.targets.vet_url(text).map_err(RefusedUrl))?;
    match services.prober.vet(&url).await {
        Ok(()) => Some(url),
        Err(blocked) => problems.check(&path, Err(RefusedUrl(blocked.into()))),
    }
}

/// Checks that action and object are in the catalogue (W9).
fn catalogued(
    services: &Services,
    action: EventAction,
    object: &str,
    version: PayloadVersion,
    problems: &mut Problems,
) {
    let checked = matching::subscribable(action, object, version, &services.policy().catalog);
    let path = match &checked {
        Err(NotInCatalog::Action(_)) => at("eventAction"),
        Ok(()) | Err(NotInCatalog::Object(_)) => at("eventObject"),
    };
    problems.check(&path, checked);
}

/// A value that may be changed but not cleared.
fn needed<T>(value: MaybeUndefined<T>, path: Path, problems: &mut Problems) -> Option<T> {
    match value {
        MaybeUndefined::Value(value) => Some(value),
        MaybeUndefined::Null => {
            problems.add(
                UserErrorCode::Invalid,
                path,
                "this field can be changed, but not cleared",
            );
            None
        }
        MaybeUndefined::Undefined => None,
    }
}

fn at(name: &str) -> Path {
    Path::input().field(name)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn given(text: &str) -> MaybeUndefined<String> {
        match text {
            "-" => MaybeUndefined::Undefined,
            "null" => MaybeUndefined::Null,
            text => MaybeUndefined::Value(text.to_owned()),
        }
    }

    /// `user:password` after the change; a missing part is empty.
    fn after(
        current: Option<(&str, Option<&str>)>,
        user: &str,
        password: &str,
    ) -> Result<String, &'static str> {
        let current = current.map(|(user, password)| BasicAuth {
            user: user.to_owned(),
            password: password.map(SecretString::from),
        });
        let credentials = Credentials::check(given(user), given(password), &mut Problems::none());
        let auth = credentials.merged(current).map_err(|(_, why)| why)?;
        Ok(auth.map_or_else(String::new, |auth| {
            let password = auth
                .password
                .as_ref()
                .map_or("", |password| password.expose_secret());
            format!("{}:{password}", auth.user)
        }))
    }

    #[test]
    fn credentials_change_field_by_field() {
        let both = Some(("ann", Some("secret")));
        assert_eq!(after(both, "-", "-"), Ok("ann:secret".to_owned()));
        assert_eq!(after(both, "bob", "-"), Ok("bob:secret".to_owned()));
        assert_eq!(after(both, "-", "new"), Ok("ann:new".to_owned()));
        assert_eq!(after(both, "-", "null"), Ok("ann:".to_owned()));
        assert_eq!(after(both, "null", "-"), Ok(String::new()));
        assert_eq!(after(None, "ann", "-"), Ok("ann:".to_owned()));
    }

    #[test]
    fn a_user_name_may_be_empty() {
        assert_eq!(after(None, "", "secret"), Ok(":secret".to_owned()));
        assert_eq!(
            after(Some(("ann", Some("secret"))), "", "-"),
            Ok(":secret".to_owned())
        );
        assert_eq!(
            after(Some(("", Some("secret"))), "-", "new"),
            Ok(":new".to_owned())
        );
    }

    #[test]
    fn a_password_needs_a_user_name() {
        assert_eq!(after(None, "-", "secret"), Err(NO_USER));
        assert_eq!(after(Some(("ann", None)), "null", "secret"), Err(NO_USER));
    }
}
