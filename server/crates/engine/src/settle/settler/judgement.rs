//! The effect of results on their webhooks' health, by [`tenterhook_policy::health`], and which failure windows
//! successes end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use diesel_async::AsyncConnection;
use jiff::Timestamp;

use crate::bisection::{Bisection, TIME_OUTS};
use crate::settle::notice_writer::NoticeWriter;
use tenterhook_clock::Clock;
use tenterhook_model::delivery::DeliveryStatus;
use tenterhook_model::ids::{Lane, WebhookId};
use tenterhook_policy::health::{Judged, due, record};
use tenterhook_settings::policy::PolicySettings;
use tenterhook_store::health::{Locked, last_successes, lock_in_tx, write_in_tx};
use tenterhook_store::settle::Settlement;
use tenterhook_store::{Conn, Store, StoreError, changes, limit_lock_waits_in_tx};

/// Webhooks whose health a transaction changed, and the mark of the transaction, if it announced them.
#[derive(Default)]
pub(super) struct HealthChanges {
    pub webhooks: Vec<(Lane, WebhookId)>,
    /// Those whose failure window it opened.
    pub opened: Vec<(Lane, WebhookId)>,
    /// Whether there is a notice for the platform's endpoint.
    pub has_notices: bool,
    pub mark: Option<changes::Mark>,
}

impl HealthChanges {
    /// Adds the changes of a later transaction.
    pub fn and(&mut self, later: Self) {
        self.webhooks.extend(later.webhooks);
        self.has_notices |= later.has_notices;
        self.mark = later.mark.or(self.mark.take());
    }
}

/// Judges results by the policy, and writes what they change.
pub(crate) struct Judge {
    pub store: Store,
    pub clock: Clock,
    pub policy: Arc<PolicySettings>,
    pub notices: Arc<NoticeWriter>,
}

impl Judge {
    /// Ends failure windows and ban counters. With `results`, those that these successes end; without, those that the
    /// attempt log shows as ended. All webhooks are handled together, or in parts if the database refuses. A webhook
    /// that it refuses alone keeps its window; the sweeper reads the attempt log before it removes the webhook.
    pub(super) async fn heal(
        &self,
        webhooks: &[(Lane, WebhookId)],
        results: Option<&HashMap<WebhookId, Vec<Judged>>>,
        lock_wait: Option<Duration>,
    ) -> HealthChanges {
        let mut healed = HealthChanges::default();
        let mut parts = Bisection::of(webhooks.len())
            .split_when_late(TIME_OUTS, &self.store)
            .hurried(lock_wait.is_some());
        while let Some((part, lock_wait)) = parts.next() {
            let some = &webhooks[part];
            let ended = match results {
                Some(results) => self.recovered(some, results, lock_wait).await,
                None => self.reconciled(some, lock_wait).await,
            };
            let moved = parts.done_in_time(ended, &self.clock, "failure windows").await;
            healed.and(moved.unwrap_or_default());
        }
        for (items, error) in parts.refused {
            let webhook = webhooks[items.start].1;
            tracing::error!(
                %error, %webhook,
                "a success could not close a failure window or reset a ban counter; the next success tries again"
            );
        }
        healed
    }

    /// Ends the windows and counters that these successes end.
    async fn recovered(
        &self,
        webhooks: &[(Lane, WebhookId)],
        results: &HashMap<WebhookId, Vec<Judged>>,
        lock_wait: Option<Duration>,
    ) -> Result<HealthChanges, StoreError> {
        let mut conn = self.store.conn().await?;
        conn.transaction(async |conn| {
            limit_lock_waits_in_tx(conn, lock_wait).await?;
            let rows = lock_in_tx(conn, webhooks).await?;
            self.judge_in_tx(conn, rows, results.clone()).await
        })
        .await
    }

