//! Who may see, create, change and delete which webhook (W1, W2, W4–W8), and who sees which event (E2).
//!
//! Checks run in a fixed order. A caller whose token lacks the scope learns only that. Then the app must be installed. Then
//! a webhook that the caller cannot see does not exist for it; only a webhook that it sees can be forbidden. Not checked
//! here: limits (W3), whether a user exists, and states. A removed webhook can still be seen (W12).

#[cfg(test)]
mod tests;

use tenterhook_model::access::{Caller, GeneralScope, UserCaller, UserRole, WebhookScope};
use tenterhook_model::event::Event;
use tenterhook_model::ids::{AppId, CompanyId, UserId};
use tenterhook_model::webhook::{RemoveReason, Webhook, WebhookOwner};
use tenterhook_settings::AppSees;

/// Why an operation is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// The token lacks the scope for the operation: a `FORBIDDEN` at the top level.
    #[error("this token lacks the scope for the operation")]
    MissingScope,
    /// The token acts through an app that its user has not installed (W2).
    #[error("the app is not installed for this user")]
    AppNotInstalled,
    /// No such webhook that this caller can see.
    #[error("no such webhook")]
    NotFound,
    /// The caller sees it, but may not do this; the sentence says why.
    #[error("{0}")]
    Forbidden(&'static str),
}

/// What decides, in addition to the scopes, about a token through an app. It has no effect on a token without an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppAccess {
    /// Whether the token's user has the token's app installed (W2).
    pub installed: bool,
    /// What an app sees besides its own webhooks (W4).
    pub sees: AppSees,
}

/// The owner and user of a new webhook. Its type follows from `app` (W1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOwnership {
    /// Who creates it.
    pub owner: UserId,
    /// The user whose webhook it is, and for whom the limit counts it (W4, W7).
    pub user: UserId,
    /// The app; with one, this is an application webhook.
    pub app: Option<AppId>,
}

/// Whether the token may read webhooks at all. Through an app the scope `admin` alone decides (W2).
pub fn read(caller: &Caller) -> Result<(), Denial> {
    match caller {
        Caller::Operator => Ok(()),
        Caller::User(user) if has_scope(user, user.may_read) => Ok(()),
        Caller::User(_) | Caller::Platform => Err(Denial::MissingScope),
    }
}

/// Whether the token may change webhooks at all, before a webhook is known.
pub fn write(caller: &Caller, app: AppAccess) -> Result<(), Denial> {
    writer(caller, app).map(|_| ())
}

/// Which webhooks the caller sees (W4, W5).
///
/// Through an app that is not installed nothing can be seen, not even general webhooks: W2 lets an app read only while its
/// user has it installed.
pub fn scope(caller: &Caller, app: AppAccess) -> WebhookScope {
    match caller {
        _ if read(caller).is_err() => WebhookScope::Nothing,
        Caller::Operator => WebhookScope::Everything,
        Caller::User(user) => reach(user, app),
        Caller::Platform => WebhookScope::Nothing,
    }
}

/// Whether a webhook is within a scope. The store checks the same in SQL.
pub fn sees(scope: &WebhookScope, webhook: &Webhook) -> bool {
    reaches(scope, &webhook.webhook_owner())
}

/// Like [`sees`], for code that knows only the owner of the webhook.
pub fn reaches(scope: &WebhookScope, webhook: &WebhookOwner) -> bool {
    let Some(app) = &webhook.app else {
        return reaches_general(scope, webhook.company, webhook.user);
    };
    match scope {
        WebhookScope::Everything => true,
        WebhookScope::Nothing => false,
        WebhookScope::Company {
            company,
            application_of,
            ..
        } => {
            let of = application_of.as_ref();
            *company == webhook.company && of.is_some_and(|(own, user)| own == app && *user == webhook.user)
        }
    }
}

/// Whether a scope includes the general webhooks of this user. Whoever sees them may also count them (W3).
pub fn reaches_general(scope: &WebhookScope, of: CompanyId, whose: UserId) -> bool {
    match scope {
        WebhookScope::Everything => true,
        WebhookScope::Nothing => false,
        WebhookScope::Company { company, general, .. } => {
            *company == of
                && match general {
                    GeneralScope::All => true,
                    GeneralScope::Of(user) => *user == whose,
                    GeneralScope::Nothing => false,
                }
        }
    }
}

