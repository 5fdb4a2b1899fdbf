//! The deliveries that this process holds, and which one is attempted next: fairness (D8), in memory.
//!
//! Guarantees:
//!
//! - A webhook has at most its share in flight and in memory. A host has at most its share in flight, for all webhooks
//!   that lead there.
//! - Companies take turns, and within a company its webhooks take turns.
//! - Slow and unknown receivers together hold at most half of all places and half of each host's places. The deliveries
//!   claimed for them have a bounded share of memory too. So a slow or dead receiver delays no other.
//! - Untried receivers come before known slow ones. One fast response promotes a receiver, however many others hang. If
//!   a webhook now leads to a different host, its receiver counts as untried.
//!
//! Not guaranteed: any order of deliveries (D11).

mod host_limits;
mod leases;
mod per_webhook;
mod receiver_speed;
mod round_robin;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

pub use self::host_limits::Host;
use self::host_limits::HostLimits;
use self::per_webhook::PerWebhook;
use self::receiver_speed::{Speed, Tier, UnprovenHeld};
use self::round_robin::RoundRobin;

use tenterhook_model::delivery::Leased;
use tenterhook_model::event::Event;
use tenterhook_model::ids::{NodeId, WebhookId};

/// Deliveries held in all, waiting or in flight.
pub const MAX_HELD: usize = 10_000;
/// Bytes of payload held in all, waiting or in flight, counted once per delivery. Above this bound nothing more is
/// accepted, with two exceptions. A claim adds the deliveries that there was room for when it began, and one more per
/// lane. A publication adds those that there was room for when its call was accepted.
pub const MAX_HELD_BYTES: usize = 64 * 1024 * 1024;
/// If this number of deliveries is held for slow webhooks, none is claimed for another slow one; the same bound holds
/// for unknown webhooks. Without it, thousands of receivers that hang would leave no room for receivers that respond.
pub const MAX_UNPROVEN_HELD: usize = MAX_HELD / 4;
/// Deliveries held for one webhook.
pub const MAX_HELD_PER_WEBHOOK: usize = 256;
/// Attempts of one webhook with an unsettled result. Without this bound, a webhook with more attempts than the database
/// can settle would use up the places for unsettled results of all webhooks, and every other webhook would wait.
pub const MAX_UNSETTLED_PER_WEBHOOK: usize = 128;
/// A receiver that takes at least this long to respond is slow.
const SLOW: Duration = Duration::from_secs(1);
/// Webhooks whose speed is remembered while nothing is held for them.
const MAX_IDLE: usize = 20_000;

/// Limits on requests in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// Requests in all. At most half of them are for receivers that are slow or unknown.
    pub total: usize,
    /// Requests to one webhook; fewer after time-outs.
    pub per_webhook: usize,
    /// Requests to one host and port. At most half of them are for receivers that are slow or unknown.
    pub per_host: usize,
}

impl RequestLimits {
    /// Requests to receivers that are slow or unknown: half, but at least one.
    fn slow(self) -> usize {
        self.total.div_ceil(2)
    }
}

/// A delivery that this process holds, with its event.
#[derive(Debug, Clone)]
pub struct HeldDelivery {
    /// The delivery and its lease.
    pub leased: Leased,
    /// The event to deliver.
    pub event: Arc<Event>,
    /// This process's id when it took the delivery. If it was declared dead since, it no longer holds the delivery.
    pub node: NodeId,
}

impl HeldDelivery {
    /// The size of its payload.
    pub fn bytes(&self) -> usize {
        let text = |json: &Option<Arc<str>>| json.as_ref().map_or(0, |text| text.len());
        text(&self.event.data) + text(&self.event.previous)
    }
}

/// The duration of an attempt, as far as fairness needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptSpeed {
    /// A response, or an error, after this time.
    Took(Duration),
    /// No response within the deadline.
    TimedOut,
    /// No request was made.
    Unsent,
}

/// The deliveries that this process holds.
#[derive(Debug)]
pub struct Scheduler {
    limits: RequestLimits,
    webhooks: HashMap<WebhookId, PerWebhook>,
    fast: RoundRobin,
    untried: RoundRobin,
    slow: RoundRobin,
    unproven_turn: bool,
    hosts: HostLimits,
    held: usize,
    unproven_held: UnprovenHeld,
    held_bytes: usize,
    in_flight: usize,
    slow_in_flight: usize,
}

impl Scheduler {
    /// Holds nothing yet.
    pub fn new(limits: RequestLimits) -> Self {
        Self {
            limits,
            webhooks: HashMap::new(),
            fast: RoundRobin::default(),
            untried: RoundRobin::default(),
            slow: RoundRobin::default(),
            unproven_turn: false,
            hosts: HostLimits::new(limits.per_host),
            held: 0,
            unproven_held: UnprovenHeld::default(),
            held_bytes: 0,
            in_flight: 0,
            slow_in_flight: 0,
        }
    }

