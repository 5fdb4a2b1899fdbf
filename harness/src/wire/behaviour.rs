//! The behaviour of a connection: it responds, waits or has a fault. The same for all connections, or chosen for each.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::SignedDuration;

use super::fault::Fault;
use super::release_signal::ReleaseSignal;
use crate::journal::Arrival;
use crate::reply::Reply;

/// The behaviour of one connection.
#[derive(Debug, Clone)]
pub enum Behaviour {
    /// Reads the request and responds.
    Reply(Reply),
    /// Reads the request, and responds after this span of the world's time.
    ReplyAfter(SignedDuration, Reply),
    /// Reads the request, and responds when the test releases the signal.
    ReplyOnRelease(ReleaseSignal, Reply),
    /// Has this fault.
    Fault(Fault),
    /// Reads the request, and behaves as chosen for it. A fault that belongs before the request follows right after it.
    Chosen(Choice),
}

/// The behaviour of each connection, by its number from 0.
pub type Behaviours = Arc<dyn Fn(usize) -> Behaviour + Send + Sync>;

/// Chooses the behaviour of each request. Clones share their counters.
#[derive(Clone)]
pub struct Choice(Arc<Choose>);

type Choose = dyn Fn(&Arrival) -> Behaviour + Send + Sync;

impl Behaviour {
    /// Responds with 200.
    pub fn ok() -> Self {
        200.into()
    }

    /// Responds after this span of the world's time.
    pub fn after(wait: SignedDuration, reply: impl Into<Reply>) -> Self {
        Self::ReplyAfter(wait, reply.into())
    }

    /// Chooses the behaviour by the request.
    pub fn chosen(choose: impl Fn(&Arrival) -> Self + Send + Sync + 'static) -> Self {
        Self::Chosen(Choice(Arc::new(choose)))
    }

    /// By attempt number: the first behaviour for the first try, and so on, then always `rest`. Each delivery counts on
    /// its own.
    pub fn by_attempt<C: Into<Self>>(first: impl IntoIterator<Item = C>, rest: impl Into<Self>) -> Self {
        let (first, rest) = listed(first, rest);
        Self::chosen(move |arrival| {
            let place = usize::from(arrival.attempt()).saturating_sub(1);
            first.get(place).unwrap_or(&rest).clone()
        })
    }

    /// By the number of requests under this behaviour: each of `first` once, then always `rest`.
    pub fn in_turn<C: Into<Self>>(first: impl IntoIterator<Item = C>, rest: impl Into<Self>) -> Self {
        let (first, rest) = listed(first, rest);
        let count = AtomicUsize::new(0);
        Self::chosen(move |_| {
            let place = count.fetch_add(1, Ordering::Relaxed);
            first.get(place).unwrap_or(&rest).clone()
        })
    }

    /// The same behaviour for every connection.
    pub(super) fn for_all(self) -> Behaviours {
        Arc::new(move |_| self.clone())
    }
}

fn listed<C: Into<Behaviour>>(
    first: impl IntoIterator<Item = C>,
    rest: impl Into<Behaviour>,
) -> (Vec<Behaviour>, Behaviour) {
    (first.into_iter().map(Into::into).collect(), rest.into())
}

impl From<Fault> for Behaviour {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Reply> for Behaviour {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}

impl From<u16> for Behaviour {
    fn from(status: u16) -> Self {
        Self::Reply(status.into())
    }
}

impl Choice {
    /// The behaviour for this request.
    pub(super) fn of(&self, arrival: &Arrival) -> Behaviour {
        (self.0)(arrival)
    }
}

impl fmt::Debug for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Choice(..)")
    }
}

impl fmt::Display for Behaviour {
    /// Text for people, as in "the request was …".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply(reply) => write!(f, "answered {}", reply.status),
            Self::ReplyAfter(wait, reply) => write!(f, "answered {} after {wait:#}", reply.status),
            Self::ReplyOnRelease(_, reply) => write!(f, "answered {} when released", reply.status),
            Self::Fault(fault) => write!(f, "answered with the fault {fault}"),
            Self::Chosen(_) => f.write_str("answered as the scenario chose"),
        }
    }
}
