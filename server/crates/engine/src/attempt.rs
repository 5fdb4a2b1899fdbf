//! Works on one delivery: checks it again, makes the request and passes the result to the settler.
//!
//! It holds no connection and no transaction. Whether the attempt may start is decided here, at the last moment, from
//! what this process knows of the webhook. After that only the deadline stops it (B5, W8).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use url::Url;

use super::outbound::{self, Sent};
use super::queue::{Held, Pace};
use super::registry::{Opened, Target};
use super::settler;
use super::shared::{Shared, drop_as, without_attempt};
use tenterhook_model::attempt::{Attempt, AttemptErrorClass, request_name};
use tenterhook_model::delivery::DeliveryStatus;
use tenterhook_model::event::Event;
use tenterhook_outbound_http::Request;
use tenterhook_policy::health::Verdict;
use tenterhook_policy::retry::next_attempt;
use tenterhook_policy::sealing::BasicAuth;
use tenterhook_policy::signing::{Purpose, RequestFacts, SigningSecret, headers};
use tenterhook_policy::{echoes, payload};
use tenterhook_settings::policy::PolicySettings;
use tenterhook_store::settle::{Settlement, Then};

/// How long a delivery waits if its webhook's row cannot be used. An operator has to repair the row.
pub(super) const UNUSABLE_WAIT: SignedDuration = SignedDuration::from_mins(1);

/// Works on one delivery from the queue and frees its place.
pub(super) async fn run(shared: Arc<Shared>, held: Held) {
    let (webhook, bytes) = (held.leased.key.webhook, held.bytes());
    let pace = work(&shared, held).await;
    shared.queue().finish(webhook, bytes, pace);
    shared.finished.notify_waiters();
    if shared.calendar().waits_for_room() {
        shared.look.notify_one();
    }
    shared.pump();
}

async fn work(shared: &Arc<Shared>, held: Held) -> Pace {
    shared.feed.until_current(&shared.clock).await;
    if held.node != shared.node() {
        // This process was declared dead after it took the delivery. The lease is released if it is still valid.
        shared.let_go(&held, Then::Release(shared.clock.now()));
        return Pace::Unsent;
    }
    let key = held.leased.key;
    let Some(target) = known(shared, &held).await else {
        return Pace::Unsent;
    };
    let now = shared.clock.now();
    let timeout = SignedDuration::try_from(shared.policy.attempt_timeout).unwrap_or(SignedDuration::MAX);
    if held.leased.lease.until
        < now
            .saturating_add(timeout + shared.tempo.margin())
            .unwrap_or(Timestamp::MAX)
    {
        // The lease ends too soon to start. It is released if it is still valid, and any process with room claims the
        // delivery again.
        shared.let_go(&held, Then::Release(now));
        return Pace::Unsent;
    }
    match target.verdict(held.leased.due_at, now, &shared.policy) {
        Verdict::Attempt => {}
        Verdict::AwaitRemoval => {
            shared.keep_undecided(held);
            return Pace::Unsent;
        }
        other => {
            if let Some(then) = drop_as(other, now) {
                shared.let_go(&held, then);
            }
            return Pace::Unsent;
        }
    }
    let Some(request) = request(shared, &held.event, &target, held.leased.attempt, now) else {
        shared.let_go(&held, Then::Release(later(now, UNUSABLE_WAIT)));
        return Pace::Unsent;
    };
    let auth_sent = target.opened.as_ref().is_ok_and(|opened| opened.auth.is_some());
    let url = target.webhook.url.clone();

    shared.unsettled.start(now, key);
    shared.queue().begin(key.webhook);
    let sent = send(shared, &target, request).await;
    if let Some(lack) = sent.lack {
        shared.metrics.postponed(lack);
        let monotonic = shared.clock.monotonic();
        let due_at = shared.postponed.put_back(key, lack, sent.ended_at, monotonic);
        shared.settle(settler::Result {
            settlement: without_attempt(&held, Then::Release(due_at)),
            started: Some((now, key)),
        });
        return Pace::Unsent;
    }
    shared.postponed.forget(key);
    let took = Duration::from_micros(u64::try_from(sent.duration_us).unwrap_or(0));
    shared.metrics.attempt(&sent.outcome, took);
    let pace = match sent.outcome.error_class {
        Some(AttemptErrorClass::Timeout) => Pace::TimedOut,
        _ => Pace::Took(took),
    };
    shared.settle(settler::Result {
        settlement: judge(shared, &held, sent, now, url, auth_sent),
        started: Some((now, key)),
    });
    pace
}

