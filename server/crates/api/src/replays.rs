//! Replays (D12): sends old events again.

use std::collections::{BTreeSet, HashMap};

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use sha2::{Digest, Sha256};

use super::connection::cost_of;
use super::context::Ask;
use super::deliveries::{Delivery, DeliveryStatus};
use super::error::{ApiError, Result};
use super::global_id::GlobalId;
use super::scalars::DateTime;
use super::user_error::{Path, Problem, Problems, UserError, UserErrorCode, denied};
use tenterhook_engine::{REPLAYS_SHOWN, Replayed};
use tenterhook_model as model;
use tenterhook_model::access::{Caller, WebhookScope};
use tenterhook_model::delivery;
use tenterhook_model::health::Health;
use tenterhook_model::ids::{DeliveryKey, Lane, WebhookId};
use tenterhook_model::webhook::WebhookState;
use tenterhook_policy::access::{self, Denial};
use tenterhook_policy::health::view;
use tenterhook_policy::limits;
use tenterhook_store::deliveries::{self, DeliveryPlace, DeliveryQuery, Owners};
use tenterhook_store::page::Window;
use tenterhook_store::replay_keys::{self, Remembered, ReplayKey};
use tenterhook_store::webhooks;

/// Number of deliveries of a webhook that one statement reads.
const READ_AT_ONCE: u16 = 5_000;

const NO_SUCH_DELIVERY: &str = "no such delivery";
const NO_SUCH_WEBHOOK: &str = "no such webhook";

/// Which deliveries to replay: those in `deliveryIds`, or those of `webhookId` that match the other conditions.
#[derive(InputObject)]
pub struct ReplayDeliveriesInput {
    /// The global ids of up to 1000 deliveries that have ended.
    delivery_ids: Option<Vec<ID>>,
    /// The global id of a webhook: replays up to 50,000 of its deliveries that have ended. If there are more, narrow
    /// them down by time.
    webhook_id: Option<ID>,
    /// With `webhookId`: only deliveries created at or after this time.
    since: Option<DateTime>,
    /// With `webhookId`: only deliveries created before this time.
    until: Option<DateTime>,
    /// With `webhookId`: only deliveries that ended in these states. Default: all that have ended.
    status: Option<Vec<DeliveryStatus>>,
    /// Whether to check and count only, and send nothing.
    #[graphql(default_with = "Some(false)")]
    dry_run: Option<bool>,
    /// Makes the call safe to repeat, up to 255 characters. If the same caller repeats the same request with this key
    /// within a day, the response is the first call's, even if more deliveries match by now, and nothing is sent. A
    /// dry run ignores it.
    idempotency_key: Option<String>,
}

