//! How long processes rely on each other's word: everything in proportion to the lease.
//!
//! All processes of a database must have the same, since each acts on what it may assume of the others.

use std::time::Duration;

use jiff::SignedDuration;

/// The times that follow from the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tempo {
    lease: Duration,
}

impl Tempo {
    /// Of this lease.
    pub fn of(lease: Duration) -> Self {
        Self { lease }
    }

    /// How long a delivery is one process's: the attempt's time-out, the longest wait in memory and a settle, with room
    /// to spare. Half of it is left when it is extended.
    pub fn lease(self) -> SignedDuration {
        signed(self.lease)
    }

    /// What must be left of a lease, beyond the attempt's time-out, for an attempt to start: its result has to be
    /// settled before the delivery becomes somebody else's.
    pub fn margin(self) -> SignedDuration {
        signed(self.lease / 6)
    }

    /// A process that has said nothing for so long is dead, and others take what it held.
    pub fn lapse(self) -> Duration {
        self.lease / 6
    }

    /// How often to say that we live, in real time.
    pub fn heartbeat(self) -> Duration {
        self.lease / 18
    }

    /// A process whose last read of the feed is older starts nothing.
    pub fn stale(self) -> Duration {
        self.lease / 18
    }

    /// After this a process that has not answered has stopped by itself: [`stale`](Self::stale) and a second for the
    /// clock's sake.
    pub fn silent(self) -> Duration {
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
    fn the_default_is_what_the_design_says() {
        let tempo = Tempo::of(Settings::default().lease);
        assert_eq!(tempo.lease(), SignedDuration::from_secs(90));
        assert_eq!(tempo.margin(), SignedDuration::from_secs(15));
        let seconds =
            [tempo.lapse(), tempo.heartbeat(), tempo.stale(), tempo.silent()].map(|time| time.as_secs());
        assert_eq!(seconds, [15, 5, 5, 6]);
    }
}
