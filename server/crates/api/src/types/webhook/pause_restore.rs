//! Pausing, resuming and restoring webhooks (W12, W13).
//!
//! A change is known to every process before the response. Deliveries that are published or become due after the
//! response to a pause are lost; after the response to a resumption or restoration they are sent.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use jiff::Timestamp;

use crate::context::{Ask, Services};
use crate::error::{ApiError, Result};
use crate::types::webhook::Webhook;
use crate::types::webhook::authorize::{
    Checked, is_removed, manageable, no_such_webhook, permitted, removed_already, wrong_state,
};
use crate::user_error::{Problems, UserError};
use tenterhook_model as model;
use tenterhook_model::health::Health;
use tenterhook_model::ids::{Lane, WebhookId};
use tenterhook_model::webhook::RemoveReason;
use tenterhook_policy::{access, health as machine};
use tenterhook_store::changes::{Mark, announce_in_tx};
use tenterhook_store::webhooks::{self, Account, Place};
use tenterhook_store::{Conn, StoreError, health};

/// Input of `pauseWebhook`.
#[derive(InputObject)]
pub struct PauseWebhookInput {
    /// The webhook's global id or number.
    id: ID,
}

/// Input of `resumeWebhook`.
#[derive(InputObject)]
pub struct ResumeWebhookInput {
    /// The webhook's global id or number.
    id: ID,
}

/// Input of `restoreWebhook`.
#[derive(InputObject)]
pub struct RestoreWebhookInput {
    /// The webhook's global id or number.
    id: ID,
}

/// Result of `pauseWebhook`.
#[derive(SimpleObject)]
pub struct PauseWebhookPayload {
    /// The webhook in its current state; null if there were errors.
    webhook: Option<Webhook>,
    /// Errors in the input; empty on success.
    user_errors: Vec<UserError>,
}

/// Result of `resumeWebhook`.
#[derive(SimpleObject)]
pub struct ResumeWebhookPayload {
    /// The webhook in its current state; null if there were errors.
    webhook: Option<Webhook>,
    /// Errors in the input; empty on success.
    user_errors: Vec<UserError>,
}

/// Result of `restoreWebhook`.
#[derive(SimpleObject)]
pub struct RestoreWebhookPayload {
    /// The webhook in its current state; null if there were errors.
    webhook: Option<Webhook>,
    /// Errors in the input; empty on success.
    user_errors: Vec<UserError>,
}

/// Mutations that pause, resume and restore webhooks.
#[derive(Default)]
pub struct PauseMutations;

#[Object]
impl PauseMutations {
    /// Pauses a webhook: after the response, deliveries that are published or become due are lost and listed as such.
    /// An open failure window closes; the ban counter and a ban continue.
    async fn pause_webhook(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The webhook.")] input: PauseWebhookInput,
    ) -> Result<PauseWebhookPayload> {
        let (webhook, user_errors) = payload(pause_or_resume(ctx, &input.id, PauseAction::Pause).await?);
        Ok(PauseWebhookPayload { webhook, user_errors })
    }

    /// Resumes a paused webhook: after the response, deliveries that are published or become due are sent.
    async fn resume_webhook(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The webhook.")] input: ResumeWebhookInput,
    ) -> Result<ResumeWebhookPayload> {
        let (webhook, user_errors) = payload(pause_or_resume(ctx, &input.id, PauseAction::Resume).await?);
        Ok(ResumeWebhookPayload { webhook, user_errors })
    }

    /// Restores a webhook that was removed because no delivery succeeded, while it is still readable. It becomes
    /// active, with the ban counter at zero and no failure window. It counts against the limit on webhooks.
    async fn restore_webhook(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The webhook.")] input: RestoreWebhookInput,
    ) -> Result<RestoreWebhookPayload> {
        let (webhook, user_errors) = payload(restore(ctx, &input.id).await?);
        Ok(RestoreWebhookPayload { webhook, user_errors })
    }
}

/// A webhook, or the errors in the input, including those with further data.
type Outcome = std::result::Result<Webhook, Vec<UserError>>;

fn payload(outcome: Outcome) -> (Option<Webhook>, Vec<UserError>) {
    match outcome {
        Ok(webhook) => (Some(webhook), Vec::new()),
        Err(errors) => (None, errors),
    }
}

/// Whether to pause or to resume.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PauseAction {
    Pause,
    Resume,
}

impl PauseAction {
    /// Changes the webhook, or returns why its state does not allow that.
    fn apply(
        self,
        webhook: &mut model::webhook::Webhook,
        health: &mut Health,
        now: Timestamp,
    ) -> Checked<()> {
        match (self, webhook.paused_at) {
            (Self::Pause, Some(_)) => return Err(wrong_state("the webhook is already paused")),
            (Self::Resume, None) => return Err(wrong_state("the webhook is not paused")),
            (Self::Pause, None) => {
                machine::pause(health);
                webhook.paused_at = Some(now);
            }
            (Self::Resume, Some(paused_at)) => {
                machine::resume(health, paused_at, now);
                webhook.paused_at = None;
            }
        }
        Ok(())
    }
}

