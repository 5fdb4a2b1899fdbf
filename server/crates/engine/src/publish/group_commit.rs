//! Group commit: waiting calls are stored together, and their leased deliveries go directly into the queue (E3).
//!
//! A group is the calls that wait at the [`IntakeQueue`] when a committer is free, so no call waits for a timer.
//!
//! Guarantees:
//!
//! - A call gets its result only after its commit.
//! - A call is stored completely or not at all.
//! - A group that the database refuses is [divided](crate::bisection) until the refused call is alone. That call gets
//!   the error, the others are stored.
//! - A group that the database ends because it takes too long is divided too: a call in it may wait for a row that
//!   another transaction has locked. Nothing of it is committed.
//!
//! Not divided: a group that fails because the database is unavailable. After a broken connection it is unknown whether
//! the group was committed, so all of its calls get that error. A part that takes too long without waiting for a lock
//! is treated the same way: then the database is slow, and callers wait.

use std::collections::{BTreeSet, HashMap};
use std::mem;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use diesel_async::AsyncConnection;
use jiff::Timestamp;
use tracing::{Instrument, debug_span};

use super::batch::{Batch, Candidate, first_events};
use crate::bisection::{Bisection, FIRST_TIME_OUT};
use crate::cluster::process::ProcessState;
use crate::cluster::timings::LeaseTimings;
use crate::cluster::webhook_cache::WebhookCache;
use crate::deliver::held_deliveries::HeldDeliveries;
use crate::deliver::scheduler::{HeldDelivery, MAX_HELD_PER_WEBHOOK};
use crate::deliver::wake_schedule::WakeSchedule;
use crate::dispatcher::Dispatcher;
use crate::metrics::Metrics;
use crate::publish::call::{Call, PublishError, Published};
use crate::publish::intake::IntakeQueue;
use crate::settle::counter_activity::CounterActivity;
use tenterhook_clock::Clock;
use tenterhook_model::delivery::{Lease, Leased};
use tenterhook_model::event::{Draft, Event};
use tenterhook_model::ids::{DeliveryKey, EventIds, Lane, WebhookId};
use tenterhook_settings::policy::PolicySettings;
use tenterhook_store::idempotency::{self, Claim};
use tenterhook_store::publish::{self, InitialState, NewDelivery, Publication, Room};
use tenterhook_store::{Conn, Store, StoreError, limit_lock_waits_in_tx};

/// Deliveries of one webhook that one group may lease. The rest stays in the table for any process with room.
const PER_WEBHOOK: usize = MAX_HELD_PER_WEBHOOK / 2;
/// Events per statement for the separate group of a bulk publisher, and the pause between two statements. The database
/// then frees its processor about every millisecond, so other calls do not wait for the whole group. The bulk
/// publisher's group takes several times as long, in the same single transaction.
const CHUNK: usize = 8;
const CHUNK_PAUSE: Duration = Duration::from_millis(2);

/// The result of a group's transaction.
struct Stored {
    published: Vec<Published>,
    held: Vec<HeldDelivery>,
    overflow: BTreeSet<(Lane, WebhookId)>,
}

/// Stores groups of calls. Several committers run at the same time.
pub(crate) struct Committer {
    pub store: Store,
    pub clock: Clock,
    pub policy: Arc<PolicySettings>,
    pub timings: LeaseTimings,
    pub process: Arc<ProcessState>,
    pub webhooks: Arc<WebhookCache>,
    pub held: Arc<HeldDeliveries>,
    pub dispatcher: Arc<Dispatcher>,
    pub wakes: Arc<WakeSchedule>,
    pub counters: Arc<CounterActivity>,
    pub metrics: Metrics,
    pub intake: Arc<IntakeQueue>,
    /// Gives new events their ids, in ascending order for all committers of the process.
    pub ids: std::sync::Mutex<EventIds>,
}

impl Committer {
    /// Stores groups of calls until no more calls are accepted and none waits.
    pub async fn run(self: Arc<Self>) {
        while let Some(mut group) = self.clock.park(self.intake.next()).await {
            let chunk = group.is_separate().then_some(CHUNK);
            // The group is kept until all of it is stored, because dropping it marks its companies as no longer at work.
            let calls = mem::take(&mut group.calls);
            let span = debug_span!("publication group", calls = calls.len());
            self.store_each(calls, chunk).instrument(span).await;
        }
    }

