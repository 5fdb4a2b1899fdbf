//! Idempotency keys of creations: a repeated call returns the webhook that the first call created.
//!
//! A key works only for the user who chose it, through the same app. The password is compared without being stored.

use sha2::{Digest, Sha256};

use crate::context::Ask;
use crate::error::Result;
use crate::types::webhook::Webhook;
use crate::types::webhook::authorize::Checked;
use crate::types::webhook::mutations::CreateWebhookInput;
use crate::user_error::{Path, Problem, Problems, UserErrorCode};
use tenterhook_model::access::UserCaller;
use tenterhook_policy::access::NewOwnership;
use tenterhook_policy::input_limits;
use tenterhook_store::creation_keys::{Asked, CreationKey, Remembered};
use tenterhook_store::webhooks;

/// The input's key with a hash of the input, if it has a key.
pub(super) fn keyed(
    ctx: &impl Ask,
    caller: &UserCaller,
    ownership: &NewOwnership,
    input: &CreateWebhookInput,
) -> Checked<Option<CreationKey>> {
    let Some(key) = &input.idempotency_key else {
        return Ok(None);
    };
    input_limits::text(key, input_limits::IDEMPOTENCY_KEY_CHARS)
        .map_err(|problem| Problems::one(problem.code(), key_path(), problem))?;
    let services = ctx.services();
    let window = services.policy().idempotency_window;
    let expires_at = ctx.now().saturating_add(window).unwrap_or(jiff::Timestamp::MAX);
    // An absent field counts as its default.
    let content = serde_json::json!([
        input.subscription_url,
        tenterhook_model::webhook::EventAction::from(input.event_action).code(),
        input.event_object.0,
        input.version().code(),
        input.name,
        ownership.user.get(),
        input.http_auth_user,
        input.http_auth_password.is_some(),
    ]);
    let asked = Asked {
        request_hash: Sha256::digest(content.to_string().as_bytes()).to_vec(),
        password_print: input
            .http_auth_password
            .as_ref()
            .map(|password| services.sealing.fingerprint(password.as_bytes())),
    };
    Ok(Some(CreationKey::new(caller, key.clone(), asked, expires_at)))
}

/// The webhook that the first call with the key created, in its current state, if the caller may still see it.
pub(super) async fn repeated(
    ctx: &impl Ask,
    key: &CreationKey,
    input: &CreateWebhookInput,
    before: Remembered,
) -> Result<Checked<Webhook>> {
    let services = ctx.services();
    let same_password = match (&input.http_auth_password, &before.asked.password_print) {
        // If the sealing key of the fingerprint no longer exists, the rest of the input decides.
        (Some(password), Some(print)) => services.sealing.is_of(print, password.as_bytes()).unwrap_or(true),
        (given, kept) => given.is_none() && kept.is_none(),
    };
    if !same_password || !key.asks_as(&before.asked) {
        let why = "this key was used before, with another input";
        return Ok(Err(Problems::one(
            UserErrorCode::IdempotencyConflict,
            key_path(),
            why,
        )));
    }
    let (scope, cutoffs) = (ctx.session().scope(), ctx.cutoffs());
    let mut conn = services.store.conn().await?;
    let found = webhooks::find(&mut conn, &[before.webhook], &scope, &cutoffs).await?;
    drop(conn);
    let gone = || {
        let why = "the webhook that was created with this key no longer exists: use another key";
        Problems::one(UserErrorCode::NotFound, key_path(), why)
    };
    let found = found.into_iter().next().ok_or_else(gone);
    Ok(found.map(|state| Webhook::new(ctx, state)))
}

fn key_path() -> Path {
    Path::input().field("idempotencyKey")
}
