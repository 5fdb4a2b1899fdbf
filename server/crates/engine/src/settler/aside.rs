//! Results that cannot be written now: the database refuses them alone, whatever is left out of them, or is late with them,
//! because somebody else keeps a row of theirs locked for instance.
//!
//! Promises that nothing waits for them: others are settled, simulated time moves, and neither other processes' sweepers nor
//! a server that stops wait for them; that such a delivery is not sent again while its result is kept, since its lease is
//! extended; that they are tried again with a growing pause; and that the log names a delivery once, when it is set aside.
//!
//! Where the database is late with a webhook's results, further ones of that webhook [join](Aside::join) them without being
//! tried: each batch with one of them would be late. They are tried in small numbers, and none waits for a lock for long, so
//! that the settler has time for the others.
//!
//! Does not promise that a result outlives its process: its delivery is open, so the next process that takes it sends it
//! again (D6). Nor that one is judged in time: a transition that is due meanwhile is judged without it. Results set aside
//! count towards the bound of what is unsettled: past that nothing starts, as if the database were away.
//!
//! A delivery that was released without an attempt is not kept: it is taken again when its lease ends.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{BATCH, Result, done, settle_each};
use crate::parts::Refused;
use crate::pause::Pause;
use crate::shared::{Shared, Started};
use tenterhook_clock::Clock;
use tenterhook_model::ids::{DeliveryKey, WebhookId};
use tenterhook_store::leases;
use tenterhook_store::settle::Settlement;

/// The longest pause between two tries, unless leases need a shorter one.
const LONGEST: Duration = Duration::from_secs(60);
/// Tries within the time of a lease: each extends it.
const TRIES_IN_LEASE: u32 = 4;
/// Results that are tried at once while the database is late with some: each that waits for a lock costs the settler as
/// long as it may wait for one.
const FEW: usize = 8;

/// What one settler has set aside. Those that are tried next come first.
#[derive(Debug)]
pub(super) struct Aside {
    kept: VecDeque<Kept>,
    /// How many are tried at once.
    at_once: usize,
    longest: Duration,
    pause: Pause,
    again_at: Option<Instant>,
}

/// A result that is set aside.
#[derive(Debug)]
struct Kept {
    settlement: Settlement,
    started: Started,
    /// Whether the database does not refuse it, but was late.
    is_late: bool,
}

impl Kept {
    fn webhook(&self) -> WebhookId {
        self.settlement.key.webhook
    }
}

impl Aside {
    /// Nothing yet.
    pub fn of(shared: &Shared) -> Self {
        let lease = Duration::try_from(shared.tempo.lease()).unwrap_or(LONGEST);
        let longest = LONGEST.min(lease / TRIES_IN_LEASE);
        Self {
            kept: VecDeque::new(),
            at_once: BATCH,
            longest,
            pause: Pause::up_to(longest),
            again_at: None,
        }
    }