/// Whether the caller sees an event itself. A user sees the company's events that it is permitted to see; an admin's own
/// token sees all of them (E2). Through an app they are visible only while it is installed, like webhooks (W2), and the role
/// adds nothing: the app sees no webhook of another user (W4). The platform sees what it has published.
pub fn sees_event(caller: &Caller, event: &Event, app: AppAccess) -> bool {
    match caller {
        Caller::Platform | Caller::Operator => true,
        Caller::User(user) => {
            let through_app = user.app.is_some();
            let permitted = event.permitted.as_ref();
            user.company == event.company
                && (app.installed || !through_app)
                && ((user.role == UserRole::Admin && !through_app)
                    || permitted.is_none_or(|users| users.contains(&user.user)))
        }
    }
}

/// Who a new webhook of the caller would belong to; `requested_user` is the user that it names, if any (W1, W2, W7). The
/// store checks whether that user exists in the company.
pub fn create_as(
    caller: &Caller,
    requested_user: Option<UserId>,
    app: AppAccess,
) -> Result<NewOwnership, Denial> {
    let caller = writer(caller, app)?;
    let user = requested_user.unwrap_or(caller.user);
    if user != caller.user {
        if caller.app.is_some() {
            return Err(Denial::Forbidden(
                "An application webhook is always for the token's own user.",
            ));
        }
        if caller.role != UserRole::Admin {
            return Err(Denial::Forbidden(
                "Only an admin may create a webhook for another user.",
            ));
        }
    }
    Ok(NewOwnership {
        owner: caller.user,
        user,
        app: caller.app.clone(),
    })
}

/// Whether the caller may change, pause, resume, restore or test the webhook, or rotate its secret.
pub fn change(caller: &Caller, webhook: &Webhook, app: AppAccess) -> Result<(), Denial> {
    manage(caller, webhook, app).map(|_| ())
}

/// Whether the caller may delete the webhook, and the reason to record (W6, W7).
pub fn delete(caller: &Caller, webhook: &Webhook, app: AppAccess) -> Result<RemoveReason, Denial> {
    let caller = manage(caller, webhook, app)?;
    Ok(if caller.app.is_some() {
        RemoveReason::DeletedByApp
    } else if caller.user == webhook.user {
        RemoveReason::DeletedByUser
    } else {
        RemoveReason::DeletedByAdmin
    })
}

/// Whether the caller may replay deliveries of the webhook: everyone who may change it, and the operator (D12).
pub fn replay(caller: &Caller, webhook: &Webhook, app: AppAccess) -> Result<(), Denial> {
    match caller {
        Caller::Operator => Ok(()),
        Caller::User(_) | Caller::Platform => change(caller, webhook, app),
    }
}

fn manage<'a>(caller: &'a Caller, webhook: &Webhook, app: AppAccess) -> Result<&'a UserCaller, Denial> {
    let caller = writer(caller, app)?;
    if !sees(&reach(caller, app), webhook) {
        return Err(Denial::NotFound);
    }
    if caller.app.is_some() && webhook.app.is_none() {
        return Err(Denial::Forbidden(
            "Through an app general webhooks can only be read.",
        ));
    }
    Ok(caller)
}

/// The user behind a token that may write. Operators only read and the platform only publishes: neither has webhooks.
fn writer(caller: &Caller, app: AppAccess) -> Result<&UserCaller, Denial> {
    match caller {
        Caller::User(user) if has_scope(user, user.may_write) => {
            if user.app.is_some() && !app.installed {
                Err(Denial::AppNotInstalled)
            } else {
                Ok(user)
            }
        }
        Caller::User(_) | Caller::Platform | Caller::Operator => Err(Denial::MissingScope),
    }
}

/// Whether the token's scopes are enough. `own` is whether it has the scope that a token without an app needs; through an
/// app `admin` replaces that, and nothing replaces `admin` (W2).
fn has_scope(user: &UserCaller, own: bool) -> bool {
    if user.app.is_some() {
        user.has_admin_scope
    } else {
        own
    }
}

/// What a user's token can see, regardless of scopes (W4). Through an app the role adds nothing.
fn reach(caller: &UserCaller, app: AppAccess) -> WebhookScope {
    let general = match (&caller.app, app.sees, caller.role) {
        (Some(_), ..) if !app.installed => return WebhookScope::Nothing,
        (Some(_), AppSees::Application, _) => GeneralScope::Nothing,
        (Some(_), AppSees::OwnGeneral, _) | (None, _, UserRole::Regular) => GeneralScope::Of(caller.user),
        (None, _, UserRole::Admin) => GeneralScope::All,
    };
    WebhookScope::Company {
        company: caller.company,
        general,
        application_of: caller.app.clone().map(|app| (app, caller.user)),
    }
}
