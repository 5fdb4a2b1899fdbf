//! Group commit: the calls that wait are stored together, and what they made goes straight into the queue (E3).
//!
//! A group is whatever has come in while the one before was committed, so nobody waits for a timer. Promises that a
//! call is answered only after its commit, and that a group that cannot be stored stores nothing of any call.

mod group;

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use diesel_async::AsyncConnection;
use jiff::Timestamp;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use self::group::{Group, first_events};
use super::publisher::{Call, PublishError, Published};
use super::queue::{Held, MAX_HELD_PER_WEBHOOK};
use super::shared::Shared;
use crate::model::delivery::{Lease, Leased};
use crate::model::event::{Draft, Event};
use crate::model::ids::{EventIds, Lane, WebhookId};
use crate::store::publish::{self, Fate, Made, Publication, Room};
use crate::store::{StoreError, idempotency};

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
    let group = Group::new(
        drafts,
        now,
        &mut ids.lock().unwrap_or_else(PoisonError::into_inner),
    );
    let mut tries = 0;
    let stored = loop {
        tries += 1;
        match try_store(shared, &group, now).await {
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

async fn try_store(shared: &Arc<Shared>, group: &Group<'_>, now: Timestamp) -> Result<Stored, StoreError> {
    let mut conn = shared.store.conn().await?;
    let full = shared.queue().full();
    let room = Room {
        node: shared.node(),
        lease_until: now.saturating_add(shared.tempo.lease()).unwrap_or(Timestamp::MAX),
        total: if shared.is_stopping() {
            0
        } else {
            i64::try_from(shared.queue().room()).unwrap_or(i64::MAX)
        },
        per_webhook: PER_WEBHOOK as i64,
        full: &full,
    };
    let claims = group.claims();
    let expires_at = now
        .saturating_add(shared.policy.idempotency_window)
        .unwrap_or(Timestamp::MAX);
    let stored = conn
        .transaction(async |conn| {
            let taken = match claims.as_slice() {
                [] => HashMap::new(),
                claims => idempotency::claim_in_tx(conn, claims, now, expires_at).await?,
            };
            let fresh = group.fresh(&taken);
            let publications = group.publications(&fresh, &shared.policy.catalog);
            let made = match publications.as_slice() {
                [] => Vec::new(),
                some => publish::insert_in_tx(conn, some, now, &room).await?,
            };
            let counts = group.counts(&fresh, &publications, &made);
            let keyed = group.keyed(&counts);
            if !keyed.is_empty() {
                idempotency::count_in_tx(conn, &keyed).await?;
            }
            let firsts = match first_events(&taken).as_slice() {
                [] => HashMap::new(),
                some => idempotency::events(conn, some).await?,
            };
            let published = group.answers(&counts, &taken, &firsts)?;
            let (held, overflow) = hold(&publications, &made, now, &room);
            Ok::<_, StoreError>(Stored {
                published,
                held,
                overflow,
            })
        })
        .await?;
    let mut webhooks: Vec<(Lane, WebhookId)> = stored
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
    Ok(stored)
}

/// What was leased to us, ready for the queue, and the webhooks of what was not.
fn hold(
    publications: &[Publication<'_>],
    made: &[Made],
    now: Timestamp,
    room: &Room<'_>,
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
                        until: room.lease_until,
                    },
                };
                held.push(Held {
                    leased,
                    event,
                    node: room.node,
                });
            }
        }
    }
    overflow.sort_unstable();
    overflow.dedup();
    (held, overflow)
}
