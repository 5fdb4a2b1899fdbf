//! A receiver's view of time: it reads the clock and waits on it.
//!
//! Under a simulated clock a request in flight stops time. A receiver that will not respond must say so, or the world
//! would wait for it forever. In real time there is nothing to say.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};

use crate::realtime;

/// One attempt, as its request identifies it (E7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptName {
    /// `webhook-id`: the event's id.
    pub event: String,
    /// `tenterhook-webhook`: the webhook's number.
    pub webhook: String,
    /// `tenterhook-attempt`: 1 to 4.
    pub attempt: u8,
}

/// A source of time for receivers.
pub trait Timekeeper: Send + Sync {
    /// The current time.
    fn now(&self) -> Timestamp;

    /// Says that this attempt gets no response before time moves.
    fn stall(&self, attempt: &AttemptName);

    /// Says that this attempt is about to get a response after all. Time waits for it again.
    fn resume(&self, attempt: &AttemptName);

    /// Says that nothing at this host and port, as in the URL, will respond: no lookup, no connection, no handshake.
    fn stall_target(&self, target: &str);

    /// Says that something there may respond again.
    fn resume_target(&self, target: &str);

    /// Calls `act` when `wait` has passed on this clock. The clock waits until it has returned.
    fn after(&self, wait: SignedDuration, act: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()>;

    /// Stalls the attempt until `wait` has passed on this clock, and then resumes it.
    fn delay(&self, attempt: &AttemptName, wait: SignedDuration) -> BoxFuture<'static, ()>;
}

/// A shared timekeeper.
pub type Time = Arc<dyn Timekeeper>;

/// Real time, which needs no reports.
#[derive(Debug, Clone, Copy)]
pub struct RealTime;

impl Timekeeper for RealTime {
    fn now(&self) -> Timestamp {
        realtime::now()
    }

    fn stall(&self, _: &AttemptName) {}

    fn resume(&self, _: &AttemptName) {}

    fn stall_target(&self, _: &str) {}

    fn resume_target(&self, _: &str) {}

    fn after(&self, wait: SignedDuration, act: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            realtime::pause(wait.unsigned_abs()).await;
            act();
        })
    }

    fn delay(&self, _: &AttemptName, wait: SignedDuration) -> BoxFuture<'static, ()> {
        Box::pin(realtime::pause(wait.unsigned_abs()))
    }
}

impl fmt::Display for AttemptName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "event {} to webhook {}, attempt {}",
            self.event, self.webhook, self.attempt
        )
    }
}
