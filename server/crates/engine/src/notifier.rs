//! The notifier: delivers notices to the platform's own endpoint, if one is set (R4). It is a second, very small queue
//! in addition to the main one, without fairness, health or a log of attempts.
//!
//! Guarantees:
//!
//! - Every notice written while an endpoint is set is attempted until the endpoint responds with 2xx or the notice is
//!   given up ([`notice::KEEP_TRYING`]), even if processes crash.
//! - Notices of one webhook are sent one at a time, in the order of writing.
//! - No database connection is held while the endpoint works.
//! - A notice that fails delays no other webhook's notices. One that cannot be read counts as a failed attempt. One that
//!   the database refuses to lease is tried again with a growing pause. One whose result cannot be written is sent again
//!   when its lease ends.
//!
//! Not guaranteed: that a notice is sent only once. After a crash it is sent again, with the same id.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use diesel_async::AsyncConnection;
use jiff::{SignedDuration, Timestamp};
use url::Url;

use crate::backoff::WebhookBackoffs;
use crate::bisection::{Bisection, FIRST_TIME_OUT, TIME_OUTS};
use crate::cluster::process::ProcessState;
use crate::deliver::request::signed;
use crate::metrics::Metrics;
use crate::outbound::Sent;
use crate::settle::notice_writer::NoticeWriter;
use tenterhook_clock::Clock;
use tenterhook_model::ids::WebhookId;
use tenterhook_outbound_http::Transport;
use tenterhook_policy::notice;
use tenterhook_policy::signing::{RequestFacts, SigningSecret};
use tenterhook_settings::policy::PolicySettings;
use tenterhook_store::notice_queues::{self, Claimed, Head, Settlement};
use tenterhook_store::sql::Rows;
use tenterhook_store::{Conn, Store, StoreError, limit_lock_waits_in_tx};

/// Notices in flight at once from one process: enough for any platform's notices, few enough for any endpoint.
const AT_ONCE: i64 = 16;
/// A lease's time beyond the time-out of its attempt, for writing the result.
const LEASE_MARGIN: SignedDuration = SignedDuration::from_secs(30);
/// How often to look without a notification, in real time: a process that queued a notice may have crashed.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long to wait after a database error.
const RETRY_AFTER: Duration = Duration::from_millis(200);
/// The longest pause before a queue is tried again if the database refuses to lease its first notice.
const REFUSED_AGAIN: Duration = Duration::from_secs(300);

/// Where notices go, and how.
pub struct NoticeEndpoint {
    /// The endpoint's URL.
    pub url: Url,
    /// The signing secrets. Every one of them signs.
    pub secrets: Vec<SigningSecret>,
    /// Makes the requests. The operator chooses its allowed targets.
    pub transport: Transport,
}

/// What to do after a round.
enum Round {
    More,
    /// Nothing is due before this moment, if at all.
    Until(Option<Timestamp>),
}

/// Delivers notices to the platform's endpoint.
pub(crate) struct Notifier {
    pub store: Store,
    pub clock: Clock,
    pub policy: Arc<PolicySettings>,
    pub process: Arc<ProcessState>,
    pub notices: Arc<NoticeWriter>,
    pub metrics: Metrics,
    pub endpoint: NoticeEndpoint,
}

impl Notifier {
    /// Delivers notices until the process stops.
    pub async fn run(self: Arc<Self>) {
        let mut set_back = WebhookBackoffs::up_to(REFUSED_AGAIN);
        while !self.process.is_stopping() {
            match self.round(&mut set_back).await {
                Ok(Round::More) => {}
                Ok(Round::Until(next)) => tokio::select! {
                    () = self.clock.park(self.notices.queued()) => {}
                    () = self.clock.sleep_until(next.unwrap_or(Timestamp::MAX)), if next.is_some() => {}
                    () = self.clock.real_sleep(LOOK_EVERY) => {}
                },
                Err(error) => {
                    tracing::warn!(%error, "notices could not be claimed; trying again");
                    self.clock.linger(RETRY_AFTER).await;
                }
            }
        }
    }

    async fn round(self: &Arc<Self>, set_back: &mut WebhookBackoffs) -> Result<Round, StoreError> {
        let now = self.clock.now();
        let claimed = {
            let mut conn = self.store.conn().await?;
            match self.claim(&mut conn, now, set_back).await? {
                None => return Ok(Round::Until(notice_queues::next_due(&mut conn, now).await?)),
                Some(claimed) => claimed,
            }
        };
        let (mut batch, mut errors) = (Vec::new(), Vec::new());
        for (head, error) in claimed.bad {
            batch.push(self.unreadable(&head, &error));
            errors.push(error.to_string());
        }
        // A task for each, so that simulated time knows which of them is stalled.
        let requests: Vec<_> = claimed
            .good
            .into_iter()
            .map(|claimed| {
                let work = self.clone().deliver(claimed);
                self.clock.spawn("notice", work)
            })
            .collect();
        for request in requests {
            // If a task panicked, its notice waits for the lease's end.
            if let Ok((settlement, error)) = self.clock.park(request).await {
                batch.push(settlement);
                errors.extend(error);
            }
        }
        if let Some(error) = errors.first() {
            tracing::warn!(
                error,
                failed = errors.len(),
                of = batch.len(),
                "notices were not delivered to the platform's endpoint; trying again"
            );
        }
        self.settle(&batch).await;
        Ok(Round::More)
    }

