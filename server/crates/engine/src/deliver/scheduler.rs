//! The deliveries that this process holds, and which one is attempted next: fairness (D8), in memory.
//!
//! Guarantees:
//!
//! - A webhook has at most its share in flight and in memory. A host has at most its share in flight, for all webhooks
//!   that lead there.
//! - Companies take turns, and within a company its webhooks take turns.
//! - Slow and unknown receivers together hold at most half of all places and half of each host's places. The deliveries
//!   claimed for them have a bounded share of memory too. So a slow or dead receiver delays no other.
//! - Unknown receivers are tried before known slow ones. One fast response promotes a receiver, however many others
//!   hang.
//!
//! Not guaranteed: any order of deliveries (D11).

mod host_limits;
mod receiver_speed;
mod round_robin;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

pub use self::host_limits::Host;
use self::host_limits::Hosts;
use self::receiver_speed::{Rank, Standing, UnprovenHeld};
use self::round_robin::Ring;

use tenterhook_model::delivery::Leased;
use tenterhook_model::event::Event;
use tenterhook_model::ids::{CompanyId, DeliveryKey, NodeId, WebhookId};

/// Deliveries held in all, waiting or in flight.
pub const MAX_HELD: usize = 10_000;
/// Bytes of payload held in all, waiting or in flight, counted once per delivery. Above this bound nothing more is taken
/// in, except deliveries already on the way: a claim brings those that there was room for and one more per lane, and a
/// publication brings those that its caller was admitted with.
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
/// Webhooks whose pace is remembered while nothing is held for them.
const MAX_IDLE: usize = 20_000;

/// Limits on requests in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    /// Requests in all. At most half of them are for receivers that are slow or unknown.
    pub total: usize,
    /// Requests to one webhook; fewer after time-outs.
    pub per_webhook: usize,
    /// Requests to one host and port. At most half of them are for receivers that are slow or unknown.
    pub per_host: usize,
}

impl Places {
    /// Requests to receivers that are slow or unknown: half, but at least one.
    fn slow(self) -> usize {
        self.total.div_ceil(2)
    }
}

/// A delivery that this process holds, with its event.
#[derive(Debug, Clone)]
pub struct Held {
    /// The delivery and its lease.
    pub leased: Leased,
    /// The event to deliver.
    pub event: Arc<Event>,
    /// This process's id when it took the delivery. If it was declared dead since, it no longer holds the delivery.
    pub node: NodeId,
}

impl Held {
    /// The size of its payload.
    pub fn bytes(&self) -> usize {
        let text = |json: &Option<Arc<str>>| json.as_ref().map_or(0, |text| text.len());
        text(&self.event.data) + text(&self.event.previous)
    }
}

/// The duration of an attempt, as far as fairness needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// A response, or an error, after this time.
    Took(Duration),
    /// No response within the deadline.
    TimedOut,
    /// No request was made.
    Unsent,
}

#[derive(Debug)]
struct PerWebhook {
    company: CompanyId,
    /// The host of its URL. It is fixed while anything is in flight, so that places are freed where they were taken.
    host: Option<Host>,
    waiting: VecDeque<Held>,
    in_flight: usize,
    unsettled: usize,
    cap: usize,
    standing: Standing,
    /// The ring in which its turn counts. Other rings may still contain it from before its rank changed.
    in_ring: Option<Rank>,
    /// Its host had no place for it. It enters its ring again when the host has one.
    turned_away: bool,
    /// How many of its attempts in flight count as slow; decided when each starts.
    slow_in_flight: usize,
}

impl PerWebhook {
    fn held(&self) -> usize {
        self.waiting.len() + self.in_flight
    }

    fn may_start(&self) -> bool {
        !self.waiting.is_empty() && self.in_flight < self.cap && self.unsettled < MAX_UNSETTLED_PER_WEBHOOK
    }

    fn rank(&self) -> Rank {
        match self.standing {
            Standing::Proven => Rank::Proven,
            Standing::Unknown if self.in_flight == 0 => Rank::First,
            Standing::Unknown | Standing::Slow => Rank::Later,
        }
    }
}

/// The deliveries that this process holds.
#[derive(Debug)]
pub struct Queue {
    places: Places,
    webhooks: HashMap<WebhookId, PerWebhook>,
    proven: Ring,
    first: Ring,
    later: Ring,
    unproven_turn: bool,
    hosts: Hosts,
    held: usize,
    unproven_held: UnprovenHeld,
    held_bytes: usize,
    in_flight: usize,
    slow_in_flight: usize,
}

impl Queue {
    /// An empty queue.
    pub fn new(places: Places) -> Self {
        Self {
            places,
            webhooks: HashMap::new(),
            proven: Ring::default(),
            first: Ring::default(),
            later: Ring::default(),
            unproven_turn: false,
            hosts: Hosts::new(places.per_host),
            held: 0,
            unproven_held: UnprovenHeld::default(),
            held_bytes: 0,
            in_flight: 0,
            slow_in_flight: 0,
        }
    }

