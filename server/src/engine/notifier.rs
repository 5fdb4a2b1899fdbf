//! The notifier: brings notices to the platform's own endpoint, if one is set (R4). A second, tiny queue beside the main
//! one: no fairness, no health, no log of attempts.
//!
//! Promises that every notice written while an endpoint is set is attempted until it answers 2xx or the notice is given
//! up ([`notice::KEEP_TRYING`]), whatever dies meanwhile; and of one webhook one at a time, in the order of writing. No
//! database connection is held while the endpoint works. A notice that cannot be read counts as a failed attempt, and one
//! whose result cannot be written is sent again when its lease ends: neither delays those of other webhooks. Does not promise
//! that a notice comes once: after a crash the same one comes again, with the same id.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use url::Url;

use super::attempt::signed;
use super::parts::Parts;
use super::patience::Patience;
use super::shared::Shared;
use super::transport::Transport;
use crate::policy::notice;
use crate::policy::signing::{RequestFacts, SigningSecret};
use crate::store::StoreError;
use crate::store::notice_queues::{self, Claimed, Head, Settlement};

/// Notices on the wire at once from one process: more than a platform has to say, few enough for any endpoint.
const AT_ONCE: i64 = 16;
/// What a lease has beyond the time-out of its attempt, for its settlement.
const LEASE_MARGIN: SignedDuration = SignedDuration::from_secs(30);
/// How often to look without being told, in real time: another process that has queued a notice may be gone.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long to wait after an error of the database.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// Where notices go, and how.
pub struct NoticeEndpoint {
    /// The endpoint.
    pub url: Url,
    /// What signs; all of them do.
    pub secrets: Vec<SigningSecret>,
    /// Makes the requests; its targets are the operator's choice.
    pub transport: Transport,
}

/// Delivers notices as long as the process takes work.
pub(super) async fn run(shared: Arc<Shared>, endpoint: Arc<NoticeEndpoint>) {
    while !shared.is_stopping() {
        match round(&shared, &endpoint).await {
            Ok(Round::More) => {}
            Ok(Round::Until(next)) => tokio::select! {
                () = shared.clock.park(shared.owed.notified()) => {}
                () = shared.clock.sleep_until(next.unwrap_or(Timestamp::MAX)), if next.is_some() => {}
                () = shared.clock.real_sleep(LOOK_EVERY) => {}
            },
            Err(error) => {
                tracing::warn!(%error, "notices could not be claimed; trying again");
                shared.clock.linger(RETRY_AFTER).await;
            }
        }
    }
}

/// What a round left to do.
enum Round {
    /// More may be due.
    More,
    /// Nothing is due before this moment, if ever.
    Until(Option<Timestamp>),
}

async fn round(shared: &Arc<Shared>, endpoint: &Arc<NoticeEndpoint>) -> Result<Round, StoreError> {
    let now = shared.clock.now();
    let claimed = {
        let mut conn = shared.store.conn().await?;
        let lease = SignedDuration::try_from(shared.policy.attempt_timeout).unwrap_or(SignedDuration::MAX);
        let lease_until = now.saturating_add(lease.saturating_add(LEASE_MARGIN));
        let lease_until = lease_until.unwrap_or(Timestamp::MAX);
        let claimed = notice_queues::claim(&mut conn, now, lease_until, AT_ONCE).await?;
        if claimed.good.is_empty() && claimed.bad.is_empty() {
            return Ok(Round::Until(notice_queues::next_due(&mut conn).await?));
        }
        claimed
    };
    let (mut batch, mut errors) = (Vec::new(), Vec::new());
    for (head, error) in claimed.bad {
        batch.push(unreadable(shared, &head, &error));
        errors.push(error.to_string());
    }
    // A task for each, so that simulated time knows which of them is stalled.
    let requests: Vec<_> = claimed
        .good
        .into_iter()
        .map(|claimed| {
            let work = deliver(shared.clone(), endpoint.clone(), claimed);
            shared.clock.spawn("notice", work)
        })
        .collect();
    for request in requests {
        // One that panicked is left to its lease's end.
        if let Ok((settlement, error)) = shared.clock.park(request).await {
            batch.push(settlement);
            errors.extend(error);
        }
    }
    if let Some(error) = errors.first() {
        tracing::warn!(
            error,
            failed = errors.len(),
            of = batch.len(),
            "notices were not delivered to the platform's endpoint; they are tried again"
        );
    }
    settle(shared, &batch).await;
    Ok(Round::More)
}

/// Counts a notice that cannot be read as a failed attempt: when it is tried again, or given up.
fn unreadable(shared: &Shared, head: &Head, error: &StoreError) -> Settlement {
    let number = head.attempts.saturating_add(1);
    let again_at = notice::next_attempt(number, head.at, shared.clock.now());
    if again_at.is_none() {
        shared.metrics.notice_given_up();
        let (notice, webhook) = (head.notice, head.webhook.1);
        tracing::error!(%error, %notice, %webhook, "a notice is given up: it could not be read for too long");
    }
    Settlement {
        webhook: head.webhook,
        token: head.token,
        again_at,
    }
}

/// One attempt: what it means for the notice, and how it failed if it did.
async fn deliver(
    shared: Arc<Shared>,
    endpoint: Arc<NoticeEndpoint>,
    claimed: Claimed,
) -> (Settlement, Option<String>) {
    let Claimed {
        notice,
        webhook,
        attempts,
        token,
    } = claimed;
    let number = attempts.saturating_add(1);
    let facts = RequestFacts {
        message: notice.id.0,
        webhook: webhook.number,
        attempt: u8::try_from(number).unwrap_or(u8::MAX),
        started_at: shared.clock.now(),
    };
    let body = notice::render(&notice, &webhook);
    let request = signed(
        &shared.policy,
        &facts,
        &endpoint.url,
        body,
        &endpoint.secrets,
        None,
    );
    let sent = endpoint.transport.send(request).await;
    shared.metrics.notice(&sent.outcome);
    let error = sent.outcome.error_message;
    let again_at = match &error {
        None => None,
        Some(error) => notice::next_attempt(number, notice.at, sent.ended_at).or_else(|| {
            shared.metrics.notice_given_up();
            tracing::error!(
                error,
                notice = %notice.id,
                kind = notice::name(notice.kind),
                webhook = %webhook.number,
                attempts = number,
                "a notice is given up: the platform's endpoint did not take it for too long"
            );
            None
        }),
    };
    let settlement = Settlement {
        webhook: (webhook.lane, webhook.id),
        token,
        again_at,
    };
    (settlement, error)
}

/// Tries for as long as the database is away, so that the endpoint does not get again what it has taken. What the database
/// refuses of the batch stays as it is until its lease ends.
async fn settle(shared: &Shared, batch: &[Settlement]) {
    let mut patience = Patience::with("notices");
    let mut parts = Parts::of(batch.len());
    while let Some(part) = parts.next() {
        let some = &batch[part.clone()];
        let error = loop {
            let written = async {
                let mut conn = shared.store.conn().await?;
                notice_queues::settle(&mut conn, some, shared.clock.now()).await
            };
            match written.await {
                Ok(_) => break None,
                Err(error) if patience.allows(&shared.clock, &error).await => {}
                Err(error) => break Some(error),
            }
        };
        if let Some(error) = error
            && !parts.take_apart(&part)
        {
            let webhook = some[0].webhook.1;
            tracing::error!(%error, %webhook, "the end of a notice cannot be written; it comes again");
        }
    }
}
