//! Simulated time and the handle that moves it.
//!
//! Advancing is a loop. Settle: wait until every tracked task is idle. Move time to the earliest waiter. Call the hooks.
//! Wake all that wait for that moment. Repeat. Settling is driven by events, with a watchdog on real time: a wait that
//! is not marked as idle causes an error with the task's name, not a spurious time-out.
//!
//! Guarantees: only one call moves time at once, never past a waiter, and only in an instant in which all tracked tasks
//! are idle.
//!
//! Not guaranteed: that it waits for the work of an untracked task after waking it. Do not settle or advance within a
//! tracked task or a hook: both would wait for themselves.

mod alarm;
mod state;
mod task;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use self::alarm::Alarm;
use self::state::{Request, State};
pub(super) use self::task::InFlight;
use self::task::{Tracked, Waiting};
use super::{DeadlineElapsed, RequestInFlight, whole_micros};

const WATCHDOG: Duration = Duration::from_secs(30);
/// The last moment to which simulated time can be moved, 9999-01-01. The partitions of the following days, and the
/// policy's longest durations after it, can still be represented.
pub const LAST_SIMULATED: Timestamp = Timestamp::constant(253_370_764_800, 0);

/// The handle on simulated time. Clones move the same time.
#[derive(Clone)]
pub struct SimClock(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    settled: Notify,
    advancing: tokio::sync::Mutex<()>,
    hooks: Mutex<Vec<Hook>>,
}

type Hook = Arc<dyn Fn(Timestamp) -> BoxFuture<'static, ()> + Send + Sync>;

/// Some tracked tasks did not become idle before the watchdog's time-out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("still busy after {waited:?}: {}", tasks.join(", "))]
pub struct Busy {
    /// The names of the busy tasks in the order of their start. A name occurs once per running task.
    pub tasks: Vec<&'static str>,
    /// The watchdog's time-out, in real time.
    pub waited: Duration,
}

/// Why simulated time did not reach its target. It stays at the moment that it reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdvanceError {
    /// The target is in the past.
    #[error("time cannot move backwards")]
    Backwards,
    /// The target is after [`LAST_SIMULATED`].
    #[error("the target is after {LAST_SIMULATED}, the last moment that simulated time can be moved to")]
    OutOfRange,
    /// A task stayed busy.
    #[error(transparent)]
    Busy(#[from] Busy),
}