    /// Adds a delivery, with its webhook's host if it is known. Without one, it counts for no host's share. The caller
    /// checks for room before.
    pub fn push(&mut self, held: HeldDelivery, host: Option<Host>) {
        let webhook = held.leased.key.webhook;
        if self.webhooks.len() > MAX_IDLE && !self.webhooks.contains_key(&webhook) {
            self.webhooks
                .retain(|_, entry| entry.held() > 0 || entry.unsettled > 0);
        }
        let cap = self.limits.per_webhook;
        let entry = self
            .webhooks
            .entry(webhook)
            .or_insert_with(|| PerWebhook::new(held.leased.company, cap));
        if entry.in_flight == 0 {
            let (speed, waiting) = (entry.speed, entry.held());
            if let Some(left) = entry.lead_to(host, cap) {
                self.hosts.withdraw(&left, webhook);
                self.unproven_held.remove(speed, waiting);
                self.unproven_held.add(entry.speed, waiting);
            }
        }
        self.held_bytes += held.bytes();
        self.unproven_held.add(entry.speed, 1);
        entry.waiting.push_back(held);
        self.held += 1;
        self.queue_up(webhook);
    }

    /// The next delivery to attempt. It takes a place. `None` if no place is free or no webhook may start an attempt.
    pub fn pop(&mut self) -> Option<HeldDelivery> {
        if self.in_flight >= self.limits.total {
            return None;
        }
        self.unproven_turn = !self.unproven_turn;
        let unproven_first = self.unproven_turn;
        let unproven = |scheduler: &mut Self| {
            scheduler
                .pop_from(Tier::Untried)
                .or_else(|| scheduler.pop_from(Tier::Slow))
        };
        if unproven_first {
            unproven(self).or_else(|| self.pop_from(Tier::Fast))
        } else {
            self.pop_from(Tier::Fast).or_else(|| unproven(self))
        }
    }

    fn pop_from(&mut self, tier: Tier) -> Option<HeldDelivery> {
        let unproven = tier != Tier::Fast;
        if unproven && self.slow_in_flight >= self.limits.slow() {
            return None;
        }
        loop {
            let webhook = self.list(tier).pop()?;
            let Some(entry) = self.webhooks.get_mut(&webhook) else {
                continue;
            };
            if entry.queued_in != Some(tier) {
                continue;
            }
            entry.queued_in = None;
            if !entry.may_start() {
                continue;
            }
            if entry.tier() != tier {
                self.queue_up(webhook);
                continue;
            }
            if let Some(host) = &entry.host
                && !self.hosts.acquire(host, webhook, unproven)
            {
                entry.deferred = true;
                continue;
            }
            let held = entry.waiting.pop_front();
            entry.in_flight += 1;
            self.in_flight += 1;
            if unproven {
                entry.slow_in_flight += 1;
                self.slow_in_flight += 1;
            }
            self.queue_up(webhook);
            return held;
        }
    }

    /// Notes that an attempt of this webhook has started, whose result must be settled.
    pub fn begin(&mut self, webhook: WebhookId) {
        if let Some(entry) = self.webhooks.get_mut(&webhook) {
            entry.unsettled += 1;
        }
    }

    /// Notes that the result of an attempt of this webhook is settled, or will never be.
    pub fn settle(&mut self, webhook: WebhookId) {
        if let Some(entry) = self.webhooks.get_mut(&webhook) {
            entry.unsettled = entry.unsettled.saturating_sub(1);
        }
        self.queue_up(webhook);
    }

    /// Notes that an attempt from [`pop`](Self::pop), with this size of payload, is over: its place is free, and its
    /// receiver's speed is known.
    pub fn finish(&mut self, webhook: WebhookId, bytes: usize, speed: AttemptSpeed) {
        self.held_bytes = self.held_bytes.saturating_sub(bytes);
        let Some(entry) = self.webhooks.get_mut(&webhook) else {
            return;
        };
        self.unproven_held.remove(entry.speed, entry.held());
        entry.in_flight = entry.in_flight.saturating_sub(1);
        self.in_flight = self.in_flight.saturating_sub(1);
        self.held = self.held.saturating_sub(1);
        let was_unproven = entry.slow_in_flight > 0;
        if was_unproven {
            entry.slow_in_flight -= 1;
            self.slow_in_flight = self.slow_in_flight.saturating_sub(1);
        }
        match speed {
            AttemptSpeed::TimedOut => {
                entry.speed = Speed::Slow;
                entry.cap = (entry.cap / 2).max(1);
            }
            AttemptSpeed::Took(duration) => {
                entry.speed = if duration < SLOW { Speed::Fast } else { Speed::Slow };
                entry.cap = (entry.cap + 1).min(self.limits.per_webhook);
            }
            AttemptSpeed::Unsent => {}
        }
        self.unproven_held.add(entry.speed, entry.held());
        if entry.speed == Speed::Fast {
            // It may have been deferred before it was known to be fast.
            entry.deferred = false;
        }
        let host = entry.host.clone();
        self.queue_up(webhook);
        if let Some(host) = host {
            self.readmit(&host, was_unproven);
        }
    }

