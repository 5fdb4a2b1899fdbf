//! A batch that is written in one piece, or in parts if the database refuses it.
//!
//! Guarantees: the parts come in the batch's order, and together they are the whole batch, each item once. A refused
//! part is halved: with one bad item among `n` that is about `2 log n` transactions instead of `n`, and fewer than `2 n`
//! if all are bad. A part that meets a deadlock is tried [`TRIES`] times before it is halved. While the database is
//! unavailable nothing is divided, because any part would fail.
//!
//! How to use it: try each [next](Bisection::next) part and pass its result to [`Bisection::done`], until no part is
//! left. [`Bisection::refused`] then contains the items that failed.
//!
//! The meaning of a time-out depends on the batch, because a slow database and a locked row look alike
//! ([`Bisection::split_when_late`]). Once a time-out has divided a batch, each part waits for a lock at most
//! [`LOCK_WAIT`]. Otherwise halving would take longer than a lease.

use std::ops::Range;
use std::time::Duration;

use crate::backoff::Backoff;
use tenterhook_clock::Clock;
use tenterhook_store::{Store, StoreError};

/// How often a transaction that meets deadlocks is tried. After that another try would probably meet one too.
const TRIES: usize = 5;
/// Time-outs after which a batch is divided if its late items are then set aside. Not one, because the database may have
/// been slow for a moment.
pub(crate) const TIME_OUTS: usize = 2;
/// The same for a batch that a caller waits for, or whose late parts are soon tried again.
pub(crate) const FIRST_TIME_OUT: usize = 1;
/// How long a part of such a batch waits for one lock. Longer than the server's own transactions take, even under load.
const LOCK_WAIT: Duration = Duration::from_millis(250);
/// The longest pause while the database is unavailable. Work continues at most this long after it is available again.
const AWAY: Duration = Duration::from_secs(2);

/// Items that cannot be written, and the database's error: one item, and the items grouped with it.
pub(crate) type Refused = (Range<usize>, StoreError);

/// What happens to a part that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Next {
    /// It is tried again, whole or in halves.
    Again,
    /// It is a single item and is not tried again, nor are the other items of this range, which are grouped with it.
    Alone(Range<usize>),
    /// It is tried again, but fails until the database is available.
    Away,
}

/// What time-outs mean for a batch.
#[derive(Clone, Copy)]
struct Late<'a> {
    /// How many time-outs there must be before the batch is divided.
    after: usize,
    /// Whether a part that is late without waiting for a lock is divided, too.
    slow: bool,
    store: &'a Store,
}

/// The parts still to be tried, as ranges of the batch's indexes.
pub(crate) struct Bisection<'a> {
    left: Vec<Range<usize>>,
    late: Option<Late<'a>>,
    /// For each item, the end of its group; empty if items are not grouped.
    ends: Vec<usize>,
    hurried: bool,
    time_outs: usize,
    /// The part being tried, and how many deadlocks it has met.
    tried: Range<usize>,
    deadlocks: usize,
    away: Backoff,
    /// The items that could not be written.
    pub refused: Vec<Refused>,
}

impl<'a> Bisection<'a> {
    /// Starts with the whole batch of `len` items, or without a part if it is empty. A time-out counts as an absent
    /// database.
    pub fn of(len: usize) -> Self {
        let whole = std::iter::once(0..len).filter(|whole| !whole.is_empty());
        Self {
            left: whole.collect(),
            late: None,
            ends: Vec::new(),
            hurried: false,
            time_outs: 0,
            tried: 0..0,
            deadlocks: 0,
            away: Backoff::up_to(AWAY),
            refused: Vec::new(),
        }
    }

    /// The batch is divided after this number of time-outs, if the database responds to other statements.
    pub fn split_when_late(mut self, after: usize, store: &'a Store) -> Self {
        self.late = Some(Late {
            after,
            slow: true,
            store,
        });
        self
    }

    /// Like [`split_when_late`](Self::split_when_late), but only to find items that wait for a lock. A part that is late
    /// without one counts as an absent database.
    pub fn split_when_locked(mut self, after: usize, store: &'a Store) -> Self {
        self.late = Some(Late {
            after,
            slow: false,
            store,
        });
        self
    }

    /// If `hurried`, no part waits longer than [`LOCK_WAIT`] for a lock, from the beginning: it is known that something
    /// is locked.
    pub fn hurried(mut self, hurried: bool) -> Self {
        self.hurried |= hurried;
        self
    }

    /// Groups items: if one is late alone, later items of its group would be late as well and are not tried. `ends` says
    /// for each item where its group ends.
    pub fn grouped(mut self, ends: Vec<usize>) -> Self {
        self.ends = ends;
        self
    }

