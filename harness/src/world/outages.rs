//! The interruptions that a world has caused, so that a count of what was exercised can name them.

use jiff::Timestamp;

use super::World;

/// What was done to servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutageKind {
    /// They were killed.
    Crash,
    /// One was stopped as SIGTERM does.
    Stop,
}

/// An interruption of one or all servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// What was done.
    pub kind: OutageKind,
    /// The time on the world's clock.
    pub at: Timestamp,
    /// Number of webhooks that the world's callers had created. Time may stand still, so it does not tell.
    pub webhooks: usize,
}

impl World {
    /// The interruptions so far, in order.
    pub fn outages(&self) -> &[Outage] {
        &self.outages
    }

    pub(super) fn note_outage(&mut self, kind: OutageKind) {
        let outage = Outage {
            kind,
            at: self.now(),
            webhooks: self.log.made().len(),
        };
        self.outages.push(outage);
    }
}