    /// Whether the database is late with any of them.
    pub fn has_late(&self) -> bool {
        self.kept.iter().any(|kept| kept.is_late)
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

    /// Takes those results out of a batch with whose webhooks the database is late.
    pub fn join(&mut self, shared: &Shared, batch: &mut Vec<Result>) {
        let late: HashSet<WebhookId> = self
            .kept
            .iter()
            .filter(|kept| kept.is_late)
            .map(Kept::webhook)
            .collect();
        if late.is_empty() {
            return;
        }
        for index in (0..batch.len()).rev() {
            let Result { settlement, started } = &batch[index];
            if let (Some(started), Some(_)) = (*started, &settlement.attempt)
                && late.contains(&settlement.key.webhook)
            {
                shared.unsettled.set_aside(started);
                self.kept.push_back(Kept {
                    settlement: batch.swap_remove(index).settlement,
                    started,
                    is_late: true,
                });
            }
        }
    }

    /// Takes what was refused of a batch out of those that `started`, and names it in the log.
    pub fn add(
        &mut self,
        shared: &Shared,
        batch: Vec<Settlement>,
        started: &mut [Option<Started>],
        refused: Vec<Refused>,
    ) {
        for (items, error) in &refused {
            let (first, results) = (batch[items.start].key, items.len());
            let (webhook, event) = (first.webhook, first.event);
            if started[items.start].is_none() || batch[items.start].attempt.is_none() {
                tracing::error!(
                    %error, %webhook, %event, "a delivery cannot be put back; it is taken again when its lease ends"
                );
            } else if error.is_timed_out() {
                tracing::error!(
                    %error, %webhook, %event, results,
                    "the database is late with results of a webhook, of which a row may be locked; they are set aside and \
                     tried again"
                );
            } else {
                tracing::error!(
                    %error, %webhook, %event, "a result cannot be written and is set aside; it is tried again"
                );
            }
        }
        let taken = take(batch, started, refused);
        taken
            .iter()
            .for_each(|kept| shared.unsettled.set_aside(kept.started));
        self.keep_on(taken);
        if self.again_at.is_none() && !self.kept.is_empty() {
            self.wait(&shared.clock);
        }
    }

    /// Tries the next of them again.
    pub async fn settle_again(&mut self, shared: &Arc<Shared>) {
        let before = self.kept.len();
        self.settle(shared, self.at_once).await;
        self.extend(shared).await;
        if self.kept.len() < before {
            self.pause = Pause::up_to(self.longest);
        }
        if self.kept.is_empty() {
            self.again_at = None;
            tracing::info!(results = before, "no result is set aside any more");
        } else {
            self.wait(&shared.clock);
        }
    }

    /// Tries all of them once more before the process stops; the deliveries of the rest are left to other processes.
    pub async fn end(mut self, shared: &Arc<Shared>) {
        self.settle(shared, usize::MAX).await;
        if let Some(first) = self.kept.front() {
            tracing::error!(
                results = self.kept.len(),
                webhook = %first.webhook(),
                event = %first.settlement.key.event,
                "results cannot be written before this process stops; whoever takes their deliveries sends them again"
            );
        }
    }

    /// Tries up to this many of them.
    async fn settle(&mut self, shared: &Arc<Shared>, most: usize) {
        let tried = self.kept.drain(..most.min(self.kept.len()));
        let (batch, mut started): (Vec<_>, Vec<_>) =
            tried.map(|kept| (kept.settlement, Some(kept.started))).unzip();
        let refused = settle_each(shared, &batch, true).await;
        self.at_once = BATCH.min(self.at_once * 2);
        self.keep_on(take(batch, &mut started, refused));
        let gone = started.into_iter().flatten().collect();
        let_go(shared, gone);
    }

    /// Keeps these behind the others. Few are tried at once from then on if the database is late with one of them.
    fn keep_on(&mut self, kept: Vec<Kept>) {
        if kept.iter().any(|kept| kept.is_late) {
            self.at_once = FEW;
        }
        self.kept.extend(kept);
    }

    /// Extends the leases, and forgets the deliveries that another process holds by now. The lease of one whose own row is
    /// locked cannot be extended, but nobody else can take it either.
    async fn extend(&mut self, shared: &Arc<Shared>) {
        if self.kept.is_empty() {
            return;
        }
        let held: Vec<(DeliveryKey, i64)> = self
            .kept
            .iter()
            .map(|kept| (kept.settlement.key, kept.settlement.token))
            .collect();
        let until = shared.clock.now().saturating_add(shared.tempo.lease());
        let until = until.unwrap_or(Timestamp::MAX);
        let extended = async {
            let mut conn = shared.store.conn().await?;
            let extended = leases::extend(&mut conn, &held, until).await?;
            if extended.len() == held.len() {
                return Ok(extended);
            }
            leases::still_held(&mut conn, &held).await
        };
        match extended.await {
            Ok(still_held) => self.forget_others(shared, &still_held),
            Err(error) => tracing::debug!(%error, "leases of results set aside could not be extended"),
        }
    }

    /// Keeps the results at these indexes alone.
    fn forget_others(&mut self, shared: &Arc<Shared>, indexes: &[usize]) {
        let indexes: HashSet<usize> = indexes.iter().copied().collect();
        let mut all = 0..self.kept.len();
        let mut gone = Vec::new();
        self.kept.retain(|kept| {
            let stays = all.next().is_some_and(|index| indexes.contains(&index));
            if !stays {
                gone.push(kept.started);
            }
            stays
        });
        let_go(shared, gone);
    }

    fn wait(&mut self, clock: &Clock) {
        self.again_at = Some(clock.monotonic() + self.pause.grow());
    }
}

/// Takes what was refused out of a batch. Of a webhook with which the database is late, the result that was tried by itself
/// comes last: the others may be written without it.
fn take(batch: Vec<Settlement>, started: &mut [Option<Started>], refused: Vec<Refused>) -> Vec<Kept> {
    let mut batch: Vec<Option<Settlement>> = batch.into_iter().map(Some).collect();
    let mut taken = Vec::new();
    for (items, error) in refused {
        let tried = items.start;
        for index in (tried + 1..items.end).chain([tried]) {
            let settlement = batch[index].take();
            if let Some(settlement) = settlement.filter(|settlement| settlement.attempt.is_some())
                && let Some(started) = started[index].take()
            {
                taken.push(Kept {
                    settlement,
                    started,
                    is_late: error.is_timed_out(),
                });
            }
        }
    }
    taken
}

/// Lets others start in the place of what is settled, or never will be.
fn let_go(shared: &Arc<Shared>, attempts: Vec<Started>) {
    shared.unsettled.bring_back(attempts.len());
    done(shared, attempts.into_iter());
}

#[cfg(test)]
mod tests {
    use super::super::group_ends;
    use super::super::least::tests::settlement;
    use super::*;
    use tenterhook_store::testing::error_of;

