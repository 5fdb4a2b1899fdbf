//! The deliveries that this process holds, as tasks share them, and the signals of their changes.
//!
//! The [`Scheduler`] decides what is next. This is its lock, and it wakes the tasks that a change concerns: the
//! dispatcher, the renewal of leases, and a stop that waits for requests in flight.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::cluster::webhook_cache::WebhookCache;
use crate::deliver::scheduler::{AttemptSpeed, HeldDelivery, RequestLimits, Scheduler};
use crate::deliver::wake_schedule::WakeSchedule;
use tenterhook_model::ids::WebhookId;

/// The deliveries that this process holds.
pub(crate) struct HeldDeliveries {
    scheduler: Mutex<Scheduler>,
    /// Deliveries of webhooks whose removal is due but not written. Nothing starts until the sweeper has decided.
    undecided: Mutex<Vec<HeldDelivery>>,
    webhooks: Arc<WebhookCache>,
    wakes: Arc<WakeSchedule>,
    capacity: Notify,
    waiting: Notify,
    finished: Notify,
}

impl HeldDeliveries {
    /// Holds nothing yet. Hosts are known from `webhooks`, and `wakes` is notified when there is room.
    pub fn new(limits: RequestLimits, webhooks: Arc<WebhookCache>, wakes: Arc<WakeSchedule>) -> Self {
        Self {
            scheduler: Mutex::new(Scheduler::new(limits)),
            undecided: Mutex::default(),
            webhooks,
            wakes,
            capacity: Notify::new(),
            waiting: Notify::new(),
            finished: Notify::new(),
        }
    }

    /// The scheduler, locked.
    pub fn scheduler(&self) -> MutexGuard<'_, Scheduler> {
        self.scheduler.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds deliveries to the scheduler.
    pub fn accept(&self, deliveries: Vec<HeldDelivery>) {
        if deliveries.is_empty() {
            return;
        }
        {
            let mut scheduler = self.scheduler();
            for held in deliveries {
                let host = self.webhooks.host(held.leased.key.webhook);
                scheduler.push(held, host);
            }
        }
        self.capacity.notify_one();
        self.waiting.notify_one();
    }

    /// The next delivery to attempt, with its place. `None` if no place is free or nothing may start.
    pub fn next(self: &Arc<Self>) -> Option<(HeldDelivery, Permit)> {
        let held = self.scheduler().pop()?;
        let permit = Permit {
            webhook: held.leased.key.webhook,
            bytes: held.bytes(),
            speed: AttemptSpeed::Unsent,
            of: self.clone(),
        };
        Some((held, permit))
    }

    /// Notes that there may be capacity: the dispatcher looks for attempts to start.
    pub fn notify_capacity(&self) {
        self.capacity.notify_one();
    }

    /// Waits until there may be capacity.
    pub async fn capacity(&self) {
        self.capacity.notified().await;
    }

    /// Waits until deliveries were added.
    pub async fn added(&self) {
        self.waiting.notified().await;
    }

    /// Waits until no attempt is in flight.
    pub async fn until_idle(&self) {
        loop {
            let finished = self.finished.notified();
            if self.scheduler().is_quiet() {
                return;
            }
            finished.await;
        }
    }

    /// Keeps a delivery until the sweeper has decided about its webhook. The caller wakes the sweeper.
    pub fn keep_undecided(&self, held: HeldDelivery) {
        self.undecided().push(held);
    }

    /// Takes out the deliveries of this webhook that waited for the sweeper's decision.
    pub fn take_undecided(&self, webhook: WebhookId) -> Vec<HeldDelivery> {
        self.undecided()
            .extract_if(.., |held| held.leased.key.webhook == webhook)
            .collect()
    }

    /// Takes out all waiting deliveries.
    pub fn take_all(&self) -> Vec<HeldDelivery> {
        let mut all = self.scheduler().take_all();
        all.append(&mut self.undecided());
        all
    }

    fn undecided(&self) -> MutexGuard<'_, Vec<HeldDelivery>> {
        self.undecided.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one attempt by the limits on requests. When it is dropped the place is free again, and the dispatcher
/// is notified.
pub(crate) struct Permit {
    webhook: WebhookId,
    bytes: usize,
    /// How fast the receiver was; set when the attempt is over.
    pub speed: AttemptSpeed,
    of: Arc<HeldDeliveries>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let held = &self.of;
        held.scheduler().finish(self.webhook, self.bytes, self.speed);
        held.finished.notify_waiters();
        held.wakes.note_room();
        held.capacity.notify_one();
    }
}

#[cfg(test)]
mod tests;
