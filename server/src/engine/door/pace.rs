//! How much of the time a company's calls may be at work while others publish too.
//!
//! Promises that a company which publishes in bulk rests after each of its groups [`REST`] times as long as that took, so
//! that beside others it has at most a third of a committer's time and leaves the processors room for them. A group's time
//! counts for a company by its part of the group's events. Whoever publishes alone never rests, nor does a company that
//! had fewer than [`BULK`] events in its group.
//!
//! The measure is time, not a number of events: a database that is slower or a fan-out that is larger makes a flood
//! slower by itself. Does not promise anything about what was published before: that is the queue's.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::model::ids::CompanyId;

/// How often the time of a group its company rests.
pub(super) const REST: u32 = 2;
/// Events of one company in a group from which on it publishes in bulk.
pub(super) const BULK: usize = 32;
/// How long others count as publishing after a call of theirs.
pub(super) const BESIDE: Duration = Duration::from_secs(1);

/// Who came when, and who rests until when.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// The last call of the company that came last, and the last call of any other.
    latest: Option<(CompanyId, Instant)>,
    before: Option<Instant>,
    rests: HashMap<CompanyId, Instant>,
}

impl Pace {
    /// A company has come with a call.
    pub fn came(&mut self, company: CompanyId, now: Instant) {
        if let Some((last, at)) = self.latest
            && last != company
        {
            self.before = Some(at);
        }
        self.latest = Some((company, now));
    }

    /// A group is done in which a company had so many of all events.
    pub fn worked(&mut self, company: CompanyId, (events, of): (usize, usize), took: Duration, now: Instant) {
        if events < BULK || !self.is_beside_others(company, now) {
            return;
        }
        let share = events as f64 / of.max(1) as f64;
        let rest = (took * REST).mul_f64(share);
        let until = self.rests.entry(company).or_insert(now);
        *until = (*until).max(now) + rest;
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

    const TOOK: Duration = Duration::from_millis(10);

    fn company(number: i64) -> CompanyId {
        CompanyId::new(number).expect("a number above zero is a company")
    }

    /// How long company 1 rests after a group of 10 ms with so many of all events, others having come so long ago.
    fn rest(events: (usize, usize), others: Option<Duration>) -> Option<Duration> {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let now = start + others.unwrap_or_default();
        if others.is_some() {
            pace.came(company(2), start);
        }
        pace.came(company(1), now);
        pace.came(company(1), now);
        pace.worked(company(1), events, TOOK, now);
        pace.rests(company(1), now).map(|until| until - now)
    }

    #[test]
    fn beside_others_a_company_rests_by_its_part_of_the_group() {
        assert_eq!(rest((256, 256), Some(Duration::ZERO)), Some(TOOK * REST));
        assert_eq!(rest((64, 256), Some(Duration::ZERO)), Some(TOOK * REST / 4));
    }

    #[test]
    fn alone_nobody_rests_and_after_a_second_without_others_one_is_alone() {
        assert_eq!(rest((256, 256), None), None);
        assert!(rest((256, 256), Some(BESIDE - Duration::from_nanos(1))).is_some());
        assert_eq!(rest((256, 256), Some(BESIDE)), None);
    }

    #[test]
    fn so_many_events_are_bulk_and_one_fewer_is_not() {
        assert!(rest((BULK, BULK), Some(Duration::ZERO)).is_some());
        assert_eq!(rest((BULK - 1, BULK), Some(Duration::ZERO)), None);
    }

    #[test]
    fn rests_of_groups_at_the_same_time_add_up_and_end() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        pace.came(company(2), now);
        for _ in 0..2 {
            pace.worked(company(1), (256, 256), TOOK, now);
        }
        let until = now + TOOK * REST * 2;
        assert_eq!(
            pace.rests(company(1), until - Duration::from_nanos(1)),
            Some(until)
        );
        assert_eq!(pace.rests(company(1), until), None);
        assert_eq!(pace.rests(company(2), now), None);
    }
}
