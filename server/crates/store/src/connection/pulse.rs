//! Whether the database answers and accepts changes, over all connections to it.
//!
//! Guarantees: one warning when it stops answering or refuses changes, and one log line when that is over, however many
//! statements wait or fail in between.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Protection;
use tenterhook_clock as clock;

/// Shared by all connections to one database.
#[derive(Default)]
pub struct Pulse {
    /// Whether there is a silence to end when a statement is answered. Read without taking the lock.
    silent: AtomicBool,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// The start of the first statement that was not answered; none while the database answers.
    since: Option<Instant>,
    /// The start of the last one. Connections that have received nothing since then perhaps do not answer either.
    last: Option<Instant>,
    /// The number of connections given up since then.
    given_up: u64,
    /// The last protection that was logged.
    protection: Option<Protection>,
    /// A change was refused because the database is read-only, and none has been accepted since.
    refuses: bool,
    /// Whether a session was read-only when this was last checked.
    found_read_only: bool,
}

impl Kept {
    fn is_read_only(&self) -> bool {
        self.refuses || self.found_read_only
    }
}

impl Pulse {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that a statement or an attempt to connect, started at `began`, was not answered within `limit`.
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
                "the database does not respond: a connection was silent for too long and was closed; connections that have \
                 received nothing since then are replaced"
            );
        }
    }

    /// Like [`fell_silent`](Self::fell_silent), for an attempt to connect.
    pub(crate) fn cannot_connect(&self, began: Instant, limit: Duration) {
        self.fell_silent(began, limit);
    }

    /// Records that a statement which started at `began` was answered.
    pub(super) fn answered(&self, began: Instant) {
        if !self.silent.load(Ordering::Acquire) {
            return;
        }
        let told = {
            let mut kept = self.kept();
            // A statement that began before an unanswered one does not show that the database answers again.
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
                "the database responds again"
            );
        }
    }

    /// Whether a connection that last received bytes at `heard` may have stopped answering, because another has since then.
    pub(super) fn suspects(&self, heard: Instant) -> bool {
        self.kept().last.is_some_and(|last| heard < last)
    }

    /// For how long the database has not answered; `None` if it answers.
    pub fn silence(&self) -> Option<Duration> {
        let since = self.kept().since?;
        Some(clock::monotonic().duration_since(since))
    }

    /// Records that a change was refused because the database is read-only.
    pub(crate) fn refuses_changes(&self) {
        self.note_read_only(|kept| kept.refuses = true);
    }

    /// Records that the database has accepted a change.
    pub(crate) fn takes_changes(&self) {
        self.note_read_only(|kept| kept.refuses = false);
    }

    /// Records whether a session is read-only.
    pub(crate) fn found_read_only(&self, is_read_only: bool) {
        self.note_read_only(|kept| kept.found_read_only = is_read_only);
    }

    fn note_read_only(&self, note: impl FnOnce(&mut Kept)) {
        let (was, is) = {
            let mut kept = self.kept();
            let was = kept.is_read_only();
            note(&mut kept);
            (was, kept.is_read_only())
        };
        match (was, is) {
            (false, true) => tracing::warn!(
                "the database is read-only: it refuses changes (SQLSTATE 25006), so no event is accepted and none is delivered"
            ),
            (true, false) => tracing::info!("the database accepts changes again"),
            _ => {}
        }
    }

    /// Whether the database refused a change, and has accepted none since.
    pub fn refused_changes(&self) -> bool {
        self.kept().refuses
    }

    /// Logs how connections are protected: for the first one, and when it changes.
    pub(crate) fn protected(&self, protection: &Protection) {
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
