//! Time limits between processes, all in proportion to the lease.
//!
//! All processes of a database must use the same lease, because each relies on the others' limits.

use std::time::Duration;

use jiff::SignedDuration;

/// The times that follow from the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTimings {
    lease: Duration,
}

impl LeaseTimings {
    /// The limits for this lease.
    pub fn of(lease: Duration) -> Self {
        Self { lease }
    }

    /// Duration of a lease: the attempt's time-out, the longest wait in memory and the settlement, with a reserve. When
    /// a lease is extended, half of it is left.
    pub fn lease(self) -> SignedDuration {
        signed(self.lease)
    }

    /// The time that must be left of a lease, beyond the attempt's time-out, for an attempt to start: its result must be
    /// settled before another process may take the delivery.
    pub fn margin(self) -> SignedDuration {
        signed(self.lease / 6)
    }

    /// After this time without a heartbeat a process counts as dead, and other processes take its deliveries.
    pub fn dead_after(self) -> Duration {
        self.lease / 6
    }

    /// How often a process writes a heartbeat, in real time.
    pub fn heartbeat(self) -> Duration {
        self.lease / 18
    }

    /// A process whose last read of the feed is older starts no attempt.
    pub fn stale(self) -> Duration {
        self.lease / 18
    }

    /// After this time a process that has not responded has stopped starting attempts: [`stale`](Self::stale), and one
    /// second of tolerance for the clocks.
    pub fn propagation_limit(self) -> Duration {
        self.stale() + Duration::from_secs(1)
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use tenterhook_settings::Settings;

    use super::*;

    #[test]
    fn the_default_timings_match_the_design() {
        let tempo = LeaseTimings::of(Settings::default().lease);
        assert_eq!(tempo.lease(), SignedDuration::from_secs(90));
        assert_eq!(tempo.margin(), SignedDuration::from_secs(15));
        let seconds = [
            tempo.dead_after(),
            tempo.heartbeat(),
            tempo.stale(),
            tempo.propagation_limit(),
        ]
        .map(|time| time.as_secs());
        assert_eq!(seconds, [15, 5, 5, 6]);
    }
}
