//! Replaying: new deliveries of old events, starting with attempt 1 (D12).
//!
//! Guarantees:
//!
//! - No replay is made for a webhook that is banned, paused or removed when the call checks. A later ban, pause or
//!   removal ends the new deliveries like any others, even if it comes while the call is being stored.
//! - A call makes all of its deliveries or none, in one transaction of bounded statements. A call with a key that was
//!   used before makes none.
//! - Only other replays of the same webhooks wait for a call, however many deliveries it stores.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use crate::cluster::process::ProcessState;
use crate::deliver::wake_schedule::WakeSchedule;
use crate::settle::counter_activity::CounterActivity;
use tenterhook_clock::Clock;
use tenterhook_model::delivery::Delivery;
use tenterhook_model::ids::{DeliveryKey, EventId, Lane, WebhookId};
use tenterhook_model::webhook::WebhookState;
use tenterhook_policy::health::view;
use tenterhook_settings::policy::PolicySettings;
use tenterhook_store::deliveries::replay_idempotency::{self, Remembered, ReplayKey};
use tenterhook_store::publish::ROWS_PER_STATEMENT;
use tenterhook_store::{Store, StoreError, health, replay};

/// Bound on the deliveries of a call that its result shows and that are remembered under its key.
pub const REPLAYS_SHOWN: usize = 100;

/// The result of a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Replayed {
    /// Deliveries were made.
    Made {
        /// How many: fewer than asked for if an event is no longer stored.
        count: usize,
        /// The first of them, up to [`REPLAYS_SHOWN`].
        first: Vec<Delivery>,
    },
    /// Nothing was made: the key was used before, for the same deliveries or others. This is the earlier result.
    Repeated(Remembered),
    /// Nothing was made: this webhook is banned, paused or removed.
    NotActive(WebhookId),
}

/// Makes new deliveries of old events (D12). Cheap to clone.
#[derive(Clone)]
pub struct Replayer {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) policy: Arc<PolicySettings>,
    pub(crate) process: Arc<ProcessState>,
    pub(crate) counters: Arc<CounterActivity>,
    pub(crate) wakes: Arc<WakeSchedule>,
}

impl Replayer {
    /// Makes one new delivery per event and webhook of these deliveries, or none at all. A key makes them only once.
    pub async fn replay(
        &self,
        deliveries: &[DeliveryKey],
        key: Option<&ReplayKey>,
    ) -> Result<Replayed, StoreError> {
        let mut seen = BTreeSet::new();
        let events: Vec<(Lane, WebhookId, EventId)> = deliveries
            .iter()
            .map(|key| (key.lane, key.webhook, key.event))
            .filter(|event| seen.insert(*event))
            .collect();
        let webhooks: BTreeSet<(Lane, WebhookId)> = seen.iter().map(|(lane, id, _)| (*lane, *id)).collect();
        let now = self.clock.now();
        let window = self.policy.idempotency_window;
        let expires_at = now.saturating_add(window).unwrap_or(Timestamp::MAX);
        let replayed = self
            .store
            .in_tx(async |conn| {
                replay::take_turns_in_tx(conn, &webhooks).await?;
                let states = health::read(conn, &webhooks.iter().copied().collect::<Vec<_>>()).await?;
                let active: BTreeSet<WebhookId> = states
                    .iter()
                    .filter(|(webhook, health)| {
                        let view = view(health, webhook.paused_at, webhook.removed, now, &self.policy);
                        view.state == WebhookState::Active
                    })
                    .map(|(webhook, _)| webhook.id)
                    .collect();
                let inactive = webhooks.iter().map(|(_, id)| *id).find(|id| !active.contains(id));
                if let Some(id) = inactive {
                    // An earlier call with the same key may have succeeded before the ban.
                    let before = match key {
                        Some(key) => replay_idempotency::find(conn, key, now).await?,
                        None => None,
                    };
                    return Ok(before.map_or(Replayed::NotActive(id), Replayed::Repeated));
                }
                // The key is claimed after the turn: a call that holds a key never waits for a turn.
                if let Some(key) = key
                    && let Some(before) = replay_idempotency::claim_in_tx(conn, key, now, expires_at).await?
                {
                    return Ok(Replayed::Repeated(before));
                }
                let (mut count, mut first) = (0, Vec::new());
                for some in events.chunks(ROWS_PER_STATEMENT as usize) {
                    let made = replay::insert_in_tx(conn, some, now, self.process.node()).await?;
                    count += made.len();
                    first.extend(made.into_iter().take(REPLAYS_SHOWN - first.len()));
                }
                if let Some(key) = key {
                    let shown: Vec<DeliveryKey> = first.iter().map(|delivery| delivery.key).collect();
                    replay_idempotency::remember_in_tx(conn, key, count, &shown).await?;
                }
                Ok(Replayed::Made { count, first })
            })
            .await?;
        if let Replayed::Made { count: 1.., .. } = &replayed {
            self.counters.note();
            self.wakes
                .schedule(webhooks.into_iter().map(|(lane, webhook)| (lane, webhook, now)));
        }
        Ok(replayed)
    }
}
