//! Applies changes of webhooks: reads the webhook again, and decides again about its waiting deliveries.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::cluster::webhook_cache::{CachedWebhook, WebhookCache};
use crate::deliver::held_deliveries::HeldDeliveries;
use crate::deliver::scheduler::HeldDelivery;
use crate::deliver::wake_schedule::WakeSchedule;
use crate::settle::settlement::{ResultQueue, end_by};
use tenterhook_clock::Clock;
use tenterhook_model::ids::{Lane, WebhookId};
use tenterhook_policy::health::Verdict;
use tenterhook_settings::policy::PolicySettings;
use tenterhook_store::settle::Action;
use tenterhook_store::{Store, StoreError};

/// Webhooks that one statement reads.
const READ_AT_ONCE: usize = 500;

/// Reads changed webhooks and applies the changes to the deliveries that this process holds.
pub(crate) struct ChangeApplier {
    pub store: Store,
    pub clock: Clock,
    pub policy: Arc<PolicySettings>,
    pub webhooks: Arc<WebhookCache>,
    pub held: Arc<HeldDeliveries>,
    pub results: Arc<ResultQueue>,
    pub wakes: Arc<WakeSchedule>,
    /// Wakes the sweeper.
    pub sweep: Arc<Notify>,
}

impl ChangeApplier {
    /// Reads these webhooks again. Waiting deliveries of a webhook that may get nothing are given up.
    pub async fn apply(&self, webhooks: &[(Lane, WebhookId)]) -> Result<(), StoreError> {
        let mut conn = self.store.conn().await?;
        for some in webhooks.chunks(READ_AT_ONCE) {
            let changed = self.webhooks.refresh(&mut conn, some).await?;
            self.decide_again(&changed);
        }
        Ok(())
    }

    fn decide_again(&self, changed: &[Arc<CachedWebhook>]) {
        let now = self.clock.now();
        let mut decided = Vec::new();
        for webhook in changed {
            let id = webhook.webhook.id;
            let verdict = webhook.verdict(now, now, &self.policy);
            if verdict != Verdict::AwaitRemoval {
                decided.extend(self.held.take_undecided(id));
            }
            if verdict != Verdict::Attempt {
                // The waiting deliveries of this webhook are decided one by one below.
                decided.extend(self.held.scheduler().take(id));
                self.wakes.schedule([(webhook.webhook.lane, id, now)]);
            }
        }
        for held in decided {
            match self.end(&held) {
                Some(action) => self.results.release(&held, action),
                None => self.held.accept(vec![held]),
            }
        }
        self.sweep.notify_one();
    }

    /// How a delivery ends that may not be attempted now. `None` if it may be attempted, or if that is not decided.
    fn end(&self, held: &HeldDelivery) -> Option<Action> {
        let now = self.clock.now();
        let webhook = self.webhooks.get(held.leased.key.webhook)?;
        end_by(webhook.verdict(held.leased.due_at, now, &self.policy), now)
    }
}
