//! Every request that a receiver got, in order of arrival.
//!
//! Promises that nothing that arrived is missing and that a wait sees what came before it as well as what comes after.
//! Does not know what should have come: tests and checkers say.

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
    /// When it was complete, on the clock of the receiver's world.
    pub at: Timestamp,
    /// When it was complete, in real time.
    pub real: Timestamp,
    /// Which connection brought it, counted from 0; `None` where the receiver can't tell.
    pub connection: Option<usize>,
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Headers as received, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as received.
    pub body: Bytes,
    /// What the receiver makes of its signature.
    pub verdict: Verdict,
}

/// What a receiver has just read, before the journal dates and judges it.
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
    /// The first header of this name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// The event's id, `webhook-id`; empty when the header is absent.
    pub fn event(&self) -> &str {
        self.header("webhook-id").unwrap_or_default()
    }

    /// The webhook's number; empty when the header is absent.
    pub fn webhook(&self) -> &str {
        self.header("tenterhook-webhook").unwrap_or_default()
    }

    /// The attempt, 1 to 4; 0 when the header is absent.
    pub fn attempt(&self) -> u8 {
        self.header("tenterhook-attempt")
            .and_then(|n| n.parse().ok())
            .unwrap_or(0)
    }

    /// How this attempt is named to a clock.
    pub fn name(&self) -> AttemptName {
        AttemptName {
            event: self.event().to_owned(),
            webhook: self.webhook().to_owned(),
            attempt: self.attempt(),
        }
    }

    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        json::read(&self.body).unwrap_or_default()
    }

    /// Everything about it that no receiver should accept: its signature, its shape, its method and media type.
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

/// The journal of one receiver. Clones share it.
#[derive(Clone)]
pub struct Journal(Arc<Inner>);

struct Inner {
    time: Time,
    keyring: Keyring,
    arrivals: Mutex<Vec<Arc<Arrival>>>,
    count: watch::Sender<usize>,
}

impl Journal {
    /// An empty journal that dates by `time` and judges signatures by `keyring`.
    pub fn new(time: Time, keyring: Keyring) -> Self {
        let count = watch::Sender::new(0);
        Self(Arc::new(Inner {
            time,
            keyring,
            arrivals: Mutex::default(),
            count,
        }))
    }

    /// Enters a request.
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

    /// Everything so far.
    pub fn all(&self) -> Vec<Arc<Arrival>> {
        self.lock().clone()
    }

    /// How many came so far.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether nothing came so far.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Follows the count of requests.
    pub fn watch(&self) -> watch::Receiver<usize> {
        self.0.count.subscribe()
    }

    /// Waits until at least `count` requests have come, and answers all that did.
    ///
    /// # Panics
    ///
    /// When they have not come after [`PATIENCE`] of real time, telling which did.
    pub async fn wait_for(&self, count: usize) -> Vec<Arc<Arrival>> {
        let mut counter = self.watch();
        let came = realtime::within(PATIENCE, counter.wait_for(|seen| *seen >= count))
            .await
            .is_some();
        assert!(
            came,
            "waited for {count} requests, but only these came:\n{}",
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
