//! How much of the time a company's calls may be at work while others publish a little.
//!
//! Promises that a company which publishes in bulk beside such others has groups of its own, one at a time, of [`BULK`]
//! events or one call, so that nobody else waits for what is stored of it; and that it rests after each [`REST`] times as
//! long as the group took. Its committer stores such a group in portions with breaths between them, which count as time
//! that it took: so it has at most a quarter of a committer's time, where the fan-out is small mostly breaths between bursts
//! of about a millisecond, and leaves the processors room for the others. Where nobody publishes but in bulk, nobody rests.
//!
//! The measure is time, not a number of events: a database that is slower or a fan-out that is larger makes a flood
//! slower by itself. Does not promise anything about what was published before: that is the queue's.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tenterhook_model::ids::CompanyId;

/// How often the time of a group its company rests.
pub(super) const REST: u32 = 3;
/// Events of one company that wait from which on it publishes in bulk, and past which it has no second call in a group.
pub(super) const BULK: usize = 64;
/// How long others count after a call of theirs.
pub(super) const BESIDE: Duration = Duration::from_secs(1);

/// Who came when with little, and who rests until when.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// The last small call, and the last of any company but that one.
    latest: Option<(CompanyId, Instant)>,
    before: Option<Instant>,
    rests: HashMap<CompanyId, Instant>,
}

impl Pace {
    /// A company has come with a call, with which so many of its events wait.
    pub fn came(&mut self, company: CompanyId, waiting: usize, now: Instant) {
        if waiting >= BULK {
            return;
        }
        if let Some((last, at)) = self.latest
            && last != company
        {
            self.before = Some(at);
        }
        self.latest = Some((company, now));
    }

    /// Whether a company of which so many events wait has its groups for itself.
    pub fn is_apart(&self, company: CompanyId, waiting: usize, now: Instant) -> bool {
        waiting >= BULK && self.is_beside_others(company, now)
    }

    /// A group that was a company's own is done.
    pub fn worked(&mut self, company: CompanyId, took: Duration, now: Instant) {
        self.rests.retain(|_, until| *until > now);
        let until = self.rests.entry(company).or_insert(now);
        *until = (*until).max(now) + took * REST;
    }

    /// Until when a company rests, if it does at this moment.
    pub fn rests(&mut self, company: CompanyId, now: Instant) -> Option<Instant> {
        let until = *self.rests.get(&company)?;
        if until <= now || !self.is_beside_others(company, now) {
            self.rests.remove(&company);
            return None;
        }
        Some(until)
    }

    fn is_beside_others(&self, company: CompanyId, now: Instant) -> bool {
        let other = match self.latest {
            Some((last, at)) if last != company => Some(at),
            _ => self.before,
        };
        other.is_some_and(|at| now.saturating_duration_since(at) < BESIDE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenterhook_clock::Clock;

    const TOOK: Duration = Duration::from_millis(10);
    const MOMENT: Duration = Duration::from_nanos(1);

    fn company(number: i64) -> CompanyId {
        CompanyId::new(number).expect("a number above zero is a company")
    }

    #[test]
    fn bulk_is_apart_beside_others_with_little_that_came_within_a_second() {
        let (mut pace, start) = (Pace::default(), Clock::system().monotonic());
        pace.came(company(1), 1, start);
        assert!(!pace.is_apart(company(1), BULK, start), "nobody else");
        pace.came(company(2), BULK, start);
        assert!(!pace.is_apart(company(1), BULK, start), "only bulk");
        pace.came(company(2), BULK - 1, start);
        pace.came(company(1), 1, start);
        assert!(pace.is_apart(company(1), BULK, start));
        assert!(!pace.is_apart(company(1), BULK - 1, start), "little");
        assert!(pace.is_apart(company(1), BULK, start + BESIDE - MOMENT));
        assert!(!pace.is_apart(company(1), BULK, start + BESIDE));
        assert!(
            pace.is_apart(company(2), BULK, start),
            "they are beside each other"
        );
    }

    #[test]
    fn rests_of_groups_add_up_and_end_with_their_time_or_with_the_others() {
        let (mut pace, now) = (Pace::default(), Clock::system().monotonic());
        pace.came(company(2), 1, now);
        for _ in 0..2 {
            pace.worked(company(1), TOOK, now);
        }
        let until = now + TOOK * REST * 2;
        assert_eq!(pace.rests(company(1), until - MOMENT), Some(until));
        assert_eq!(pace.rests(company(1), until), None);
        assert_eq!(pace.rests(company(2), now), None);
        pace.worked(company(1), Duration::from_hours(1), now);
        assert_eq!(pace.rests(company(1), now + BESIDE), None);
    }
}
