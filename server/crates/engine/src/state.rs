//! State that the engine's tasks share, and the few steps that several of them take.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::{Notify, Semaphore, mpsc};

use crate::cluster::change_feed::Freshness;
use crate::cluster::database_clock::DatabaseClock;
use crate::cluster::timings::LeaseTimings;
use crate::cluster::webhook_cache::{CachedWebhook, WebhookCache};
use crate::deliver::postponed::Postponed;
use crate::deliver::scheduler::{AttemptSpeed, HeldDelivery, RequestLimits, Scheduler};
use crate::deliver::wake_schedule::WakeSchedule;
use crate::live::Hub;
use crate::metrics::Metrics;
use crate::settle::in_flight_attempts::InFlightAttempts;
use crate::settle::settler;
use crate::settle::settler::Result as AttemptResult;
use crate::test_delivery;
use crate::transport::Transport;
use tenterhook_clock::Clock;
use tenterhook_model::ids::{DeliveryKey, Lane, NodeId, WebhookId};
use tenterhook_policy::health::Verdict;
use tenterhook_settings::policy::PolicySettings;
use tenterhook_store::settle::{Settlement, Then};
use tenterhook_store::{Store, StoreError};

/// The state that all tasks of the engine share.
pub struct Shared {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) policy: Arc<PolicySettings>,
    pub(crate) transport: Transport,
    pub(crate) registry: WebhookCache,
    pub(crate) feed: Freshness,
    pub(crate) tempo: LeaseTimings,
    pub(crate) live: Hub,
    pub(crate) unsettled: InFlightAttempts,
    pub(crate) metrics: Metrics,
    pub(crate) database_clock: DatabaseClock,
    pub(crate) postponed: Postponed,
    pub(crate) stopping: AtomicBool,
    /// Transactions that appended a tally since the last fold.
    pub(crate) tallied: AtomicU64,
    /// Wakes the dispatcher: a place is free, a result is settled, or a delivery waits.
    pub(crate) capacity: Notify,
    /// Wakes the claimer: there is a new hint, or room.
    pub(crate) look: Notify,
    /// Wakes the task that extends leases: a delivery waits.
    pub(crate) waiting: Notify,
    /// Wakes the sweeper: a webhook's health has changed.
    pub(crate) moved: Notify,
    /// Wakes the notifier: there is a notice for the platform's endpoint.
    pub(crate) owed: Notify,
    /// Whether the platform has an endpoint for notices.
    pub(crate) sends_notices: bool,
    /// Notified when an attempt is over; used while stopping.
    pub(crate) finished: Notify,
    /// One permit for each running test delivery.
    pub(crate) tests: Semaphore,
    node: AtomicI64,
    queue: Mutex<Scheduler>,
    calendar: Mutex<WakeSchedule>,
    /// Deliveries of webhooks whose removal is due but not written. Nothing starts until the sweeper has decided.
    undecided: Mutex<Vec<HeldDelivery>>,
    settlers: Mutex<Vec<mpsc::UnboundedSender<AttemptResult>>>,
}

/// The values that [`Shared`] is built from.
pub(crate) struct Foundations {
    pub store: Store,
    pub clock: Clock,
    pub policy: Arc<PolicySettings>,
    pub transport: Transport,
    pub registry: WebhookCache,
    pub feed: Freshness,
    pub tempo: LeaseTimings,
    pub node: NodeId,
    pub places: RequestLimits,
    pub sends_notices: bool,
    pub settlers: Vec<mpsc::UnboundedSender<AttemptResult>>,
}

impl Shared {
    pub(crate) fn new(foundations: Foundations) -> Arc<Self> {
        let Foundations {
            store,
            clock,
            policy,
            transport,
            registry,
            feed,
            tempo,
            node,
            places,
            sends_notices,
            settlers,
        } = foundations;
        Arc::new(Self {
            store,
            clock,
            policy,
            transport,
            registry,
            feed,
            tempo,
            live: Hub::default(),
            unsettled: InFlightAttempts::new(places.total),
            metrics: Metrics::default(),
            database_clock: DatabaseClock::default(),
            postponed: Postponed::default(),
            stopping: AtomicBool::new(false),
            tallied: AtomicU64::new(0),
            capacity: Notify::new(),
            look: Notify::new(),
            waiting: Notify::new(),
            moved: Notify::new(),
            owed: Notify::new(),
            sends_notices,
            finished: Notify::new(),
            tests: Semaphore::new(test_delivery::AT_ONCE),
            node: AtomicI64::new(node.0),
            queue: Mutex::new(Scheduler::new(places)),
            calendar: Mutex::default(),
            undecided: Mutex::default(),
            settlers: Mutex::new(settlers),
        })
    }

    /// This process's current id in the `nodes` table.
    pub(crate) fn node(&self) -> NodeId {
        NodeId(self.node.load(Ordering::Acquire))
    }