    /// A place at a host is free: webhooks that it deferred may try again.
    fn readmit(&mut self, host: &Host, was_unproven: bool) {
        for webhook in self.hosts.release(host, was_unproven) {
            if let Some(entry) = self.webhooks.get_mut(&webhook) {
                entry.deferred = false;
            }
            self.queue_up(webhook);
        }
    }

    /// How many more deliveries may be taken in.
    pub fn room(&self) -> usize {
        if self.room_in_bytes() == 0 {
            0
        } else {
            MAX_HELD.saturating_sub(self.held)
        }
    }

    /// How many more bytes of payload may be taken in.
    pub fn room_in_bytes(&self) -> usize {
        MAX_HELD_BYTES.saturating_sub(self.held_bytes)
    }

    /// How many more of this webhook's deliveries may be claimed. For a slow or unknown one, only as many as may be in
    /// flight, and only one if half of the memory share for its speed is used up.
    pub fn room_for(&self, webhook: WebhookId) -> usize {
        let entry = self.webhooks.get(&webhook);
        let held = entry.map_or(0, PerWebhook::held);
        let speed = entry.map_or(Speed::Unknown, |entry| entry.speed);
        let in_all = self.unproven_held.room(speed);
        let of_webhook = match speed {
            Speed::Fast => MAX_HELD_PER_WEBHOOK,
            Speed::Unknown | Speed::Slow if in_all <= MAX_UNPROVEN_HELD / 2 => 1,
            Speed::Unknown | Speed::Slow => entry.map_or(self.limits.per_webhook, |entry| entry.cap),
        };
        of_webhook.saturating_sub(held).min(in_all).min(self.room())
    }

    /// Webhooks that should get no more deliveries for now. These are webhooks that are at least half full: a flood goes
    /// to the table while the held deliveries are worked off. They are also slow or unknown webhooks that hold as many
    /// as may be in flight, while the memory share for their speed is used up.
    pub fn full(&self) -> Vec<WebhookId> {
        let full = |entry: &PerWebhook| {
            entry.held() >= MAX_HELD_PER_WEBHOOK / 2
                || (self.unproven_held.room(entry.speed) == 0 && entry.held() >= entry.cap)
        };
        self.webhooks
            .iter()
            .filter(|(_, entry)| full(entry))
            .map(|(id, _)| *id)
            .collect()
    }

    /// Takes out the waiting deliveries of a webhook.
    pub fn take(&mut self, webhook: WebhookId) -> Vec<HeldDelivery> {
        let Some(entry) = self.webhooks.get_mut(&webhook) else {
            return Vec::new();
        };
        let taken: Vec<HeldDelivery> = entry.waiting.drain(..).collect();
        self.held -= taken.len();
        self.unproven_held.remove(entry.speed, taken.len());
        self.held_bytes -= taken.iter().map(HeldDelivery::bytes).sum::<usize>();
        taken
    }

    /// Takes out all waiting deliveries.
    pub fn take_all(&mut self) -> Vec<HeldDelivery> {
        let webhooks: Vec<WebhookId> = self.webhooks.keys().copied().collect();
        webhooks
            .into_iter()
            .flat_map(|webhook| self.take(webhook))
            .collect()
    }

    /// Whether nothing is in flight.
    pub fn is_quiet(&self) -> bool {
        self.in_flight == 0
    }

    /// Deliveries waiting and in flight.
    pub fn sizes(&self) -> (usize, usize) {
        (self.held - self.in_flight, self.in_flight)
    }

    fn waiting(&self) -> impl Iterator<Item = &HeldDelivery> {
        self.webhooks.values().flat_map(|entry| entry.waiting.iter())
    }

    fn queue_up(&mut self, webhook: WebhookId) {
        let Some(entry) = self.webhooks.get_mut(&webhook) else {
            return;
        };
        let (company, tier) = (entry.company, entry.tier());
        if entry.deferred || entry.queued_in == Some(tier) || !entry.may_start() {
            return;
        }
        entry.queued_in = Some(tier);
        self.list(tier).push(company, webhook);
    }

    fn list(&mut self, tier: Tier) -> &mut RoundRobin {
        match tier {
            Tier::Fast => &mut self.fast,
            Tier::Untried => &mut self.untried,
            Tier::Slow => &mut self.slow,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
