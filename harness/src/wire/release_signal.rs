//! A signal: responses wait until a test releases them.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::timekeeper::{AttemptName, Time};

/// Holds responses back until the test releases them. Meanwhile time may move.
#[derive(Clone, Default)]
pub struct ReleaseSignal(Arc<SignalState>);

#[derive(Default)]
struct SignalState {
    released: watch::Sender<bool>,
    waiting: Mutex<Vec<(Time, AttemptName)>>,
}

impl ReleaseSignal {
    /// Releases all waiting and later responses. Time stands still until they have arrived.
    pub fn release(&self) {
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for (time, attempt) in waiting.drain(..) {
            time.resume(&attempt);
        }
        self.0.released.send_replace(true);
    }

    pub(super) async fn wait(&self, time: &Time, attempt: AttemptName) {
        {
            let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if *self.0.released.borrow() {
                return;
            }
            time.stall(&attempt);
            waiting.push((Arc::clone(time), attempt));
        }
        // An error means that the signal was dropped, so that nothing can release it any more.
        let _ = self.0.released.subscribe().wait_for(|released| *released).await;
    }
}

impl std::fmt::Debug for ReleaseSignal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ReleaseSignal(released: {})", *self.0.released.borrow())
    }
}
