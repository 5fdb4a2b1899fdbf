//! The caller itself.

use async_graphql::{Context, Enum, ID, Object};

use super::apps::App;
use super::context::Ask;
use super::error::Result;
use super::loaders::{AppRef, one};
use tenterhook_model::access::{self, Caller};

/// A user's role in the company.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "access::UserRole")]
pub enum UserRole {
    /// Manages their own webhooks.
    Regular,
    /// Manages all general webhooks of the company.
    Admin,
}

/// Whoever holds the token of the request.
pub struct Viewer(Caller);

/// Whoever holds the token of the request.
#[Object]
impl Viewer {
    /// The user; null for the platform and an operator.
    async fn user_id(&self) -> Option<ID> {
        self.user().map(|user| ID(user.user.to_string()))
    }

    /// The user's company; null for the platform and an operator.
    async fn company_id(&self) -> Option<ID> {
        self.user().map(|user| ID(user.company.to_string()))
    }

    /// The user's role; null for the platform and an operator.
    async fn role(&self) -> Option<UserRole> {
        self.user().map(|user| user.role.into())
    }

    /// The app that the token acts through, if it is registered.
    async fn app(&self, ctx: &Context<'_>) -> Result<Option<App>> {
        match self.user().and_then(|user| user.app.clone()) {
            Some(app) => Ok(one(ctx, AppRef(app)).await?.map(App::from)),
            None => Ok(None),
        }
    }

    /// What the token allows.
    async fn scopes(&self) -> Vec<&'static str> {
        match &self.0 {
            Caller::Operator => vec!["operator"],
            Caller::Platform => vec!["platform"],
            Caller::User(user) => {
                let scopes = [
                    ("webhooks:read", user.may_read),
                    ("webhooks:write", user.may_write),
                    ("admin", user.has_admin_scope),
                ];
                scopes
                    .into_iter()
                    .filter(|(_, has)| *has)
                    .map(|(scope, _)| scope)
                    .collect()
            }
        }
    }
}

impl Viewer {
    fn user(&self) -> Option<&access::UserCaller> {
        match &self.0 {
            Caller::User(user) => Some(user),
            Caller::Platform | Caller::Operator => None,
        }
    }
}

/// Queries about the caller.
#[derive(Default)]
pub struct ViewerQueries;

#[Object]
impl ViewerQueries {
    /// Whoever holds the token of the request.
    async fn viewer(&self, ctx: &Context<'_>) -> Viewer {
        Viewer(ctx.session().caller.clone())
    }
}