    /// Ends windows that a concurrent success should have ended. If a success and the failure that opens a window are
    /// recorded at the same time, neither transaction sees the other, because a batch of successes locks no health row.
    /// Both look again after their commit, and the later one sees both.
    async fn reconciled(
        &self,
        webhooks: &[(Lane, WebhookId)],
        lock_wait: Option<Duration>,
    ) -> Result<HealthChanges, StoreError> {
        let mut conn = self.store.conn().await?;
        conn.transaction(async |conn| {
            limit_lock_waits_in_tx(conn, lock_wait).await?;
            let rows = lock_in_tx(conn, webhooks).await?;
            let windows: Vec<_> = rows
                .iter()
                .filter_map(|row| Some((row.lane, row.webhook, row.health.failing_since?, Timestamp::MAX)))
                .collect();
            let successes = last_successes(conn, &windows).await?;
            let results = successes
                .into_iter()
                .map(|(webhook, at)| (webhook, vec![success_at(at)]))
                .collect();
            self.judge_in_tx(conn, rows, results).await
        })
        .await
    }

    /// Judges each webhook's results in the order in which their attempts ended, and writes the changes.
    pub(super) async fn judge_in_tx(
        &self,
        conn: &mut Conn,
        rows: Vec<Locked>,
        mut results: HashMap<WebhookId, Vec<Judged>>,
    ) -> Result<HealthChanges, StoreError> {
        add_later_successes(conn, &rows, &mut results).await?;
        let (mut written, mut opened, mut taken) = (Vec::new(), Vec::new(), Vec::new());
        for mut row in rows {
            let Some(mut judged) = results.remove(&row.webhook) else {
                continue;
            };
            // If both ended at the same time, the success is judged last, because that is better for the webhook. R1
            // states no order.
            judged.sort_by_key(|result| (result.ended_at, result.succeeded, result.number));
            let before = row.health.clone();
            for result in &judged {
                let steps = record(&mut row.health, result, &self.policy);
                taken.extend(
                    steps
                        .into_iter()
                        .map(|step| (row.lane, row.webhook, row.company, step)),
                );
            }
            if row.health.failing_since.is_some() && row.health.failing_since != before.failing_since {
                opened.push((row.lane, row.webhook));
            }
            if row.health != before {
                let next = due(&row.health, &self.policy);
                written.push((row, next));
            }
        }
        let now = self.clock.now();
        let webhooks: Vec<(Lane, WebhookId)> =
            written.iter().map(|(row, _)| (row.lane, row.webhook)).collect();
        write_in_tx(conn, &written).await?;
        let has_notices = self.notices.write_in_tx(conn, &taken).await?;
        let mark = changes::announce_in_tx(conn, now, &webhooks).await?;
        Ok(HealthChanges {
            webhooks,
            opened,
            has_notices,
            mark,
        })
    }
}

/// A success for the policy. Which attempt it was does not matter.
fn success_at(ended_at: Timestamp) -> Judged {
    Judged {
        ended_at,
        number: 1,
        succeeded: true,
    }
}

/// Adds successes from the attempt log. A success that another settler recorded first, without changing health, may be
/// later than a failure that is about to open a window.
async fn add_later_successes(
    conn: &mut Conn,
    rows: &[Locked],
    results: &mut HashMap<WebhookId, Vec<Judged>>,
) -> Result<(), StoreError> {
    let opening: Vec<(Lane, WebhookId, Timestamp, Timestamp)> = rows
        .iter()
        .filter(|row| row.health.failing_since.is_none())
        .filter_map(|row| {
            let failures = results
                .get(&row.webhook)?
                .iter()
                .filter(|result| !result.succeeded);
            Some((
                row.lane,
                row.webhook,
                failures.map(|result| result.ended_at).min()?,
                Timestamp::MAX,
            ))
        })
        .collect();
    for (webhook, ended_at) in last_successes(conn, &opening).await? {
        results.entry(webhook).or_default().push(success_at(ended_at));
    }
    Ok(())
}

/// The attempts in these settlements, by webhook.
pub(super) fn results_of<'a>(
    settlements: impl Iterator<Item = &'a Settlement>,
) -> HashMap<WebhookId, Vec<Judged>> {
    let mut results: HashMap<WebhookId, Vec<Judged>> = HashMap::new();
    for settlement in settlements {
        let Some(attempt) = settlement.attempt.as_deref() else {
            continue;
        };
        results.entry(settlement.key.webhook).or_default().push(Judged {
            ended_at: attempt.ended_at,
            number: attempt.number,
            succeeded: attempt.ending == Some(DeliveryStatus::Succeeded),
        });
    }
    results
}
