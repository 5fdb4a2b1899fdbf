//! What the callers of a world made and saw, so that its story can be told afterwards.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::{Health, Webhook};
use crate::timekeeper::Time;

/// The log that all callers of a world share. Clones are the same log.
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

/// A caller looked at a webhook's health.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// When, on the world's clock.
    pub at: Timestamp,
    /// The webhook's global id.
    pub webhook: String,
    /// What it saw.
    pub health: Health,
}

impl CallLog {
    /// An empty log that dates by `time`.
    pub fn new(time: Time) -> Self {
        Self(Arc::new(Inner {
            time,
            entries: Mutex::default(),
        }))
    }

    /// Every webhook that was created, in order, as it was then.
    pub fn made(&self) -> Vec<Webhook> {
        self.lock().made.clone()
    }

    /// Every look at a webhook's health, in order.
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
