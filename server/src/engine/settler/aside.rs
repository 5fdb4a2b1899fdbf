//! Results that the database refuses alone, whatever is left out of them.
//!
//! Promises that nothing waits for them: others are settled, simulated time moves, and neither other processes' sweepers nor
//! a server that stops wait for them; that such a delivery is not sent again while its result is kept, since its lease is
//! extended; that they are tried again with a growing pause; and that the log names a delivery once, when it is set aside.
//!
//! Does not promise that a result outlives its process: its delivery is open, so the next process that takes it sends it
//! again (D6). Nor that one is judged in time: a transition that is due meanwhile is judged without it. Results set aside
//! count towards the bound of what is unsettled: past that nothing starts, as if the database were away.
//!
//! A delivery that was released without an attempt is not kept: it is taken again when its lease ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{Refused, done, settle_each};
use crate::clock::Clock;
use crate::engine::patience::Pause;
use crate::engine::shared::{Shared, Started};
use crate::model::ids::DeliveryKey;
use crate::store::claim;
use crate::store::settle::Settlement;

/// The longest pause between two tries, unless leases need a shorter one.
const LONGEST: Duration = Duration::from_secs(60);
/// Tries within the time of a lease: each extends it.
const TRIES_IN_LEASE: u32 = 4;

/// What one settler has set aside.
#[derive(Debug)]
pub(super) struct Aside {
    results: Vec<Settlement>,
    /// The attempt of each.
    started: Vec<Started>,
    longest: Duration,
    pause: Pause,
    again_at: Option<Instant>,
}

impl Aside {
    /// Nothing yet.
    pub fn of(shared: &Shared) -> Self {
        let lease = Duration::try_from(shared.tempo.lease()).unwrap_or(LONGEST);
        let longest = LONGEST.min(lease / TRIES_IN_LEASE);
        Self {
            results: Vec::new(),
            started: Vec::new(),
            longest,
            pause: Pause::up_to(longest),
            again_at: None,
        }
    }

    /// Waits until it is time to try again; for ever if nothing is set aside. The task is idle meanwhile.
    pub async fn due(&self, clock: &Clock) {
        match self.again_at {
            Some(at) => {
                clock
                    .real_sleep(at.saturating_duration_since(clock.monotonic()))
                    .await;
            }
            None => std::future::pending().await,
        }
    }

    /// Takes what was refused of a batch out of those that `started`, and names it in the log.
    pub fn add(
        &mut self,
        shared: &Shared,
        batch: &[Settlement],
        started: &mut [Option<Started>],
        refused: Vec<Refused>,
    ) {
        for (index, error) in refused {
            let (webhook, event) = (batch[index].key.webhook, batch[index].key.event);
            let Some(attempt) = started[index].take_if(|_| batch[index].attempt.is_some()) else {
                tracing::error!(
                    %error, %webhook, %event, "a delivery cannot be put back; it is taken again when its lease ends"
                );
                continue;
            };
            tracing::error!(
                %error, %webhook, %event, "a result cannot be written and is set aside; it is tried again"
            );
            shared.unsettled.set_aside(attempt);
            self.results.push(batch[index].clone());
            self.started.push(attempt);
        }
        if self.again_at.is_none() && !self.results.is_empty() {
            self.wait(&shared.clock);
        }
    }

    /// Tries all of them again.
    pub async fn settle_again(&mut self, shared: &Arc<Shared>) {
        let before = self.results.len();
        self.settle(shared).await;
        self.extend(shared).await;
        if self.results.is_empty() {
            self.again_at = None;
            self.pause = Pause::up_to(self.longest);
            tracing::info!(results = before, "no result is set aside any more");
        } else {
            self.wait(&shared.clock);
        }
    }

    /// Tries them once more before the process stops; the deliveries of the rest are left to other processes.
    pub async fn end(mut self, shared: &Arc<Shared>) {
        self.settle(shared).await;
        if let Some(first) = self.results.first() {
            tracing::error!(
                results = self.results.len(),
                webhook = %first.key.webhook,
                event = %first.key.event,
                "results cannot be written before this process stops; whoever takes their deliveries sends them again"
            );
        }
    }

    async fn settle(&mut self, shared: &Arc<Shared>) {
        let refused: Vec<usize> = settle_each(shared, &self.results)
            .await
            .into_iter()
            .map(|(index, _)| index)
            .collect();
        self.keep(shared, &refused);
    }

    /// Extends the leases, and forgets the deliveries that another process holds by now.
    async fn extend(&mut self, shared: &Arc<Shared>) {
        if self.results.is_empty() {
            return;
        }
        let held: Vec<(DeliveryKey, i64)> = self
            .results
            .iter()
            .map(|result| (result.key, result.token))
            .collect();
        let until = shared.clock.now().saturating_add(shared.tempo.lease());
        let until = until.unwrap_or(Timestamp::MAX);
        let extended = async {
            let mut conn = shared.store.conn().await?;
            claim::extend(&mut conn, &held, until).await
        };
        match extended.await {
            Ok(kept) => self.keep(shared, &kept),
            Err(error) => tracing::debug!(%error, "leases of results set aside could not be extended"),
        }
    }

    /// Keeps the results at these indexes; the others are settled, or never will be.
    fn keep(&mut self, shared: &Arc<Shared>, kept: &[usize]) {
        let mut gone = Vec::new();
        for index in (0..self.results.len()).rev() {
            if !kept.contains(&index) {
                self.results.swap_remove(index);
                gone.push(self.started.swap_remove(index));
            }
        }
        shared.unsettled.bring_back(gone.len());
        done(shared, gone.into_iter());
    }

    fn wait(&mut self, clock: &Clock) {
        self.again_at = Some(clock.monotonic() + self.pause.grow());
    }
}
