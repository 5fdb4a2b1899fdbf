//! How deliveries end, and the queue of results for the settlers.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::deliver::scheduler::HeldDelivery;
use tenterhook_model::delivery::{DeliveryReason, DeliveryStatus};
use tenterhook_model::ids::DeliveryKey;
use tenterhook_policy::health::Verdict;
use tenterhook_store::settle::{Action, Settlement};

/// The start of an attempt and its delivery.
pub(crate) type Started = (Timestamp, DeliveryKey);

/// One result that is to be settled.
pub(crate) struct AttemptResult {
    pub settlement: Settlement,
    /// The attempt, if one was made.
    pub started: Option<Started>,
}

/// How a delivery ends by this verdict; `None` if it does not end.
pub(crate) fn end_by(verdict: Verdict, now: Timestamp) -> Option<Action> {
    match verdict {
        Verdict::Lose {
            reason,
            ban_episode,
            at,
        } => Some(Action::Discard {
            status: DeliveryStatus::Lost,
            reason,
            ban_episode,
            at,
        }),
        Verdict::Cancel => Some(Action::Discard {
            status: DeliveryStatus::Cancelled,
            reason: DeliveryReason::WebhookRemoved,
            ban_episode: None,
            at: now,
        }),
        Verdict::Attempt | Verdict::AwaitRemoval => None,
    }
}

/// The settlement of a delivery without a request.
pub(crate) fn without_attempt(held: &HeldDelivery, action: Action) -> Settlement {
    Settlement {
        key: held.leased.key,
        company: held.leased.company,
        created_at: held.leased.created_at,
        token: held.leased.lease.token,
        attempt: None,
        action,
    }
}

/// The settlers' inboxes.
pub(crate) struct ResultQueue(Mutex<Vec<mpsc::UnboundedSender<AttemptResult>>>);

impl ResultQueue {
    /// One inbox for each settler.
    pub fn new(settlers: Vec<mpsc::UnboundedSender<AttemptResult>>) -> Self {
        Self(Mutex::new(settlers))
    }

    /// Passes a result to its webhook's settler. There is one settler per webhook, so that results keep their order.
    pub fn send(&self, result: AttemptResult) {
        let settlers = self.settlers();
        let byte = usize::from(result.settlement.key.webhook.0.as_bytes()[15]);
        // If the settlers are closed, the result is dropped, and the delivery waits for its lease's end.
        if let Some(settler) = settlers.get(byte % settlers.len().max(1)) {
            let _ = settler.send(result);
        }
    }

    /// Gives up a delivery without an attempt.
    pub fn release(&self, held: &HeldDelivery, action: Action) {
        self.send(AttemptResult {
            settlement: without_attempt(held, action),
            started: None,
        });
    }

    /// Lets the settlers end once they have settled the results they have.
    pub fn close(&self) {
        self.settlers().clear();
    }

    fn settlers(&self) -> MutexGuard<'_, Vec<mpsc::UnboundedSender<AttemptResult>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
