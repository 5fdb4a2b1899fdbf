//! A task that simulated time waits for.
//!
//! A task counts from the call that starts it until the tasks that join it are woken. Every wake, from any source, makes
//! it busy before the runtime is notified. It is not known what a task awaits: it is busy unless it reports that it
//! waits.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use super::SimClock;
use super::state::{Request, TaskId};

tokio::task_local! {
    static CURRENT: Arc<TaskWaker>;
}

/// The task being polled on this thread, if `clock` tracks it.
pub(super) fn current(clock: &SimClock) -> Option<TaskId> {
    let id = |task: &Arc<TaskWaker>| Arc::ptr_eq(&task.clock.0, &clock.0).then_some(task.id);
    CURRENT.try_with(id).ok().flatten()
}

/// The future of a tracked task.
pub(super) struct Tracked<F> {
    future: Pin<Box<F>>,
    waker: Option<Arc<TaskWaker>>,
    // The last field, so that the task counts until everything it owns is dropped.
    registration: Registration,
}

impl<F> Tracked<F> {
    pub(super) fn new(clock: SimClock, name: &'static str, future: F) -> Self {
        let id = clock.with(|state| state.register(name));
        Self {
            future: Box::pin(future),
            waker: None,
            registration: Registration { clock, id },
        }
    }
}

impl<F: Future> Future for Tracked<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        let Registration { clock, id } = &this.registration;
        let known = this
            .waker
            .take()
            .filter(|waker| waker.runtime.will_wake(cx.waker()));
        let waker = known.unwrap_or_else(|| {
            Arc::new(TaskWaker {
                clock: clock.clone(),
                id: *id,
                runtime: cx.waker().clone(),
            })
        });
        this.waker = Some(Arc::clone(&waker));

        clock.with(|state| {
            state.change(*id, |task| {
                task.polling = true;
                task.woken = false;
            });
        });
        let as_waker = Waker::from(Arc::clone(&waker));
        let mut inner = Context::from_waker(&as_waker);
        let poll = CURRENT.sync_scope(Arc::clone(&waker), || this.future.as_mut().poll(&mut inner));
        if poll.is_pending() {
            // Tokio wakes a task that has used up its budget, but only later. Until then it would look idle although it
            // has work.
            if !tokio::task::coop::has_budget_remaining() {
                waker.wake_by_ref();
            }
            clock.with(|state| state.change(*id, |task| task.polling = false));
        }
        poll
    }
}

struct TaskWaker {
    clock: SimClock,
    id: TaskId,
    runtime: Waker,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.clock
            .with(|state| state.change(self.id, |task| task.woken = true));
        self.runtime.wake_by_ref();
    }
}

/// The registration of a tracked task.
struct Registration {
    clock: SimClock,
    id: TaskId,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.clock
            .with(|state| state.change(self.id, |task| task.polling = true));
        // The runtime first drops a task's future and then wakes the tasks that join it. In between no task would be
        // busy and time could move. So the task is deregistered after the runtime has ended this poll: then it wakes, or
        // drops, the tasks that yielded.
        let leaving = Waker::from(Arc::new(Leaving {
            clock: self.clock.clone(),
            id: self.id,
        }));
        let _: Poll<()> = pin!(tokio::task::yield_now()).poll(&mut Context::from_waker(&leaving));
    }
}

struct Leaving {
    clock: SimClock,
    id: TaskId,
}

impl Wake for Leaving {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.clock.with(|state| state.deregister(self.id));
    }
}

/// Exists while the calling task is inside a wait that makes it idle.
pub(super) struct Waiting {
    task: Option<(SimClock, TaskId)>,
}

impl Waiting {
    pub(super) fn new(clock: &SimClock) -> Self {
        let task = current(clock).map(|id| (clock.clone(), id));
        if let Some((clock, id)) = &task {
            clock.with(|state| state.change(*id, |task| task.waits += 1));
        }
        Self { task }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some((clock, id)) = &self.task {
            clock.with(|state| state.change(*id, |task| task.waits -= 1));
        }
    }
}

/// Exists while the calling task has a request in flight.
#[derive(Debug)]
pub(crate) struct InFlight {
    clock: SimClock,
    task: TaskId,
    ticket: u64,
}

impl InFlight {
    /// `None` in a task that is not tracked, because time does not wait for it anyway.
    pub(super) fn new(clock: &SimClock, request: Request) -> Option<Self> {
        let task = current(clock)?;
        let ticket = clock.with(|state| state.enter(task, request));
        Some(Self {
            clock: clock.clone(),
            task,
            ticket,
        })
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.clock.with(|state| state.leave(self.task, self.ticket));
    }
}
