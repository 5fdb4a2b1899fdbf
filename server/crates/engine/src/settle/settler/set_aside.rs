//! Results that cannot be written now. The database refuses them alone, even with parts left out, or is late with them,
//! for example because another transaction has one of their rows locked.
//!
//! Guarantees:
//!
//! - Nothing waits for them: other results are settled, simulated time moves, and neither other processes' sweepers nor
//!   a stopping server wait for them.
//! - The delivery is not attempted again while its result is kept, because its lease is extended.
//! - They are tried again with a growing pause.
//! - The log names a delivery once, when it is set aside.
//!
//! If the database is late with a webhook's results, later results of that webhook [join](SetAside::join) them without
//! being tried, because each batch with one of them would be late. They are tried in small numbers, with a short limit
//! on lock waits, so that the settler has time for other results.
//!
//! Not guaranteed:
//!
//! - That a result survives its process. Its delivery is still open, so the next process that claims it repeats the
//!   attempt (D6).
//! - That a result is judged in time. A transition that is due in between is judged without it.
//!
//! Results set aside count towards the bound of unsettled results. Above that bound no attempt starts, as if the
//! database were unavailable.
//!
//! A delivery that was released without an attempt is not kept: it is claimed again when its lease ends.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::{BATCH, Settler};
use crate::backoff::Backoff;
use crate::bisection::Refused;
use crate::settle::in_flight_attempts::InFlightAttempts;
use crate::settle::settlement::{AttemptResult, Started};
use tenterhook_clock::Clock;
use tenterhook_model::ids::{DeliveryKey, WebhookId};
use tenterhook_store::leases;
use tenterhook_store::settle::Settlement;

/// The longest pause between two tries, unless leases need a shorter one.
const LONGEST: Duration = Duration::from_secs(60);
/// Tries within the time of a lease. Each try extends the leases.
const TRIES_IN_LEASE: u32 = 4;
/// Results that are tried at once while the database is late with some. Each one that waits for a lock blocks the
/// settler for up to the limit on lock waits.
const FEW: usize = 8;

/// The results that one settler has set aside. The next ones to try come first.
#[derive(Debug)]
pub(super) struct SetAside {
    kept: VecDeque<Kept>,
    /// How many are tried at once.
    at_once: usize,
    longest: Duration,
    pause: Backoff,
    again_at: Option<Instant>,
}

/// A result that is set aside.
#[derive(Debug)]
struct Kept {
    settlement: Settlement,
    started: Started,
    /// Whether the database was late with it and did not refuse it.
    is_late: bool,
}

impl Kept {
    fn webhook(&self) -> WebhookId {
        self.settlement.key.webhook
    }
}

impl SetAside {
    /// No result yet. While there are some, their leases of this length are extended.
    pub fn for_lease(lease: SignedDuration) -> Self {
        let lease = Duration::try_from(lease).unwrap_or(LONGEST);
        let longest = LONGEST.min(lease / TRIES_IN_LEASE);
        Self {
            kept: VecDeque::new(),
            at_once: BATCH,
            longest,
            pause: Backoff::up_to(longest),
            again_at: None,
        }
    }

    /// Whether the database is late with any of them.
    pub fn has_late(&self) -> bool {
        self.kept.iter().any(|kept| kept.is_late)
    }

    /// Waits until it is time to try again, or for ever if nothing is set aside. The task is idle while it waits.
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

