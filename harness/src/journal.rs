//! All requests that a receiver got, in order of arrival.
//!
//! No request is missing, and a wait counts requests from before it as well as later ones. The journal does not know
//! which requests were expected: tests and checkers do.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;

use crate::json;
use crate::payload::{self, Expected};
use crate::realtime::{self, PATIENCE};
use crate::signature::{Keyring, Signed, Verdict};
use crate::timekeeper::{AttemptName, Time};

/// One request.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// When it was complete, on the world's clock.
    pub at: Timestamp,
    /// When it was complete, in real time.
    pub real: Timestamp,
    /// The number of its connection, from 0. `None` if the receiver cannot tell.
    pub connection: Option<usize>,
    /// The HTTP method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Headers as received, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as received.
    pub body: Bytes,
    /// The result of checking its signature.
    pub verdict: Verdict,
}

/// A request that was just read, before the journal adds the time and the verdict.
#[derive(Debug)]
pub struct Request {
    /// See [`Arrival::connection`].
    pub connection: Option<usize>,
    /// See [`Arrival::method`].
    pub method: String,
    /// See [`Arrival::path`].
    pub path: String,
    /// See [`Arrival::headers`].
    pub headers: Vec<(String, String)>,
    /// See [`Arrival::body`].
    pub body: Bytes,
}

impl Arrival {
    /// The first header with this name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// The event's id, from `webhook-id`; empty if the header is absent.
    pub fn event(&self) -> &str {
        self.header("webhook-id").unwrap_or_default()
    }

    /// The webhook's number; empty if the header is absent.
    pub fn webhook(&self) -> &str {
        self.header("tenterhook-webhook").unwrap_or_default()
    }

    /// The attempt number, 1 to 4; 0 if the header is absent.
    pub fn attempt(&self) -> u8 {
        self.header("tenterhook-attempt")
            .and_then(|n| n.parse().ok())
            .unwrap_or(0)
    }

    /// The attempt's name for a clock.
    pub fn name(&self) -> AttemptName {
        AttemptName {
            event: self.event().to_owned(),
            webhook: self.webhook().to_owned(),
            attempt: self.attempt(),
        }
    }

    /// The body as JSON; null if it is not JSON.
    pub fn json(&self) -> Value {
        json::read(&self.body).unwrap_or_default()
    }

    /// Everything that a receiver must not accept: a wrong signature, body format, method or media type.
    pub fn complaints(&self) -> Vec<String> {
        let expected = Expected {
            event: self.event(),
            webhook: self.webhook(),
            attempt: u64::from(self.attempt()),
        };
        let mut complaints = payload::complaints(&self.json(), expected);
        if let Verdict::Invalid(_) = &self.verdict {
            complaints.push(format!("the signature is {}", self.verdict));
        }
        if self.method != "POST" {
            complaints.push(format!("the method is {}, not POST", self.method));
        }
        if !self
            .header("content-type")
            .is_some_and(|media| media.starts_with("application/json"))
        {
            complaints.push(format!("the content type is {:?}", self.header("content-type")));
        }
        complaints
    }
}

/// The journal of one receiver. Clones share their contents.
#[derive(Clone)]
pub struct Journal(Arc<Inner>);

struct Inner {
    time: Time,
    keyring: Keyring,
    arrivals: Mutex<Vec<Arc<Arrival>>>,
    count: watch::Sender<usize>,
}

impl Journal {
    /// An empty journal with times from `time`. Checks signatures with `keyring`.
    pub fn new(time: Time, keyring: Keyring) -> Self {
        let count = watch::Sender::new(0);
        Self(Arc::new(Inner {
            time,
            keyring,
            arrivals: Mutex::default(),
            count,
        }))
    }

    /// Adds a request.
    pub fn enter(&self, request: Request) -> Arc<Arrival> {
        let at = self.0.time.now();
        let header = |name| find(&request.headers, name);
        let signed = Signed {
            id: header("webhook-id"),
            timestamp: header("webhook-timestamp"),
            signature: header("webhook-signature"),
            body: &request.body,
        };
        let verdict = self.0.keyring.judge(header("tenterhook-webhook"), &signed, at);
        let Request {
            connection,
            method,
            path,
            headers,
            body,
        } = request;
        let arrival = Arc::new(Arrival {
            at,
            real: realtime::now(),
            connection,
            method,
            path,
            headers,
            body,
            verdict,
        });
        let mut arrivals = self.lock();
        arrivals.push(Arc::clone(&arrival));
        self.0.count.send_replace(arrivals.len());
        arrival
    }

    /// All requests so far.
    pub fn all(&self) -> Vec<Arc<Arrival>> {
        self.lock().clone()
    }

    /// The number of requests so far.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether there was no request so far.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Follows the number of requests.
    pub fn watch(&self) -> watch::Receiver<usize> {
        self.0.count.subscribe()
    }

    /// Waits until at least `count` requests have arrived. Returns all of them.
    ///
    /// # Panics
    ///
    /// If they have not arrived after [`PATIENCE`] of real time. The message lists those that have.
    pub async fn wait_for(&self, count: usize) -> Vec<Arc<Arrival>> {
        let mut counter = self.watch();
        let came = realtime::within(PATIENCE, counter.wait_for(|seen| *seen >= count))
            .await
            .is_some();
        assert!(
            came,
            "waited for {count} requests, but only these arrived:\n{}",
            self.timeline()
        );
        self.all()
    }

    /// One line per request, for people.
    pub fn timeline(&self) -> String {
        let mut lines = String::new();
        for (place, arrival) in self.all().iter().enumerate() {
            let (name, verdict) = (arrival.name(), &arrival.verdict);
            let _ = writeln!(lines, "{place:>5}  {}  {name}, signature {verdict}", arrival.at);
        }
        if lines.is_empty() {
            "(none)".to_owned()
        } else {
            lines
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Arrival>>> {
        self.0.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn find<'a>(headers: &'a [(String, String)], wanted: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(name, _)| name == wanted)
        .map(|(_, value)| value.as_str())
}