    /// Stores the calls together, or in parts if the database refuses, and sends each call its result.
    async fn store_each(&self, calls: Vec<Call>, chunk: Option<usize>) {
        let (drafts, answers): (Vec<Vec<Draft>>, Vec<_>) =
            calls.into_iter().map(|call| (call.drafts, call.answer)).unzip();
        self.metrics.grouped(drafts.iter().map(Vec::len).sum());
        let calls: Vec<Vec<Candidate<'_>>> = {
            let now = self.clock.now();
            let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
            let mut calls = Vec::with_capacity(drafts.len());
            for drafts in &drafts {
                let candidates = drafts.iter().map(|draft| Candidate::of(draft, now, &mut ids));
                calls.push(candidates.collect());
            }
            calls
        };
        let mut answers: Vec<_> = answers.into_iter().map(Some).collect();
        let mut parts = Bisection::of(calls.len()).split_when_locked(FIRST_TIME_OUT, &self.store);
        while let Some((part, lock_wait)) = parts.next() {
            let some = &calls[part.clone()];
            match parts.done(self.store_group(some, chunk, lock_wait).await) {
                Ok(None) => {}
                Ok(Some(mut published)) => {
                    for (call, answer) in some.iter().zip(&mut answers[part]) {
                        // If the caller no longer waits, its events are stored anyway.
                        let of_call = published.drain(..call.len()).collect();
                        answer.take().map(|answer| answer.send(Ok(of_call)));
                    }
                }
                Err(error) => {
                    parts.refused.push((0..calls.len(), error));
                    break;
                }
            }
        }
        for (items, error) in parts.refused {
            let error = Arc::new(error);
            for (drafts, answer) in drafts[items.clone()].iter().zip(&mut answers[items]) {
                let failed = PublishError::of(drafts, error.clone());
                answer.take().map(|answer| answer.send(Err(failed)));
            }
        }
    }

    async fn store_group(
        &self,
        calls: &[Vec<Candidate<'_>>],
        chunk: Option<usize>,
        lock_wait: Option<Duration>,
    ) -> Result<Vec<Published>, StoreError> {
        // Read as late as possible: leases start at this time, and dividing a group takes time.
        let now = self.clock.now();
        let batch = Batch::of(calls.iter().flatten());
        let stored = self.try_store(&batch, chunk, lock_wait, now).await?;
        self.counters.note();
        self.held.accept(stored.held);
        self.dispatcher.dispatch();
        self.wakes.schedule(
            stored
                .overflow
                .into_iter()
                .map(|(lane, webhook)| (lane, webhook, now)),
        );
        Ok(stored.published)
    }

    async fn try_store(
        &self,
        batch: &Batch<'_>,
        chunk: Option<usize>,
        lock_wait: Option<Duration>,
        now: Timestamp,
    ) -> Result<Stored, StoreError> {
        let mut conn = self.store.conn().await?;
        let full = self.held.scheduler().full();
        let room = Room {
            node: self.process.node(),
            lease_until: now.saturating_add(self.timings.lease()).unwrap_or(Timestamp::MAX),
            total: if self.process.is_stopping() {
                0
            } else {
                i64::try_from(self.held.scheduler().room()).unwrap_or(i64::MAX)
            },
            per_webhook: PER_WEBHOOK as i64,
            full: &full,
        };
        let claims = batch.claims();
        let expires_at = now
            .saturating_add(self.policy.idempotency_window)
            .unwrap_or(Timestamp::MAX);
        let at_once = match claims.as_slice() {
            [] if chunk.is_none() && lock_wait.is_none() => {
                self.at_once(&mut conn, batch, now, &room).await?
            }
            _ => None,
        };
        let stored = match at_once {
            Some(stored) => stored,
            None => {
                let claims = (claims.as_slice(), expires_at);
                conn.transaction(async |conn| {
                    limit_lock_waits_in_tx(conn, lock_wait).await?;
                    self.in_tx(conn, batch, chunk, claims, now, &room).await
                })
                .await?
            }
        };
        let mut webhooks: Vec<(Lane, WebhookId)> = stored
            .held
            .iter()
            .map(|held| (held.leased.key.lane, held.leased.key.webhook))
            .collect();
        webhooks.sort_unstable();
        webhooks.dedup();
        if let Err(error) = self.webhooks.ensure(&mut conn, &webhooks).await {
            // The events are stored. Each attempt reads its webhook itself instead.
            tracing::warn!(%error, "webhooks could not be read after a publication");
        }
        Ok(stored)
    }

    /// Stores a group without idempotency keys by one statement, without an explicit transaction. Returns `None`, with
    /// nothing stored, if the group makes too many deliveries for one statement.
    async fn at_once(
        &self,
        conn: &mut Conn,
        batch: &Batch<'_>,
        now: Timestamp,
        room: &Room<'_>,
    ) -> Result<Option<Stored>, StoreError> {
        let (taken, firsts) = (HashMap::new(), HashMap::new());
        let fresh = batch.fresh(&taken);
        let publications = batch.publications(&fresh, &self.policy.catalog);
        let mut summary = PublishSummary::of(publications.len());
        if !publications.is_empty()
            && !publish::insert(conn, &publications, now, room, |made| summary.take(made)).await?
        {
            return Ok(None);
        }
        let counts = batch.counts(&fresh, &summary.counts);
        let published = batch.answers(&counts, &taken, &firsts)?;
        Ok(Some(summary.stored(published, &publications, now, room)))
    }

    /// Stores a group of any size with its idempotency keys, which expire at `expires_at`. Stores it in chunks if
    /// `chunk` is set.
    async fn in_tx(
        &self,
        conn: &mut Conn,
        batch: &Batch<'_>,
        chunk: Option<usize>,
        (claims, expires_at): (&[Claim], Timestamp),
        now: Timestamp,
        room: &Room<'_>,
    ) -> Result<Stored, StoreError> {
        let taken = match claims {
            [] => HashMap::new(),
            claims => idempotency::claim_in_tx(conn, claims, now, expires_at).await?,
        };
        let fresh = batch.fresh(&taken);
        let publications = batch.publications(&fresh, &self.policy.catalog);
        let mut summary = PublishSummary::of(publications.len());
        let chunk = chunk.unwrap_or(usize::MAX);
        for (index, part) in publications.chunks(chunk).enumerate() {
            if index > 0 {
                self.clock.real_sleep(CHUNK_PAUSE).await;
            }
            let before = index.saturating_mul(chunk);
            let left = room.after(summary.leased.len(), before);
            publish::insert_in_tx(conn, part, now, &left, |made| {
                summary.take(NewDelivery {
                    event: before + made.event,
                    ..made
                });
            })
            .await?;
        }
        let counts = batch.counts(&fresh, &summary.counts);
        let keyed = batch.keyed(&counts);
        if !keyed.is_empty() {
            idempotency::count_in_tx(conn, &keyed).await?;
        }
        let firsts = match first_events(&taken).as_slice() {
            [] => HashMap::new(),
            some => idempotency::events(conn, some).await?,
        };
        let published = batch.answers(&counts, &taken, &firsts)?;
        Ok(summary.stored(published, &publications, now, room))
    }
}