    /// Takes the result of the part that was tried last. Returns its value if it succeeded.
    ///
    /// # Errors
    ///
    /// If the database is unavailable. The part is tried again.
    pub fn done<T>(&mut self, result: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
        let error = match result {
            Ok(done) => return Ok(Some(done)),
            Err(error) => error,
        };
        let part = self.tried.clone();
        let is_silent = self.late.is_some_and(|late| late.store.silence().is_some());
        match self.failed(&part, &error, is_silent) {
            Next::Again => {
                tracing::debug!(%error, items = part.len(), "a batch failed; trying again, or in parts")
            }
            Next::Alone(items) => self.refused.push((items, error)),
            Next::Away => return Err(error),
        }
        Ok(None)
    }

    /// Like [`done`](Self::done), but pauses if the database is unavailable; `what` names the work in the log.
    /// Simulated time does not move during the pause.
    pub async fn done_in_time<T>(
        &mut self,
        result: Result<T, StoreError>,
        clock: &Clock,
        what: &str,
    ) -> Option<T> {
        match self.done(result) {
            Ok(done) => done,
            Err(error) => {
                // Logged only while the pause still grows, not for as long as the database is unavailable.
                if !self.away.is_longest() {
                    tracing::error!(%error, what, "rows cannot be written; trying again");
                }
                clock.linger(self.away.next_wait()).await;
                None
            }
        }
    }

    /// Decides what happens to a part that failed.
    fn failed(&mut self, part: &Range<usize>, error: &StoreError, is_silent: bool) -> Next {
        if error.is_transient() {
            self.deadlocks += 1;
            if self.deadlocks < TRIES {
                self.left.push(part.clone());
                return Next::Again;
            }
        } else if error.is_away() || (error.is_timed_out() && !error.is_locked_out()) {
            match self.late {
                Some(late) if error.is_timed_out() && !is_silent && (late.slow || !self.hurried) => {
                    self.time_outs += 1;
                    if self.time_outs < late.after && !self.hurried {
                        self.left.push(part.clone());
                        return Next::Again;
                    }
                    self.hurried = true;
                }
                _ => {
                    self.left.push(part.clone());
                    return Next::Away;
                }
            }
        }
        self.split(part, error.is_timed_out())
    }

    /// Replaces a part by its halves. A single item leaves the batch; if it is late, the rest of its group leaves with
    /// it.
    fn split(&mut self, part: &Range<usize>, is_late: bool) -> Next {
        if part.len() < 2 {
            let end = self.ends.get(part.start).filter(|_| is_late);
            let end = end.copied().unwrap_or(part.end).max(part.end);
            for other in &mut self.left {
                other.start = other.start.max(end);
            }
            self.left.retain(|other| !other.is_empty());
            return Next::Alone(part.start..end);
        }
        let middle = part.start + part.len() / 2;
        self.left.push(middle..part.end);
        self.left.push(part.start..middle);
        Next::Again
    }
}

