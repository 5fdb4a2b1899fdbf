//! The callers: every kind there is, and what each can see.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use tenterhook_harness::client::Client;
use tenterhook_harness::token::{Claims, TokenKey};
use tenterhook_harness::world::{AppSees, World};

use super::assertions::Group::{self, App, Application, Company, General, Open, Secret};
use super::fixture::{BOSS, COMPANY, CRM, ELSEWHERE, ERP, GHOST, NEIGHBOUR, STRANGER, UNINSTALLED, USER};

/// The kind of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A user token, with or without an app.
    User,
    Platform,
    Operator,
    /// No valid token: it is not accepted, or there is none.
    Nobody,
}

/// A caller.
pub struct Identity {
    pub name: &'static str,
    pub client: Client,
    pub kind: Kind,
    pub company: u64,
    pub user: u64,
    pub admin: bool,
    pub app: Option<&'static str>,
    pub installed: bool,
    /// The token's scopes allow reading, and changing (W2 for apps).
    pub reads: bool,
    pub writes: bool,
    /// It sees the general webhooks of its own user (W4), so that it may count them (W3).
    pub sees_own_general: bool,
    /// What it may reach regardless of scopes (W4 to W7, E2).
    pub reaches: BTreeSet<Group>,
}

impl Identity {
    /// What it can see: its company and its app without any scope, the rest if it may read. The platform can see the
    /// events that it has published.
    pub fn sees(&self) -> BTreeSet<Group> {
        let without_scope = |group: &Group| matches!(group, Company | App) || self.kind == Kind::Platform;
        let seen = self
            .reaches
            .iter()
            .filter(|group| self.reads || without_scope(group));
        seen.copied().collect()
    }
}

/// A user's token.
struct Holder {
    company: u64,
    user: u64,
    admin: bool,
    app: Option<&'static str>,
    scope: &'static str,
}

const OWN: &str = "webhooks:read webhooks:write";
const THROUGH: &str = "admin";
const ALL: &str = "webhooks:read webhooks:write admin platform operator";
const ALL_BUT_ADMIN: &str = "webhooks:read webhooks:write platform operator";

impl Holder {
    fn own(company: u64, user: u64) -> Self {
        Self {
            company,
            user,
            admin: false,
            app: None,
            scope: OWN,
        }
    }

    fn admin(self) -> Self {
        Self { admin: true, ..self }
    }

    fn through(self, app: &'static str) -> Self {
        Self {
            app: Some(app),
            scope: THROUGH,
            ..self
        }
    }

    fn with(self, scope: &'static str) -> Self {
        Self { scope, ..self }
    }

    fn claims(&self) -> Claims {
        let role = if self.admin { "admin" } else { "regular" };
        let claims = Claims::user(self.company, self.user, role);
        let claims = match self.app {
            Some(app) => claims.through_app(app),
            None => claims,
        };
        claims.with_scope(self.scope)
    }

    fn identity(self, world: &World, sees: AppSees, name: &'static str, reaches: &[Group]) -> Identity {
        let has = |scope: &str| self.scope.split(' ').any(|one| one == scope);
        let may = |scope: &str| has(if self.app.is_some() { "admin" } else { scope });
        let installed = self.app != Some(UNINSTALLED);
        Identity {
            name,
            client: world.caller(0, &self.claims()),
            kind: Kind::User,
            company: self.company,
            user: self.user,
            admin: self.admin,
            app: self.app,
            installed,
            reads: may("webhooks:read"),
            writes: may("webhooks:write"),
            sees_own_general: self.app.is_none() || (installed && sees == AppSees::OwnGeneral),
            reaches: reaches.iter().copied().collect(),
        }
    }
}

/// The user who owns the webhooks.
pub const OWNER: &str = "the user";
/// The app that has a webhook for that user. Its token has the scope `admin` alone (W2).
pub const ITS_APP: &str = "its app";
/// The same with every scope but `admin`.
pub const ITS_APP_WITHOUT_ADMIN: &str = "its app, with every scope but admin";
pub const PLATFORM: &str = "the platform";
pub const OPERATOR: &str = "the operator";
/// The admin of another company, and another user of the same company. Both have their own webhook.
pub const STRANGERS: [&str; 2] = ["an admin of another company", "another user"];

