//! What is known of receivers' pace, and how much is held for those that have not proved theirs.
//!
//! Promises that slow and unknown receivers have shares of their own in memory. Whose turn it is, is the queue's.

use super::{MAX_HELD, MAX_UNPROVEN_HELD};

/// What is known of a receiver's pace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has not been called, or too long ago.
    Unknown,
    /// It timed out, or took longer than [`SLOW`](super::SLOW).
    Slow,
    /// It answered in time, or failed so.
    Proven,
}

/// Which ring a webhook waits in, in the order in which the unproven ones are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rank {
    /// Proven.
    Proven,
    /// Unknown, with nothing on the wire.
    First,
    /// Unknown with something on the wire, or slow.
    Later,
}

/// How much is held for webhooks of each standing that is not proven.
#[derive(Debug, Default)]
pub(super) struct UnprovenHeld {
    pub(super) unknown: usize,
    pub(super) slow: usize,
}

impl UnprovenHeld {
    fn of(&mut self, standing: Standing) -> Option<&mut usize> {
        match standing {
            Standing::Unknown => Some(&mut self.unknown),
            Standing::Slow => Some(&mut self.slow),
            Standing::Proven => None,
        }
    }

    pub(super) fn add(&mut self, standing: Standing, deliveries: usize) {
        if let Some(held) = self.of(standing) {
            *held += deliveries;
        }
    }

    pub(super) fn remove(&mut self, standing: Standing, deliveries: usize) {
        if let Some(held) = self.of(standing) {
            *held = held.saturating_sub(deliveries);
        }
    }

    /// How many more may be claimed for webhooks of this standing.
    pub(super) fn room(&self, standing: Standing) -> usize {
        match standing {
            Standing::Unknown => MAX_UNPROVEN_HELD.saturating_sub(self.unknown),
            Standing::Slow => MAX_UNPROVEN_HELD.saturating_sub(self.slow),
            Standing::Proven => MAX_HELD,
        }
    }
}
