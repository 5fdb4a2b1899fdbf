//! Where the time of an attempt goes (D10).
//!
//! The resolver and the connector are the HTTP client's, not the attempt's, but the client polls them inside the
//! request's own future: a task-local tells them for which attempt they work. A connection that the pool finishes in
//! the background, after the attempt got another one, runs outside it and leaves no mark.
//!
//! Promises real, monotonic durations; where simulated time has moved during an attempt, the attempt as a whole, and the
//! phase in which it moved, took that time. Does not time a kept-alive connection: it cost the attempt nothing.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use tenterhook_clock::Clock;
use tenterhook_model::attempt::Timings;

tokio::task_local! {
    static ATTEMPT: Phases;
}

/// What an attempt waits for before its request can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Name resolution.
    Resolving,
    /// The connection with its TLS handshake; name resolution happens within.
    Connecting,
}

/// How far a phase got.
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

    /// The time the phase took, up to `now` if it has not ended.
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
    /// Whether this machine lacked means for a connection.
    lacked_means: bool,
}

/// The phases of one attempt. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Phases {
    clock: Clock,
    started: Instant,
    deadline: Timestamp,
    marks: Arc<Mutex<Marks>>,
}

impl Phases {
    /// An attempt that starts now and has until `deadline`.
    pub(super) fn new(clock: Clock, deadline: Timestamp) -> Self {
        let started = clock.monotonic();
        Self {
            clock,
            started,
            deadline,
            marks: Arc::default(),
        }
    }

    /// Runs the request; whatever it makes the resolver and the connector do is marked here.
    pub(super) async fn of<F: Future>(&self, request: F) -> F::Output {
        ATTEMPT.scope(self.clone(), request).await
    }

    /// The phase that the attempt is in; `None` once it has a connection.
    pub(super) fn current(&self) -> Option<Phase> {
        let marks = self.marks();
        match (marks.resolving, marks.connecting) {
            (Mark::Began(_), _) => Some(Phase::Resolving),
            (_, Mark::Began(_)) => Some(Phase::Connecting),
            _ => None,
        }
    }

    /// Whether this machine lacked means for one of its connections.
    pub(super) fn lacked_means(&self) -> bool {
        self.marks().lacked_means
    }

    /// The attempt's result is known now, and `answered` says whether it is one with headers: what the phases took, and
    /// how many microseconds it was in all. `simulated` is the simulated time that has passed since the attempt began.
    pub(super) fn end(&self, answered: bool, simulated: Option<Duration>) -> (Timings, i32) {
        let now = match simulated {
            Some(passed) if !passed.is_zero() => self.started + passed,
            _ => self.clock.monotonic(),
        };
        let all_us = micros(now.saturating_duration_since(self.started));
        let first_byte_us = answered.then_some(all_us);
        let Marks {
            resolving,
            connecting,
            ..
        } = *self.marks();
        if answered && !matches!(connecting, Mark::Done(..)) {
            // Another attempt's connection became free, perhaps while this one was still connecting.
            return (
                Timings {
                    first_byte_us,
                    ..Timings::default()
                },
                all_us,
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
                dns_us: dns.map(micros),
                connect_us: connect.map(micros),
                first_byte_us,
            },
            all_us,
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

/// Does `work` as the given phase of the attempt it is done for, if it is done for one.
pub(super) async fn measured<T, E>(phase: Phase, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    // A second connection for the same attempt (D5: the first was found closed) replaces the marks of the first.
    let _ = ATTEMPT.try_with(|attempt| attempt.mark(phase, |mark, now| *mark = Mark::Began(now)));
    let result = work.await;
    let _ = ATTEMPT.try_with(|attempt| attempt.mark(phase, |mark, now| mark.end(now, result.is_ok())));
    result
}

/// Says that this machine lacks means for a connection of the attempt that is at work.
pub(super) fn lack_means() {
    let _ = ATTEMPT.try_with(|attempt| attempt.marks().lacked_means = true);
}

/// What the attempt that is at work has left of its time; `None` outside one.
pub(super) fn time_left() -> Option<Duration> {
    let left = ATTEMPT.try_with(|attempt| attempt.deadline.duration_since(attempt.clock.now()));
    left.ok().map(|left| Duration::try_from(left).unwrap_or_default())
}

/// Whole microseconds; anything over 35 minutes is as long as 35 minutes.
fn micros(duration: Duration) -> i32 {
    i32::try_from(duration.as_micros()).unwrap_or(i32::MAX)
}
