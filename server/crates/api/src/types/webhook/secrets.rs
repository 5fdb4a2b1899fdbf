//! Rotating a webhook's signing secret (E7).

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use secrecy::ExposeSecret;

use crate::context::Ask;
use crate::error::Result;
use crate::types::scalars::DateTime;
use crate::types::webhook::Webhook;
use crate::types::webhook::authorize::{Checked, is_removed, manageable, no_such_webhook, removed_already};
use crate::user_error::UserError;
use tenterhook_model::webhook::SigningSecrets;
use tenterhook_policy::{access, after, signing::SigningSecret};
use tenterhook_store::changes::announce_in_tx;
use tenterhook_store::webhooks;

/// Input of `rotateWebhookSecret`.
#[derive(InputObject)]
pub struct RotateWebhookSecretInput {
    /// The webhook's global id or number.
    id: ID,
}

/// Result of `rotateWebhookSecret`.
#[derive(SimpleObject)]
pub struct RotateWebhookSecretPayload {
    /// The webhook; null if there were errors.
    webhook: Option<Webhook>,
    /// The secret that signs its requests from now on, `whsec_…`. It is returned only here. Null if there were
    /// errors.
    signing_secret: Option<String>,
    /// When the previous secret stops signing; null if there were errors.
    previous_expires_at: Option<DateTime>,
    /// Errors in the input; empty on success.
    user_errors: Vec<UserError>,
}

/// Mutations of secrets.
#[derive(Default)]
pub struct SecretMutations;

#[Object]
impl SecretMutations {
    /// Gives a webhook a new signing secret. For a time, by default a day, requests carry two signatures, one of them made
    /// with the previous secret, so that a receiver can switch without a gap. Rotating again within that time ends the
    /// older secret at once.
    async fn rotate_webhook_secret(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The webhook.")] input: RotateWebhookSecretInput,
    ) -> Result<RotateWebhookSecretPayload> {
        Ok(match rotate(ctx, &input.id).await? {
            Ok(rotated) => RotateWebhookSecretPayload {
                webhook: Some(rotated.webhook),
                signing_secret: Some(rotated.secret.reveal().expose_secret().to_owned()),
                previous_expires_at: Some(rotated.previous_expires_at),
                user_errors: Vec::new(),
            },
            Err(problems) => RotateWebhookSecretPayload {
                webhook: None,
                signing_secret: None,
                previous_expires_at: None,
                user_errors: problems.into_errors(),
            },
        })
    }
}

struct Rotated {
    webhook: Webhook,
    secret: SigningSecret,
    previous_expires_at: DateTime,
}

async fn rotate(ctx: &Context<'_>, id: &ID) -> Result<Checked<Rotated>> {
    let services = ctx.services();
    let (found, ()) = match manageable(ctx, id, access::change).await? {
        Ok(found) => found,
        Err(problems) => return Ok(Err(problems)),
    };
    let (now, (lane, id)) = (ctx.now(), found.key());
    let secret = SigningSecret::generate();
    let sealed = services.sealing.seal_secret(id, &secret);
    let until = after(now, services.policy().secret_overlap);
    let rotated: Checked<_> = services
        .store
        .in_tx(async |conn| {
            let Some((mut webhook, health)) = webhooks::lock_in_tx(conn, lane, id).await? else {
                return Ok(Err(no_such_webhook()));
            };
            if is_removed(services, &webhook, &health, now) {
                return Ok(Err(removed_already()));
            }
            webhook.secrets = SigningSecrets {
                previous: Some((webhook.secrets.current, until)),
                current: sealed.clone(),
            };
            webhook.updated_at = now.max(webhook.updated_at);
            webhooks::write_secrets_in_tx(conn, &webhook).await?;
            let mark = announce_in_tx(conn, now, &[(lane, id)]).await?;
            Ok(Ok((webhook, health, mark)))
        })
        .await?;
    let (webhook, health, mark) = match rotated {
        Ok(rotated) => rotated,
        Err(problems) => return Ok(Err(problems)),
    };
    if let Some(mark) = mark {
        services.propagation.propagate_to_all(&mark).await;
    }
    Ok(Ok(Rotated {
        webhook: Webhook::new(ctx, (webhook, health)),
        secret,
        previous_expires_at: until.into(),
    }))
}
