//! What is known of receivers' pace, and how many deliveries are held for receivers that are not proven.
//!
//! Slow and unknown receivers have separate shares of memory. The queue decides whose turn it is.

use super::{MAX_HELD, MAX_UNPROVEN_HELD};

/// What is known of a receiver's pace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has not been called, or not recently.
    Unknown,
    /// It timed out, or took [`SLOW`](super::SLOW) or longer.
    Slow,
    /// It responded or failed in less time.
    Proven,
}

/// Which ring a webhook waits in. `First` is served before `Later`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rank {
    Proven,
    /// Unknown, with nothing in flight.
    First,
    /// Unknown with requests in flight, or slow.
    Later,
}

/// Deliveries held for unknown and for slow webhooks.
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
