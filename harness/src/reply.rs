//! The responses of a well-behaved HTTP receiver, and how it chooses one for a request.

use std::fmt;
use std::sync::Arc;

use crate::journal::Arrival;

/// One HTTP response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The headers, in order.
    pub headers: Vec<(String, String)>,
    /// The bytes of the body; empty by default.
    pub body: Vec<u8>,
}

impl Reply {
    /// An empty response with this status.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }
}

impl From<u16> for Reply {
    fn from(status: u16) -> Self {
        Self::status(status)
    }
}

/// What a receiver does with a request that it has read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Responds at once.
    Reply(Reply),
    /// Never responds: the connection stays open without data.
    Hang,
}

impl<R: Into<Reply>> From<R> for Answer {
    fn from(reply: R) -> Self {
        Self::Reply(reply.into())
    }
}

/// Chooses the response to each request. The second argument is the number of the request under this script, from 0.
#[derive(Clone)]
pub struct Script(Arc<Decide>);

type Decide = dyn Fn(&Arrival, usize) -> Answer + Send + Sync;

impl Script {
    /// Chooses by the request.
    pub fn new(decide: impl Fn(&Arrival, usize) -> Answer + Send + Sync + 'static) -> Self {
        Self(Arc::new(decide))
    }

    /// The same response to every request.
    pub fn always(answer: impl Into<Answer>) -> Self {
        let answer = answer.into();
        Self::new(move |_, _| answer.clone())
    }

    /// Each of `first` once, then always `rest`.
    pub fn sequence<A: Into<Answer>>(first: impl IntoIterator<Item = A>, rest: impl Into<Answer>) -> Self {
        let first: Vec<Answer> = first.into_iter().map(Into::into).collect();
        let rest = rest.into();
        Self::new(move |_, place| first.get(place).unwrap_or(&rest).clone())
    }

    /// By attempt number: the first response for the first try, and so on, then always `rest`. Each delivery counts on
    /// its own.
    pub fn by_attempt<A: Into<Answer>>(first: impl IntoIterator<Item = A>, rest: impl Into<Answer>) -> Self {
        let first: Vec<Answer> = first.into_iter().map(Into::into).collect();
        let rest = rest.into();
        Self::new(move |arrival, _| {
            let place = usize::from(arrival.attempt()).saturating_sub(1);
            first.get(place).unwrap_or(&rest).clone()
        })
    }

    /// The response to the request with this number under this script.
    pub fn answer(&self, arrival: &Arrival, place: usize) -> Answer {
        (self.0)(arrival, place)
    }
}

impl<A: Into<Answer>> From<A> for Script {
    fn from(answer: A) -> Self {
        Self::always(answer)
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Script(..)")
    }
}
