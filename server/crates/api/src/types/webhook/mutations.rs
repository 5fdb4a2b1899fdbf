//! Creating, changing and deleting webhooks (W1–W11).

mod idempotency;
mod validate;

use async_graphql::{Context, ID, InputObject, MaybeUndefined, Object, SimpleObject};
use secrecy::ExposeSecret;

use self::idempotency::{keyed, repeated};
use self::validate::{Change, Subscription};
use crate::context::{Ask, Services};
use crate::error::{ApiError, Result};
use crate::types::enums::{EventAction, PayloadVersion};
use crate::types::scalars::EventObject;
use crate::types::webhook::Webhook;
use crate::types::webhook::authorize::{
    Checked, by_key, is_removed, manageable, no_such_webhook, removed_already,
};
use crate::user_error::{Path, Problems, UserError, UserErrorCode, denied};
use tenterhook_model as model;
use tenterhook_model::access::{Caller, UserCaller};
use tenterhook_model::health::Health;
use tenterhook_model::ids::{UserId, WebhookId};
use tenterhook_policy::access::{self, Denial, NewOwnership};
use tenterhook_policy::signing::SigningSecret;
use tenterhook_store::changes::announce_in_tx;
use tenterhook_store::creation_keys::{self, CreationKey};
use tenterhook_store::removal;
use tenterhook_store::webhooks::{self, Creation, NewWebhook};

/// Input of `createWebhook`. A token that acts through an app creates an application webhook; any other token creates a
/// general one.
#[derive(InputObject)]
pub struct CreateWebhookInput {
    /// The URL to which events are sent: absolute, `http` or `https`, publicly reachable, up to 2048 characters.
    pub subscription_url: String,
    /// The action of the events that the webhook gets; `ANY` for all actions.
    pub event_action: EventAction,
    /// The kind of object of the events that the webhook gets; `*` for all objects in the catalogue of the version.
    pub event_object: EventObject,
    /// Version of the payloads that the webhook gets.
    #[graphql(default_with = "Some(PayloadVersion::V2)")]
    pub version: Option<PayloadVersion>,
    /// A label for people, up to 255 characters.
    pub name: Option<String>,
    /// The id of the user that the webhook belongs to. Default: the caller. An admin may name another user of the
    /// company.
    pub user_id: Option<ID>,
    /// User name of HTTP basic credentials that are sent with every request, up to 255 characters; may be empty.
    pub http_auth_user: Option<String>,
    /// Password of the HTTP basic credentials, up to 255 characters. Stored encrypted, never returned.
    #[graphql(secret)]
    pub http_auth_password: Option<String>,
    /// Makes the call safe to repeat, up to 255 characters. If the same user, through the same app or none, repeats the
    /// same input with this key within a day (by default), no second webhook is created. The response then has the first
    /// webhook in its current state, removed or not, without its secret. Another input with this key is a conflict.
    pub idempotency_key: Option<String>,
}

impl CreateWebhookInput {
    fn version(&self) -> model::webhook::PayloadVersion {
        self.version.unwrap_or(PayloadVersion::V2).into()
    }
}

/// Input of `updateWebhook`. An absent field stays unchanged; null clears a field that may be empty.
#[derive(InputObject)]
pub struct UpdateWebhookInput {
    /// The webhook's global id or number.
    id: ID,
    /// The URL to which events are sent.
    subscription_url: MaybeUndefined<String>,
    /// The action of the events that the webhook gets; `ANY` for all actions.
    event_action: MaybeUndefined<EventAction>,
    /// The kind of object of the events that the webhook gets; `*` for all objects in the catalogue of its version.
    event_object: MaybeUndefined<EventObject>,
    /// A label for people, up to 255 characters.
    name: MaybeUndefined<String>,
    /// User name of HTTP basic credentials, up to 255 characters; may be empty. Null clears the password too.
    http_auth_user: MaybeUndefined<String>,
    /// Password of the HTTP basic credentials, up to 255 characters. Stored encrypted, never returned.
    #[graphql(secret)]
    http_auth_password: MaybeUndefined<String>,
}

/// Input of `deleteWebhook`.
#[derive(InputObject)]
pub struct DeleteWebhookInput {
    /// The webhook's global id or number.
    id: ID,
}

/// Result of `createWebhook`.
#[derive(SimpleObject)]
pub struct CreateWebhookPayload {
    /// The webhook; null if there were errors.
    webhook: Option<Webhook>,
    /// The secret that signs its requests, `whsec_…`. It is returned only here. Null if there were errors, or if an
    /// earlier call with the same `idempotencyKey` created the webhook.
    signing_secret: Option<String>,
    /// Errors in the input; empty on success.
    user_errors: Vec<UserError>,
}

/// Result of `updateWebhook`.
#[derive(SimpleObject)]
pub struct UpdateWebhookPayload {
    /// The webhook in its current state; null if there were errors.
    webhook: Option<Webhook>,
    /// Errors in the input; empty on success.
    user_errors: Vec<UserError>,
}

