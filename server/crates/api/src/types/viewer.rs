//! The caller.

use async_graphql::{Context, Enum, ID, Object};

use crate::context::Ask;
use crate::error::Result;
use crate::loaders::{AppRef, one};
use crate::types::app::App;
use tenterhook_model::access::{self, Caller};

/// A user's role in the company.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "access::UserRole")]
pub enum UserRole {
    /// May manage their own webhooks.
    Regular,
    /// May manage all general webhooks of the company.
    Admin,
}

/// The user, platform or operator that the request's token was issued to.
pub struct Viewer(Caller);

/// The user, platform or operator that the request's token was issued to.
#[Object]
impl Viewer {
    /// The user's id; null for the platform and an operator.
    async fn user_id(&self) -> Option<ID> {
        self.user().map(|user| ID(user.user.to_string()))
    }

    /// The id of the user's company; null for the platform and an operator.
    async fn company_id(&self) -> Option<ID> {
        self.user().map(|user| ID(user.company.to_string()))
    }

    /// The user's role; null for the platform and an operator.
    async fn role(&self) -> Option<UserRole> {
        self.user().map(|user| user.role.into())
    }

    /// The app that the token acts through; null if there is none or it is not registered.
    async fn app(&self, ctx: &Context<'_>) -> Result<Option<App>> {
        match self.user().and_then(|user| user.app.clone()) {
            Some(app) => Ok(one(ctx, AppRef(app)).await?.map(App::from)),
            None => Ok(None),
        }
    }

    /// The token's scopes: `operator`, `platform`, or some of `webhooks:read`, `webhooks:write` and `admin`.
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
    /// The user, platform or operator that the request's token was issued to.
    async fn viewer(&self, ctx: &Context<'_>) -> Viewer {
        Viewer(ctx.session().caller.clone())
    }
}
