//! Whether the database answers, over all connections to it.
//!
//! Promises one warning when it falls silent and one line when it answers again, however many statements wait meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Protection;
use crate::clock;

/// Shared by all connections to one database.
#[derive(Default)]
pub struct Pulse {
    /// Whether there is anything to tell when something answers.
    silent: AtomicBool,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// When the first statement began that was not answered; none while the database answers.
    since: Option<Instant>,
    /// When the last one began. Connections that have received nothing since may not answer either.
    last: Option<Instant>,
    /// Connections given up since.
    given_up: u64,
    /// The protection that was logged last.
    protection: Option<Protection>,
}

impl Pulse {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A statement that began then, or an attempt to connect, was not answered within `limit`.
    pub(super) fn fell_silent(&self, began: Instant, limit: Duration) {
        let first = {
            let mut kept = self.kept();
            kept.last = kept.last.max(Some(began));
            kept.given_up += 1;
            let first = kept.since.is_none();
            kept.since = Some(kept.since.map_or(began, |since| since.min(began)));
            first
        };
        self.silent.store(true, Ordering::Release);
        if first {
            tracing::warn!(
                within = ?limit,
                "the database does not answer: a connection was silent for too long and was given up; those that have \
                 received nothing since are replaced"
            );
        }
    }

    /// As [`fell_silent`](Self::fell_silent), of an attempt to connect.
    pub(in crate::store) fn cannot_connect(&self, began: Instant, limit: Duration) {
        self.fell_silent(began, limit);
    }

    /// A statement that began then was answered.
    pub(super) fn answered(&self, began: Instant) {
        if !self.silent.load(Ordering::Acquire) {
            return;
        }
        let told = {
            let mut kept = self.kept();
            // A statement that began before one that was not answered does not show that the database answers again.
            if kept.last.is_some_and(|last| began <= last) {
                return;
            }
            let since = kept.since.take();
            self.silent.store(false, Ordering::Release);
            since.map(|since| (since, std::mem::take(&mut kept.given_up)))
        };
        if let Some((since, connections)) = told {
            tracing::warn!(
                after = ?clock::monotonic().duration_since(since),
                connections,
                "the database answers again"
            );
        }
    }

    /// Whether a connection that last received something at that moment may have stopped answering, as another has since.
    pub(super) fn suspects(&self, heard: Instant) -> bool {
        self.kept().last.is_some_and(|last| heard < last)
    }

    /// For how long it has not answered, if it does not.
    pub fn silence(&self) -> Option<Duration> {
        let since = self.kept().since?;
        Some(clock::monotonic().duration_since(since))
    }

    /// Logs how connections are protected: for the first one, and when it changes.
    pub(in crate::store) fn protected(&self, protection: &Protection) {
        let changed = {
            let mut kept = self.kept();
            let changed = kept.protection.as_ref() != Some(protection);
            kept.protection = Some(protection.clone());
            changed
        };
        if changed {
            tracing::info!("the connection to the database is {protection}");
        }
    }
}
