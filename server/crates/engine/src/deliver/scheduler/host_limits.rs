//! Limits requests in flight to one host, for all webhooks that lead there.
//!
//! Guarantees: a host never has more than its share in flight. Slow and unknown receivers have at most half of it. A
//! webhook that was deferred is readmitted when a place is free. Hosts are distinguished as connections are, by name and
//! port: two names for one machine are two hosts.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tenterhook_model::ids::WebhookId;

/// A host and its port, as in a URL.
pub type Host = Arc<str>;

/// How many webhooks are readmitted when one place is free: some may have nothing to send any more.
const READMITTED: usize = 4;

/// State of one kind of webhook at a host: those of fast receivers, or all others.
#[derive(Debug, Default)]
struct HostShare {
    in_flight: usize,
    deferred: VecDeque<WebhookId>,
}

impl HostShare {
    fn readmit(&mut self, most: usize) -> impl Iterator<Item = WebhookId> {
        let back = self.deferred.len().min(most);
        self.deferred.drain(..back)
    }
}

#[derive(Debug, Default)]
struct PerHost {
    fast: HostShare,
    unproven: HostShare,
}

impl PerHost {
    fn share(&mut self, unproven: bool) -> &mut HostShare {
        if unproven {
            &mut self.unproven
        } else {
            &mut self.fast
        }
    }

    fn in_flight(&self) -> usize {
        self.fast.in_flight + self.unproven.in_flight
    }
}

/// The hosts with requests in flight.
#[derive(Debug)]
pub(super) struct HostLimits {
    most: usize,
    busy: HashMap<Host, PerHost>,
}

impl HostLimits {
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

    /// Takes a place for a request of `webhook`. If there is none, remembers the webhook as deferred and returns
    /// `false`.
    pub(super) fn acquire(&mut self, host: &Host, webhook: WebhookId, unproven: bool) -> bool {
        let (most, most_unproven) = (self.most, self.most_unproven());
        let entry = self.busy.entry(host.clone()).or_default();
        let is_full = entry.in_flight() >= most || (unproven && entry.unproven.in_flight >= most_unproven);
        let share = entry.share(unproven);
        if is_full {
            share.deferred.push_back(webhook);
        } else {
            share.in_flight += 1;
        }
        !is_full
    }

    /// Forgets that this host deferred a webhook, because it no longer leads here.
    pub(super) fn withdraw(&mut self, host: &Host, webhook: WebhookId) {
        if let Some(entry) = self.busy.get_mut(host) {
            for share in [&mut entry.fast, &mut entry.unproven] {
                share.deferred.retain(|deferred| *deferred != webhook);
            }
        }
    }

    /// Frees a place that was taken as `unproven` or not. Returns the webhooks that may try again. With the last place
    /// all may, so that none is forgotten.
    pub(super) fn release(&mut self, host: &Host, unproven: bool) -> Vec<WebhookId> {
        let most_unproven = self.most_unproven();
        let Some(entry) = self.busy.get_mut(host) else {
            return Vec::new();
        };
        let share = entry.share(unproven);
        share.in_flight = share.in_flight.saturating_sub(1);
        if entry.in_flight() == 0 {
            let mut last = self.busy.remove(host).unwrap_or_default();
            let (fast, unproven) = (&mut last.fast, &mut last.unproven);
            return fast
                .readmit(usize::MAX)
                .chain(unproven.readmit(usize::MAX))
                .collect();
        }
        let for_unproven = if entry.unproven.in_flight < most_unproven {
            READMITTED
        } else {
            0
        };
        entry
            .fast
            .readmit(READMITTED)
            .chain(entry.unproven.readmit(for_unproven))
            .collect()
    }
}
