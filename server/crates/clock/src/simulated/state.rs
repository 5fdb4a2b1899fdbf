//! The state of simulated time, all under one lock: which tasks wait and until when, which are idle, and which receivers
//! stall.
//!
//! Plain data. `busy` is the number of busy tasks after every change. It wakes no task and waits for none.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::task::Waker;
use std::time::Duration;

use jiff::Timestamp;

/// How many stalls are remembered for requests that are not in flight yet; the oldest is dropped first. There are never
/// more requests than this between the receiver's report and the sender's.
const UNCLAIMED_STALLS: usize = 4096;

pub(super) type TaskId = u64;
/// Time and order of registration.
pub(super) type WaiterKey = (Timestamp, u64);

pub(super) struct State {
    pub(super) now: Timestamp,
    /// Time has moved and its waiters are not woken yet: nothing is settled.
    pub(super) arriving: bool,
    pub(super) watchdog: Duration,
    waiters: BTreeMap<WaiterKey, Waiter>,
    tasks: BTreeMap<TaskId, Task>,
    busy: usize,
    unclaimed_stalls: VecDeque<String>,
    stalled_targets: BTreeSet<String>,
    tickets: u64,
}

pub(super) struct Waiter {
    pub(super) waker: Waker,
    /// The task whose work this deadline limits; `None` for a sleep.
    pub(super) limits: Option<TaskId>,
}

/// A tracked task. It is busy unless it is known to be idle.
pub(super) struct Task {
    name: &'static str,
    /// Woken since its latest poll began.
    pub(super) woken: bool,
    /// Being polled. With `woken` alone, a task would look idle while it runs on another thread.
    pub(super) polling: bool,
    /// How many waits on the clock or on other tasks it is inside.
    pub(super) waits: usize,
    requests: BTreeMap<u64, Request>,
}

pub(super) struct Request {
    name: String,
    target: Option<String>,
    stalled: bool,
}

impl Request {
    pub(super) fn new(name: String, target: Option<String>) -> Self {
        Self {
            name,
            target: target.map(|target| target.to_ascii_lowercase()),
            stalled: false,
        }
    }
}

impl Task {
    fn is_busy(&self, stalled_targets: &BTreeSet<String>) -> bool {
        let stalls = |request: &Request| {
            request.stalled
                || request
                    .target
                    .as_ref()
                    .is_some_and(|target| stalled_targets.contains(target))
        };
        self.woken || self.polling || (self.waits == 0 && !self.requests.values().any(stalls))
    }
}

