//! State that the engine's tasks share, and the few steps that several of them take.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::{Notify, Semaphore, mpsc};

use super::calendar::Calendar;
use super::database_clock::DatabaseClock;
use super::feed::Feed;
use super::live::Hub;
use super::metrics::Metrics;
use super::postponed::Postponed;
use super::queue::{Held, Places, Queue};
use super::registry::{Registry, Target};
use super::settler::Result as AttemptResult;
use super::tempo::Tempo;
use super::unsettled::Unsettled;
use super::{attempt, settler, test_delivery};
use tenterhook_clock::Clock;
use tenterhook_model::ids::{DeliveryKey, Lane, NodeId, WebhookId};
use tenterhook_outbound_http::Transport;
use tenterhook_policy::health::Verdict;
use tenterhook_settings::policy::PolicySettings;
use tenterhook_store::settle::{Settlement, Then};
use tenterhook_store::{Store, StoreError};

/// The state that all tasks of the engine share.
pub struct Shared {
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) policy: Arc<PolicySettings>,
    pub(super) transport: Transport,
    pub(super) registry: Registry,
    pub(super) feed: Feed,
    pub(super) tempo: Tempo,
    pub(super) live: Hub,
    pub(super) unsettled: Unsettled,
    pub(super) metrics: Metrics,
    pub(super) database_clock: DatabaseClock,
    pub(super) postponed: Postponed,
    pub(super) stopping: AtomicBool,
    /// Transactions that appended a tally since the last fold.
    pub(super) tallied: AtomicU64,
    /// Wakes the claimer: there is a new hint, or room.
    pub(super) look: Notify,
    /// Wakes the task that extends leases: a delivery waits.
    pub(super) waiting: Notify,
    /// Wakes the sweeper: a webhook's health has changed.
    pub(super) moved: Notify,
    /// Wakes the notifier: there is a notice for the platform's endpoint.
    pub(super) owed: Notify,
    /// Whether the platform has an endpoint for notices.
    pub(super) sends_notices: bool,
    /// Notified when an attempt is over; used while stopping.
    pub(super) finished: Notify,
    /// One permit for each running test delivery.
    pub(super) tests: Semaphore,
    node: AtomicI64,
    queue: Mutex<Queue>,
    calendar: Mutex<Calendar>,
    /// Deliveries of webhooks whose removal is due but not written. Nothing starts until the sweeper has decided.
    undecided: Mutex<Vec<Held>>,
    settlers: Mutex<Vec<mpsc::UnboundedSender<AttemptResult>>>,
}

/// The values that [`Shared`] is built from.
pub(super) struct Foundations {
    pub store: Store,
    pub clock: Clock,
    pub policy: Arc<PolicySettings>,
    pub transport: Transport,
    pub registry: Registry,
    pub feed: Feed,
    pub tempo: Tempo,
    pub node: NodeId,
    pub places: Places,
    pub sends_notices: bool,
    pub settlers: Vec<mpsc::UnboundedSender<AttemptResult>>,
}

