//! Finds the webhook in a mutation's input and checks that the caller may do this with it.
//!
//! The order of errors is fixed: a missing scope, then an app that is not installed, then a webhook that the caller
//! may not see, then one that it may see but not change, and only then the webhook's state.

use async_graphql::ID;
use jiff::Timestamp;

use crate::context::{Ask, Services};
use crate::error::Result;
use crate::types::webhook::Webhook;
use crate::user_error::{Path, Problems, UserErrorCode, denied};
use crate::webhook_name::key_of;
use tenterhook_model as model;
use tenterhook_model::access::{Caller, WebhookScope};
use tenterhook_model::health::Health;
use tenterhook_model::ids::{Lane, WebhookId};
use tenterhook_policy::access::{self, AppAccess, Denial};
use tenterhook_policy::health::view;
use tenterhook_store::webhooks;

/// A value, or the errors in the input.
pub type Checked<T> = std::result::Result<T, Problems>;

/// The webhook with this global id or number, if `may` allows the caller to act on it and it is not removed.
pub async fn manageable<T>(
    ctx: &impl Ask,
    id: &ID,
    may: impl Fn(&Caller, &model::webhook::Webhook, AppAccess) -> std::result::Result<T, Denial>,
) -> Result<Checked<(Webhook, T)>> {
    let (found, allowed) = match permitted(ctx, id, may).await? {
        Ok(found) => found,
        Err(problems) => return Ok(Err(problems)),
    };
    if found.view.removed.is_some() {
        return Ok(Err(removed_already()));
    }
    Ok(Ok((found, allowed)))
}

/// The webhook with this global id or number, if `may` allows the caller to act on it, removed or not.
pub async fn permitted<T>(
    ctx: &impl Ask,
    id: &ID,
    may: impl Fn(&Caller, &model::webhook::Webhook, AppAccess) -> std::result::Result<T, Denial>,
) -> Result<Checked<(Webhook, T)>> {
    let session = ctx.session();
    let at = Path::input().field("id");
    // A caller that may not write learns nothing about the id.
    if let Err(denial) = access::write(&session.caller, session.app) {
        return Ok(Err(denied(denial, at)?));
    }
    let Some(key) = key_of(ctx.services(), &session.caller, id).await? else {
        return Ok(Err(no_such_webhook()));
    };
    let Some((webhook, health)) = by_key(ctx, key).await? else {
        return Ok(Err(no_such_webhook()));
    };
    let allowed = match may(&session.caller, &webhook, session.app) {
        Ok(allowed) => allowed,
        Err(denial) => return Ok(Err(denied(denial, at)?)),
    };
    Ok(Ok((Webhook::new(ctx, (webhook, health)), allowed)))
}

/// A webhook, without a check of the caller.
pub async fn by_key(
    ctx: &impl Ask,
    key: (Lane, WebhookId),
) -> Result<Option<(model::webhook::Webhook, Health)>> {
    let mut conn = ctx.services().store.conn().await?;
    let found = webhooks::find(&mut conn, &[key], &WebhookScope::Everything, &ctx.cutoffs()).await?;
    Ok(found.into_iter().next())
}

/// Whether a webhook is removed at `now`, even if that is not written yet (T3).
pub fn is_removed(
    services: &Services,
    webhook: &model::webhook::Webhook,
    health: &Health,
    now: Timestamp,
) -> bool {
    view(health, webhook.paused_at, webhook.removed, now, services.policy())
        .removed
        .is_some()
}

/// The error for an id of no webhook, or of one that the caller may not see.
pub fn no_such_webhook() -> Problems {
    Problems::one(
        UserErrorCode::NotFound,
        Path::input().field("id"),
        Denial::NotFound,
    )
}

/// The error for a webhook that is already removed.
pub fn removed_already() -> Problems {
    Problems::one(
        UserErrorCode::InvalidState,
        Path::input().field("id"),
        "the webhook is already removed",
    )
}

/// The error for an operation that is not possible in the webhook's state.
pub fn wrong_state(message: &str) -> Problems {
    Problems::one(UserErrorCode::InvalidState, Path::input().field("id"), message)
}
