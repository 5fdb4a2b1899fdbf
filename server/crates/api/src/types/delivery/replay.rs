//! Replays (D12): sends old events again.

mod selection;

use std::collections::{BTreeSet, HashMap};

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use sha2::{Digest, Sha256};

use self::selection::{Checked, not_active, selected, states};
use crate::context::Ask;
use crate::error::{ApiError, Result};
use crate::global_id::GlobalId;
use crate::relay::cost_of;
use crate::types::delivery::Delivery;
use crate::types::enums::DeliveryStatus;
use crate::types::scalars::DateTime;
use crate::user_error::{Path, Problem, Problems, UserError, UserErrorCode, denied};
use crate::webhook_name::key_of;
use tenterhook_engine::{REPLAYS_SHOWN, Replayed};
use tenterhook_model::access::{Caller, WebhookScope};
use tenterhook_model::delivery;
use tenterhook_policy::access;
use tenterhook_policy::input_limits;
use tenterhook_store::deliveries::replay_idempotency::{self, Remembered, ReplayKey};
use tenterhook_store::deliveries::{self, DeliveryPlace};

/// Input of `replayDeliveries`: either `deliveryIds`, or `webhookId` with conditions that its deliveries must match.
#[derive(InputObject)]
pub struct ReplayDeliveriesInput {
    /// The global ids of up to 1000 deliveries that have ended.
    delivery_ids: Option<Vec<ID>>,
    /// The global id or number of a webhook: replays up to 50,000 of its deliveries that have ended. If there are more,
    /// select fewer with `since` and `until`. Deliveries of events that are too old to be replayed are left out.
    webhook_id: Option<ID>,
    /// With `webhookId`: only deliveries created at or after this time.
    since: Option<DateTime>,
    /// With `webhookId`: only deliveries created before this time.
    until: Option<DateTime>,
    /// With `webhookId`: only deliveries that ended in these states. Default: all that have ended.
    status: Option<Vec<DeliveryStatus>>,
    /// Whether to check and count the deliveries only, and send nothing.
    #[graphql(default_with = "Some(false)")]
    dry_run: Option<bool>,
    /// Makes the call safe to repeat, up to 255 characters. If the same caller repeats the same input with this key
    /// within a day (by default), nothing is sent, and the response has the deliveries of the first call, even if more
    /// match now. A dry run ignores the key.
    idempotency_key: Option<String>,
}

/// Result of `replayDeliveries`.
#[derive(SimpleObject)]
pub struct ReplayDeliveriesPayload {
    /// How many deliveries the call created, one for each pair of event and webhook. For a repeated key, how many the
    /// first call created. In a dry run, how many the call would create. 0 if there were errors.
    count: i32,
    /// The first 100 of the created deliveries.
    ///
    /// Cost: 1 + 100 × cost of the selected fields.
    #[graphql(complexity = "cost_of(REPLAYS_SHOWN, child_complexity)")]
    deliveries: Vec<Delivery>,
    /// Errors in the input; empty on success.
    user_errors: Vec<UserError>,
}

/// Mutations of deliveries.
#[derive(Default)]
pub struct ReplayMutations;

#[Object]
impl ReplayMutations {
    /// Sends old events again. Each replay is a new delivery of the same event, with the same event id, and begins with
    /// attempt 1. Replays all selected deliveries or none. Refused while a webhook is banned, paused or removed, and for
    /// events that were accepted longer ago than history is kept, by default 30 days.
    async fn replay_deliveries(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which deliveries to replay.")] input: ReplayDeliveriesInput,
    ) -> Result<ReplayDeliveriesPayload> {
        Ok(match replay(ctx, input).await? {
            Ok(payload) => payload,
            Err(problems) => ReplayDeliveriesPayload {
                count: 0,
                deliveries: Vec::new(),
                user_errors: problems.into_errors(),
            },
        })
    }
}