async fn pause_or_resume(ctx: &Context<'_>, id: &ID, action: PauseAction) -> Result<Outcome> {
    let services = ctx.services();
    let (found, ()) = match manageable(ctx, id, access::change).await? {
        Ok(found) => found,
        Err(problems) => return Ok(Err(problems.into_errors())),
    };
    let (now, key) = (ctx.now(), found.key());
    let changed: Checked<_> = services
        .store
        .in_tx(async |conn| {
            let Some((mut webhook, mut health)) = hold_in_tx(conn, key).await? else {
                return Ok(Err(no_such_webhook()));
            };
            if is_removed(services, &webhook, &health, now) {
                return Ok(Err(removed_already()));
            }
            if let Err(problems) = action.apply(&mut webhook, &mut health, now) {
                return Ok(Err(problems));
            }
            Ok(Ok(write_in_tx(services, conn, (webhook, health), now).await?))
        })
        .await?;
    finish(ctx, changed.map_err(Problems::into_errors)).await
}

async fn restore(ctx: &Context<'_>, id: &ID) -> Result<Outcome> {
    let services = ctx.services();
    let (found, ()) = match permitted(ctx, id, access::change).await? {
        Ok(found) => found,
        Err(problems) => return Ok(Err(problems.into_errors())),
    };
    match (found.view.removed, found.webhook.removed) {
        (None, _) => return Ok(Err(wrong_state("the webhook is not removed").into_errors())),
        // The sweeper will decide in a moment whether a success that ended before still prevents the removal.
        (Some(_), None) => return Err(ApiError::unavailable("the webhook's removal is not recorded yet")),
        (Some((_, RemoveReason::NoSuccessfulDelivery)), Some(_)) => {}
        (Some(_), Some(_)) => {
            let why = "only a webhook that was removed because no delivery succeeded can be restored";
            return Ok(Err(wrong_state(why).into_errors()));
        }
    }
    let (now, key) = (ctx.now(), found.key());
    let account = Account::of(&found.webhook);
    let limit = services.policy().webhook_limit;
    let restored: std::result::Result<_, Vec<UserError>> = services
        .store
        .in_tx(async |conn| {
            match webhooks::place_in_tx(conn, &account, limit.into(), &services.cutoffs(now)).await? {
                Place::Free => {}
                Place::Taken { used } => {
                    return Ok(Err(vec![UserError::limit_reached(
                        limit,
                        used,
                        found.webhook.kind().into(),
                    )]));
                }
                Place::NoSuchUser => {
                    return Ok(Err(wrong_state("the webhook's user was removed").into_errors()));
                }
                Place::AppNotInstalled => {
                    return Ok(Err(
                        wrong_state("the webhook's app is not installed").into_errors()
                    ));
                }
            }
            let Some((mut webhook, mut health)) = hold_in_tx(conn, key).await? else {
                return Ok(Err(no_such_webhook().into_errors()));
            };
            if webhook.removed.is_none() {
                return Ok(Err(wrong_state("the webhook is not removed").into_errors()));
            }
            machine::restore(&mut health, now);
            webhook.removed = None;
            webhook.paused_at = None;
            Ok(Ok(write_in_tx(services, conn, (webhook, health), now).await?))
        })
        .await?;
    finish(ctx, restored).await
}

/// Locks the webhook and its health. Health first: all code that locks both uses this order.
async fn hold_in_tx(
    conn: &mut Conn,
    (lane, id): (Lane, WebhookId),
) -> std::result::Result<Option<(model::webhook::Webhook, Health)>, StoreError> {
    health::lock_in_tx(conn, &[(lane, id)]).await?;
    webhooks::lock_in_tx(conn, lane, id).await
}

type Written = (model::webhook::Webhook, Health, Option<Mark>);

async fn write_in_tx(
    services: &Services,
    conn: &mut Conn,
    (mut webhook, health): (model::webhook::Webhook, Health),
    now: Timestamp,
) -> std::result::Result<Written, StoreError> {
    webhook.updated_at = now.max(webhook.updated_at);
    webhooks::write_standing_in_tx(conn, &webhook).await?;
    let due = machine::due(&health, services.policy());
    let locked = health::Locked {
        lane: webhook.lane,
        webhook: webhook.id,
        company: webhook.company,
        health,
    };
    let rows = [(locked, due)];
    health::write_in_tx(conn, &rows).await?;
    let mark = announce_in_tx(conn, now, &[(webhook.lane, webhook.id)]).await?;
    let [(locked, _)] = rows;
    Ok((webhook, locked.health, mark))
}

/// Returns once every process knows of the change.
async fn finish(ctx: &Context<'_>, written: std::result::Result<Written, Vec<UserError>>) -> Result<Outcome> {
    let (webhook, health, mark) = match written {
        Ok(written) => written,
        Err(errors) => return Ok(Err(errors)),
    };
    if let Some(mark) = mark {
        ctx.services().propagation.propagate_to_all(&mark).await;
    }
    Ok(Ok(Webhook::new(ctx, (webhook, health))))
}
