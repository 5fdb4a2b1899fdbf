//! Records what the callers of a world created and saw, so that timelines can be drawn afterwards.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::{Health, Webhook};
use crate::timekeeper::Time;

/// The log of all callers of a world. Clones share their contents.
#[derive(Clone)]
pub struct CallLog(Arc<Inner>);

struct Inner {
    time: Time,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    made: Vec<Webhook>,
    looks: Vec<Look>,
}

/// A read of a webhook's health.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// The time on the world's clock.
    pub at: Timestamp,
    /// The webhook's global id.
    pub webhook: String,
    /// The health that the server returned.
    pub health: Health,
}

impl CallLog {
    /// An empty log that takes times from `time`.
    pub fn new(time: Time) -> Self {
        Self(Arc::new(Inner {
            time,
            entries: Mutex::default(),
        }))
    }

    /// Every created webhook as it was then, in order.
    pub fn made(&self) -> Vec<Webhook> {
        self.lock().made.clone()
    }

    /// Every read of a webhook's health, in order.
    pub fn looks(&self) -> Vec<Look> {
        self.lock().looks.clone()
    }

    pub(super) fn note_made(&self, webhook: &Webhook) {
        self.lock().made.push(webhook.clone());
    }

    pub(super) fn note_look(&self, webhook: &str, health: &Health) {
        let look = Look {
            at: self.0.time.now(),
            webhook: webhook.to_owned(),
            health: health.clone(),
        };
        self.lock().looks.push(look);
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
