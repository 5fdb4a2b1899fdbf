//! When another group may be stored while one is being stored.
//!
//! A call that finds no group being stored waits for nothing. Otherwise calls gather until there are [`MIN_BATCH`],
//! because a group's statement costs nearly as much for one call as for ten. They never gather longer than
//! [`MAX_WAIT`], because the current group may be large. Calls that a group has no room for start to gather again. The
//! separate groups of bulk publishers ([`super::bulk_throttle`]) do not count.

use std::time::{Duration, Instant};

/// Number of calls that justifies another group's statement.
pub(crate) const MIN_BATCH: usize = 16;
/// How long a call waits for others.
const MAX_WAIT: Duration = Duration::from_millis(2);

/// How many groups are being stored, and since when calls wait.
#[derive(Debug, Default)]
pub(crate) struct BatchWindow {
    storing: usize,
    waits_since: Option<Instant>,
}

impl BatchWindow {
    /// Notes a new call.
    pub fn call_arrived(&mut self, now: Instant) {
        self.waits_since.get_or_insert(now);
    }

    /// Until when this number of waiting calls gathers; `None` if they need not gather.
    pub fn gathers_until(&self, calls: usize, now: Instant) -> Option<Instant> {
        let until = self.waits_since? + MAX_WAIT;
        (self.storing > 0 && calls < MIN_BATCH && now < until).then_some(until)
    }

    /// Notes that a group was taken and this number of calls is left.
    pub fn group_taken(&mut self, left: usize, now: Option<Instant>) {
        self.storing += 1;
        self.waits_since = now.filter(|_| left > 0);
    }

    /// Notes that a group is done.
    pub fn group_done(&mut self) {
        self.storing = self.storing.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenterhook_clock::Clock;

    const MOMENT: Duration = Duration::from_nanos(1);

    #[test]
    fn calls_wait_for_a_full_batch_or_the_longest_wait() {
        let (mut window, start) = (BatchWindow::default(), Clock::system().monotonic());
        window.call_arrived(start);
        assert_eq!(window.gathers_until(1, start), None, "nothing is at work");
        window.group_taken(0, Some(start));
        assert_eq!(window.gathers_until(0, start), None, "nobody waits");
        window.call_arrived(start);
        window.call_arrived(start + MOMENT);
        let until = start + MAX_WAIT;
        assert_eq!(window.gathers_until(MIN_BATCH - 1, until - MOMENT), Some(until));
        assert_eq!(window.gathers_until(MIN_BATCH, start), None);
        assert_eq!(window.gathers_until(1, until), None);
        window.group_taken(1, Some(until));
        assert_eq!(window.gathers_until(1, until), Some(until + MAX_WAIT));
        window.group_done();
        window.group_done();
        assert_eq!(window.gathers_until(1, until), None);
    }
}
