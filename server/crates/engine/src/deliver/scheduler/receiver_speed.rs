//! What is known of receivers' speed, and how many deliveries are held for receivers that are not known to be fast.
//!
//! Slow and unknown receivers have separate shares of memory. The scheduler decides whose turn it is.

use super::{MAX_HELD, MAX_UNPROVEN_HELD};

/// What is known of a receiver's speed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speed {
    /// It has not been called, or not recently.
    Unknown,
    /// It timed out, or took [`SLOW`](super::SLOW) or longer.
    Slow,
    /// It responded or failed in less time.
    Fast,
}

/// Which round-robin list a webhook waits in. `Untried` is served before `Slow`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tier {
    Fast,
    /// Unknown, with nothing in flight.
    Untried,
    /// Unknown with requests in flight, or slow.
    Slow,
}

/// Deliveries held for unknown and for slow webhooks.
#[derive(Debug, Default)]
pub(super) struct UnprovenHeld {
    pub(super) unknown: usize,
    pub(super) slow: usize,
}

impl UnprovenHeld {
    fn of(&mut self, speed: Speed) -> Option<&mut usize> {
        match speed {
            Speed::Unknown => Some(&mut self.unknown),
            Speed::Slow => Some(&mut self.slow),
            Speed::Fast => None,
        }
    }

    pub(super) fn add(&mut self, speed: Speed, deliveries: usize) {
        if let Some(held) = self.of(speed) {
            *held += deliveries;
        }
    }

    pub(super) fn remove(&mut self, speed: Speed, deliveries: usize) {
        if let Some(held) = self.of(speed) {
            *held = held.saturating_sub(deliveries);
        }
    }

    /// How many more may be claimed for webhooks of this speed.
    pub(super) fn room(&self, speed: Speed) -> usize {
        match speed {
            Speed::Unknown => MAX_UNPROVEN_HELD.saturating_sub(self.unknown),
            Speed::Slow => MAX_UNPROVEN_HELD.saturating_sub(self.slow),
            Speed::Fast => MAX_HELD,
        }
    }
}