impl State {
    pub(super) fn new(now: Timestamp, watchdog: Duration) -> Self {
        Self {
            now,
            arriving: false,
            watchdog,
            waiters: BTreeMap::new(),
            tasks: BTreeMap::new(),
            busy: 0,
            unclaimed_stalls: VecDeque::new(),
            stalled_targets: BTreeSet::new(),
            tickets: 0,
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        self.busy == 0 && !self.arriving
    }

    /// A number that was never returned before.
    pub(super) fn ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    // Waiters

    /// Adds or replaces a waiter. Returns the replaced one, to be dropped outside the lock.
    pub(super) fn wait(&mut self, key: WaiterKey, waiter: Waiter) -> Option<Waiter> {
        self.waiters.insert(key, waiter)
    }

    pub(super) fn stop_waiting(&mut self, key: WaiterKey) -> Option<Waiter> {
        self.waiters.remove(&key)
    }

    pub(super) fn next_due_at(&self) -> Option<Timestamp> {
        let counts = |waiter: &Waiter| waiter.limits.is_none_or(|task| !self.is_busy(task));
        self.waiters
            .iter()
            .find(|(_, waiter)| counts(waiter))
            .map(|((at, _), _)| *at)
    }

    /// Moves time to the earliest waiter or, if that is later, to `target`. `None` when time is at `target` and no task
    /// waits for it.
    pub(super) fn step_towards(&mut self, target: Timestamp) -> Option<Timestamp> {
        let due = self
            .waiters
            .first_key_value()
            .map(|((at, _), _)| *at)
            .filter(|at| *at <= target);
        if due.is_none() && self.now >= target {
            return None;
        }
        self.now = self.now.max(due.unwrap_or(target));
        self.arriving = true;
        Some(self.now)
    }

    /// The wakers of all that wait for now or earlier, in the order of their times and then of registration.
    pub(super) fn take_due(&mut self) -> Vec<Waker> {
        let later = self.waiters.split_off(&(self.now, u64::MAX));
        let due = std::mem::replace(&mut self.waiters, later);
        due.into_values().map(|waiter| waiter.waker).collect()
    }

    // Tasks

    pub(super) fn register(&mut self, name: &'static str) -> TaskId {
        let id = self.ticket();
        self.tasks.insert(
            id,
            Task {
                name,
                woken: true,
                polling: false,
                waits: 0,
                requests: BTreeMap::new(),
            },
        );
        self.busy += 1;
        id
    }

    pub(super) fn deregister(&mut self, id: TaskId) {
        if let Some(task) = self.tasks.remove(&id) {
            self.busy -= usize::from(task.is_busy(&self.stalled_targets));
        }
    }

    /// Changes a task, if it still exists. Every change of a task goes through here, so that `busy` stays right.
    pub(super) fn change(&mut self, id: TaskId, change: impl FnOnce(&mut Task)) {
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        let before = task.is_busy(&self.stalled_targets);
        change(task);
        let after = task.is_busy(&self.stalled_targets);
        self.busy = self.busy + usize::from(after) - usize::from(before);
    }

    pub(super) fn busy_tasks(&self) -> Vec<&'static str> {
        self.tasks
            .values()
            .filter(|task| task.is_busy(&self.stalled_targets))
            .map(|task| task.name)
            .collect()
    }

    fn is_busy(&self, id: TaskId) -> bool {
        self.tasks
            .get(&id)
            .is_some_and(|task| task.is_busy(&self.stalled_targets))
    }

    fn recount(&mut self) {
        self.busy = self.busy_tasks().len();
    }

    // Requests and stalls

    pub(super) fn enter(&mut self, task: TaskId, mut request: Request) -> u64 {
        let ticket = self.ticket();
        if let Some(at) = self
            .unclaimed_stalls
            .iter()
            .position(|name| *name == request.name)
        {
            self.unclaimed_stalls.remove(at);
            request.stalled = true;
        }
        self.change(task, |task| {
            task.requests.insert(ticket, request);
        });
        ticket
    }

    pub(super) fn leave(&mut self, task: TaskId, ticket: u64) {
        self.change(task, |task| {
            task.requests.remove(&ticket);
        });
    }

    pub(super) fn stall(&mut self, name: &str) {
        if !self.mark(name, true) && !self.unclaimed_stalls.iter().any(|unclaimed| unclaimed == name) {
            if self.unclaimed_stalls.len() == UNCLAIMED_STALLS {
                self.unclaimed_stalls.pop_front();
            }
            self.unclaimed_stalls.push_back(name.to_owned());
        }
    }

    pub(super) fn resume(&mut self, name: &str) {
        self.mark(name, false);
        self.unclaimed_stalls.retain(|unclaimed| unclaimed != name);
    }

    /// Marks the requests of this name that are in flight. Returns whether there are any.
    fn mark(&mut self, name: &str, stalled: bool) -> bool {
        let mut found = false;
        let requests = self
            .tasks
            .values_mut()
            .flat_map(|task| task.requests.values_mut());
        for request in requests.filter(|request| request.name == name) {
            request.stalled = stalled;
            found = true;
        }
        self.recount();
        found
    }

    pub(super) fn stall_target(&mut self, target: &str) {
        self.stalled_targets.insert(target.to_ascii_lowercase());
        self.recount();
    }

    pub(super) fn resume_target(&mut self, target: &str) {
        self.stalled_targets.remove(&target.to_ascii_lowercase());
        self.recount();
    }

    pub(super) fn clear_stalled_targets(&mut self) {
        self.stalled_targets.clear();
        self.recount();
    }
}