pub(super) fn later(at: Timestamp, wait: SignedDuration) -> Timestamp {
    at.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

/// The webhook. It is read now if the registry has forgotten it.
async fn known(shared: &Arc<Shared>, held: &Held) -> Option<Arc<Target>> {
    let key = held.leased.key;
    if let Some(target) = shared.registry.get(key.webhook) {
        return Some(target);
    }
    let read = async {
        let mut conn = shared.store.conn().await?;
        shared
            .registry
            .ensure(&mut conn, &[(key.lane, key.webhook)])
            .await
    };
    if let Err(error) = read.await {
        tracing::warn!(%error, webhook = %key.webhook, "a webhook could not be read; its delivery is put back");
        shared.let_go(held, Then::Release(shared.clock.now()));
        return None;
    }
    let target = shared.registry.get(key.webhook);
    if target.is_none() && shared.registry.is_unreadable(key.webhook) {
        shared.let_go(held, Then::Release(later(shared.clock.now(), UNUSABLE_WAIT)));
    } else if target.is_none() {
        // The row is gone: the webhook was removed so long ago that it was deleted (W12).
        shared.let_go(held, drop_as(Verdict::Cancel, shared.clock.now())?);
    }
    target
}

/// The request of attempt `number`, with the webhook's current settings (D9). `None` if its row cannot be used.
pub(super) fn request(
    shared: &Shared,
    event: &Event,
    target: &Target,
    number: u8,
    now: Timestamp,
) -> Option<Request> {
    let opened = match &target.opened {
        Ok(opened) => opened,
        Err(error) => {
            tracing::error!(%error, webhook = %target.webhook.number, "no attempt can be made");
            return None;
        }
    };
    let body = payload::render(event, &target.recipient(), number, &shared.policy);
    let facts = RequestFacts {
        message: event.id.0,
        webhook: target.webhook.number,
        attempt: number,
        started_at: now,
    };
    let (secrets, auth) = (opened.secrets(now), opened.auth.as_ref());
    Some(signed(&shared.policy, &facts, &opened.url, body, &secrets, auth))
}

/// Builds and signs the request (E7).
pub(super) fn signed(
    policy: &PolicySettings,
    facts: &RequestFacts,
    url: &Url,
    body: Vec<u8>,
    secrets: &[SigningSecret],
    auth: Option<&BasicAuth>,
) -> Request {
    let purpose = Purpose::Send {
        secrets,
        body: &body,
        auth,
    };
    let headers = headers(facts, purpose)
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    Request {
        url: url.clone(),
        headers,
        body: Bytes::from(body),
        deadline: facts
            .started_at
            .saturating_add(policy.attempt_timeout)
            .unwrap_or(Timestamp::MAX),
        excerpt_limits: outbound::excerpt_limits(policy),
        name: request_name(facts.message, facts.webhook.get(), facts.attempt),
    }
}

/// Makes the request. Credentials that the receiver repeats in its response are removed here (W11).
pub(super) async fn send(shared: &Shared, target: &Target, request: Request) -> Sent {
    let mut sent = Sent::from(shared.transport.send(request).await);
    if let Ok(Opened { auth: Some(auth), .. }) = &target.opened {
        echoes::hide(auth, &mut sent.outcome);
    }
    sent
}

/// Decides what happens to the delivery after this attempt (D1, D4).
fn judge(
    shared: &Shared,
    held: &Held,
    sent: Sent,
    started_at: Timestamp,
    url: String,
    auth_sent: bool,
) -> Settlement {
    let number = held.leased.attempt;
    let then = if sent.outcome.succeeded() {
        Then::End(DeliveryStatus::Succeeded)
    } else {
        match next_attempt(number, sent.ended_at, &shared.policy) {
            Some((_, due_at)) => Then::Retry(due_at),
            None => Then::End(DeliveryStatus::Failed),
        }
    };
    // A removed webhook gets no retry: the delivery ends, and this attempt stays on record (W8, R3).
    let removed = shared
        .registry
        .get(held.leased.key.webhook)
        .is_some_and(|target| target.webhook.removed.is_some());
    let then = match then {
        Then::Retry(_) if removed => drop_as(Verdict::Cancel, sent.ended_at).unwrap_or(then),
        then => then,
    };
    let attempt = Attempt {
        delivery: held.leased.key,
        number,
        started_at,
        ended_at: sent.ended_at,
        duration_us: sent.duration_us,
        url,
        auth_sent,
        ending: match then {
            Then::End(status) => Some(status),
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
        then,
    }
}