    /// Adds a delivery, with its webhook's host if it is known. Without one, it counts for no host's share. The caller
    /// checks for room before.
    pub fn push(&mut self, held: Held, host: Option<Host>) {
        let webhook = held.leased.key.webhook;
        if self.webhooks.len() > MAX_IDLE && !self.webhooks.contains_key(&webhook) {
            self.webhooks
                .retain(|_, entry| entry.held() > 0 || entry.unsettled > 0);
        }
        let entry = self.webhooks.entry(webhook).or_insert_with(|| PerWebhook {
            company: held.leased.company,
            host: None,
            waiting: VecDeque::new(),
            in_flight: 0,
            unsettled: 0,
            cap: self.places.per_webhook,
            standing: Standing::Unknown,
            in_ring: None,
            turned_away: false,
            slow_in_flight: 0,
        });
        if entry.in_flight == 0 {
            entry.host = host;
        }
        self.held_bytes += held.bytes();
        self.unproven_held.add(entry.standing, 1);
        entry.waiting.push_back(held);
        self.held += 1;
        self.enter_ring(webhook);
    }

    /// The next delivery to attempt. It takes a place. `None` if no place is free or no webhook may start an attempt.
    pub fn pop(&mut self) -> Option<Held> {
        if self.in_flight >= self.places.total {
            return None;
        }
        self.unproven_turn = !self.unproven_turn;
        let unproven_first = self.unproven_turn;
        let unproven = |queue: &mut Self| {
            queue
                .pop_from(Rank::First)
                .or_else(|| queue.pop_from(Rank::Later))
        };
        if unproven_first {
            unproven(self).or_else(|| self.pop_from(Rank::Proven))
        } else {
            self.pop_from(Rank::Proven).or_else(|| unproven(self))
        }
    }

