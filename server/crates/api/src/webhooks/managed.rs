//! The webhook that a mutation's input names, if the caller may treat it so.
//!
//! Promises one order of answers: a missing scope, then an app that is not installed, then a webhook that the caller
//! does not see, then one it sees but may not touch, and only then the state it is in.

use async_graphql::{Context, ID};
use jiff::Timestamp;

use super::Webhook;
use crate::context::{Ask, Services};
use crate::error::Result;
use crate::global_id::GlobalId;
use crate::user_error::{Path, Problems, UserErrorCode, denied};
use tenterhook_model as model;
use tenterhook_model::access::{Caller, WebhookScope};
use tenterhook_model::health::Health;
use tenterhook_model::ids::{Lane, WebhookId};
use tenterhook_policy::access::{self, Denial};
use tenterhook_policy::health::view;
use tenterhook_store::webhooks;

/// A value, or what was wrong with the input.
pub type Checked<T> = std::result::Result<T, Problems>;

/// The webhook of a global id that the caller may treat so, unless it is removed.
pub async fn manageable<T>(
    ctx: &Context<'_>,
    id: &ID,
    may: impl Fn(&Caller, &model::webhook::Webhook, bool) -> std::result::Result<T, Denial>,
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

/// The webhook of a global id that the caller may treat so, removed or not.
pub async fn permitted<T>(
    ctx: &Context<'_>,
    id: &ID,
    may: impl Fn(&Caller, &model::webhook::Webhook, bool) -> std::result::Result<T, Denial>,
) -> Result<Checked<(Webhook, T)>> {
    let session = ctx.session();
    let at = Path::input().field("id");
    // Who may not write at all learns nothing about the id.
    if let Err(denial) = access::write(&session.caller, session.app_installed) {
        return Ok(Err(denied(denial, at)?));
    }
    let Some(key) = GlobalId::webhook(id) else {
        return Ok(Err(no_such_webhook()));
    };
    let Some((webhook, health)) = by_key(ctx, key).await? else {
        return Ok(Err(no_such_webhook()));
    };
    let allowed = match may(&session.caller, &webhook, session.app_installed) {
        Ok(allowed) => allowed,
        Err(denial) => return Ok(Err(denied(denial, at)?)),
    };
    Ok(Ok((Webhook::new(ctx, (webhook, health)), allowed)))
}

/// A webhook, whoever asks.
pub async fn by_key(
    ctx: &Context<'_>,
    key: (Lane, WebhookId),
) -> Result<Option<(model::webhook::Webhook, Health)>> {
    let mut conn = ctx.services().store.conn().await?;
    let found = webhooks::find(&mut conn, &[key], &WebhookScope::Everything, &ctx.cutoffs()).await?;
    Ok(found.into_iter().next())
}

/// Whether a webhook is removed at `now`, written or not (T3).
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

/// The input names no webhook, as far as the caller is concerned.
pub fn no_such_webhook() -> Problems {
    Problems::one(
        UserErrorCode::NotFound,
        Path::input().field("id"),
        Denial::NotFound,
    )
}

/// The webhook is removed, which this does not go with.
pub fn removed_already() -> Problems {
    Problems::one(
        UserErrorCode::InvalidState,
        Path::input().field("id"),
        "the webhook is removed already",
    )
}

/// What is asked for does not go with the state the webhook is in.
pub fn wrong_state(message: &str) -> Problems {
    Problems::one(UserErrorCode::InvalidState, Path::input().field("id"), message)
}
