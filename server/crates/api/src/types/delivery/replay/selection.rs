//! Selects the deliveries of a replay, and checks that each can be replayed now.

use std::collections::{BTreeSet, HashMap};

use async_graphql::{Context, ID};

use super::ReplayDeliveriesInput;
use crate::context::Ask;
use crate::error::Result;
use crate::global_id::GlobalId;
use crate::types::enums::DeliveryStatus;
use crate::user_error::{Path, Problem, Problems, UserErrorCode, denied};
use crate::webhook_name::key_of;
use tenterhook_model as model;
use tenterhook_model::access::WebhookScope;
use tenterhook_model::delivery;
use tenterhook_model::health::Health;
use tenterhook_model::ids::{DeliveryKey, EventId, Lane, WebhookId};
use tenterhook_model::webhook::WebhookState;
use tenterhook_policy::access::{self, Denial};
use tenterhook_policy::health::view;
use tenterhook_policy::input_limits;
use tenterhook_store::deliveries::{self, DeliveryPlace, DeliveryQuery, Owners};
use tenterhook_store::page::Window;
use tenterhook_store::webhooks;

/// Number of deliveries of a webhook that one statement reads.
const READ_AT_ONCE: u16 = 5_000;

const NO_SUCH_DELIVERY: &str = "no such delivery";
const NO_SUCH_WEBHOOK: &str = "no such webhook";

/// The states of deliveries that have ended.
const ENDED: [delivery::DeliveryStatus; 4] = [
    delivery::DeliveryStatus::Succeeded,
    delivery::DeliveryStatus::Failed,
    delivery::DeliveryStatus::Lost,
    delivery::DeliveryStatus::Cancelled,
];

/// A value, or the errors in the input.
pub(super) type Checked<T> = std::result::Result<T, Problems>;
/// Webhooks by their ids.
pub(super) type States = HashMap<WebhookId, (model::webhook::Webhook, Health)>;

/// The deliveries that the input selects, if all of them can be replayed.
pub(super) async fn selected(
    ctx: &Context<'_>,
    input: ReplayDeliveriesInput,
) -> Result<Checked<Vec<DeliveryKey>>> {
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
            let why = "select deliveries by `deliveryIds` alone, or by `webhookId` with its conditions";
            Ok(Err(Problems::one(UserErrorCode::Invalid, Path::input(), why)))
        }
    }
}

/// The deliveries with these ids, if each can be replayed.
async fn by_ids(ctx: &Context<'_>, ids: &[ID]) -> Result<Checked<Vec<DeliveryKey>>> {
    let at = Path::input().field("deliveryIds");
    if let Err(problem) = input_limits::entries(ids.len(), input_limits::REPLAYED) {
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
                let why = "the delivery has not ended: its attempts continue without a replay";
                problems.add(UserErrorCode::InvalidState, at, why);
            }
            Ok(()) if is_too_old(ctx, &delivery.key) => {
                let why = "the event was accepted too long ago to be replayed";
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
    let Some(webhook) = key_of(ctx.services(), &ctx.session().caller, id).await? else {
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
        let why = "pending deliveries cannot be replayed: their attempts continue without a replay";
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
        let keys = page.rows.into_iter().map(|delivery| delivery.key);
        named.extend(keys.filter(|key| !is_too_old(ctx, key)));
        if named.len() > input_limits::REPLAYED_OF_WEBHOOK {
            let most = input_limits::REPLAYED_OF_WEBHOOK;
            let why = format!("at most {most} deliveries of a webhook can be replayed at once");
            return Ok(Err(Problems::one(UserErrorCode::TooMany, Path::input(), why)));
        }
        if !page.has_next {
            return Ok(Ok(named));
        }
    }
}

/// Whether the event was accepted before the kept history. Without this bound, an event would be kept for ever if somebody
/// replayed it from time to time, and with it all events of its day.
fn is_too_old(ctx: &Context<'_>, delivery: &DeliveryKey) -> bool {
    delivery.event <= EventId::last_of(ctx.cutoffs().history)
}

/// These webhooks with their health.
pub(super) async fn states(ctx: &Context<'_>, keys: &[(Lane, WebhookId)]) -> Result<States> {
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
    match access::replay(&session.caller, webhook, session.app) {
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

/// The error for a webhook that is banned, paused or removed.
pub(super) fn not_active(at: Path) -> Problems {
    let why = "a webhook that is banned, paused or removed gets no replays";
    Problems::one(UserErrorCode::InvalidState, at, why)
}
