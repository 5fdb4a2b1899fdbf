//! Group commit: the calls that wait are stored together, and what they made goes straight into the queue (E3).
//!
//! A group is whatever has come in while the one before was committed, so nobody waits for a timer. Promises that a
//! call is answered only after its commit, and that a group that cannot be stored stores nothing of any call.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use diesel_async::AsyncConnection;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use super::LEASE;
use super::publisher::{Call, PublishError, Published};
use super::queue::{Held, MAX_HELD_PER_WEBHOOK};
use super::shared::Shared;
use crate::model::delivery::{Lease, Leased};
use crate::model::event::{Draft, Event};
use crate::model::ids::{CompanyId, EventId, EventIds, Lane, NodeId, WebhookId};
use crate::policy::matching::selector;
use crate::policy::merging;
use crate::store::StoreError;
use crate::store::idempotency::{self, Claim, Taken};
use crate::store::publish::{self, Fate, Made, Publication, Room};

/// Calls in one group at the most.
const CALLS: usize = 64;
/// Events in one group after which it takes no further call.
const EVENTS: usize = 256;
/// Rows of one webhook that one group may lease: the rest goes to the table, for whoever has room.
const PER_WEBHOOK: usize = MAX_HELD_PER_WEBHOOK / 4;
/// How often a group is tried when it meets a deadlock.
const TRIES: usize = 5;

/// Where the committers take their calls from, one group at a time.
pub(super) type Door = Arc<Mutex<mpsc::Receiver<Call>>>;

/// Stores groups of calls until the door is closed and empty.
pub(super) async fn run(
    shared: Arc<Shared>,
    door: Door,
    closed: CancellationToken,
    ids: Arc<std::sync::Mutex<EventIds>>,
) {
    while let Some(calls) = shared.clock.park(group(&door, &closed)).await {
        let now = shared.clock.now();
        let drafts: Vec<&Draft> = calls.iter().flat_map(|call| &call.drafts).collect();
        shared.metrics.grouped(drafts.len());
        let mut stored = store(&shared, &drafts, now, &ids).await;
        for call in calls {
            let answer = match &mut stored {
                Ok(published) => Ok(published.drain(..call.drafts.len()).collect()),
                Err(error) => Err(PublishError::Store(error.clone())),
            };
            // A caller that went away has its events stored all the same.
            let _ = call.answer.send(answer);
        }
    }
}

/// The next group: the first call waits as long as it takes, the others are there already.
async fn group(door: &Mutex<mpsc::Receiver<Call>>, closed: &CancellationToken) -> Option<Vec<Call>> {
    let mut calls = door.lock().await;
    let first = tokio::select! {
        biased;
        first = calls.recv() => first?,
        () = closed.cancelled() => return None,
    };
    let mut group = vec![first];
    let mut events = group[0].drafts.len();
    while group.len() < CALLS && events < EVENTS {
        let Ok(call) = calls.try_recv() else { break };
        events += call.drafts.len();
        group.push(call);
    }
    Some(group)
}

/// A draft as it is to be stored, and where its key stands.
struct Plan {
    event: Event,
    other: Option<Event>,
    hash: Vec<u8>,
    /// The draft of the same group that has the same key and comes before it.
    same_as: Option<usize>,
}

/// What a group's transaction has come to.
struct Stored {
    published: Vec<Published>,
    held: Vec<Held>,
    overflow: Vec<(Lane, WebhookId)>,
}

async fn store(
    shared: &Arc<Shared>,
    drafts: &[&Draft],
    now: Timestamp,
    ids: &std::sync::Mutex<EventIds>,
) -> Result<Vec<Published>, Arc<StoreError>> {
    let plans = plan(drafts, now, ids);
    let mut tries = 0;
    let stored = loop {
        tries += 1;
        match try_store(shared, drafts, &plans, now).await {
            Err(error) if error.is_transient() && tries < TRIES => {}
            stored => break stored.map_err(Arc::new)?,
        }
    };
    shared.tallied.fetch_add(1, Ordering::Relaxed);
    shared.take_in(stored.held);
    shared.hint(
        stored
            .overflow
            .into_iter()
            .map(|(lane, webhook)| (lane, webhook, now)),
    );
    Ok(stored.published)
}

