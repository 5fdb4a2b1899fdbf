//! Works on one delivery: checks it again, makes the request and passes the result to the settler.
//!
//! It holds no connection and no transaction. Whether the attempt may start is decided here, at the last moment, from
//! what this process knows of the webhook. After that only the deadline stops it (B5, W8).

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tracing::{Instrument, debug_span};

use crate::cluster::freshness::Freshness;
use crate::cluster::process::ProcessState;
use crate::cluster::timings::LeaseTimings;
use crate::cluster::webhook_cache::{CachedWebhook, WebhookCache};
use crate::deliver::held_deliveries::{HeldDeliveries, Permit};
use crate::deliver::postponed::Postponed;
use crate::deliver::request::Requests;
use crate::deliver::scheduler::{AttemptSpeed, HeldDelivery};
use crate::metrics::Metrics;
use crate::outbound::Sent;
use crate::settle::in_flight_attempts::InFlightAttempts;
use crate::settle::settlement::{AttemptResult, ResultQueue, end_by, without_attempt};
use tenterhook_clock::Clock;
use tenterhook_model::attempt::{Attempt, AttemptErrorClass};
use tenterhook_model::delivery::DeliveryStatus;
use tenterhook_outbound_http::Request;
use tenterhook_policy::health::Verdict;
use tenterhook_policy::retry::next_attempt;
use tenterhook_settings::policy::PolicySettings;
use tenterhook_store::Store;
use tenterhook_store::settle::{Action, Settlement};

/// How long a delivery waits if its webhook's row cannot be used. An operator has to repair the row.
pub(crate) const UNUSABLE_WAIT: SignedDuration = SignedDuration::from_mins(1);

/// Makes attempts.
pub(crate) struct Attempts {
    pub store: Store,
    pub clock: Clock,
    pub policy: Arc<PolicySettings>,
    pub timings: LeaseTimings,
    pub process: Arc<ProcessState>,
    pub freshness: Arc<Freshness>,
    pub webhooks: Arc<WebhookCache>,
    pub requests: Requests,
    pub held: Arc<HeldDeliveries>,
    pub results: Arc<ResultQueue>,
    pub in_flight: Arc<InFlightAttempts>,
    pub postponed: Postponed,
    pub metrics: Metrics,
    /// Wakes the sweeper.
    pub sweep: Arc<Notify>,
}

impl Attempts {
    /// Works on one delivery from the scheduler. Its place is free when the permit is dropped.
    pub async fn run(self: Arc<Self>, held: HeldDelivery, mut permit: Permit) {
        let key = held.leased.key;
        let span = debug_span!(
            "attempt",
            webhook = %key.webhook,
            event = %key.event,
            attempt = held.leased.attempt,
        );
        permit.speed = self.work(held).instrument(span).await;
    }

    async fn work(&self, held: HeldDelivery) -> AttemptSpeed {
        self.freshness.until_current().await;
        let Some((webhook, request, now)) = self.prepare(&held).await else {
            return AttemptSpeed::Unsent;
        };
        let auth_sent = webhook.opened.as_ref().is_ok_and(|opened| opened.auth.is_some());
        let url = webhook.webhook.url.clone();
        let key = held.leased.key;

        self.in_flight.start(now, key);
        self.held.scheduler().begin(key.webhook);
        let sent = self.requests.send(&webhook, request).await;
        if let Some(lack) = sent.lack {
            self.metrics.postponed(lack);
            let monotonic = self.clock.monotonic();
            let due_at = self.postponed.postpone(key, lack, sent.ended_at, monotonic);
            self.results.send(AttemptResult {
                settlement: without_attempt(&held, Action::Release(due_at)),
                started: Some((now, key)),
            });
            return AttemptSpeed::Unsent;
        }
        self.postponed.forget(key);
        let took = Duration::from_micros(u64::try_from(sent.duration_us).unwrap_or(0));
        self.metrics.attempt(&sent.outcome, took);
        let speed = match sent.outcome.error_class {
            Some(AttemptErrorClass::Timeout) => AttemptSpeed::TimedOut,
            _ => AttemptSpeed::Took(took),
        };
        self.results.send(AttemptResult {
            settlement: self.judge(&held, sent, now, url, auth_sent),
            started: Some((now, key)),
        });
        speed
    }

