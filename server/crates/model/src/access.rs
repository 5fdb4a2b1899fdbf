//! The caller of the API, and which webhooks a call may see.

use super::ids::{AppId, CompanyId, UserId};
use super::stored_enum;

stored_enum!(
    /// A user's role in the company.
    UserRole {
        /// Manages their own webhooks.
        Regular = 1,
        /// Manages all general webhooks of the company (W7).
        Admin = 2,
    }
);

/// The caller behind a user's token, with or without an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserCaller {
    /// The tenant.
    pub company: CompanyId,
    /// The user.
    pub user: UserId,
    /// The token's role. It overrides a stored role.
    pub role: UserRole,
    /// The app the token acts through.
    pub app: Option<AppId>,
    /// `webhooks:read`. It counts only without an app.
    pub may_read: bool,
    /// `webhooks:write`. It counts only without an app.
    pub may_write: bool,
    /// `admin`: through an app the only scope that counts (W2), without an app it has no meaning.
    pub has_admin_scope: bool,
}

/// The holder of a request's token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// A user, through the web app, a personal token or an app.
    User(UserCaller),
    /// The platform's back end: it publishes and manages, but reads no webhooks (W5).
    Platform,
    /// An operator: sees everything.
    Operator,
}

/// Which general webhooks of its company a caller may see (W4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GeneralScope {
    /// Those of every user: an admin's own token.
    All,
    /// Those of this user.
    Of(UserId),
    /// None.
    Nothing,
}

/// Which webhooks a caller may see, as a filter that the store can apply (W4–W6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookScope {
    /// Every webhook of every company: the operator.
    Everything,
    /// Webhooks of one company: these general webhooks and, through an app, these application webhooks.
    Company {
        /// The tenant.
        company: CompanyId,
        /// The general webhooks that are visible.
        general: GeneralScope,
        /// The app and user whose application webhooks are visible.
        application_of: Option<(AppId, UserId)>,
    },
    /// None.
    Nothing,
}