    pub(crate) fn set_node(&self, node: NodeId) {
        self.node.store(node.0, Ordering::Release);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub(crate) fn queue(&self) -> MutexGuard<'_, Scheduler> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn calendar(&self) -> MutexGuard<'_, WakeSchedule> {
        self.calendar.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes when deliveries of webhooks become visible, and wakes the claimer.
    pub(crate) fn hint(&self, hints: impl IntoIterator<Item = (Lane, WebhookId, Timestamp)>) {
        let mut noted = false;
        {
            let mut calendar = self.calendar();
            for (lane, webhook, at) in hints {
                calendar.schedule(lane, webhook, at);
                noted = true;
            }
        }
        if noted {
            self.look.notify_one();
        }
    }

    /// Adds deliveries to the scheduler.
    pub(crate) fn accept(&self, deliveries: Vec<HeldDelivery>) {
        if deliveries.is_empty() {
            return;
        }
        {
            let mut queue = self.queue();
            for held in deliveries {
                let host = self.registry.host(held.leased.key.webhook);
                queue.push(held, host);
            }
        }
        self.capacity.notify_one();
        self.waiting.notify_one();
    }

    /// Passes a result to its webhook's settler. There is one settler per webhook, so that results keep their order.
    pub(crate) fn settle(&self, result: AttemptResult) {
        let settlers = self.settlers.lock().unwrap_or_else(PoisonError::into_inner);
        let byte = usize::from(result.settlement.key.webhook.0.as_bytes()[15]);
        // If the settlers are closed, the result is dropped, and the delivery waits for its lease's end.
        if let Some(settler) = settlers.get(byte % settlers.len().max(1)) {
            let _ = settler.send(result);
        }
    }

    /// Lets the settlers end once they have settled the results they have.
    pub(crate) fn close_settlers(&self) {
        self.settlers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// Gives up a delivery without an attempt.
    pub(crate) fn release(&self, held: &HeldDelivery, then: Then) {
        self.settle(settler::Result {
            settlement: without_attempt(held, then),
            started: None,
        });
    }

    /// Keeps a delivery until the sweeper has decided about its webhook.
    pub(crate) fn keep_undecided(&self, held: HeldDelivery) {
        self.undecided
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(held);
        self.moved.notify_one();
    }

    /// Takes out all waiting deliveries, when the server stops.
    pub(crate) fn take_all(&self) -> Vec<HeldDelivery> {
        let mut all = self.queue().take_all();
        all.append(&mut self.undecided.lock().unwrap_or_else(PoisonError::into_inner));
        all
    }

    /// Reads webhooks again and acts on the changes: waiting deliveries of a webhook that may get nothing are given up.
    pub(crate) async fn refresh(&self, webhooks: &[(Lane, WebhookId)]) -> Result<(), StoreError> {
        let mut conn = self.store.conn().await?;
        for some in webhooks.chunks(500) {
            let targets = self.registry.refresh(&mut conn, some).await?;
            self.apply_changes(&targets);
        }
        Ok(())
    }

    fn apply_changes(&self, targets: &[Arc<CachedWebhook>]) {
        let now = self.clock.now();
        let mut decided = Vec::new();
        for target in targets {
            let id = target.webhook.id;
            let verdict = target.verdict(now, now, &self.policy);
            if verdict != Verdict::AwaitRemoval {
                let mut undecided = self.undecided.lock().unwrap_or_else(PoisonError::into_inner);
                decided.extend(undecided.extract_if(.., |held| held.leased.key.webhook == id));
            }
            if verdict != Verdict::Attempt {
                // The queue's deliveries of this webhook are decided one by one below.
                decided.extend(self.queue().take(id));
                self.hint([(target.webhook.lane, id, now)]);
            }
        }
        for held in decided {
            match self.unsent(&held) {
                Some(then) => self.release(&held, then),
                None => self.accept(vec![held]),
            }
        }
        self.moved.notify_one();
    }

    /// How a delivery ends that may not be attempted now. `None` if it may be attempted, or if that is not decided.
    fn unsent(&self, held: &HeldDelivery) -> Option<Then> {
        let now = self.clock.now();
        let target = self.registry.get(held.leased.key.webhook)?;
        drop_as(target.verdict(held.leased.due_at, now, &self.policy), now)
    }
}

/// The place of one attempt by the limits on requests. When it is dropped the place is free again, and the dispatcher
/// is notified.
pub(crate) struct Permit {
    shared: Arc<Shared>,
    webhook: WebhookId,
    bytes: usize,
    /// How fast the receiver was; tells the scheduler when the place is freed.
    pub speed: AttemptSpeed,
}

impl Permit {
    /// The place that a delivery took when it was [popped](Scheduler::pop).
    pub fn new(shared: &Arc<Shared>, held: &HeldDelivery) -> Self {
        Self {
            shared: shared.clone(),
            webhook: held.leased.key.webhook,
            bytes: held.bytes(),
            speed: AttemptSpeed::Unsent,
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let shared = &self.shared;
        shared.queue().finish(self.webhook, self.bytes, self.speed);
        shared.finished.notify_waiters();
        if shared.calendar().waits_for_room() {
            shared.look.notify_one();
        }
        shared.capacity.notify_one();
    }
}

/// How a delivery ends by this verdict; `None` if it does not end.
pub(crate) fn drop_as(verdict: Verdict, now: Timestamp) -> Option<Then> {
    use tenterhook_model::delivery::{DeliveryReason, DeliveryStatus};
    match verdict {
        Verdict::Lose {
            reason,
            ban_episode,
            at,
        } => Some(Then::Drop {
            status: DeliveryStatus::Lost,
            reason,
            ban_episode,
            at,
        }),
        Verdict::Cancel => Some(Then::Drop {
            status: DeliveryStatus::Cancelled,
            reason: DeliveryReason::WebhookRemoved,
            ban_episode: None,
            at: now,
        }),
        Verdict::Attempt | Verdict::AwaitRemoval => None,
    }
}

/// The settlement of a delivery without a request.
pub(crate) fn without_attempt(held: &HeldDelivery, then: Then) -> Settlement {
    Settlement {
        key: held.leased.key,
        company: held.leased.company,
        created_at: held.leased.created_at,
        token: held.leased.lease.token,
        attempt: None,
        then,
    }
}

/// The start of an attempt and its delivery, for [`InFlightAttempts`].
pub(crate) type Started = (Timestamp, DeliveryKey);