impl Shared {
    pub(super) fn new(foundations: Foundations) -> Arc<Self> {
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
            unsettled: Unsettled::new(places.total),
            metrics: Metrics::default(),
            database_clock: DatabaseClock::default(),
            postponed: Postponed::default(),
            stopping: AtomicBool::new(false),
            tallied: AtomicU64::new(0),
            look: Notify::new(),
            waiting: Notify::new(),
            moved: Notify::new(),
            owed: Notify::new(),
            sends_notices,
            finished: Notify::new(),
            tests: Semaphore::new(test_delivery::AT_ONCE),
            node: AtomicI64::new(node.0),
            queue: Mutex::new(Queue::new(places)),
            calendar: Mutex::default(),
            undecided: Mutex::default(),
            settlers: Mutex::new(settlers),
        })
    }

    /// This process's current id in the `nodes` table.
    pub(super) fn node(&self) -> NodeId {
        NodeId(self.node.load(Ordering::Acquire))
    }

    pub(super) fn set_node(&self, node: NodeId) {
        self.node.store(node.0, Ordering::Release);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn calendar(&self) -> MutexGuard<'_, Calendar> {
        self.calendar.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes when deliveries of webhooks become visible, and wakes the claimer.
    pub(super) fn hint(&self, hints: impl IntoIterator<Item = (Lane, WebhookId, Timestamp)>) {
        let mut noted = false;
        {
            let mut calendar = self.calendar();
            for (lane, webhook, at) in hints {
                calendar.note(lane, webhook, at);
                noted = true;
            }
        }
        if noted {
            self.look.notify_one();
        }
    }

    /// Adds deliveries to the queue and starts as many attempts as possible.
    pub(super) fn take_in(self: &Arc<Self>, deliveries: Vec<Held>) {
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
        self.pump();
        self.waiting.notify_one();
    }

    /// Starts attempts while there are free places and the number of unsettled results is within its bound.
    pub(super) fn pump(self: &Arc<Self>) {
        while !self.is_stopping() && !self.unsettled.is_full() {
            let Some(held) = self.queue().pop() else { break };
            drop(self.clock.spawn("attempt", attempt::run(self.clone(), held)));
        }
    }

    /// Passes a result to its webhook's settler. There is one settler per webhook, so that results keep their order.
    pub(super) fn settle(&self, result: AttemptResult) {
        let settlers = self.settlers.lock().unwrap_or_else(PoisonError::into_inner);
        let byte = usize::from(result.settlement.key.webhook.0.as_bytes()[15]);
        // If the settlers are closed, the result is dropped, and the delivery waits for its lease's end.
        if let Some(settler) = settlers.get(byte % settlers.len().max(1)) {
            let _ = settler.send(result);
        }
    }

    /// Lets the settlers end once they have settled the results they have.
    pub(super) fn close_settlers(&self) {
        self.settlers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// Gives up a delivery without an attempt.
    pub(super) fn let_go(&self, held: &Held, then: Then) {
        self.settle(settler::Result {
            settlement: without_attempt(held, then),
            started: None,
        });
    }

    /// Keeps a delivery until the sweeper has decided about its webhook.
    pub(super) fn keep_undecided(&self, held: Held) {
        self.undecided
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(held);
        self.moved.notify_one();
    }

    /// Takes out all waiting deliveries, when the server stops.
    pub(super) fn take_all(&self) -> Vec<Held> {
        let mut all = self.queue().take_all();
        all.append(&mut self.undecided.lock().unwrap_or_else(PoisonError::into_inner));
        all
    }

    /// Reads webhooks again and acts on the changes: waiting deliveries of a webhook that may get nothing are given up.
    pub(super) async fn refresh(self: &Arc<Self>, webhooks: &[(Lane, WebhookId)]) -> Result<(), StoreError> {
        let mut conn = self.store.conn().await?;
        for some in webhooks.chunks(500) {
            let targets = self.registry.refresh(&mut conn, some).await?;
            self.act_on(&targets);
        }
        Ok(())
    }

    fn act_on(self: &Arc<Self>, targets: &[Arc<Target>]) {
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
                Some(then) => self.let_go(&held, then),
                None => self.take_in(vec![held]),
            }
        }
        self.moved.notify_one();
    }

    /// How a delivery ends that may not be attempted now. `None` if it may be attempted, or if that is not decided.
    fn unsent(&self, held: &Held) -> Option<Then> {
        let now = self.clock.now();
        let target = self.registry.get(held.leased.key.webhook)?;
        drop_as(target.verdict(held.leased.due_at, now, &self.policy), now)
    }
}

/// How a delivery ends by this verdict; `None` if it does not end.
pub(super) fn drop_as(verdict: Verdict, now: Timestamp) -> Option<Then> {
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
pub(super) fn without_attempt(held: &Held, then: Then) -> Settlement {
    Settlement {
        key: held.leased.key,
        company: held.leased.company,
        created_at: held.leased.created_at,
        token: held.leased.lease.token,
        attempt: None,
        then,
    }
}

/// The start of an attempt and its delivery, for [`Unsettled`].
pub(super) type Started = (Timestamp, DeliveryKey);
