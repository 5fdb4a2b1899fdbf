//! Whether there are new rows of delivery counters to fold.

use std::sync::atomic::{AtomicBool, Ordering};

/// Notes transactions that appended counters. Maintenance folds them only if there were any.
#[derive(Debug, Default)]
pub(crate) struct CounterActivity(AtomicBool);

impl CounterActivity {
    /// Notes such a transaction.
    pub fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether there was one since the last call.
    pub fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}
