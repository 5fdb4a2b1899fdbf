//! Limits requests in flight to one host, for all webhooks that lead there.
//!
//! Guarantees: a host never has more than its share in flight. Slow and unknown receivers have at most half of it. A
//! webhook that was turned away comes back when a place is free. Hosts are distinguished as connections are, by name and
//! port: two names for one machine are two hosts.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tenterhook_model::ids::WebhookId;

/// A host and its port, as in a URL.
pub type Host = Arc<str>;

/// How many webhooks come back when one place is free: some may have nothing to send any more.
const COME_BACK: usize = 4;

/// State of one kind of webhook, proven or not, at a host.
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

/// The hosts with requests in flight.
#[derive(Debug)]
pub(super) struct Hosts {
    most: usize,
    busy: HashMap<Host, PerHost>,
}

impl Hosts {
    /// Nothing is in flight yet; `most` requests may be to each host.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            busy: HashMap::new(),
        }
    }

    /// How many of them may be for slow or unknown receivers: half, but at least one.
    fn most_unproven(&self) -> usize {
        self.most.div_ceil(2)
    }

    /// Takes a place for a request of `webhook`. If there is none, remembers the webhook as turned away and returns
    /// `false`.
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

    /// Frees a place that was taken as `unproven` or not. Returns the webhooks that may try again. With the last place
    /// all may, so that none is forgotten.
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
