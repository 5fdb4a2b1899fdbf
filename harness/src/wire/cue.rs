//! A cue: answers that wait until a test lets them go.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::timekeeper::{AttemptName, Time};

/// Lets answers wait for a test. Time may move while they do.
#[derive(Clone, Default)]
pub struct Cue(Arc<CueState>);

#[derive(Default)]
struct CueState {
    given: watch::Sender<bool>,
    waiting: Mutex<Vec<(Time, AttemptName)>>,
}

impl Cue {
    /// Lets every waiting and later answer go. Time stands until they have arrived.
    pub fn give(&self) {
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for (time, attempt) in waiting.drain(..) {
            time.resume(&attempt);
        }
        self.0.given.send_replace(true);
    }

    pub(super) async fn wait(&self, time: &Time, attempt: AttemptName) {
        {
            let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if *self.0.given.borrow() {
                return;
            }
            time.stall(&attempt);
            waiting.push((Arc::clone(time), attempt));
        }
        // An error means that the cue is gone, and with it whoever could have given it.
        let _ = self.0.given.subscribe().wait_for(|given| *given).await;
    }
}

impl std::fmt::Debug for Cue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cue(given: {})", *self.0.given.borrow())
    }
}