/// The part to try next, and how long it may wait for a lock. Its result must be passed to [`done`](Bisection::done).
impl Iterator for Bisection<'_> {
    type Item = (Range<usize>, Option<Duration>);

    fn next(&mut self) -> Option<Self::Item> {
        let part = self.left.pop()?;
        if part != self.tried {
            self.tried = part.clone();
            self.deadlocks = 0;
        }
        Some((part, self.hurried.then_some(LOCK_WAIT)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenterhook_store::testing::error_of;

    fn refusal() -> StoreError {
        error_of(*b"23514")
    }

    fn store() -> Store {
        Store::single("postgres://nowhere.invalid/none", Duration::from_secs(1)).unwrap()
    }

    /// Which items succeeded, in order, which failed alone, and how many parts were tried.
    fn tried(
        mut parts: Bisection<'_>,
        fails: impl Fn(&Range<usize>) -> Option<StoreError>,
    ) -> (Vec<usize>, Vec<usize>, usize) {
        let (mut done, mut tries) = (Vec::new(), 0);
        while let Some((part, _)) = parts.next() {
            tries += 1;
            let result = fails(&part).map_or(Ok(part), Err);
            done.extend(parts.done(result).unwrap().into_iter().flatten());
        }
        let alone = parts.refused.into_iter().flat_map(|(items, _)| items);
        (done, alone.collect(), tries)
    }

    fn refused(len: usize, is_bad: impl Fn(usize) -> bool) -> (Vec<usize>, Vec<usize>, usize) {
        tried(Bisection::of(len), |part| part.clone().any(&is_bad).then(refusal))
    }

    #[test]
    fn bad_items_are_isolated_and_the_others_done_in_order() {
        for len in 0..70 {
            let (done, alone, tries) = refused(len, |item| item % 10 == 3);
            assert_eq!(done, (0..len).filter(|item| item % 10 != 3).collect::<Vec<_>>());
            assert_eq!(alone, (0..len).filter(|item| item % 10 == 3).collect::<Vec<_>>());
            assert!(tries <= 2 * len, "{tries} tries of {len}");
        }
    }

    #[test]
    fn one_bad_item_of_64_takes_13_tries_and_all_bad_take_127() {
        assert_eq!(refused(64, |item| item == 17).2, 13);
        assert_eq!(refused(64, |_| true).2, 127);
        assert_eq!(refused(64, |_| false).2, 1);
        assert_eq!(refused(0, |_| true).2, 0);
    }

    #[test]
    fn a_deadlock_is_retried_and_a_refusal_is_not() {
        let deadlocks = |part: &Range<usize>| part.contains(&1).then(|| error_of(*b"40P01"));
        let (done, alone, tries) = tried(Bisection::of(2), deadlocks);
        assert_eq!((done, alone), (vec![0], vec![1]));
        assert_eq!(tries, TRIES + 1 + TRIES);
        assert_eq!(refused(1, |_| true).2, 1);
    }

    /// Decisions about a batch of four when the whole batch meets these errors one after the other.
    fn decisions(mut parts: Bisection<'_>, codes: &[&[u8; 5]], is_silent: bool) -> (Next, bool) {
        let mut last = Next::Again;
        for code in codes {
            assert_eq!((last, parts.left.pop()), (Next::Again, Some(0..4)));
            last = parts.failed(&(0..4), &error_of(**code), is_silent);
        }
        (last, parts.left.len() == 2)
    }

    #[test]
    fn a_time_out_splits_a_batch_only_if_enabled() {
        let store = &store();
        let late = |after| Bisection::of(4).split_when_late(after, store);
        let (late_once, late_twice): (&[_], &[_]) = (&[b"57014"], &[b"57014", b"57014"]);
        assert_eq!(decisions(late(2), late_once, false), (Next::Again, false));
        assert_eq!(decisions(late(2), late_twice, false), (Next::Again, true));
        assert_eq!(decisions(late(1), late_once, false), (Next::Again, true));
        assert_eq!(
            decisions(late(1), late_once, true),
            (Next::Away, false),
            "nothing answers"
        );
        assert_eq!(
            decisions(late(1).hurried(true), &[b"55P03"], false),
            (Next::Again, true)
        );
        assert_eq!(decisions(Bisection::of(4), late_once, false), (Next::Away, false));
        for code in [b"57P01", b"08006", b"25006"] {
            assert_eq!(decisions(late(1), &[code], false), (Next::Away, false));
        }
        let locked = || Bisection::of(4).split_when_locked(1, store);
        assert_eq!(decisions(locked(), late_once, false), (Next::Again, true));
        let slow = decisions(locked().hurried(true), late_once, false);
        assert_eq!(slow, (Next::Away, false), "it did not wait for a lock");
        assert_eq!(
            decisions(locked().hurried(true), &[b"55P03"], false),
            (Next::Again, true)
        );
    }

    /// One item times out until its batch is hurried, and then fails to get its lock.
    #[test]
    fn a_locked_group_is_isolated_after_few_waits() {
        let store = store();
        let ends = vec![2, 2, 3, 7, 7, 7, 7, 8];
        let locked = 4..6;
        let mut parts = Bisection::of(8).split_when_late(2, &store).grouped(ends);
        let (mut done, mut waits) = (Vec::new(), Vec::new());
        while let Some((part, wait)) = parts.next() {
            let result = if locked.clone().any(|item| part.contains(&item)) {
                waits.push(wait);
                Err(error_of(if wait.is_some() { *b"55P03" } else { *b"57014" }))
            } else {
                Ok(part)
            };
            done.extend(parts.done(result).unwrap().into_iter().flatten());
        }
        assert_eq!(done, [0, 1, 2, 3, 7]);
        let [(alone, _)] = &parts.refused[..] else {
            panic!("one part alone was refused: {:?}", parts.refused);
        };
        assert_eq!(*alone, 4..7, "6 goes with 4, though it is not locked itself");
        let limit = Some(LOCK_WAIT);
        assert_eq!(waits, [None, None, limit, limit, limit]);
    }

    #[test]
    fn a_batch_resumes_where_it_was_after_an_outage() {
        let mut parts = Bisection::of(4);
        assert_eq!(parts.next().unwrap().0, 0..4);
        assert!(parts.done::<()>(Err(refusal())).unwrap().is_none());
        assert_eq!(parts.next().unwrap().0, 0..2);
        assert!(parts.done(Ok(())).unwrap().is_some());
        for _ in 0..2 {
            assert_eq!(parts.next().unwrap().0, 2..4);
            assert!(parts.done::<()>(Err(error_of(*b"57P01"))).unwrap_err().is_away());
        }
        assert_eq!(parts.next().unwrap().0, 2..4);
        parts.done(Ok(())).unwrap();
        assert!(parts.next().is_none() && parts.refused.is_empty());
    }
}