fn plan(drafts: &[&Draft], now: Timestamp, ids: &std::sync::Mutex<EventIds>) -> Vec<Plan> {
    let mut ids = ids.lock().unwrap_or_else(PoisonError::into_inner);
    let mut first_with: HashMap<(CompanyId, &str), usize> = HashMap::new();
    let plan = |(index, draft): (usize, &&'_ Draft)| (index, merging::events(draft, || ids.next(now)));
    let planned: Vec<(usize, (Event, Option<Event>))> = drafts.iter().enumerate().map(plan).collect();
    let mut plans = Vec::with_capacity(drafts.len());
    for (index, (event, other)) in planned {
        let key = drafts[index].idempotency_key.as_deref();
        let first = key.map(|key| *first_with.entry((event.company, key)).or_insert(index));
        let hash = key.map(|_| content_hash(drafts[index])).unwrap_or_default();
        plans.push(Plan {
            event,
            other,
            hash,
            same_as: first.filter(|first| *first != index),
        });
    }
    plans
}

async fn try_store(
    shared: &Arc<Shared>,
    drafts: &[&Draft],
    plans: &[Plan],
    now: Timestamp,
) -> Result<Stored, StoreError> {
    let mut conn = shared.store.conn().await?;
    let (leases, full, total) = {
        let queue = shared.queue();
        (
            now.saturating_add(LEASE).unwrap_or(Timestamp::MAX),
            queue.full(),
            queue.room(),
        )
    };
    let stopping = shared.is_stopping();
    let room = Room {
        node: shared.node(),
        lease_until: leases,
        total: if stopping {
            0
        } else {
            i64::try_from(total).unwrap_or(i64::MAX)
        },
        per_webhook: PER_WEBHOOK as i64,
        full: &full,
    };
    let claims = claims(drafts, plans);
    let expires_at = now
        .saturating_add(shared.policy.idempotency_window)
        .unwrap_or(Timestamp::MAX);
    let written = conn
        .transaction(async |conn| {
            let taken = match claims.as_slice() {
                [] => HashMap::new(),
                claims => idempotency::claim_in_tx(conn, claims, now, expires_at).await?,
            };
            let fresh: Vec<usize> = (0..plans.len())
                .filter(|i| is_fresh(*i, drafts, plans, &taken))
                .collect();
            let publications = publications(shared, plans, &fresh);
            let made = match publications.as_slice() {
                [] => Vec::new(),
                some => publish::insert_in_tx(conn, some, now, &room).await?,
            };
            let counts = counts(plans, &fresh, &publications, &made);
            let keyed: Vec<(CompanyId, String, u32)> = counts
                .iter()
                .filter_map(|(index, count)| {
                    Some((
                        plans[*index].event.company,
                        drafts[*index].idempotency_key.clone()?,
                        *count,
                    ))
                })
                .collect();
            if !keyed.is_empty() {
                idempotency::count_in_tx(conn, &keyed).await?;
            }
            let firsts: Vec<(Lane, EventId)> = taken
                .iter()
                .map(|((company, _), taken)| (Lane::of(*company), taken.event))
                .collect();
            let firsts = match firsts.as_slice() {
                [] => HashMap::new(),
                some => idempotency::events(conn, some).await?,
            };
            let published = answers(drafts, plans, &counts, &taken, &firsts)?;
            let (held, overflow) = hold(&publications, &made, now, leases, room.node);
            Ok::<_, StoreError>(Stored {
                published,
                held,
                overflow,
            })
        })
        .await?;
    let mut webhooks: Vec<(Lane, WebhookId)> = written
        .held
        .iter()
        .map(|held| (held.leased.key.lane, held.leased.key.webhook))
        .collect();
    webhooks.sort_unstable();
    webhooks.dedup();
    if let Err(error) = shared.registry.ensure(&mut conn, &webhooks).await {
        // It is stored: each attempt reads its webhook by itself then.
        tracing::warn!(%error, "webhooks could not be read after a publication");
    }
    Ok(written)
}

/// The keys of a group, each once.
fn claims(drafts: &[&Draft], plans: &[Plan]) -> Vec<Claim> {
    let claim = |(draft, plan): (&&Draft, &Plan)| {
        let key = draft.idempotency_key.clone().filter(|_| plan.same_as.is_none())?;
        let (company, event) = (plan.event.company, plan.event.id);
        Some(Claim {
            company,
            key,
            event,
            request_hash: plan.hash.clone(),
        })
    };
    drafts.iter().zip(plans).filter_map(claim).collect()
}

fn is_fresh(index: usize, drafts: &[&Draft], plans: &[Plan], taken: &Takens) -> bool {
    plans[index].same_as.is_none() && taken_by(index, drafts, plans, taken).is_none()
}

type Takens = HashMap<(CompanyId, String), Taken>;

fn taken_by<'a>(index: usize, drafts: &[&Draft], plans: &[Plan], taken: &'a Takens) -> Option<&'a Taken> {
    let key = drafts[index].idempotency_key.clone()?;
    taken.get(&(plans[index].event.company, key))
}