/// Every caller, with what it may reach of the user's and the company's data, where apps see this much (W4).
pub fn everybody(world: &World, sees: AppSees) -> Vec<Identity> {
    let user = || Holder::own(COMPANY, USER);
    let all = &[Company, General, Secret, Open];
    let (its_app, another_app): (&[Group], &[Group]) = match sees {
        AppSees::Application => (
            &[Company, Application, Secret, Open, App],
            &[Company, Secret, Open],
        ),
        AppSees::OwnGeneral => (&[Company, General, Application, Secret, Open, App], all),
    };
    let mut everybody: Vec<Identity> = [
        (OWNER, user(), &all[..]),
        ("the user, reading only", user().with("webhooks:read"), all),
        ("the user, writing only", user().with("webhooks:write"), all),
        ("the user, without scopes", user().with(""), all),
        (
            "the user, with scopes of no meaning",
            user().with("webhooks read admin webhooks:reads"),
            all,
        ),
        (ITS_APP, user().through(CRM), its_app),
        (
            "its app, with every scope",
            user().through(CRM).with(ALL),
            its_app,
        ),
        (
            ITS_APP_WITHOUT_ADMIN,
            user().through(CRM).with(ALL_BUT_ADMIN),
            its_app,
        ),
        ("its app, without scopes", user().through(CRM).with(""), its_app),
        ("another app", user().through(ERP), another_app),
        (
            "an app that is not installed",
            user().through(UNINSTALLED),
            &[Company],
        ),
        (STRANGERS[1], Holder::own(COMPANY, NEIGHBOUR), &[Company, Open]),
        (
            "its app for another user",
            Holder::own(COMPANY, NEIGHBOUR).through(CRM),
            &[Company, Open, App],
        ),
        ("an admin", Holder::own(COMPANY, BOSS).admin(), all),
        (
            "its app for an admin",
            Holder::own(COMPANY, BOSS).admin().through(CRM),
            // Only what is the admin's own, whatever apps see, and nothing here is.
            &[Company, Open, App],
        ),
        (STRANGERS[0], Holder::own(ELSEWHERE, STRANGER).admin(), &[]),
        ("a namesake in another company", Holder::own(ELSEWHERE, USER), &[]),
        (
            "its app for a namesake in another company",
            Holder::own(ELSEWHERE, USER).through(CRM),
            &[App],
        ),
    ]
    .into_iter()
    .map(|(name, holder, reaches)| holder.identity(world, sees, name, reaches))
    .collect();
    everybody.extend([
        with_scope(
            world,
            PLATFORM,
            "platform",
            Kind::Platform,
            &[Company, Secret, Open, App],
        ),
        with_scope(
            world,
            OPERATOR,
            "operator",
            Kind::Operator,
            &[Company, General, Application, Secret, Open, App],
        ),
    ]);
    everybody.extend(nobodies(world));
    everybody
}

fn with_scope(world: &World, name: &'static str, scope: &str, kind: Kind, reaches: &[Group]) -> Identity {
    Identity {
        name,
        client: world.caller(0, &Claims::of_scope(scope)),
        kind,
        company: 0,
        user: 0,
        admin: false,
        app: None,
        installed: true,
        reads: kind == Kind::Operator,
        writes: false,
        sees_own_general: false,
        reaches: reaches.iter().copied().collect(),
    }
}

/// Callers with invalid tokens of the user, and one without a token.
fn nobodies(world: &World) -> Vec<Identity> {
    let (key, now) = (world.token_key(), world.now());
    let user = Claims::user(COMPANY, USER, "admin");
    let other = |secret: &str, issuer: &str, audience: &str| {
        let key = TokenKey {
            secret: secret.to_owned(),
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
        };
        Some(key.sign(&user, now))
    };
    let ended = key.sign_until(&user, now - SignedDuration::from_hours(1), now);
    [
        ("nobody", None),
        ("an expired token", Some(ended)),
        (
            "a forged token",
            other(
                "a secret that somebody else has thought of",
                &key.issuer,
                &key.audience,
            ),
        ),
        (
            "a token of another issuer",
            other(&key.secret, "somebody", &key.audience),
        ),
        (
            "a token for another audience",
            other(&key.secret, &key.issuer, "somebody"),
        ),
        (
            "a removed user",
            Some(key.sign(&Claims::user(COMPANY, GHOST, "admin"), now)),
        ),
    ]
    .into_iter()
    .map(|(name, token)| Identity {
        client: world.anonymous(0).with_token(token),
        ..with_scope(world, name, "", Kind::Nobody, &[])
    })
    .collect()
}

/// The caller with this name.
pub fn find<'a>(everybody: &'a [Identity], name: &str) -> &'a Identity {
    let found = everybody.iter().find(|identity| identity.name == name);
    found.unwrap_or_else(|| panic!("nobody is called {name:?}"))
}