    /// A batch of results of these webhooks, by the places of those that stand for the same one; `true` of an attempt.
    fn batch(of: &[(usize, bool)]) -> (Vec<Settlement>, Vec<Option<Started>>) {
        let keys: Vec<WebhookId> = of.iter().map(|_| settlement(None, None).key.webhook).collect();
        let result = |(webhook, is_attempt): &(usize, bool)| {
            let mut settlement = settlement(None, None);
            settlement.key.webhook = keys[*webhook];
            settlement.attempt = settlement.attempt.filter(|_| *is_attempt);
            let started = (settlement.created_at, settlement.key);
            (settlement, is_attempt.then_some(started))
        };
        of.iter().map(result).unzip()
    }

    #[test]
    fn results_with_an_attempt_of_one_webhook_that_stand_together_go_together() {
        let (batch, _) = batch(&[(0, true), (0, true), (0, false), (1, true), (0, true)]);
        assert_eq!(group_ends(&batch), [2, 2, 3, 4, 5]);
        assert!(group_ends(&[]).is_empty());
    }

    #[test]
    fn of_late_results_that_one_comes_last_which_was_tried_and_what_was_released_is_not_kept() {
        let (results, mut started) = batch(&[(0, true), (0, true), (0, true), (1, true), (2, false)]);
        let events: Vec<_> = results.iter().map(|result| result.key.event).collect();
        let refused = vec![
            (0..3, error_of(*b"55P03")),
            (3..4, error_of(*b"23514")),
            (4..5, error_of(*b"23514")),
        ];
        let kept = take(results, &mut started, refused);
        let of = |kept: &Kept| (kept.settlement.key.event, kept.is_late);
        let expected = [
            (events[1], true),
            (events[2], true),
            (events[0], true),
            (events[3], false),
        ];
        assert_eq!(kept.iter().map(of).collect::<Vec<_>>(), expected);
        assert!(
            started.iter().all(Option::is_none),
            "nobody starts in their place"
        );
    }
}
