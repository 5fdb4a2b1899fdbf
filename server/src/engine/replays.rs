//! Replaying: new deliveries of old events, from their first attempt (D12).
//!
//! Promises that no replay is made for a webhook that is banned, paused or removed when it is made; what happens to one
//! afterwards is what happens to any delivery.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::shared::Shared;
use crate::model::delivery::Delivery;
use crate::model::ids::{DeliveryKey, EventId, Lane, WebhookId};
use crate::model::webhook::WebhookState;
use crate::policy::health::view;
use crate::store::{StoreError, replay, webhooks};

/// What became of a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Replayed {
    /// These deliveries were made. Fewer than asked for if an event is not kept any more.
    Made(Vec<Delivery>),
    /// Nothing was made: this webhook is banned, paused or removed.
    NotActive(WebhookId),
}

/// Each event once for each webhook, whichever of its deliveries were named.
pub(super) async fn replay(shared: &Arc<Shared>, deliveries: &[DeliveryKey]) -> Result<Replayed, StoreError> {
    let mut seen = BTreeSet::new();
    let events: Vec<(Lane, WebhookId, EventId)> = deliveries
        .iter()
        .map(|key| (key.lane, key.webhook, key.event))
        .filter(|event| seen.insert(*event))
        .collect();
    // In their order, so that two calls never wait for each other crosswise.
    let locked: BTreeSet<(Lane, WebhookId)> = seen.iter().map(|(lane, id, _)| (*lane, *id)).collect();
    let now = shared.clock.now();
    let replayed = shared
        .store
        .in_tx(async |conn| {
            for (lane, id) in &locked {
                let state = webhooks::lock_in_tx(conn, *lane, *id).await?;
                let active = state.is_some_and(|(webhook, health)| {
                    let view = view(&health, webhook.paused_at, webhook.removed, now, &shared.policy);
                    view.state == WebhookState::Active
                });
                if !active {
                    return Ok(Replayed::NotActive(*id));
                }
            }
            let made = replay::insert_in_tx(conn, &events, now, shared.node()).await?;
            Ok(Replayed::Made(made))
        })
        .await?;
    if let Replayed::Made(made) = &replayed {
        shared.tallied.fetch_add(1, Ordering::Relaxed);
        shared.hint(
            made.iter()
                .map(|delivery| (delivery.key.lane, delivery.key.webhook, now)),
        );
    }
    Ok(replayed)
}
