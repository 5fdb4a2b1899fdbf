//! Measures the phases of a request (D10).
//!
//! The resolver and the connector belong to the HTTP client, not to the request. But the client polls them inside the
//! request's own future, so a task-local value tells them which request they work for. If the pool finishes a connection
//! in the background after the request got another one, it is not measured.
//!
//! Durations are real and monotonic. If simulated time moves during a request, the request as a whole and the phase in
//! which it moved have that duration. A kept-alive connection is not measured, because it cost the request no time.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::outcome::Timings;
use tenterhook_clock::Clock;

tokio::task_local! {
    static REQUEST: Phases;
}

/// What a request waits for before its request can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Resolving,
    /// The connection with its TLS handshake. Name resolution is a part of it.
    Connecting,
}

/// The progress of a phase.
#[derive(Debug, Clone, Copy, Default)]
enum Mark {
    #[default]
    Untouched,
    Began(Instant),
    Done(Instant, Instant),
    Failed(Instant, Instant),
}

impl Mark {
    fn end(&mut self, at: Instant, well: bool) {
        if let Self::Began(from) = *self {
            *self = if well {
                Self::Done(from, at)
            } else {
                Self::Failed(from, at)
            };
        }
    }

    /// The duration of the phase, up to `now` if it has not ended.
    fn took(self, now: Instant) -> Option<Duration> {
        match self {
            Self::Untouched => None,
            Self::Began(from) => Some(now.saturating_duration_since(from)),
            Self::Done(from, until) | Self::Failed(from, until) => Some(until - from),
        }
    }
}

#[derive(Debug, Default)]
struct Marks {
    resolving: Mark,
    connecting: Mark,
    /// Whether this machine had no descriptor or memory left for a connection.
    exhausted: bool,
}

/// The phases of one request. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Phases {
    clock: Clock,
    started: Instant,
    deadline: Timestamp,
    marks: Arc<Mutex<Marks>>,
}

impl Phases {
    /// For a request that starts now and has until `deadline`.
    pub(crate) fn new(clock: Clock, deadline: Timestamp) -> Self {
        let started = clock.monotonic();
        Self {
            clock,
            started,
            deadline,
            marks: Arc::default(),
        }
    }

    /// Runs the request. The resolver's and connector's work for it is measured here.
    pub(crate) async fn of<F: Future>(&self, request: F) -> F::Output {
        REQUEST.scope(self.clone(), request).await
    }

    /// The current phase; `None` once the request has a connection.
    pub(crate) fn current(&self) -> Option<Phase> {
        let marks = self.marks();
        match (marks.resolving, marks.connecting) {
            (Mark::Began(_), _) => Some(Phase::Resolving),
            (_, Mark::Began(_)) => Some(Phase::Connecting),
            _ => None,
        }
    }

    /// Whether this machine had no descriptor or memory left for one of its connections.
    pub(crate) fn exhausted(&self) -> bool {
        self.marks().exhausted
    }

    /// Called when the request's result is known; `answered` says whether there are response headers. Returns the
    /// durations of the phases, and the duration of the request. `simulated` is the simulated time since its start.
    pub(crate) fn end(&self, answered: bool, simulated: Option<Duration>) -> (Timings, Duration) {
        let now = match simulated {
            Some(passed) if !passed.is_zero() => self.started + passed,
            _ => self.clock.monotonic(),
        };
        let all = now.saturating_duration_since(self.started);
        let first_byte = answered.then_some(all);
        let Marks {
            resolving,
            connecting,
            ..
        } = *self.marks();
        if answered && !matches!(connecting, Mark::Done(..)) {
            // The request got another request's free connection, perhaps while its own was still being made.
            return (
                Timings {
                    first_byte,
                    ..Timings::default()
                },
                all,
            );
        }
        let dns = resolving.took(now);
        let connect = match resolving {
            Mark::Began(_) | Mark::Failed(..) => None,
            Mark::Untouched | Mark::Done(..) => connecting
                .took(now)
                .map(|all| all.saturating_sub(dns.unwrap_or_default())),
        };
        (
            Timings {
                dns,
                connect,
                first_byte,
            },
            all,
        )
    }

    fn mark(&self, phase: Phase, set: impl FnOnce(&mut Mark, Instant)) {
        let now = self.clock.monotonic();
        let mut marks = self.marks();
        match phase {
            Phase::Resolving => set(&mut marks.resolving, now),
            Phase::Connecting => set(&mut marks.connecting, now),
        }
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does `work` and measures it as `phase` of the current request, if there is one.
pub(crate) async fn measured<T, E>(phase: Phase, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    // A second connection for the same request (D5: the first was found closed) replaces the times of the first.
    let _ = REQUEST.try_with(|request| request.mark(phase, |mark, now| *mark = Mark::Began(now)));
    let result = work.await;
    let _ = REQUEST.try_with(|request| request.mark(phase, |mark, now| mark.end(now, result.is_ok())));
    result
}

/// Notes for the current request that this machine has no descriptor or memory left for a connection.
pub(crate) fn note_exhaustion() {
    let _ = REQUEST.try_with(|request| request.marks().exhausted = true);
}

/// The time that the current request has left; `None` outside a request.
pub(crate) fn time_left() -> Option<Duration> {
    let left = REQUEST.try_with(|request| request.deadline.duration_since(request.clock.now()));
    left.ok().map(|left| Duration::try_from(left).unwrap_or_default())
}
