//! The memory of a process as the kernel counts it. Only on Linux: other systems have no `/proc`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use tenterhook_harness::realtime;

use crate::system::{self, Resident};

/// Time between two measurements.
const EVERY: Duration = Duration::from_millis(200);
const MIB: f64 = 1_048_576.0;

/// Measures a process's resident memory until it is dropped.
pub struct MemoryWatch {
    process: u32,
    /// The highest value in bytes since the last [`MemoryWatch::lap`].
    most: Arc<AtomicU64>,
    looking: JoinHandle<()>,
}

impl MemoryWatch {
    /// Starts to measure.
    pub fn start(process: u32) -> Self {
        let most = Arc::<AtomicU64>::default();
        let noted = Arc::clone(&most);
        let looking = realtime::spawn(async move {
            // Ends with the process.
            while let Ok(now) = system::memory(process, Resident::Now) {
                noted.fetch_max(now, Ordering::Relaxed);
                realtime::pause(EVERY).await;
            }
        });
        Self {
            process,
            most,
            looking,
        }
    }

    /// The highest measured value since the last call, in MiB.
    pub fn lap(&self) -> f64 {
        self.most.swap(0, Ordering::Relaxed) as f64 / MIB
    }

    /// The highest value since the process started, in MiB, as the kernel counts it.
    ///
    /// # Errors
    ///
    /// If the process has ended, or this is not Linux.
    pub fn peak(&self) -> anyhow::Result<f64> {
        Ok(system::memory(self.process, Resident::Peak)? as f64 / MIB)
    }
}

impl Drop for MemoryWatch {
    fn drop(&mut self) {
        self.looking.abort();
    }
}