async fn replay(
    ctx: &Context<'_>,
    mut input: ReplayDeliveriesInput,
) -> Result<Checked<ReplayDeliveriesPayload>> {
    let session = ctx.session();
    // A caller that may not write learns nothing about the ids.
    if session.caller != Caller::Operator
        && let Err(denial) = access::write(&session.caller, session.app)
    {
        return Ok(Err(denied(denial, Path::input())?));
    }
    name_webhook_by_id(ctx, &mut input).await?;
    let dry_run = input.dry_run.unwrap_or(false);
    let key = match keyed(&session.caller, &input) {
        Ok(key) => key.filter(|_| !dry_run),
        Err(problems) => return Ok(Err(problems)),
    };
    if let Some(key) = &key {
        // Before any check whose result may have changed since the first call.
        let before =
            replay_idempotency::find(&mut *ctx.services().store.conn().await?, key, ctx.now()).await?;
        if let Some(before) = before {
            return repeated(ctx, key, before).await;
        }
    }
    let selected = match selected(ctx, input).await? {
        Ok(selected) => selected,
        Err(problems) => return Ok(Err(problems)),
    };
    if dry_run || (selected.is_empty() && key.is_none()) {
        let events: BTreeSet<_> = selected.iter().map(|key| (key.webhook, key.event)).collect();
        return Ok(Ok(answer(events.len(), Vec::new())));
    }
    match ctx.services().replayer.replay(&selected, key.as_ref()).await? {
        Replayed::Made { count, first } => {
            Ok(Ok(answer(count, first.into_iter().map(Delivery::from).collect())))
        }
        Replayed::Repeated(before) => match &key {
            Some(key) => repeated(ctx, key, before).await,
            None => Err(ApiError::internal(
                "a replay without a key was treated as a repetition",
            )),
        },
        Replayed::NotActive(_) => Ok(Err(not_active(Path::input()))),
    }
}

/// Replaces a webhook's number by its id, so that both are the same input for the key. A text that names no webhook stays.
async fn name_webhook_by_id(ctx: &Context<'_>, input: &mut ReplayDeliveriesInput) -> Result<()> {
    if let Some(id) = &mut input.webhook_id
        && let Some((lane, webhook)) = key_of(ctx.services(), &ctx.session().caller, id).await?
    {
        *id = GlobalId::Webhook(lane, webhook).to_id();
    }
    Ok(())
}

/// The input's key, with a SHA-256 of the whole input except the key and `dryRun`.
fn keyed(caller: &Caller, input: &ReplayDeliveriesInput) -> Checked<Option<ReplayKey>> {
    let Some(key) = &input.idempotency_key else {
        return Ok(None);
    };
    input_limits::text(key, input_limits::IDEMPOTENCY_KEY_CHARS)
        .map_err(|problem| Problems::one(problem.code(), key_path(), problem))?;
    let ids: Option<Vec<&str>> = input
        .delivery_ids
        .as_ref()
        .map(|ids| ids.iter().map(|id| id.as_str()).collect());
    let statuses: Option<BTreeSet<i16>> = input.status.as_ref().map(|all| {
        let code = |status: &DeliveryStatus| delivery::DeliveryStatus::from(*status).code();
        all.iter().map(code).collect()
    });
    let content = serde_json::json!([
        ids,
        input.webhook_id.as_ref().map(|id| id.as_str()),
        input.since.map(|at| at.0),
        input.until.map(|at| at.0),
        statuses,
    ]);
    let hash = Sha256::digest(content.to_string().as_bytes()).to_vec();
    Ok(Some(ReplayKey::new(caller, key.clone(), hash)))
}

/// The deliveries that the first call with the key created, in their current state, as far as the caller could still
/// replay them.
async fn repeated(
    ctx: &Context<'_>,
    key: &ReplayKey,
    before: Remembered,
) -> Result<Checked<ReplayDeliveriesPayload>> {
    if !key.is_of(&before) {
        let why = "this key was used before, with another input";
        return Ok(Err(Problems::one(
            UserErrorCode::IdempotencyConflict,
            key_path(),
            why,
        )));
    }
    let everything = WebhookScope::Everything;
    let mut conn = ctx.services().store.conn().await?;
    let found = deliveries::find(&mut conn, &before.first, &everything, &ctx.cutoffs()).await?;
    drop(conn);
    let webhooks: BTreeSet<_> = found
        .iter()
        .map(|delivery| (delivery.key.lane, delivery.key.webhook))
        .collect();
    let states = states(ctx, &webhooks.into_iter().collect::<Vec<_>>()).await?;
    let session = ctx.session();
    let still = |delivery: &delivery::Delivery| {
        let state = states.get(&delivery.key.webhook);
        state.is_some_and(|(webhook, _)| access::replay(&session.caller, webhook, session.app).is_ok())
    };
    let mut found: HashMap<DeliveryPlace, delivery::Delivery> = found
        .into_iter()
        .filter(still)
        .map(|delivery| (DeliveryPlace::of(&delivery), delivery))
        .collect();
    let shown = before.first.iter().filter_map(|place| found.remove(place));
    Ok(Ok(answer(before.count, shown.map(Delivery::from).collect())))
}

fn key_path() -> Path {
    Path::input().field("idempotencyKey")
}

fn answer(count: usize, deliveries: Vec<Delivery>) -> ReplayDeliveriesPayload {
    ReplayDeliveriesPayload {
        count: i32::try_from(count).unwrap_or(i32::MAX),
        deliveries,
        user_errors: Vec::new(),
    }
}
