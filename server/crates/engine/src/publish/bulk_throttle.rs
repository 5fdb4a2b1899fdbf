//! Limits a bulk publisher's share of the time while other companies publish a little.
//!
//! A company that publishes in bulk at such a time has groups of its own, one at a time, of [`BULK`] events or one
//! call. So no other call waits for its events to be stored. After each group it pauses for [`PAUSE_FACTOR`] times as
//! long as the group took. Its committer stores the group in chunks, with short pauses in between, which count as time
//! that the group took. So a bulk publisher uses at most a quarter of one committer's time. With a small fan-out that
//! is mostly pauses between bursts of about a millisecond, which leaves the processors free for others. If only bulk
//! publishers are active, none pauses.
//!
//! The limit is on time, not on the number of events: a slower database or a larger fan-out slows a bulk publisher by
//! itself. Deliveries of events already published are not limited here; the queue does that.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tenterhook_model::ids::CompanyId;

/// A company pauses after its group for this multiple of the group's time.
pub(crate) const PAUSE_FACTOR: u32 = 3;
/// A company publishes in bulk if at least this number of its events waits. Its separate group has no second call beyond
/// this number.
pub(crate) const BULK: usize = 64;
/// How long other companies count as active after a small call.
pub(crate) const OTHERS_ACTIVE_FOR: Duration = Duration::from_secs(1);

/// When small calls came, and until when companies pause.
#[derive(Debug, Default)]
pub(crate) struct BulkThrottle {
    /// The last small call, and the time of the last one by any other company.
    latest: Option<(CompanyId, Instant)>,
    before: Option<Instant>,
    paused_until: HashMap<CompanyId, Instant>,
}

impl BulkThrottle {
    /// Notes a company's call; `waiting` is the number of its events that now wait.
    pub fn call_arrived(&mut self, company: CompanyId, waiting: usize, now: Instant) {
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

    /// Whether a company with this number of waiting events has its groups alone.
    pub fn is_separate(&self, company: CompanyId, waiting: usize, now: Instant) -> bool {
        waiting >= BULK && self.others_are_active(company, now)
    }

    /// Notes that a company's separate group is done.
    pub fn group_done(&mut self, company: CompanyId, took: Duration, now: Instant) {
        self.paused_until.retain(|_, until| *until > now);
        let until = self.paused_until.entry(company).or_insert(now);
        *until = (*until).max(now) + took * PAUSE_FACTOR;
    }

    /// Until when a company pauses, if it pauses at this moment.
    pub fn paused_until(&mut self, company: CompanyId, now: Instant) -> Option<Instant> {
        let until = *self.paused_until.get(&company)?;
        if until <= now || !self.others_are_active(company, now) {
            self.paused_until.remove(&company);
            return None;
        }
        Some(until)
    }

    fn others_are_active(&self, company: CompanyId, now: Instant) -> bool {
        let other = match self.latest {
            Some((last, at)) if last != company => Some(at),
            _ => self.before,
        };
        other.is_some_and(|at| now.saturating_duration_since(at) < OTHERS_ACTIVE_FOR)
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
    fn bulk_is_separate_while_others_publish_little() {
        let (mut throttle, start) = (BulkThrottle::default(), Clock::system().monotonic());
        throttle.call_arrived(company(1), 1, start);
        assert!(!throttle.is_separate(company(1), BULK, start), "nobody else");
        throttle.call_arrived(company(2), BULK, start);
        assert!(!throttle.is_separate(company(1), BULK, start), "only bulk");
        throttle.call_arrived(company(2), BULK - 1, start);
        throttle.call_arrived(company(1), 1, start);
        assert!(throttle.is_separate(company(1), BULK, start));
        assert!(!throttle.is_separate(company(1), BULK - 1, start), "little");
        assert!(throttle.is_separate(company(1), BULK, start + OTHERS_ACTIVE_FOR - MOMENT));
        assert!(!throttle.is_separate(company(1), BULK, start + OTHERS_ACTIVE_FOR));
        assert!(
            throttle.is_separate(company(2), BULK, start),
            "each is active while the other is"
        );
    }

    #[test]
    fn pauses_add_up_and_end_early_if_others_are_idle() {
        let (mut throttle, now) = (BulkThrottle::default(), Clock::system().monotonic());
        throttle.call_arrived(company(2), 1, now);
        for _ in 0..2 {
            throttle.group_done(company(1), TOOK, now);
        }
        let until = now + TOOK * PAUSE_FACTOR * 2;
        assert_eq!(throttle.paused_until(company(1), until - MOMENT), Some(until));
        assert_eq!(throttle.paused_until(company(1), until), None);
        assert_eq!(throttle.paused_until(company(2), now), None);
        throttle.group_done(company(1), Duration::from_hours(1), now);
        assert_eq!(throttle.paused_until(company(1), now + OTHERS_ACTIVE_FOR), None);
    }
}