/// Result of `deleteWebhook`.
#[derive(SimpleObject)]
pub struct DeleteWebhookPayload {
    /// The global id of the deleted webhook; null if there were errors.
    deleted_webhook_id: Option<ID>,
    /// The webhook in its current state, readable for a while; null if there were errors.
    webhook: Option<Webhook>,
    /// Errors in the input; empty on success.
    user_errors: Vec<UserError>,
}

/// Mutations of webhooks.
#[derive(Default)]
pub struct WebhookMutations;

#[Object]
impl WebhookMutations {
    /// Creates a webhook, active and with a new signing secret.
    async fn create_webhook(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The webhook.")] input: CreateWebhookInput,
    ) -> Result<CreateWebhookPayload> {
        Ok(match create(ctx, input).await? {
            Ok((webhook, secret)) => CreateWebhookPayload {
                webhook: Some(webhook),
                signing_secret: secret.map(|secret| secret.reveal().expose_secret().to_owned()),
                user_errors: Vec::new(),
            },
            Err(user_errors) => CreateWebhookPayload {
                webhook: None,
                signing_secret: None,
                user_errors,
            },
        })
    }

    /// Changes a webhook. An attempt uses the settings that the webhook has when the attempt starts, even if its event
    /// was published earlier.
    async fn update_webhook(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The webhook, and the fields to change.")] input: UpdateWebhookInput,
    ) -> Result<UpdateWebhookPayload> {
        Ok(match update(ctx, input).await? {
            Ok(webhook) => UpdateWebhookPayload {
                webhook: Some(webhook),
                user_errors: Vec::new(),
            },
            Err(problems) => UpdateWebhookPayload {
                webhook: None,
                user_errors: problems.into_errors(),
            },
        })
    }

    /// Deletes a webhook: after the response no attempt starts for it.
    async fn delete_webhook(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The webhook.")] input: DeleteWebhookInput,
    ) -> Result<DeleteWebhookPayload> {
        Ok(match delete(ctx, &input.id).await? {
            Ok(webhook) => DeleteWebhookPayload {
                deleted_webhook_id: Some(webhook.global_id().to_id()),
                webhook: Some(webhook),
                user_errors: Vec::new(),
            },
            Err(problems) => DeleteWebhookPayload {
                deleted_webhook_id: None,
                webhook: None,
                user_errors: problems.into_errors(),
            },
        })
    }
}

/// A new webhook with its secret, or why there is none. Without the secret, the webhook that an earlier call created.
pub type Created = std::result::Result<(Webhook, Option<SigningSecret>), Vec<UserError>>;

/// Creates a webhook (W1 to W3, W7, W9 to W11).
pub async fn create(ctx: &impl Ask, input: CreateWebhookInput) -> Result<Created> {
    let services = ctx.services();
    let (ownership, caller) = match ownership(ctx, input.user_id.as_ref())? {
        Ok(ownership) => ownership,
        Err(problems) => return Ok(Err(problems.into_errors())),
    };
    let company = caller.company;
    let key = match keyed(ctx, caller, &ownership, &input) {
        Ok(key) => key,
        Err(problems) => return Ok(Err(problems.into_errors())),
    };
    if let Some(key) = &key {
        // Before any check whose result may have changed since the first call, such as the address of a host name.
        let before = creation_keys::find(&mut *services.store.conn().await?, key, ctx.now()).await?;
        if let Some(before) = before {
            return Ok(without_secret(repeated(ctx, key, &input, before).await?));
        }
    }
    let subscription = match Subscription::check(ctx, &input).await {
        Ok(subscription) => subscription,
        Err(problems) => return Ok(Err(problems.into_errors())),
    };
    let now = ctx.now();
    let id = WebhookId::new(now);
    let version = input.version();
    let secret = SigningSecret::generate();
    let new = NewWebhook {
        id,
        company,
        owner: ownership.owner,
        user: ownership.user,
        app: ownership.app,
        name: input.name.clone(),
        url: subscription.url.into(),
        action: input.event_action.into(),
        object: input.event_object.0.clone(),
        version,
        auth: subscription
            .auth
            .map(|auth| services.sealing.seal_auth(id, &auth)),
        secret: services.sealing.seal_secret(id, &secret),
        at: now,
    };
    let limit = services.policy().webhook_limit;
    let creation = store(services, &new, key.as_ref()).await?;
    Ok(match creation {
        Creation::Created(webhook) => Ok((Webhook::new(ctx, (*webhook, Health::default())), Some(secret))),
        Creation::Repeated(before) => match &key {
            Some(key) => without_secret(repeated(ctx, key, &input, before).await?),
            None => {
                return Err(ApiError::internal(
                    "a creation without a key was treated as a repetition",
                ));
            }
        },
        Creation::LimitReached { used } => {
            Err(vec![UserError::limit_reached(limit, used, new.kind().into())])
        }
        Creation::NoSuchUser => {
            let at = Path::input().field("userId");
            Err(Problems::one(UserErrorCode::NotFound, at, "no such user in this company").into_errors())
        }
        Creation::AppNotInstalled => Err(denied(Denial::AppNotInstalled, Path::input())?.into_errors()),
    })
}