    /// Moves results out of a batch if the database is late with their webhooks.
    pub fn join(&mut self, in_flight: &InFlightAttempts, batch: &mut Vec<AttemptResult>) {
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
            let AttemptResult { settlement, started } = &batch[index];
            if let (Some(started), Some(_)) = (*started, &settlement.attempt)
                && late.contains(&settlement.key.webhook)
            {
                in_flight.set_aside(started);
                self.kept.push_back(Kept {
                    settlement: batch.swap_remove(index).settlement,
                    started,
                    is_late: true,
                });
            }
        }
    }

    /// Takes the refused results of a batch out of `started`, keeps them and logs them.
    pub fn add(
        &mut self,
        settler: &Settler,
        batch: Vec<Settlement>,
        started: &mut [Option<Started>],
        refused: Vec<Refused>,
    ) {
        for (items, error) in &refused {
            let (first, results) = (batch[items.start].key, items.len());
            let (webhook, event) = (first.webhook, first.event);
            if started[items.start].is_none() || batch[items.start].attempt.is_none() {
                tracing::error!(
                    %error, %webhook, %event, "a delivery cannot be released; it will be claimed again when its lease ends"
                );
            } else if error.is_timed_out() {
                tracing::error!(
                    %error, %webhook, %event, results,
                    "results of a webhook could not be written in time, perhaps because another transaction has locked a \
                     row; they are set aside and tried again"
                );
            } else {
                tracing::error!(
                    %error, %webhook, %event, "a result cannot be written and is set aside; trying again"
                );
            }
        }
        let taken = take(batch, started, refused);
        taken
            .iter()
            .for_each(|kept| settler.in_flight.set_aside(kept.started));
        self.keep_on(taken);
        if self.again_at.is_none() && !self.kept.is_empty() {
            self.wait(&settler.clock);
        }
    }

    /// Tries the next ones again.
    pub async fn settle_again(&mut self, settler: &Settler) {
        let before = self.kept.len();
        self.settle(settler, self.at_once).await;
        self.extend(settler).await;
        if self.kept.len() < before {
            self.pause = Backoff::up_to(self.longest);
        }
        if self.kept.is_empty() {
            self.again_at = None;
            tracing::info!(results = before, "all results set aside have been written");
        } else {
            self.wait(&settler.clock);
        }
    }

    /// Tries all of them once more before the process stops. Other processes repeat the attempts of the rest.
    pub async fn end(mut self, settler: &Settler) {
        self.settle(settler, usize::MAX).await;
        if let Some(first) = self.kept.front() {
            tracing::error!(
                results = self.kept.len(),
                webhook = %first.webhook(),
                event = %first.settlement.key.event,
                "results cannot be written before this process stops; the processes that claim their deliveries will repeat \
                 the attempts"
            );
        }
    }

    /// Tries up to `most` of them.
    async fn settle(&mut self, settler: &Settler, most: usize) {
        let tried = self.kept.drain(..most.min(self.kept.len()));
        let (batch, mut started): (Vec<_>, Vec<_>) =
            tried.map(|kept| (kept.settlement, Some(kept.started))).unzip();
        let refused = settler.settle_each(&batch, true).await;
        self.at_once = BATCH.min(self.at_once * 2);
        self.keep_on(take(batch, &mut started, refused));
        let gone = started.into_iter().flatten().collect();
        free(settler, gone);
    }

    /// Keeps these behind the others. If the database is late with one of them, only a few are tried at once from then
    /// on.
    fn keep_on(&mut self, kept: Vec<Kept>) {
        if kept.iter().any(|kept| kept.is_late) {
            self.at_once = FEW;
        }
        self.kept.extend(kept);
    }

    /// Extends the leases, and forgets the deliveries that another process holds by now. If a delivery's own row is
    /// locked, its lease cannot be extended, but no other process can take it either.
    async fn extend(&mut self, settler: &Settler) {
        if self.kept.is_empty() {
            return;
        }
        let held: Vec<(DeliveryKey, i64)> = self
            .kept
            .iter()
            .map(|kept| (kept.settlement.key, kept.settlement.token))
            .collect();
        let until = settler.clock.now().saturating_add(settler.timings.lease());
        let until = until.unwrap_or(Timestamp::MAX);
        let extended = async {
            let mut conn = settler.store.conn().await?;
            let extended = leases::extend(&mut conn, &held, until).await?;
            if extended.len() == held.len() {
                return Ok(extended);
            }
            leases::still_held(&mut conn, &held).await
        };
        match extended.await {
            Ok(still_held) => self.forget_others(settler, &still_held),
            Err(error) => {
                tracing::debug!(%error, "leases of results that were set aside could not be extended")
            }
        }
    }

    /// Keeps only the results at these indexes.
    fn forget_others(&mut self, settler: &Settler, indexes: &[usize]) {
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
        free(settler, gone);
    }

    fn wait(&mut self, clock: &Clock) {
        self.again_at = Some(clock.monotonic() + self.pause.next_wait());
    }
}

/// Takes the refused results out of a batch. If the database is late with a webhook, the result that was tried alone
/// comes last, because the others may be written without it.
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

/// Frees the places of these attempts: their results are settled, or never will be.
fn free(settler: &Settler, attempts: Vec<Started>) {
    settler.in_flight.bring_back(attempts.len());
    settler.done(attempts.into_iter());
}

#[cfg(test)]
mod tests {
    use super::super::group_ends;
    use super::super::reduced::tests::settlement;
    use super::*;
    use tenterhook_store::testing::error_of;

    /// A batch of results. Each pair is the index of the webhook, the same for the same webhook, and whether there was
    /// an attempt.
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
    fn adjacent_attempts_of_one_webhook_form_a_group() {
        let (batch, _) = batch(&[(0, true), (0, true), (0, false), (1, true), (0, true)]);
        assert_eq!(group_ends(&batch), [2, 2, 3, 4, 5]);
        assert!(group_ends(&[]).is_empty());
    }

    #[test]
    fn the_tried_late_result_is_last_and_releases_are_dropped() {
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
            "no attempt starts in their place"
        );
    }
}
