//! When another group may be stored beside one that is being stored.
//!
//! Promises that a call which finds no group at work waits for nothing. Beside one, calls gather until there are
//! [`ENOUGH`], since a group's statement costs nearly as much for one call as for ten; but never for longer than
//! [`PATIENCE`], since what is at work may be large. What a group has no room for begins to gather anew. Groups that are a
//! company's own ([`super::pace`]) do not count.

use std::time::{Duration, Instant};

/// Calls for which another group is worth its statement.
pub(super) const ENOUGH: usize = 16;
/// How long a call waits for others.
const PATIENCE: Duration = Duration::from_millis(2);

/// How many groups are at work, and since when somebody waits.
#[derive(Debug, Default)]
pub(super) struct Gate {
    at_work: usize,
    waits_since: Option<Instant>,
}

impl Gate {
    /// A call has come.
    pub fn came(&mut self, now: Instant) {
        self.waits_since.get_or_insert(now);
    }

    /// Until when so many calls that wait gather, if they do.
    pub fn gathers_until(&self, calls: usize, now: Instant) -> Option<Instant> {
        let until = self.waits_since? + PATIENCE;
        (self.at_work > 0 && calls < ENOUGH && now < until).then_some(until)
    }

    /// A group has been taken, after which so many calls wait.
    pub fn took(&mut self, left: usize, now: Option<Instant>) {
        self.at_work += 1;
        self.waits_since = now.filter(|_| left > 0);
    }

    /// A group is done.
    pub fn done(&mut self) {
        self.at_work = self.at_work.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenterhook_clock::Clock;

    const MOMENT: Duration = Duration::from_nanos(1);

    #[test]
    fn calls_gather_beside_a_group_until_there_are_enough_or_one_has_waited_long_enough() {
        let (mut gate, start) = (Gate::default(), Clock::system().monotonic());
        gate.came(start);
        assert_eq!(gate.gathers_until(1, start), None, "nothing is at work");
        gate.took(0, Some(start));
        assert_eq!(gate.gathers_until(0, start), None, "nobody waits");
        gate.came(start);
        gate.came(start + MOMENT);
        let until = start + PATIENCE;
        assert_eq!(gate.gathers_until(ENOUGH - 1, until - MOMENT), Some(until));
        assert_eq!(gate.gathers_until(ENOUGH, start), None);
        assert_eq!(gate.gathers_until(1, until), None);
        gate.took(1, Some(until));
        assert_eq!(gate.gathers_until(1, until), Some(until + PATIENCE));
        gate.done();
        gate.done();
        assert_eq!(gate.gathers_until(1, until), None);
    }
}
