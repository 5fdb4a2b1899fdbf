//! How recent this process's knowledge is: when it last read the changes feed, how far, and its last heartbeat.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, watch};

use crate::cluster::timings::LeaseTimings;
use tenterhook_clock::Clock;
use tenterhook_store::changes::Snapshot;

/// How far this process has read the feed.
pub(crate) struct Freshness {
    /// Start of the last successful read.
    read_at: Mutex<Instant>,
    /// Start of the last successful heartbeat.
    beat_at: Mutex<Instant>,
    current: Notify,
    wanted: Notify,
    seen: watch::Sender<Snapshot>,
    timings: LeaseTimings,
    clock: Clock,
}

impl Freshness {
    /// Reads from this snapshot on.
    pub fn new(clock: Clock, from: Snapshot, timings: LeaseTimings) -> Self {
        let now = clock.monotonic();
        Self {
            read_at: Mutex::new(now),
            beat_at: Mutex::new(now),
            current: Notify::new(),
            wanted: Notify::new(),
            seen: watch::Sender::new(from),
            timings,
            clock,
        }
    }

    /// The snapshot of the last read.
    pub fn snapshot(&self) -> Snapshot {
        self.seen.borrow().clone()
    }

    /// Whether this process's knowledge is recent enough to act on, and other processes still count it as live.
    pub fn is_current(&self) -> bool {
        let now = self.clock.monotonic();
        let age =
            |at: &Mutex<Instant>| now.duration_since(*at.lock().unwrap_or_else(PoisonError::into_inner));
        age(&self.read_at) < self.timings.stale()
            && age(&self.beat_at) < self.timings.dead_after() - self.timings.stale()
    }

    /// Waits until [`is_current`](Self::is_current) holds.
    pub async fn until_current(&self) {
        loop {
            let current = self.current.notified();
            if self.is_current() {
                return;
            }
            current.await;
        }
    }

    /// Notes a successful heartbeat that began at this time.
    pub fn note_beat(&self, began: Instant) {
        *self.beat_at.lock().unwrap_or_else(PoisonError::into_inner) = began;
        self.current.notify_waiters();
    }

    /// Notes that a read that began at this time is done with all that follows from it.
    pub fn note_read(&self, began: Instant) {
        *self.read_at.lock().unwrap_or_else(PoisonError::into_inner) = began;
        self.current.notify_waiters();
    }

    /// Notes how far a read came. Until then nobody is told that this process knows the changes.
    pub fn note_snapshot(&self, snapshot: Snapshot) {
        self.seen.send_replace(snapshot);
    }

    /// Asks for a read now, and returns a receiver of the snapshots that are read from now on.
    pub fn ask_for_read(&self) -> watch::Receiver<Snapshot> {
        let seen = self.seen.subscribe();
        self.wanted.notify_one();
        seen
    }

    /// Waits until a read is asked for.
    pub async fn read_wanted(&self) {
        self.wanted.notified().await;
    }
}
