//! How a task retries what the database does not take: whether, how often, and with which pauses.
//!
//! Promises that a pause grows from [`FIRST`] to a bound, so that neither the database nor the log is flooded while the
//! trouble lasts. [`Patience`] waits in the middle of work: simulated time does not move meanwhile.

use std::time::Duration;

use crate::clock::Clock;
use crate::store::StoreError;

/// The first pause.
const FIRST: Duration = Duration::from_millis(200);
/// The longest pause while the database is away: at most this long after its return the work goes on.
const AWAY: Duration = Duration::from_secs(2);
/// How often a transaction is run that meets a deadlock. One that meets it this often would meet it again.
pub(super) const TRIES: usize = 5;

/// A pause that doubles up to a bound.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pause {
    next: Duration,
    most: Duration,
}

impl Pause {
    /// From the first pause up to `most`.
    pub fn up_to(most: Duration) -> Self {
        Self {
            next: FIRST.min(most),
            most,
        }
    }

    /// How long to wait now. The next pause is twice as long.
    pub fn grow(&mut self) -> Duration {
        let now = self.next;
        self.next = (now * 2).min(self.most);
        now
    }

    /// Whether it does not grow any more.
    pub fn is_longest(&self) -> bool {
        self.next == self.most
    }
}

/// How often one piece of work was tried.
#[derive(Debug)]
pub(super) struct Patience {
    what: &'static str,
    tries: usize,
    away: Pause,
}

impl Patience {
    /// For work that the log calls `what`.
    pub fn with(what: &'static str) -> Self {
        Self {
            what,
            tries: 1,
            away: Pause::up_to(AWAY),
        }
    }

    /// Whether the same work is to be tried again, after the wait that it takes: for as long as the database is away, and
    /// [`TRIES`] times after a deadlock. Otherwise it is the work that is refused.
    pub async fn allows(&mut self, clock: &Clock, error: &StoreError) -> bool {
        if error.is_unavailable() {
            // Logged while the pause grows, and not for as long as the database is away.
            if !self.away.is_longest() {
                tracing::error!(%error, what = self.what, "cannot be written; trying again");
            }
            clock.linger(self.away.grow()).await;
            return true;
        }
        self.is_crossed(error)
    }

    /// Whether the same work is to be tried again at once: it conflicted with another transaction, and not too often yet.
    pub fn is_crossed(&mut self, error: &StoreError) -> bool {
        let again = error.is_transient() && self.tries < TRIES;
        self.tries += 1;
        again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_doubles_up_to_its_bound_and_stays_there() {
        let mut pause = Pause::up_to(Duration::from_millis(1_000));
        assert!(!pause.is_longest());
        let pauses = [0; 5].map(|_| pause.grow().as_millis());
        assert_eq!(pauses, [200, 400, 800, 1_000, 1_000]);
        assert!(pause.is_longest());
        assert_eq!(Pause::up_to(Duration::from_millis(50)).grow().as_millis(), 50);
    }

    #[tokio::test]
    async fn a_deadlock_is_met_so_often_and_no_more_and_a_refusal_never() {
        let (clock, mut patience) = (Clock::system(), Patience::with("a test"));
        for _ in 1..TRIES {
            assert!(patience.allows(&clock, &StoreError::Overtaken).await);
        }
        assert!(!patience.allows(&clock, &StoreError::Overtaken).await);
        let refused = StoreError::Database(diesel::result::Error::NotFound);
        assert!(!Patience::with("a test").allows(&clock, &refused).await);
    }
}