impl SimClock {
    pub(super) fn new(start: Timestamp) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State::new(whole_micros(start), WATCHDOG)),
            settled: Notify::new(),
            advancing: tokio::sync::Mutex::new(()),
            hooks: Mutex::new(Vec::new()),
        }))
    }

    /// Waits until every tracked task is idle.
    ///
    /// # Errors
    ///
    /// [`Busy`] when that takes longer than the watchdog allows.
    pub async fn settle(&self) -> Result<(), Busy> {
        self.when_settled(|_| ()).await
    }

    /// Moves time by `by` and wakes each waiter at the moment it waits for. Zero only settles. Concurrent calls take
    /// turns. Returns the time reached, in whole microseconds.
    ///
    /// # Errors
    ///
    /// [`AdvanceError`]; nothing moves for a negative `by`.
    pub async fn advance(&self, by: SignedDuration) -> Result<Timestamp, AdvanceError> {
        let _turn = self.0.advancing.lock().await;
        let target = self.now().checked_add(by).map_err(|_| AdvanceError::OutOfRange)?;
        self.move_to(target).await
    }

    /// Like [`SimClock::advance`], to a moment.
    ///
    /// # Errors
    ///
    /// [`AdvanceError`]; nothing moves for a moment before now.
    pub async fn advance_to(&self, at: Timestamp) -> Result<Timestamp, AdvanceError> {
        let _turn = self.0.advancing.lock().await;
        self.move_to(at).await
    }

    /// Settles, moves time to the earliest waiter, if there is one, and settles again.
    ///
    /// # Errors
    ///
    /// [`AdvanceError::Busy`].
    pub async fn advance_to_next(&self) -> Result<Timestamp, AdvanceError> {
        let _turn = self.0.advancing.lock().await;
        let next = self.when_settled(|state| state.next_due_at()).await?;
        self.move_to(next.unwrap_or_else(|| self.now())).await
    }

    /// When the earliest waiter is due. The deadline of a busy task does not count, because its work may end earlier.
    pub fn next_due_at(&self) -> Option<Timestamp> {
        self.with(|state| state.next_due_at())
    }

    /// A receiver reports that it will not respond to the request of this name (as in [`RequestInFlight::name`]) before
    /// time moves. The report may come before or after the request is [in flight](super::Clock::external). It holds
    /// until the request ends or the receiver [resumes](Self::resume_request).
    pub fn stall_request(&self, name: &str) {
        self.with(|state| state.stall(name));
    }

    /// A receiver reports that it is about to respond to a request that it had stalled: time waits for the response
    /// again.
    ///
    /// Call it from a tracked task that slept on the clock. Otherwise time may move on before the call.
    pub fn resume_request(&self, name: &str) {
        self.with(|state| state.resume(name));
    }

    /// Nothing at `target` (host and port as in [`RequestInFlight::target`]) will respond.
    pub fn stall_target(&self, target: &str) {
        self.with(|state| state.stall_target(target));
    }

    /// Reverses a [`SimClock::stall_target`].
    pub fn resume_target(&self, target: &str) {
        self.with(|state| state.resume_target(target));
    }

    /// Reverses every [`SimClock::stall_target`].
    pub fn clear_stalled_targets(&self) {
        self.with(State::clear_stalled_targets);
    }

    /// Calls `hook` with the new time each time it moves, and waits for it before the waiters of that time are woken.
    /// Use it to store the time. Hooks are called in the order of registration, and stay as long as the clock.
    pub fn on_move(&self, hook: impl Fn(Timestamp) -> BoxFuture<'static, ()> + Send + Sync + 'static) {
        self.0
            .hooks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::new(hook));
    }

    /// How long, in real time, settling may take; 30 s unless set.
    pub fn set_watchdog(&self, patience: Duration) {
        self.with(|state| state.watchdog = patience);
    }

    /// The simulated time.
    pub fn now(&self) -> Timestamp {
        self.with(|state| state.now)
    }

    pub(super) fn spawn<F>(&self, name: &'static str, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        tokio::spawn(Tracked::new(self.clone(), name, future))
    }

    pub(super) async fn park<F: Future>(&self, future: F) -> F::Output {
        let _waiting = Waiting::new(self);
        future.await
    }

    pub(super) async fn sleep_until(&self, at: Timestamp) {
        self.park(Alarm::new(self.clone(), at, None)).await;
    }

    pub(super) async fn deadline<F: Future>(
        &self,
        at: Timestamp,
        future: F,
    ) -> Result<F::Output, DeadlineElapsed> {
        let mut alarm = pin!(Alarm::new(self.clone(), at, task::current(self)));
        let mut future = pin!(future);
        // The alarm is polled first: if the result was ready before `at`, it was taken before time moved (T2).
        poll_fn(|cx| match alarm.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(DeadlineElapsed)),
            Poll::Pending => future.as_mut().poll(cx).map(Ok),
        })
        .await
    }

    pub(super) fn external(&self, request: RequestInFlight) -> Option<InFlight> {
        InFlight::new(self, Request::new(request.name, request.target))
    }

    /// Every read and every change of the state. Inside, no task is woken and no waker dropped, because both may call
    /// this function again.
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        // Every change is complete, so a panic elsewhere leaves nothing half done.
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.is_settled();
        let result = change(&mut state);
        let settled = !before && state.is_settled();
        drop(state);
        if settled {
            self.0.settled.notify_waiters();
        }
        result
    }

    /// Does `act` in an instant in which everything is settled.
    async fn when_settled<T>(&self, act: impl FnOnce(&mut State) -> T) -> Result<T, Busy> {
        let mut act = Some(act);
        let acted = async {
            loop {
                let settled = self.0.settled.notified();
                let result = self.with(|state| {
                    if state.is_settled() {
                        act.take().map(|act| act(state))
                    } else {
                        None
                    }
                });
                match result {
                    Some(result) => return result,
                    None => settled.await,
                }
            }
        };
        let waited = self.with(|state| state.watchdog);
        let result = tokio::time::timeout(waited, acted).await;
        result.map_err(|_| Busy {
            tasks: self.with(|state| state.busy_tasks()),
            waited,
        })
    }

    async fn move_to(&self, target: Timestamp) -> Result<Timestamp, AdvanceError> {
        let target = whole_micros(target);
        if target < self.now() {
            return Err(AdvanceError::Backwards);
        }
        if target > LAST_SIMULATED {
            return Err(AdvanceError::OutOfRange);
        }
        while let Some(at) = self.when_settled(|state| state.step_towards(target)).await? {
            let _arrival = Arrival(self);
            let hooks = self
                .0
                .hooks
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            for hook in hooks {
                hook(at).await;
            }
        }
        Ok(self.now())
    }
}

/// Time has moved and its waiters must be woken. This happens on drop, so that if a caller gives up during a hook, no
/// task keeps sleeping for a time that has passed.
struct Arrival<'a>(&'a SimClock);

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        for waker in self.0.with(State::take_due) {
            waker.wake();
        }
        self.0.with(|state| state.arriving = false);
    }
}

impl fmt::Debug for SimClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (now, busy) = self.with(|state| (state.now, state.busy_tasks()));
        f.debug_struct("SimClock")
            .field("now", &now)
            .field("busy", &busy)
            .finish_non_exhaustive()
    }
}