/// Stores a new webhook, unless the limit is reached or its key was used before.
async fn store(services: &Services, new: &NewWebhook, key: Option<&CreationKey>) -> Result<Creation> {
    let limit = services.policy().webhook_limit;
    let cutoffs = services.cutoffs(new.at);
    let creation = services
        .store
        .in_tx(async |conn| {
            let creation = webhooks::create_in_tx(conn, new, key, limit.into(), &cutoffs).await?;
            if let Creation::Created(webhook) = &creation {
                // For subscribers only: no process needs it, so the response does not wait for propagation.
                announce_in_tx(conn, new.at, &[(webhook.lane, webhook.id)]).await?;
            }
            Ok(creation)
        })
        .await?;
    Ok(creation)
}

/// The webhook created before, without its secret (returned only by the first call); or why it is not returned.
fn without_secret(found: Checked<Webhook>) -> Created {
    found
        .map(|webhook| (webhook, None))
        .map_err(Problems::into_errors)
}

/// The owner and user of the new webhook, and the caller.
fn ownership<'a>(
    ctx: &'a impl Ask,
    requested: Option<&ID>,
) -> Result<Checked<(NewOwnership, &'a UserCaller)>> {
    let session = ctx.session();
    let at = Path::input().field("userId");
    // A caller that may not write learns nothing about its input.
    if let Err(denial) = access::write(&session.caller, session.app) {
        return Ok(Err(denied(denial, at)?));
    }
    let Caller::User(caller) = &session.caller else {
        return Err(ApiError::forbidden());
    };
    let requested: Option<UserId> = match requested.map(|id| id.parse()).transpose() {
        Ok(requested) => requested,
        Err(why) => return Ok(Err(Problems::one(UserErrorCode::Invalid, at, why))),
    };
    match access::create_as(&session.caller, requested, session.app) {
        Ok(ownership) => Ok(Ok((ownership, caller))),
        Err(denial) => Ok(Err(denied(denial, at)?)),
    }
}

async fn update(ctx: &Context<'_>, input: UpdateWebhookInput) -> Result<Checked<Webhook>> {
    let services = ctx.services();
    let (found, ()) = match manageable(ctx, &input.id, access::change).await? {
        Ok(found) => found,
        Err(problems) => return Ok(Err(problems)),
    };
    let change = match Change::check(ctx, input).await {
        Ok(change) => change,
        Err(problems) => return Ok(Err(problems)),
    };
    let (now, (lane, id)) = (ctx.now(), found.key());
    let changed = services
        .store
        .in_tx(async |conn| {
            let Some((webhook, health)) = webhooks::lock_in_tx(conn, lane, id).await? else {
                return Ok(Err(no_such_webhook()));
            };
            if is_removed(services, &webhook, &health, now) {
                return Ok(Err(removed_already()));
            }
            let webhook = match change.apply(services, webhook, now)? {
                Ok(webhook) => webhook,
                Err(problems) => return Ok(Err(problems)),
            };
            webhooks::write_in_tx(conn, &webhook).await?;
            let mark = announce_in_tx(conn, now, &[(lane, id)]).await?;
            Ok(Ok((webhook, health, mark)))
        })
        .await?;
    let (webhook, health, mark) = match changed {
        Ok(changed) => changed,
        Err(problems) => return Ok(Err(problems)),
    };
    if let Some(mark) = mark {
        services.propagation.propagate_to_all(&mark).await;
    }
    Ok(Ok(Webhook::new(ctx, (webhook, health))))
}

/// Deletes the webhook with this global id or number (W6, W7). When this returns, no attempt starts for it in any process.
pub async fn delete(ctx: &impl Ask, id: &ID) -> Result<Checked<Webhook>> {
    let services = ctx.services();
    let (found, reason) = match manageable(ctx, id, access::delete).await? {
        Ok(found) => found,
        Err(problems) => return Ok(Err(problems)),
    };
    let (now, keys) = (ctx.now(), [found.key()]);
    let removed = services
        .store
        .in_tx(async |conn| removal::remove_in_tx(conn, now, &keys, reason).await)
        .await?;
    if removed.webhooks == 0 {
        return Ok(Err(removed_already()));
    }
    if let Some(mark) = removed.mark {
        services.propagation.propagate_to_all(&mark).await;
    }
    let webhook = by_key(ctx, keys[0]).await?;
    Ok(webhook
        .map(|state| Webhook::new(ctx, state))
        .ok_or_else(no_such_webhook))
}