    /// The request, its webhook and the attempt's start, if the attempt may start now. Otherwise the delivery is
    /// released, ended or kept for the sweeper's decision.
    async fn prepare(&self, held: &HeldDelivery) -> Option<(Arc<CachedWebhook>, Request, Timestamp)> {
        if held.node != self.process.node() {
            // This process was declared dead after it took the delivery. The lease is released if it is still valid.
            self.results.release(held, Action::Release(self.clock.now()));
            return None;
        }
        let webhook = self.webhook(held).await?;
        let now = self.clock.now();
        let timeout = SignedDuration::try_from(self.policy.attempt_timeout).unwrap_or(SignedDuration::MAX);
        if held.leased.lease.until
            < now
                .saturating_add(timeout + self.timings.margin())
                .unwrap_or(Timestamp::MAX)
        {
            // The lease ends too soon to start. It is released if it is still valid, and any process with room claims
            // the delivery again.
            self.results.release(held, Action::Release(now));
            return None;
        }
        match webhook.verdict(held.leased.due_at, now, &self.policy) {
            Verdict::Attempt => {}
            Verdict::AwaitRemoval => {
                self.held.keep_undecided(held.clone());
                self.sweep.notify_one();
                return None;
            }
            other => {
                if let Some(action) = end_by(other, now) {
                    self.results.release(held, action);
                }
                return None;
            }
        }
        let request = self
            .requests
            .build(&held.event, &webhook, held.leased.attempt, now);
        if request.is_none() {
            self.results
                .release(held, Action::Release(later(now, UNUSABLE_WAIT)));
        }
        Some((webhook, request?, now))
    }

    /// The webhook. It is read now if the cache has forgotten it.
    async fn webhook(&self, held: &HeldDelivery) -> Option<Arc<CachedWebhook>> {
        let key = held.leased.key;
        if let Some(webhook) = self.webhooks.get(key.webhook) {
            return Some(webhook);
        }
        let read = async {
            let mut conn = self.store.conn().await?;
            self.webhooks.ensure(&mut conn, &[(key.lane, key.webhook)]).await
        };
        if let Err(error) = read.await {
            tracing::warn!(%error, webhook = %key.webhook, "a webhook could not be read; its delivery is released");
            self.results.release(held, Action::Release(self.clock.now()));
            return None;
        }
        let webhook = self.webhooks.get(key.webhook);
        if webhook.is_none() && self.webhooks.is_unreadable(key.webhook) {
            let at = later(self.clock.now(), UNUSABLE_WAIT);
            self.results.release(held, Action::Release(at));
        } else if webhook.is_none() {
            // The row no longer exists: the webhook was removed so long ago that it was deleted (W12).
            self.results
                .release(held, end_by(Verdict::Cancel, self.clock.now())?);
        }
        webhook
    }

    /// Decides what happens to the delivery after this attempt (D1, D4).
    fn judge(
        &self,
        held: &HeldDelivery,
        sent: Sent,
        started_at: Timestamp,
        url: String,
        auth_sent: bool,
    ) -> Settlement {
        let number = held.leased.attempt;
        let action = if sent.outcome.succeeded() {
            Action::Finish(DeliveryStatus::Succeeded)
        } else {
            match next_attempt(number, sent.ended_at, &self.policy) {
                Some((_, due_at)) => Action::Retry(due_at),
                None => Action::Finish(DeliveryStatus::Failed),
            }
        };
        // A removed webhook gets no retry: the delivery ends, and this attempt stays on record (W8, R3).
        let removed = self
            .webhooks
            .get(held.leased.key.webhook)
            .is_some_and(|cached| cached.webhook.removed.is_some());
        let action = match action {
            Action::Retry(_) if removed => end_by(Verdict::Cancel, sent.ended_at).unwrap_or(action),
            action => action,
        };
        let attempt = Attempt {
            delivery: held.leased.key,
            number,
            started_at,
            ended_at: sent.ended_at,
            duration_us: sent.duration_us,
            url,
            auth_sent,
            ending: match action {
                Action::Finish(status) => Some(status),
                _ => None,
            },
            outcome: sent.outcome,
        };
        Settlement {
            key: held.leased.key,
            company: held.leased.company,
            created_at: held.leased.created_at,
            token: held.leased.lease.token,
            attempt: Some(Box::new(attempt)),
            action,
        }
    }
}

/// `wait` after `at`.
pub(crate) fn later(at: Timestamp, wait: SignedDuration) -> Timestamp {
    at.saturating_add(wait).unwrap_or(Timestamp::MAX)
}
