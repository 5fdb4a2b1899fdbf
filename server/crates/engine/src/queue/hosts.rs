//! How much is on the wire to one host, whoever's webhooks lead there.
//!
//! Promises that a host never has more than its share in flight, that receivers there which are slow or unproven have at
//! most half of it, and that a webhook which was turned away comes back when a place is free. Hosts are told apart as
//! connections are, by name and port: two names for one machine are two hosts.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tenterhook_model::ids::WebhookId;

/// A host and its port, as a URL names them.
pub type Host = Arc<str>;

/// How many of those turned away come back when one place is free: some may have nothing to send any more.
const COME_BACK: usize = 4;

/// What is so of webhooks of one kind at a host.
#[derive(Debug, Default)]
struct Kind {
    in_flight: usize,
    turned_away: VecDeque<WebhookId>,
}

impl Kind {
    fn come_back(&mut self, most: usize) -> impl Iterator<Item = WebhookId> {
        let back = self.turned_away.len().min(most);
        self.turned_away.drain(..back)
    }
}

#[derive(Debug, Default)]
struct PerHost {
    proven: Kind,
    unproven: Kind,
}

impl PerHost {
    fn kind(&mut self, unproven: bool) -> &mut Kind {
        if unproven {
            &mut self.unproven
        } else {
            &mut self.proven
        }
    }

    fn in_flight(&self) -> usize {
        self.proven.in_flight + self.unproven.in_flight
    }
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

    /// How many of those may be of webhooks that are slow or unproven: half, but never none.
    fn most_unproven(&self) -> usize {
        self.most.div_ceil(2)
    }

    /// Takes a place for a request of `webhook`; turns it away, and remembers that, if there is none.
    pub(super) fn take(&mut self, host: &Host, webhook: WebhookId, unproven: bool) -> bool {
        let (most, most_unproven) = (self.most, self.most_unproven());
        let entry = self.busy.entry(host.clone()).or_default();
        let is_full = entry.in_flight() >= most || (unproven && entry.unproven.in_flight >= most_unproven);
        let kind = entry.kind(unproven);
        if is_full {
            kind.turned_away.push_back(webhook);
        } else {
            kind.in_flight += 1;
        }
        !is_full
    }

    /// Gives a place back, taken as `unproven` or not; answers who may come back for it. With the last place all do, so
    /// that nobody is forgotten.
    pub(super) fn give_back(&mut self, host: &Host, unproven: bool) -> Vec<WebhookId> {
        let most_unproven = self.most_unproven();
        let Some(entry) = self.busy.get_mut(host) else {
            return Vec::new();
        };
        let kind = entry.kind(unproven);
        kind.in_flight = kind.in_flight.saturating_sub(1);
        if entry.in_flight() == 0 {
            let mut last = self.busy.remove(host).unwrap_or_default();
            let (proven, unproven) = (&mut last.proven, &mut last.unproven);
            return proven
                .come_back(usize::MAX)
                .chain(unproven.come_back(usize::MAX))
                .collect();
        }
        let for_unproven = if entry.unproven.in_flight < most_unproven {
            COME_BACK
        } else {
            0
        };
        entry
            .proven
            .come_back(COME_BACK)
            .chain(entry.unproven.come_back(for_unproven))
            .collect()
    }
}