    fn pop_from(&mut self, rank: Rank) -> Option<Held> {
        let unproven = rank != Rank::Proven;
        if unproven && self.slow_in_flight >= self.places.slow() {
            return None;
        }
        loop {
            let webhook = self.ring(rank).pop()?;
            let Some(entry) = self.webhooks.get_mut(&webhook) else {
                continue;
            };
            if entry.in_ring != Some(rank) {
                continue;
            }
            entry.in_ring = None;
            if !entry.may_start() {
                continue;
            }
            if entry.rank() != rank {
                self.enter_ring(webhook);
                continue;
            }
            if let Some(host) = &entry.host
                && !self.hosts.take(host, webhook, unproven)
            {
                entry.turned_away = true;
                continue;
            }
            let held = entry.waiting.pop_front();
            entry.in_flight += 1;
            self.in_flight += 1;
            if unproven {
                entry.slow_in_flight += 1;
                self.slow_in_flight += 1;
            }
            self.enter_ring(webhook);
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
        self.enter_ring(webhook);
    }

    /// Notes that an attempt from [`pop`](Self::pop), with this size of payload, is over: its place is free, and its
    /// webhook's pace is known.
    pub fn finish(&mut self, webhook: WebhookId, bytes: usize, pace: Pace) {
        self.held_bytes = self.held_bytes.saturating_sub(bytes);
        let Some(entry) = self.webhooks.get_mut(&webhook) else {
            return;
        };
        self.unproven_held.remove(entry.standing, entry.held());
        entry.in_flight = entry.in_flight.saturating_sub(1);
        self.in_flight = self.in_flight.saturating_sub(1);
        self.held = self.held.saturating_sub(1);
        let was_unproven = entry.slow_in_flight > 0;
        if was_unproven {
            entry.slow_in_flight -= 1;
            self.slow_in_flight = self.slow_in_flight.saturating_sub(1);
        }
        match pace {
            Pace::TimedOut => {
                entry.standing = Standing::Slow;
                entry.cap = (entry.cap / 2).max(1);
            }
            Pace::Took(duration) => {
                entry.standing = if duration < SLOW {
                    Standing::Proven
                } else {
                    Standing::Slow
                };
                entry.cap = (entry.cap + 1).min(self.places.per_webhook);
            }
            Pace::Unsent => {}
        }
        self.unproven_held.add(entry.standing, entry.held());
        if entry.standing == Standing::Proven {
            // It may have been turned away before it was proven.
            entry.turned_away = false;
        }
        let host = entry.host.clone();
        self.enter_ring(webhook);
        if let Some(host) = host {
            self.come_back(&host, was_unproven);
        }
    }

    /// A place at a host is free: webhooks that it turned away may try again.
    fn come_back(&mut self, host: &Host, was_unproven: bool) {
        for webhook in self.hosts.give_back(host, was_unproven) {
            if let Some(entry) = self.webhooks.get_mut(&webhook) {
                entry.turned_away = false;
            }
            self.enter_ring(webhook);
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
    /// flight, and only one if half of the memory share for its standing is used up.
    pub fn room_for(&self, webhook: WebhookId) -> usize {
        let entry = self.webhooks.get(&webhook);
        let held = entry.map_or(0, PerWebhook::held);
        let standing = entry.map_or(Standing::Unknown, |entry| entry.standing);
        let in_all = self.unproven_held.room(standing);
        let of_webhook = match standing {
            Standing::Proven => MAX_HELD_PER_WEBHOOK,
            Standing::Unknown | Standing::Slow if in_all <= MAX_UNPROVEN_HELD / 2 => 1,
            Standing::Unknown | Standing::Slow => entry.map_or(self.places.per_webhook, |entry| entry.cap),
        };
        of_webhook.saturating_sub(held).min(in_all).min(self.room())
    }

    /// Webhooks that should get no more deliveries for now. These are webhooks that are at least half full: a flood goes
    /// to the table while the held deliveries are worked off. They are also slow or unknown webhooks that hold as many
    /// as may be in flight, while the memory share for their standing is used up.
    pub fn full(&self) -> Vec<WebhookId> {
        let full = |entry: &PerWebhook| {
            entry.held() >= MAX_HELD_PER_WEBHOOK / 2
                || (self.unproven_held.room(entry.standing) == 0 && entry.held() >= entry.cap)
        };
        self.webhooks
            .iter()
            .filter(|(_, entry)| full(entry))
            .map(|(id, _)| *id)
            .collect()
    }

    /// Takes out the waiting deliveries of a webhook.
    pub fn take(&mut self, webhook: WebhookId) -> Vec<Held> {
        let Some(entry) = self.webhooks.get_mut(&webhook) else {
            return Vec::new();
        };
        let taken: Vec<Held> = entry.waiting.drain(..).collect();
        self.held -= taken.len();
        self.unproven_held.remove(entry.standing, taken.len());
        self.held_bytes -= taken.iter().map(Held::bytes).sum::<usize>();
        taken
    }

    /// Takes out all waiting deliveries.
    pub fn take_all(&mut self) -> Vec<Held> {
        let webhooks: Vec<WebhookId> = self.webhooks.keys().copied().collect();
        webhooks
            .into_iter()
            .flat_map(|webhook| self.take(webhook))
            .collect()
    }

    /// The earliest end of a waiting delivery's lease.
    pub fn first_lease_end(&self) -> Option<Timestamp> {
        self.waiting().map(|held| held.leased.lease.until).min()
    }

    /// Waiting deliveries whose lease ends before `until`, by key and token.
    pub fn ending_before(&self, until: Timestamp) -> Vec<(DeliveryKey, i64)> {
        self.waiting()
            .filter(|held| held.leased.lease.until < until)
            .map(|held| (held.leased.key, held.leased.lease.token))
            .collect()
    }

    /// The leases of `kept` now end at `until`. The other deliveries of `asked` belong to other processes and are
    /// dropped.
    pub fn extended(&mut self, asked: &[(DeliveryKey, i64)], kept: &[usize], until: Timestamp) {
        let mut verdict: HashMap<(DeliveryKey, i64), bool> =
            asked.iter().map(|held| (*held, false)).collect();
        for index in kept {
            verdict.insert(asked[*index], true);
        }
        for entry in self.webhooks.values_mut() {
            let (before, bytes) = (entry.waiting.len(), &mut self.held_bytes);
            entry.waiting.retain_mut(
                |held| match verdict.get(&(held.leased.key, held.leased.lease.token)) {
                    Some(true) => {
                        held.leased.lease.until = until;
                        true
                    }
                    Some(false) => {
                        *bytes -= held.bytes();
                        false
                    }
                    None => true,
                },
            );
            let gone = before - entry.waiting.len();
            self.held -= gone;
            self.unproven_held.remove(entry.standing, gone);
        }
    }

    /// Whether nothing is in flight.
    pub fn is_quiet(&self) -> bool {
        self.in_flight == 0
    }

    /// Deliveries waiting and in flight.
    pub fn sizes(&self) -> (usize, usize) {
        (self.held - self.in_flight, self.in_flight)
    }

    fn waiting(&self) -> impl Iterator<Item = &Held> {
        self.webhooks.values().flat_map(|entry| entry.waiting.iter())
    }

    fn enter_ring(&mut self, webhook: WebhookId) {
        let Some(entry) = self.webhooks.get_mut(&webhook) else {
            return;
        };
        let (company, rank) = (entry.company, entry.rank());
        if entry.turned_away || entry.in_ring == Some(rank) || !entry.may_start() {
            return;
        }
        entry.in_ring = Some(rank);
        self.ring(rank).push(company, webhook);
    }

    fn ring(&mut self, rank: Rank) -> &mut Ring {
        match rank {
            Rank::Proven => &mut self.proven,
            Rank::First => &mut self.first,
            Rank::Later => &mut self.later,
        }
    }
}

#[cfg(test)]
mod tests;
