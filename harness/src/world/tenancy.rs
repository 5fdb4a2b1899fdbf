//! The company ids and app names of a world, so that worlds on one server do not meet.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::realtime;

/// Number of company ids that each world has.
const COMPANIES: u64 = 100;
/// First company id of worlds on a shared server: above ids that people choose by hand, below 2^53.
const FIRST: u64 = 1_000_000_000_000;
/// Number of different id ranges, from which each world takes one.
const WORLDS: u64 = 1_000_000_000;

/// The range of company ids and the app names that belong to one world.
#[derive(Debug, Clone)]
pub struct IdRange {
    first: u64,
}

impl IdRange {
    /// All ids, for a world with its own database.
    pub(super) fn whole() -> Self {
        Self { first: 0 }
    }

    /// A range that no other world has. It depends on the time of day, because the server still has data of earlier
    /// runs.
    pub(super) fn part() -> Self {
        static WORLD: AtomicU64 = AtomicU64::new(0);
        let millis = u64::try_from(realtime::now().as_millisecond()).unwrap_or(0);
        let world = (millis + WORLD.fetch_add(1, Ordering::Relaxed)) % WORLDS;
        Self {
            first: FIRST + world * COMPANIES,
        }
    }

    pub(super) fn company(&self, number: u64) -> u64 {
        self.first + number
    }

    pub(super) fn app(&self, id: &str) -> String {
        match self.first {
            0 => id.to_owned(),
            first => format!("{id}-{first}"),
        }
    }
}
