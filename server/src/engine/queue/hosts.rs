//! How much is on the wire to one host, whoever's webhooks lead there.
//!
//! Promises that a host never has more than its share in flight, and that a webhook which was turned away for that comes
//! back when a place is free. Hosts are told apart as connections are, by name and port: two names for one machine are
//! two hosts.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::model::ids::WebhookId;

/// A host and its port, as a URL names them.
pub type Host = Arc<str>;

/// How many of those turned away come back when one place is free: some may have nothing to send any more.
const COME_BACK: usize = 4;

#[derive(Debug, Default)]
struct PerHost {
    in_flight: usize,
    turned_away: VecDeque<WebhookId>,
}

/// The hosts that something is in flight to.
#[derive(Debug)]
pub(super) struct Hosts {
    most: usize,
    busy: HashMap<Host, PerHost>,
}

impl Hosts {
    /// Nothing is in flight; `most` may be to each host.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            busy: HashMap::new(),
        }
    }

    /// Takes a place for a request of `webhook`; turns it away, and remembers that, if there is none.
    pub(super) fn take(&mut self, host: &Host, webhook: WebhookId) -> bool {
        let entry = self.busy.entry(host.clone()).or_default();
        if entry.in_flight >= self.most {
            entry.turned_away.push_back(webhook);
            return false;
        }
        entry.in_flight += 1;
        true
    }

    /// Gives a place back; answers who may come back for it. With the last place all do, so that nobody is forgotten.
    pub(super) fn give_back(&mut self, host: &Host) -> Vec<WebhookId> {
        let Some(entry) = self.busy.get_mut(host) else {
            return Vec::new();
        };
        entry.in_flight = entry.in_flight.saturating_sub(1);
        if entry.in_flight == 0 {
            let last = self.busy.remove(host).unwrap_or_default();
            return last.turned_away.into();
        }
        let back = entry.turned_away.len().min(COME_BACK);
        entry.turned_away.drain(..back).collect()
    }
}