fn publications<'a>(shared: &Shared, plans: &'a [Plan], fresh: &[usize]) -> Vec<Publication<'a>> {
    let events = fresh.iter().flat_map(|index| {
        let plan = &plans[*index];
        std::iter::once(&plan.event).chain(plan.other.as_ref())
    });
    events
        .map(|event| {
            let seen = selector(event, &shared.policy.catalog);
            Publication {
                event,
                seen_by_v1: seen.v1,
                seen_by_v2: seen.v2,
            }
        })
        .collect()
}

/// Deliveries by draft: those of both events of a merge.
fn counts(
    plans: &[Plan],
    fresh: &[usize],
    publications: &[Publication<'_>],
    made: &[Made],
) -> HashMap<usize, u32> {
    let mut draft_of: HashMap<EventId, usize> = HashMap::new();
    for index in fresh {
        draft_of.insert(plans[*index].event.id, *index);
        draft_of.extend(plans[*index].other.as_ref().map(|other| (other.id, *index)));
    }
    let mut counts: HashMap<usize, u32> = fresh.iter().map(|index| (*index, 0)).collect();
    for delivery in made {
        let draft = draft_of.get(&publications[delivery.event].event.id);
        if let Some(count) = draft.and_then(|draft| counts.get_mut(draft)) {
            *count += 1;
        }
    }
    counts
}

fn answers(
    drafts: &[&Draft],
    plans: &[Plan],
    counts: &HashMap<usize, u32>,
    taken: &Takens,
    firsts: &HashMap<EventId, Event>,
) -> Result<Vec<Published>, StoreError> {
    let answer = |index: usize| {
        let plan = &plans[index];
        if let Some(taken) = taken_by(index, drafts, plans, taken) {
            if taken.request_hash != plan.hash {
                return Ok(Published::Conflict);
            }
            let event = firsts
                .get(&taken.event)
                .cloned()
                .ok_or_else(|| StoreError::Inconsistent {
                    table: "idempotency",
                    what: format!("event {} is gone before its key", taken.event),
                })?;
            return Ok(Published::Duplicate {
                event,
                deliveries: taken.deliveries,
            });
        }
        let first = plan.same_as.unwrap_or(index);
        let (event, deliveries) = (
            plans[first].event.clone(),
            counts.get(&first).copied().unwrap_or(0),
        );
        Ok(match plan.same_as {
            None => Published::New { event, deliveries },
            Some(first) if plans[first].hash == plan.hash => Published::Duplicate { event, deliveries },
            Some(_) => Published::Conflict,
        })
    };
    (0..plans.len()).map(answer).collect()
}

/// What was leased to us, ready for the queue, and the webhooks of what was not.
fn hold(
    publications: &[Publication<'_>],
    made: &[Made],
    now: Timestamp,
    lease_until: Timestamp,
    node: NodeId,
) -> (Vec<Held>, Vec<(Lane, WebhookId)>) {
    let mut events: HashMap<usize, Arc<Event>> = HashMap::new();
    let mut held = Vec::new();
    let mut overflow = Vec::new();
    for delivery in made {
        match delivery.fate {
            Fate::Lost => {}
            Fate::Queued => overflow.push((delivery.key.lane, delivery.key.webhook)),
            Fate::Leased => {
                let event = events
                    .entry(delivery.event)
                    .or_insert_with(|| Arc::new(publications[delivery.event].event.clone()))
                    .clone();
                let leased = Leased {
                    key: delivery.key,
                    company: event.company,
                    attempt: 1,
                    due_at: now,
                    created_at: event.accepted_at,
                    lease: Lease {
                        token: 1,
                        until: lease_until,
                    },
                };
                held.push(Held { leased, event, node });
            }
        }
    }
    overflow.sort_unstable();
    overflow.dedup();
    (held, overflow)
}

/// SHA-256 over everything a publisher says of an event but its key.
fn content_hash(draft: &Draft) -> Vec<u8> {
    let merged_from = draft.merged_from.as_ref().map(|(id, state)| (id.as_str(), state));
    let permitted: Option<Vec<i64>> = draft
        .permitted
        .as_ref()
        .map(|users| users.iter().map(|user| user.get()).collect());
    let content = serde_json::json!([
        draft.company.get(),
        draft.action.code(),
        draft.object,
        draft.object_id.as_str(),
        draft.user.get(),
        draft.data,
        draft.previous,
        merged_from,
        permitted,
        draft.change_source.code(),
        draft.is_bulk_edit,
        draft.correlation_id,
        draft.host,
        draft.occurred_at,
    ]);
    Sha256::digest(content.to_string().as_bytes()).to_vec()
}
