//! When another group may be stored while one is being stored.
//!
//! A call that finds no group being stored waits for nothing. Otherwise calls gather until there are [`ENOUGH`], because
//! a group's statement costs nearly as much for one call as for ten. They never gather longer than [`PATIENCE`], because
//! the current group may be large. Calls that a group has no room for start to gather again. The separate groups of bulk
//! publishers ([`super::bulk_throttle`]) do not count.

use std::time::{Duration, Instant};

/// Number of calls that justifies another group's statement.
pub(crate) const ENOUGH: usize = 16;
/// How long a call waits for others.
const PATIENCE: Duration = Duration::from_millis(2);

/// How many groups are being stored, and since when calls wait.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    at_work: usize,
    waits_since: Option<Instant>,
}

impl Gate {
    /// Notes a new call.
    pub fn came(&mut self, now: Instant) {
        self.waits_since.get_or_insert(now);
    }

    /// Until when this number of waiting calls gathers; `None` if they need not gather.
    pub fn gathers_until(&self, calls: usize, now: Instant) -> Option<Instant> {
        let until = self.waits_since? + PATIENCE;
        (self.at_work > 0 && calls < ENOUGH && now < until).then_some(until)
    }

    /// Notes that a group was taken and this number of calls is left.
    pub fn took(&mut self, left: usize, now: Option<Instant>) {
        self.at_work += 1;
        self.waits_since = now.filter(|_| left > 0);
    }

    /// Notes that a group is done.
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