    /// Claims due notices, together or in parts if the database refuses. A webhook that it refuses alone is set back.
    /// `None` if nothing is due.
    async fn claim(
        &self,
        conn: &mut Conn,
        now: Timestamp,
        set_back: &mut WebhookBackoffs,
    ) -> Result<Option<Rows<Claimed, Head>>, StoreError> {
        let lease = SignedDuration::try_from(self.policy.attempt_timeout).unwrap_or(SignedDuration::MAX);
        let lease_until = now.saturating_add(lease.saturating_add(LEASE_MARGIN));
        let lease_until = lease_until.unwrap_or(Timestamp::MAX);
        // Webhooks that are set back are still due. More rows are read, so that they do not displace others.
        let most = AT_ONCE.saturating_add(i64::try_from(set_back.len()).unwrap_or(i64::MAX));
        let mut due = notice_queues::due(conn, now, most).await?;
        let all: HashSet<WebhookId> = due.iter().map(|(_, webhook)| *webhook).collect();
        set_back.retain(|webhook| all.contains(&webhook));
        let real_now = self.clock.monotonic();
        due.retain(|(_, webhook)| set_back.is_due(*webhook, real_now));
        due.truncate(usize::try_from(AT_ONCE).unwrap_or(usize::MAX));
        if due.is_empty() {
            return Ok(None);
        }
        let mut claimed = Rows::from_iter([]);
        let mut parts = Bisection::of(due.len()).split_when_late(FIRST_TIME_OUT, &self.store);
        while let Some((part, _)) = parts.next() {
            let some = notice_queues::claim(conn, &due[part], now, lease_until).await;
            if let Some(some) = parts.done(some)? {
                claimed.good.extend(some.good);
                claimed.bad.extend(some.bad);
            }
        }
        for (items, error) in parts.refused {
            let webhook = due[items.start].1;
            if set_back.add(webhook, real_now) {
                tracing::error!(%error, %webhook, "a webhook's next notice cannot be claimed; trying again");
            }
        }
        Ok(Some(claimed))
    }

    /// Counts a notice that cannot be read as a failed attempt: it is tried again later, or given up.
    fn unreadable(&self, head: &Head, error: &StoreError) -> Settlement {
        let number = head.attempts.saturating_add(1);
        let again_at = notice::next_attempt(number, head.at, self.clock.now());
        if again_at.is_none() {
            self.metrics.notice_given_up();
            let (notice, webhook) = (head.notice, head.webhook.1);
            tracing::error!(%error, %notice, %webhook, "gave up a notice that could not be read for a week");
        }
        Settlement {
            webhook: head.webhook,
            token: head.token,
            again_at,
        }
    }

    /// One attempt. Returns its result for the notice, and the error message if it failed.
    async fn deliver(self: Arc<Self>, claimed: Claimed) -> (Settlement, Option<String>) {
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
            started_at: self.clock.now(),
        };
        let body = notice::render(&notice, &webhook);
        let request = signed(
            &self.policy,
            &facts,
            &self.endpoint.url,
            body,
            &self.endpoint.secrets,
            None,
        );
        let sent = Sent::from(self.endpoint.transport.send(request).await);
        self.metrics.notice(&sent.outcome);
        let error = sent.outcome.error_message;
        let again_at = match &error {
            None => None,
            Some(error) => notice::next_attempt(number, notice.at, sent.ended_at).or_else(|| {
                self.metrics.notice_given_up();
                tracing::error!(
                    error,
                    notice = %notice.id,
                    kind = notice::name(notice.kind),
                    webhook = %webhook.number,
                    attempts = number,
                    "gave up a notice that the platform's endpoint did not accept for a week"
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

    /// Tries for as long as the database is unavailable, so that the endpoint does not get the same notices again. If
    /// the database refuses a row, or it is locked for too long, it stays as it is until its lease ends.
    async fn settle(&self, batch: &[Settlement]) {
        let mut parts = Bisection::of(batch.len()).split_when_late(TIME_OUTS, &self.store);
        while let Some((part, lock_wait)) = parts.next() {
            let settled = self.settle_some(&batch[part], lock_wait).await;
            parts.done_in_time(settled, &self.clock, "notices").await;
        }
        for (items, error) in parts.refused {
            let webhook = batch[items.start].webhook.1;
            tracing::error!(%error, %webhook, "the result of a notice cannot be written; the notice will be sent again");
        }
    }

    /// All of these or none.
    async fn settle_some(
        &self,
        some: &[Settlement],
        lock_wait: Option<Duration>,
    ) -> Result<usize, StoreError> {
        let mut conn = self.store.conn().await?;
        conn.transaction(async |conn| {
            limit_lock_waits_in_tx(conn, lock_wait).await?;
            notice_queues::settle(conn, some, self.clock.now()).await
        })
        .await
    }
}
