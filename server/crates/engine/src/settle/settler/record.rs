//! Records a batch of results in one transaction: attempts, outcomes, counters, and the changes of health.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use diesel_async::AsyncConnection;

use super::judgement::{HealthChanges, Judge, results_of};
use crate::cluster::process::ProcessState;
use crate::cluster::webhook_cache::WebhookCache;
use tenterhook_model::ids::{Lane, WebhookId};
use tenterhook_store::health::lock_in_tx;
use tenterhook_store::settle::{self, Settled, Settlement};
use tenterhook_store::{Conn, StoreError, health, limit_lock_waits_in_tx};

/// The recorded part of a batch, and the remaining work.
#[derive(Default)]
pub(super) struct Recorded {
    /// Indexes of the settlements whose lease was still valid.
    pub won: Vec<usize>,
    pub moved: HealthChanges,
    /// Webhooks whose window or counter the successes may end.
    pub to_recover: Vec<(Lane, WebhookId)>,
    /// Webhooks that may have an open window although a success recorded at the same time should have ended it.
    pub to_reconcile: Vec<(Lane, WebhookId)>,
}

/// Records batches of results.
pub(crate) struct Recorder {
    pub judge: Judge,
    pub process: Arc<ProcessState>,
    pub webhooks: Arc<WebhookCache>,
}

impl Recorder {
    /// Records every result of the batch whose lease is still valid, or nothing. No lock is waited for longer than
    /// `lock_wait`.
    pub(super) async fn write(
        &self,
        batch: &[Settlement],
        lock_wait: Option<Duration>,
    ) -> Result<Recorded, StoreError> {
        let mut conn = self.judge.store.conn().await?;
        if batch.iter().any(is_failure) {
            self.judged(&mut conn, batch, lock_wait).await
        } else {
            self.succeeded(&mut conn, batch, lock_wait).await
        }
    }

    /// Settles a batch with failures in one transaction: locks health rows, checks leases, judges and writes.
    async fn judged(
        &self,
        conn: &mut Conn,
        batch: &[Settlement],
        lock_wait: Option<Duration>,
    ) -> Result<Recorded, StoreError> {
        let (won, mut moved) = conn
            .transaction(async |conn| {
                limit_lock_waits_in_tx(conn, lock_wait).await?;
                let rows = lock_in_tx(conn, &webhooks_of(batch)).await?;
                let settled = self.settled(conn, batch).await?;
                let won = settled.won.iter().filter_map(|index| batch.get(*index));
                let moved = self.judge.judge_in_tx(conn, rows, results_of(won)).await?;
                Ok::<_, StoreError>((settled.won, moved))
            })
            .await?;
        Ok(Recorded {
            won,
            to_reconcile: mem::take(&mut moved.opened),
            moved,
            to_recover: Vec::new(),
        })
    }

    /// Settles a batch of successes and ends the windows that were open when they were recorded.
    ///
    /// This takes one transaction if a window or counter is known that a success may end. Otherwise, if the process
    /// ended between two transactions, the window would stay open until the sweeper looks. It also takes one
    /// transaction if lock waits are limited. In all other cases it is one statement. A window that the changes feed
    /// has not reported yet, or that opens at the same moment, is ended after it. If the process ends in between, a
    /// counter stays (B3's setting).
    async fn succeeded(
        &self,
        conn: &mut Conn,
        batch: &[Settlement],
        lock_wait: Option<Duration>,
    ) -> Result<Recorded, StoreError> {
        let counts = self.judge.policy.success_resets_counter;
        let is_well = |(_, webhook): &(Lane, WebhookId)| self.webhooks.is_well(*webhook, counts);
        let webhooks = webhooks_of(batch);
        if lock_wait.is_none() && webhooks.iter().all(is_well) {
            let settled = self.settled(conn, batch).await?;
            return Ok(Recorded {
                won: settled.won,
                moved: HealthChanges::default(),
                to_recover: settled.to_recover,
                to_reconcile: failing(conn, &webhooks).await,
            });
        }
        let (won, moved) = conn
            .transaction(async |conn| {
                limit_lock_waits_in_tx(conn, lock_wait).await?;
                let settled = self.settled(conn, batch).await?;
                if settled.to_recover.is_empty() {
                    return Ok((settled.won, HealthChanges::default()));
                }
                let won = settled.won.iter().filter_map(|index| batch.get(*index));
                let results = results_of(won);
                let rows = lock_in_tx(conn, &settled.to_recover).await?;
                let moved = self.judge.judge_in_tx(conn, rows, results).await?;
                Ok::<_, StoreError>((settled.won, moved))
            })
            .await?;
        Ok(Recorded {
            won,
            moved,
            to_recover: Vec::new(),
            to_reconcile: failing(conn, &webhooks).await,
        })
    }

    async fn settled(&self, conn: &mut Conn, batch: &[Settlement]) -> Result<Settled, StoreError> {
        settle::batch(
            conn,
            batch,
            self.process.node(),
            self.judge.policy.success_resets_counter,
        )
        .await
    }
}

fn is_failure(settlement: &Settlement) -> bool {
    settlement
        .attempt
        .as_ref()
        .is_some_and(|attempt| !attempt.outcome.succeeded())
}

/// Which of these webhooks have an open window; all of them if that cannot be read. The batch is already recorded, so an
/// error must not stop the caller.
async fn failing(conn: &mut Conn, webhooks: &[(Lane, WebhookId)]) -> Vec<(Lane, WebhookId)> {
    match health::failing(conn, webhooks).await {
        Ok(failing) => failing,
        Err(error) => {
            tracing::debug!(%error, "cannot read which failure windows are open");
            webhooks.to_vec()
        }
    }
}

fn webhooks_of(settlements: &[Settlement]) -> Vec<(Lane, WebhookId)> {
    let mut webhooks: Vec<(Lane, WebhookId)> = settlements
        .iter()
        .filter(|s| s.attempt.is_some())
        .map(|s| (s.key.lane, s.key.webhook))
        .collect();
    webhooks.sort_unstable();
    webhooks.dedup();
    webhooks
}
