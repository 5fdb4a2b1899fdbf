//! What a connection does: answers, waits or misbehaves, the same for all or chosen one by one.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::SignedDuration;

use super::cue::Cue;
use super::fault::Fault;
use crate::journal::Arrival;
use crate::reply::Reply;

/// What one connection does.
#[derive(Debug, Clone)]
pub enum Conduct {
    /// Reads the request and answers.
    Reply(Reply),
    /// Reads the request and answers when this much of the world's time has passed.
    ReplyAfter(SignedDuration, Reply),
    /// Reads the request and answers when the test gives the cue.
    ReplyOnCue(Cue, Reply),
    /// Misbehaves.
    Fault(Fault),
    /// Reads the request and does what is chosen for it. A fault that comes before the request comes right after it.
    Chosen(Choice),
}

/// What each connection does, by its number from 0.
pub type Conducts = Arc<dyn Fn(usize) -> Conduct + Send + Sync>;

/// Which request gets which conduct. Clones share what they count.
#[derive(Clone)]
pub struct Choice(Arc<Choose>);

type Choose = dyn Fn(&Arrival) -> Conduct + Send + Sync;

impl Conduct {
    /// Answers 200.
    pub fn ok() -> Self {
        200.into()
    }

    /// Answers when this much of the world's time has passed.
    pub fn after(wait: SignedDuration, reply: impl Into<Reply>) -> Self {
        Self::ReplyAfter(wait, reply.into())
    }

    /// Chooses by the request.
    pub fn chosen(choose: impl Fn(&Arrival) -> Self + Send + Sync + 'static) -> Self {
        Self::Chosen(Choice(Arc::new(choose)))
    }

    /// By attempt number: `first` for the first try, and so on, then always `rest`. Deliveries do not share a count.
    pub fn by_attempt<C: Into<Self>>(first: impl IntoIterator<Item = C>, rest: impl Into<Self>) -> Self {
        let (first, rest) = listed(first, rest);
        Self::chosen(move |arrival| {
            let place = usize::from(arrival.attempt()).saturating_sub(1);
            first.get(place).unwrap_or(&rest).clone()
        })
    }

    /// By the count of requests under this conduct: `first` one by one, then always `rest`.
    pub fn in_turn<C: Into<Self>>(first: impl IntoIterator<Item = C>, rest: impl Into<Self>) -> Self {
        let (first, rest) = listed(first, rest);
        let count = AtomicUsize::new(0);
        Self::chosen(move |_| {
            let place = count.fetch_add(1, Ordering::Relaxed);
            first.get(place).unwrap_or(&rest).clone()
        })
    }

    /// The same for every connection.
    pub(super) fn for_all(self) -> Conducts {
        Arc::new(move |_| self.clone())
    }
}

fn listed<C: Into<Conduct>>(
    first: impl IntoIterator<Item = C>,
    rest: impl Into<Conduct>,
) -> (Vec<Conduct>, Conduct) {
    (first.into_iter().map(Into::into).collect(), rest.into())
}

impl From<Fault> for Conduct {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Reply> for Conduct {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}

impl From<u16> for Conduct {
    fn from(status: u16) -> Self {
        Self::Reply(status.into())
    }
}

impl Choice {
    /// What this request gets.
    pub(super) fn of(&self, arrival: &Arrival) -> Conduct {
        (self.0)(arrival)
    }
}

impl fmt::Debug for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Choice(..)")
    }
}

impl fmt::Display for Conduct {
    /// For people, as in "the request was …".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply(reply) => write!(f, "answered {}", reply.status),
            Self::ReplyAfter(wait, reply) => write!(f, "answered {} after {wait:#}", reply.status),
            Self::ReplyOnCue(_, reply) => write!(f, "answered {} on cue", reply.status),
            Self::Fault(fault) => write!(f, "met with {fault}"),
            Self::Chosen(_) => f.write_str("treated by choice"),
        }
    }
}