/// What this process needs to know of a group's new deliveries. Its size is bounded by the queue's room and the number
/// of webhooks, not by the number of deliveries.
#[derive(Default)]
struct PublishSummary {
    /// Deliveries per publication.
    counts: Vec<u32>,
    /// Deliveries leased to this process, with the index of their publication.
    leased: Vec<(usize, DeliveryKey)>,
    /// Webhooks with deliveries that were stored without a lease.
    queued: BTreeSet<(Lane, WebhookId)>,
}

impl PublishSummary {
    fn of(publications: usize) -> Self {
        Self {
            counts: vec![0; publications],
            ..Self::default()
        }
    }

    fn take(&mut self, made: NewDelivery) {
        self.counts[made.event] += 1;
        match made.state {
            InitialState::Lost => {}
            InitialState::Queued => {
                self.queued.insert((made.key.lane, made.key.webhook));
            }
            InitialState::Leased => self.leased.push((made.event, made.key)),
        }
    }

    fn stored(
        mut self,
        published: Vec<Published>,
        publications: &[Publication<'_>],
        now: Timestamp,
        room: &Room<'_>,
    ) -> Stored {
        let overflow = mem::take(&mut self.queued);
        Stored {
            published,
            held: self.hold(publications, now, room),
            overflow,
        }
    }

    /// The leased deliveries, ready for the queue. Deliveries of one event share it.
    fn hold(self, publications: &[Publication<'_>], now: Timestamp, room: &Room<'_>) -> Vec<HeldDelivery> {
        let mut events: HashMap<usize, Arc<Event>> = HashMap::new();
        let hold = |(index, key): (usize, DeliveryKey)| {
            let event = events
                .entry(index)
                .or_insert_with(|| Arc::new(publications[index].event.clone()))
                .clone();
            let leased = Leased {
                key,
                company: event.company,
                attempt: 1,
                due_at: now,
                created_at: event.accepted_at,
                lease: Lease {
                    token: 1,
                    until: room.lease_until,
                },
            };
            HeldDelivery {
                leased,
                event,
                node: room.node,
            }
        };
        self.leased.into_iter().map(hold).collect()
    }
}