/// Result of `replayDeliveries`.
#[derive(SimpleObject)]
pub struct ReplayDeliveriesPayload {
    /// How many deliveries this call created, or the first call with the key, or would create in a dry run: one for
    /// each distinct pair of event and webhook. 0 if there were errors.
    count: i32,
    /// The first 100 of them.
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
    /// Sends old events again: each as a new delivery, beginning with attempt 1, with the event's old id. Replays all
    /// deliveries of the input or none. Refused while a webhook is banned, paused or removed.
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

type Checked<T> = std::result::Result<T, Problems>;
type States = HashMap<WebhookId, (model::webhook::Webhook, Health)>;

async fn replay(ctx: &Context<'_>, input: ReplayDeliveriesInput) -> Result<Checked<ReplayDeliveriesPayload>> {
    let session = ctx.session();
    // A caller that may not write learns nothing about the ids.
    if session.caller != Caller::Operator
        && let Err(denial) = access::write(&session.caller, session.app_installed)
    {
        return Ok(Err(denied(denial, Path::input())?));
    }
    let dry_run = input.dry_run.unwrap_or(false);
    let key = match keyed(&session.caller, &input) {
        Ok(key) => key.filter(|_| !dry_run),
        Err(problems) => return Ok(Err(problems)),
    };
    if let Some(key) = &key {
        // Before any check whose result may have changed since the first call.
        let before = replay_keys::find(&mut *ctx.services().store.conn().await?, key, ctx.now()).await?;
        if let Some(before) = before {
            return repeated(ctx, key, before).await;
        }
    }
    let named = match named(ctx, input).await? {
        Ok(named) => named,
        Err(problems) => return Ok(Err(problems)),
    };
    if dry_run || (named.is_empty() && key.is_none()) {
        let events: BTreeSet<_> = named.iter().map(|key| (key.webhook, key.event)).collect();
        return Ok(Ok(answer(events.len(), Vec::new())));
    }
    match ctx.services().replayer.replay(&named, key.as_ref()).await? {
        Replayed::Made { count, first } => {
            Ok(Ok(answer(count, first.into_iter().map(Delivery::from).collect())))
        }
        Replayed::Repeated(before) => match &key {
            Some(key) => repeated(ctx, key, before).await,
            None => Err(ApiError::internal("a replay without a key was taken for another")),
        },
        Replayed::NotActive(_) => Ok(Err(not_active(Path::input()))),
    }
}

/// The deliveries that the input selects, if all of them can be replayed.
async fn named(ctx: &Context<'_>, input: ReplayDeliveriesInput) -> Result<Checked<Vec<DeliveryKey>>> {
    match input {
        ReplayDeliveriesInput {
            delivery_ids: Some(ids),
            webhook_id: None,
            since: None,
            until: None,
            status: None,
            ..
        } => by_ids(ctx, &ids).await,
        ReplayDeliveriesInput {
            delivery_ids: None,
            webhook_id: Some(webhook),
            since,
            until,
            status,
            ..
        } => {
            let query = DeliveryQuery {
                statuses: None,
                event: None,
                since: since.map(|at| at.0),
                until: until.map(|at| at.0),
            };
            by_webhook(ctx, &webhook, query, status).await
        }
        _ => {
            let why = "name deliveries by `deliveryIds` alone, or by `webhookId` and what goes with it";
            Ok(Err(Problems::one(UserErrorCode::Invalid, Path::input(), why)))
        }
    }
}

/// The input's key, with a SHA-256 of the whole input except the key and `dryRun`.
fn keyed(caller: &Caller, input: &ReplayDeliveriesInput) -> Checked<Option<ReplayKey>> {
    let Some(key) = &input.idempotency_key else {
        return Ok(None);
    };
    limits::text(key, limits::IDEMPOTENCY_KEY_CHARS)
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
        let why = "this key was used before, for another replay";
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
        state.is_some_and(|(webhook, _)| {
            access::replay(&session.caller, webhook, session.app_installed).is_ok()
        })
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

/// The deliveries with these ids, if each can be replayed.
async fn by_ids(ctx: &Context<'_>, ids: &[ID]) -> Result<Checked<Vec<DeliveryKey>>> {
    let at = Path::input().field("deliveryIds");
    if let Err(problem) = limits::entries(ids.len(), limits::REPLAYED) {
        return Ok(Err(Problems::one(problem.code(), at, problem)));
    }
    let asked: Vec<Option<DeliveryPlace>> = ids
        .iter()
        .map(|id| match GlobalId::parse(id) {
            Some(GlobalId::Delivery(place)) => Some(place),
            _ => None,
        })
        .collect();
    let places: Vec<DeliveryPlace> = asked.iter().flatten().copied().collect();
    let mut conn = ctx.services().store.conn().await?;
    let everything = WebhookScope::Everything;
    let found = deliveries::find(&mut conn, &places, &everything, &ctx.cutoffs()).await?;
    drop(conn);
    let found: HashMap<DeliveryPlace, delivery::Delivery> = found
        .into_iter()
        .map(|delivery| (DeliveryPlace::of(&delivery), delivery))
        .collect();
    let webhooks: BTreeSet<_> = found
        .keys()
        .map(|place| (place.key.lane, place.key.webhook))
        .collect();
    let states = states(ctx, &webhooks.into_iter().collect::<Vec<_>>()).await?;
    let mut problems = Problems::none();
    let mut named = Vec::new();
    for (index, place) in asked.into_iter().enumerate() {
        let at = at.index(index);
        let Some(delivery) = place.and_then(|place| found.get(&place)) else {
            problems.add(UserErrorCode::NotFound, at, NO_SUCH_DELIVERY);
            continue;
        };
        match replayable(
            ctx,
            states.get(&delivery.key.webhook),
            at.clone(),
            NO_SUCH_DELIVERY,
        )? {
            Ok(()) if delivery.status == delivery::DeliveryStatus::Pending => {
                let why = "the delivery has not ended: it will be sent as it is";
                problems.add(UserErrorCode::InvalidState, at, why);
            }
            Ok(()) => named.push(delivery.key),
            Err(one) => problems.extend(one),
        }
    }
    Ok(if problems.is_empty() {
        Ok(named)
    } else {
        Err(problems)
    })
}

/// The deliveries of this webhook that the query selects, if the webhook can be replayed.
async fn by_webhook(
    ctx: &Context<'_>,
    id: &ID,
    query: DeliveryQuery,
    status: Option<Vec<DeliveryStatus>>,
) -> Result<Checked<Vec<DeliveryKey>>> {
    let at = Path::input().field("webhookId");
    let Some(webhook) = GlobalId::webhook(id) else {
        return Ok(Err(Problems::one(UserErrorCode::NotFound, at, NO_SUCH_WEBHOOK)));
    };
    let states = states(ctx, &[webhook]).await?;
    if let Err(problems) = replayable(ctx, states.get(&webhook.1), at, NO_SUCH_WEBHOOK)? {
        return Ok(Err(problems));
    }
    let statuses: Vec<delivery::DeliveryStatus> = match status {
        Some(asked) => asked.into_iter().map(Into::into).collect(),
        None => ENDED.to_vec(),
    };
    if statuses.contains(&delivery::DeliveryStatus::Pending) {
        let why = "a delivery that has not ended will be sent as it is";
        return Ok(Err(Problems::one(
            UserErrorCode::Invalid,
            Path::input().field("status"),
            why,
        )));
    }
    let owners = Owners {
        scope: WebhookScope::Everything,
        cutoffs: ctx.cutoffs(),
        webhook: Some(webhook),
    };
    let query = DeliveryQuery {
        statuses: Some(statuses),
        ..query
    };
    let mut conn = ctx.services().store.conn().await?;
    let mut window = Window {
        size: READ_AT_ONCE,
        from_end: false,
        after: None,
        before: None,
    };
    let mut named = Vec::new();
    loop {
        let page = deliveries::page(&mut conn, &owners, &query, &window).await?;
        window.after = page.rows.last().map(DeliveryPlace::of);
        named.extend(page.rows.into_iter().map(|delivery| delivery.key));
        if named.len() > limits::REPLAYED_OF_WEBHOOK {
            let most = limits::REPLAYED_OF_WEBHOOK;
            let why = format!("at most {most} deliveries of a webhook can be replayed at once");
            return Ok(Err(Problems::one(UserErrorCode::TooMany, Path::input(), why)));
        }
        if !page.has_next {
            return Ok(Ok(named));
        }
    }
}

const ENDED: [delivery::DeliveryStatus; 4] = [
    delivery::DeliveryStatus::Succeeded,
    delivery::DeliveryStatus::Failed,
    delivery::DeliveryStatus::Lost,
    delivery::DeliveryStatus::Cancelled,
];

async fn states(ctx: &Context<'_>, keys: &[(Lane, WebhookId)]) -> Result<States> {
    let mut conn = ctx.services().store.conn().await?;
    let found = webhooks::find(&mut conn, keys, &WebhookScope::Everything, &ctx.cutoffs()).await?;
    Ok(found.into_iter().map(|state| (state.0.id, state)).collect())
}

/// Whether the caller may replay the webhook's deliveries now. A webhook that the caller may not see gives the same
/// error `missing` as one that does not exist.
fn replayable(
    ctx: &Context<'_>,
    state: Option<&(model::webhook::Webhook, Health)>,
    at: Path,
    missing: &str,
) -> Result<Checked<()>> {
    let session = ctx.session();
    let Some((webhook, health)) = state else {
        return Ok(Err(Problems::one(UserErrorCode::NotFound, at, missing)));
    };
    match access::replay(&session.caller, webhook, session.app_installed) {
        Ok(()) => {}
        Err(Denial::NotFound) => return Ok(Err(Problems::one(UserErrorCode::NotFound, at, missing))),
        Err(denial) => return Ok(Err(denied(denial, at)?)),
    }
    let policy = ctx.services().policy();
    let view = view(health, webhook.paused_at, webhook.removed, ctx.now(), policy);
    Ok(if view.state == WebhookState::Active {
        Ok(())
    } else {
        Err(not_active(at))
    })
}

fn not_active(at: Path) -> Problems {
    let why = "nothing is replayed while the webhook is banned, paused or removed";
    Problems::one(UserErrorCode::InvalidState, at, why)
}
