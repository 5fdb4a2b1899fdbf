//! What a receiver asks of time: what it shows, and to be let wait.
//!
//! Under a simulated clock a request on the wire holds time still, so a receiver that means not to answer must say
//! so, or the world would wait for it for ever. In real time there is nothing to say.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};

use crate::realtime;

/// One attempt as its request names it (E7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptName {
    /// `webhook-id`: the event's id.
    pub event: String,
    /// `tenterhook-webhook`: the webhook's number.
    pub webhook: String,
    /// `tenterhook-attempt`: 1 to 4.
    pub attempt: u8,
}

/// The time a receiver lives in.
pub trait Timekeeper: Send + Sync {
    /// What the clock shows.
    fn now(&self) -> Timestamp;

    /// This attempt will not be answered before time moves.
    fn stall(&self, attempt: &AttemptName);

    /// This attempt is about to be answered after all; time waits for it again.
    fn resume(&self, attempt: &AttemptName);

    /// Nothing at this host and port, as the URL has them, will answer: not a lookup, not a connection, not a handshake.
    fn stall_target(&self, target: &str);

    /// Something there may answer again.
    fn resume_target(&self, target: &str);

    /// Does `act` when `wait` has passed on this clock. The clock waits until it is done.
    fn after(&self, wait: SignedDuration, act: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()>;

    /// Stalls the attempt until `wait` has passed on this clock, and resumes it at that moment.
    fn delay(&self, attempt: &AttemptName, wait: SignedDuration) -> BoxFuture<'static, ()>;
}

/// A shared timekeeper.
pub type Time = Arc<dyn Timekeeper>;

/// Real time, which waits for nobody.
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
