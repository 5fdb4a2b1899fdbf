//! Waiting for a simulated moment.
//!
//! An alarm is ready at the moment and not before, and leaves no trace once dropped. It does not make its task idle.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use jiff::{SignedDuration, Timestamp};

use super::SimClock;
use super::state::{TaskId, Waiter, WaiterKey};
use crate::whole_micros;

pub(super) struct Alarm {
    clock: SimClock,
    at: Timestamp,
    limits: Option<TaskId>,
    registered: Option<WaiterKey>,
}

impl Alarm {
    pub(super) fn new(clock: SimClock, at: Timestamp, limits: Option<TaskId>) -> Self {
        // Time has whole microseconds only, and must not stop before `at`.
        let down = whole_micros(at);
        let up = down
            .checked_add(SignedDuration::from_micros(1))
            .unwrap_or(Timestamp::MAX);
        Self {
            clock,
            at: if down == at { at } else { up },
            limits,
            registered: None,
        }
    }
}

impl Future for Alarm {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let waiter = Waiter {
            waker: cx.waker().clone(),
            limits: this.limits,
        };
        // A replaced or unused waiter is dropped after the lock is released, because a waker may own a task.
        let (poll, _unused) = this.clock.with(|state| {
            if state.now >= this.at {
                return (Poll::Ready(()), Some(waiter));
            }
            let key = *this.registered.get_or_insert_with(|| (this.at, state.ticket()));
            (Poll::Pending, state.wait(key, waiter))
        });
        poll
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some(key) = self.registered {
            drop(self.clock.with(|state| state.stop_waiting(key)));
        }
    }
}
