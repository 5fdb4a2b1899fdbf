//! Test deliveries: one request to a webhook's receiver, to show whether it works (D12).
//!
//! Guarantees: it is sent like an attempt, with the current URL, credentials and secrets, and has no other effect. It
//! does not count under D7, changes neither ban counter nor failure window, is also sent during a ban or a pause, is not
//! retried, and is not stored. It is refused when [`AT_ONCE`] others are running.

use std::sync::Arc;

use tokio::sync::Semaphore;
use url::Url;

use crate::cluster::process::ProcessState;
use crate::cluster::webhook_cache::WebhookCache;
use crate::deliver::request::Requests;
use tenterhook_clock::Clock;
use tenterhook_model::attempt::Attempt;
use tenterhook_model::delivery::DeliveryStatus;
use tenterhook_model::event::{ChangeSource, Event};
use tenterhook_model::ids::{DeliveryKey, EventId, Lane, WebhookId};
use tenterhook_model::webhook::{EventAction, PayloadVersion, Webhook};
use tenterhook_outbound_http::target::Blocked;
use tenterhook_settings::policy::Catalog;
use tenterhook_store::{Store, StoreError};

/// At most this number of test deliveries run in one process, because they share its sockets with real deliveries.
const AT_ONCE: usize = 32;

/// A test delivery: its made-up event and its only attempt.
#[derive(Debug, Clone)]
pub struct Tested {
    /// The made-up event; not stored.
    pub event: Event,
    /// The attempt; not stored.
    pub attempt: Attempt,
}

/// Why no request was made.
#[derive(Debug, thiserror::Error)]
pub enum NotTested {
    /// The webhook no longer exists.
    #[error("the webhook no longer exists")]
    Gone,
    /// The allowed number of test deliveries is already running.
    #[error("too many test deliveries are in progress")]
    TooMany,
    /// The webhook's row cannot be used. The operator must act.
    #[error("the webhook's row cannot be used")]
    Unusable,
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
    /// The database could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes test deliveries.
pub(crate) struct TestDeliveries {
    store: Store,
    clock: Clock,
    process: Arc<ProcessState>,
    webhooks: Arc<WebhookCache>,
    requests: Requests,
    /// One permit for each running test delivery.
    permits: Semaphore,
}

impl TestDeliveries {
    /// None runs yet.
    pub fn new(
        store: Store,
        clock: Clock,
        process: Arc<ProcessState>,
        webhooks: Arc<WebhookCache>,
        requests: Requests,
    ) -> Self {
        Self {
            store,
            clock,
            process,
            webhooks,
            requests,
            permits: Semaphore::new(AT_ONCE),
        }
    }

    /// Checks the addresses of a URL's host.
    pub async fn vet(&self, url: &Url) -> Result<(), Blocked> {
        self.requests.transport.vet_host(url).await
    }

    /// Makes the request and waits for its end. It runs in its own task, so that simulated time waits for it.
    pub async fn run(self: &Arc<Self>, webhook: (Lane, WebhookId)) -> Result<Tested, NotTested> {
        let work = self.clone().attempt(webhook);
        let task = self.clock.spawn("test delivery", work);
        task.await.map_err(|_| NotTested::Stopping)?
    }

    async fn attempt(self: Arc<Self>, key: (Lane, WebhookId)) -> Result<Tested, NotTested> {
        let _permit = self.permits.try_acquire().map_err(|_| NotTested::TooMany)?;
        if self.process.is_stopping() {
            return Err(NotTested::Stopping);
        }
        let target = {
            let mut conn = self.store.conn().await?;
            let read = self.webhooks.refresh(&mut conn, &[key]).await?;
            if self.webhooks.is_unreadable(key.1) {
                return Err(NotTested::Unusable);
            }
            read.into_iter().next().ok_or(NotTested::Gone)?
        };
        let webhook = &target.webhook;
        let now = self.clock.now();
        let event = made_up(webhook, EventId::new(now), &self.requests.policy.catalog);
        let Some(request) = self.requests.build(&event, &target, 1, now) else {
            return Err(NotTested::Unusable);
        };
        let auth_sent = target.opened.as_ref().is_ok_and(|opened| opened.auth.is_some());
        let sent = self.requests.send(&target, request).await;
        let ending = if sent.outcome.succeeded() {
            DeliveryStatus::Succeeded
        } else {
            DeliveryStatus::Failed
        };
        let attempt = Attempt {
            delivery: DeliveryKey {
                lane: webhook.lane,
                webhook: webhook.id,
                event: event.id,
                generation: 0,
            },
            number: 1,
            started_at: now,
            ended_at: sent.ended_at,
            duration_us: sent.duration_us,
            url: webhook.url.clone(),
            auth_sent,
            outcome: sent.outcome,
            ending: Some(ending),
        };
        Ok(Tested { event, attempt })
    }
}

/// The id of the event's object; no real object has it.
const OBJECT_ID: &str = "0";
/// The object type for a webhook that wants all types, if the catalogue has it.
const USUAL: &str = "deal";

/// An event of the kind that the webhook has subscribed to.
fn made_up(webhook: &Webhook, id: EventId, catalog: &Catalog) -> Event {
    let action = match webhook.action {
        // A merge has a second object, and there is none.
        EventAction::Any | EventAction::Merge => EventAction::Change,
        action => action,
    };
    let objects = match webhook.version {
        PayloadVersion::V1 => &catalog.v1,
        PayloadVersion::V2 => &catalog.v2,
    };
    let object = match webhook.object.as_str() {
        "*" if objects.contains(USUAL) => USUAL,
        "*" => objects.first().map_or(USUAL, String::as_str),
        object => object,
    };
    Event {
        lane: webhook.lane,
        id,
        company: webhook.company,
        action,
        object: object.to_owned(),
        object_id: OBJECT_ID.parse().expect("a digit is an object id"),
        user: webhook.user,
        data: Some(r#"{"id":0,"test":true}"#.into()),
        previous: Some(r#"{"id":0,"test":false}"#.into()),
        permitted: Some(vec![webhook.user]),
        change_source: ChangeSource::Api,
        is_bulk_edit: false,
        merge: None,
        correlation_id: id.to_string(),
        host: None,
        occurred_at: None,
        accepted_at: id.accepted_at(),
    }
}
