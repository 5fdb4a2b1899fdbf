//! What this process holds, and whose turn it is: fairness (D8), in memory.
//!
//! Promises that a webhook has at most its share in flight and in memory, that companies take turns and within a
//! company its webhooks, and that receivers that are slow, or have yet to show that they are not, hold at most half
//! of all places: a slow or dead receiver delays nobody else. Does not promise any order of deliveries (D11).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::model::delivery::Leased;
use crate::model::event::Event;
use crate::model::ids::{CompanyId, DeliveryKey, NodeId, WebhookId};

/// Deliveries held in all, waiting or in flight.
pub const MAX_HELD: usize = 10_000;
/// Bytes of payload held in all, counted once per delivery: past it nothing more is taken in. What is under way to us
/// then still comes, so memory goes over it by a claim's worth.
pub const MAX_HELD_BYTES: usize = 128 * 1024 * 1024;
/// Deliveries held for one webhook.
pub const MAX_HELD_PER_WEBHOOK: usize = 256;
/// A receiver that answers slower than this is slow.
const SLOW: Duration = Duration::from_secs(1);
/// Webhooks whose pace is remembered while nothing is held for them.
const MAX_IDLE: usize = 20_000;

/// How much may be on the wire at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    /// Requests in all. Half of them are for receivers that are slow or unproven.
    pub total: usize,
    /// Requests to one webhook; fewer after time-outs.
    pub per_webhook: usize,
}

impl Places {
    /// Requests to receivers that are slow or unproven: half, but never none.
    fn slow(self) -> usize {
        self.total.div_ceil(2)
    }
}

/// A delivery in our hands, with what it is about.
#[derive(Debug, Clone)]
pub struct Held {
    /// The delivery and the right to work on it.
    pub leased: Leased,
    /// What it delivers.
    pub event: Arc<Event>,
    /// As whom this process took it: one that was declared dead meanwhile holds nothing.
    pub node: NodeId,
}

impl Held {
    fn bytes(&self) -> usize {
        let text = |json: &Option<String>| json.as_ref().map_or(0, String::len);
        text(&self.event.data) + text(&self.event.previous)
    }
}

/// How an attempt went, as far as fairness cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// An answer, or an error, after so long.
    Took(Duration),
    /// None within the deadline.
    TimedOut,
    /// No request was made.
    Unsent,
}

#[derive(Debug)]
struct PerWebhook {
    company: CompanyId,
    waiting: VecDeque<Held>,
    in_flight: usize,
    cap: usize,
    proven: bool,
    in_ring: bool,
    /// Whether its attempts in flight are counted as slow: fixed when each starts.
    slow_in_flight: usize,
}

impl PerWebhook {
    fn held(&self) -> usize {
        self.waiting.len() + self.in_flight
    }

    fn may_start(&self) -> bool {
        !self.waiting.is_empty() && self.in_flight < self.cap
    }
}

/// Webhooks that may start something, company by company.
#[derive(Debug, Default)]
struct Ring {
    companies: VecDeque<CompanyId>,
    webhooks: HashMap<CompanyId, VecDeque<WebhookId>>,
}

impl Ring {
    fn push(&mut self, company: CompanyId, webhook: WebhookId) {
        let webhooks = self.webhooks.entry(company).or_default();
        if webhooks.is_empty() {
            self.companies.push_back(company);
        }
        webhooks.push_back(webhook);
    }

    fn pop(&mut self) -> Option<WebhookId> {
        let company = self.companies.pop_front()?;
        let webhooks = self.webhooks.get_mut(&company)?;
        let webhook = webhooks.pop_front();
        if webhooks.is_empty() {
            self.webhooks.remove(&company);
        } else {
            self.companies.push_back(company);
        }
        webhook
    }
}

/// The deliveries this process holds.
#[derive(Debug)]
pub struct Queue {
    places: Places,
    webhooks: HashMap<WebhookId, PerWebhook>,
    proven: Ring,
    unproven: Ring,
    unproven_turn: bool,
    held: usize,
    waiting_bytes: usize,
    in_flight: usize,
    slow_in_flight: usize,
}

impl Queue {
    /// Holds nothing yet.
    pub fn new(places: Places) -> Self {
        Self {
            places,
            webhooks: HashMap::new(),
            proven: Ring::default(),
            unproven: Ring::default(),
            unproven_turn: false,
            held: 0,
            waiting_bytes: 0,
            in_flight: 0,
            slow_in_flight: 0,
        }
    }

    /// Takes a delivery in. Room is the caller's to look at before.
    pub fn push(&mut self, held: Held) {
        let webhook = held.leased.key.webhook;
        if self.webhooks.len() > MAX_IDLE && !self.webhooks.contains_key(&webhook) {
            self.webhooks.retain(|_, entry| entry.held() > 0);
        }
        let entry = self.webhooks.entry(webhook).or_insert_with(|| PerWebhook {
            company: held.leased.company,
            waiting: VecDeque::new(),
            in_flight: 0,
            cap: self.places.per_webhook,
            proven: false,
            in_ring: false,
            slow_in_flight: 0,
        });
        self.waiting_bytes += held.bytes();
        entry.waiting.push_back(held);
        self.held += 1;
        self.enter_ring(webhook);
    }

    /// The next delivery to attempt, whose place it takes; `None` while every place or webhook is taken.
    pub fn pop(&mut self) -> Option<Held> {
        if self.in_flight >= self.places.total {
            return None;
        }
        self.unproven_turn = !self.unproven_turn;
        let unproven_first = self.unproven_turn;
        self.pop_from(unproven_first)
            .or_else(|| self.pop_from(!unproven_first))
    }

    fn pop_from(&mut self, unproven: bool) -> Option<Held> {
        if unproven && self.slow_in_flight >= self.places.slow() {
            return None;
        }
        loop {
            let webhook = if unproven {
                self.unproven.pop()?
            } else {
                self.proven.pop()?
            };
            let Some(entry) = self.webhooks.get_mut(&webhook) else {
                continue;
            };
            entry.in_ring = false;
            if !entry.may_start() {
                continue;
            }
            if entry.proven == unproven {
                self.enter_ring(webhook);
                continue;
            }
            let held = entry.waiting.pop_front();
            self.waiting_bytes -= held.as_ref().map_or(0, Held::bytes);
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

    /// An attempt that [`pop`](Self::pop) gave out is over: its place is free, and its webhook's pace known.
    pub fn finish(&mut self, webhook: WebhookId, pace: Pace) {
        let Some(entry) = self.webhooks.get_mut(&webhook) else {
            return;
        };
        entry.in_flight = entry.in_flight.saturating_sub(1);
        self.in_flight = self.in_flight.saturating_sub(1);
        self.held = self.held.saturating_sub(1);
        if entry.slow_in_flight > 0 {
            entry.slow_in_flight -= 1;
            self.slow_in_flight = self.slow_in_flight.saturating_sub(1);
        }
        match pace {
            Pace::TimedOut => {
                entry.proven = false;
                entry.cap = (entry.cap / 2).max(1);
            }
            Pace::Took(duration) => {
                entry.proven = duration < SLOW;
                entry.cap = (entry.cap + 1).min(self.places.per_webhook);
            }
            Pace::Unsent => {}
        }
        self.enter_ring(webhook);
    }

    /// How many more deliveries may be taken in, in all.
    pub fn room(&self) -> usize {
        if self.waiting_bytes >= MAX_HELD_BYTES {
            0
        } else {
            MAX_HELD.saturating_sub(self.held)
        }
    }

    /// How many more of this webhook's deliveries may be taken in.
    pub fn room_for(&self, webhook: WebhookId) -> usize {
        let held = self.webhooks.get(&webhook).map_or(0, PerWebhook::held);
        MAX_HELD_PER_WEBHOOK.saturating_sub(held).min(self.room())
    }

    /// Webhooks that are to be given nothing more for now: at least half full, so that a flood goes to the table
    /// while what is held is worked off.
    pub fn full(&self) -> Vec<WebhookId> {
        let full = |entry: &PerWebhook| entry.held() >= MAX_HELD_PER_WEBHOOK / 2;
        self.webhooks
            .iter()
            .filter(|(_, entry)| full(entry))
            .map(|(id, _)| *id)
            .collect()
    }

    /// Takes out what waits for a webhook.
    pub fn take(&mut self, webhook: WebhookId) -> Vec<Held> {
        let Some(entry) = self.webhooks.get_mut(&webhook) else {
            return Vec::new();
        };
        let taken: Vec<Held> = entry.waiting.drain(..).collect();
        self.held -= taken.len();
        self.waiting_bytes -= taken.iter().map(Held::bytes).sum::<usize>();
        taken
    }

    /// Takes out everything that waits.
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

    /// The leases of `kept` now end at `until`; what of `asked` was not kept belongs to somebody else and is let go.
    pub fn extended(&mut self, asked: &[(DeliveryKey, i64)], kept: &[usize], until: Timestamp) {
        let mut verdict: HashMap<(DeliveryKey, i64), bool> =
            asked.iter().map(|held| (*held, false)).collect();
        for index in kept {
            verdict.insert(asked[*index], true);
        }
        for entry in self.webhooks.values_mut() {
            let (before, bytes) = (entry.waiting.len(), &mut self.waiting_bytes);
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
            self.held -= before - entry.waiting.len();
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
        if entry.in_ring || !entry.may_start() {
            return;
        }
        entry.in_ring = true;
        let ring = if entry.proven {
            &mut self.proven
        } else {
            &mut self.unproven
        };
        ring.push(entry.company, webhook);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::delivery::Lease;
    use crate::model::event::ChangeSource;
    use crate::model::ids::{EventId, Lane, UserId};
    use crate::model::webhook::EventAction;

    const PLACES: Places = Places {
        total: 512,
        per_webhook: 8,
    };

    fn at() -> Timestamp {
        "2026-11-23T00:00:00Z".parse().unwrap()
    }

    fn held(company: i64, webhook: WebhookId) -> Held {
        let company = CompanyId::new(company).unwrap();
        let event = Event {
            lane: Lane::of(company),
            id: EventId::new(at()),
            company,
            action: EventAction::Create,
            object: "deal".to_owned(),
            object_id: "1".parse().unwrap(),
            user: UserId::new(1).unwrap(),
            data: None,
            previous: None,
            permitted: None,
            change_source: ChangeSource::App,
            is_bulk_edit: false,
            merge: None,
            correlation_id: String::new(),
            host: None,
            occurred_at: None,
            accepted_at: at(),
        };
        let key = DeliveryKey {
            lane: event.lane,
            webhook,
            event: event.id,
            generation: 0,
        };
        let lease = Lease {
            token: 1,
            until: at(),
        };
        let leased = Leased {
            key,
            company,
            attempt: 1,
            due_at: at(),
            created_at: at(),
            lease,
        };
        Held {
            leased,
            event: Arc::new(event),
            node: NodeId(1),
        }
    }

    #[test]
    fn companies_take_turns_and_within_one_its_webhooks() {
        let mut queue = Queue::new(PLACES);
        let (a, b, c) = (WebhookId::new(at()), WebhookId::new(at()), WebhookId::new(at()));
        for _ in 0..4 {
            queue.push(held(1, a));
            queue.push(held(1, b));
        }
        queue.push(held(2, c));
        let order: Vec<WebhookId> = (0..5).map(|_| queue.pop().unwrap().leased.key.webhook).collect();
        assert_eq!(order, [a, c, b, a, b]);
    }

    #[test]
    fn a_webhook_has_at_most_its_share_in_flight_and_in_memory() {
        let mut queue = Queue::new(PLACES);
        let webhook = WebhookId::new(at());
        for _ in 0..MAX_HELD_PER_WEBHOOK {
            assert!(queue.room_for(webhook) > 0);
            queue.push(held(1, webhook));
        }
        assert_eq!(queue.room_for(webhook), 0);
        assert_eq!(queue.full(), [webhook]);
        for _ in 0..PLACES.per_webhook {
            assert!(queue.pop().is_some());
        }
        assert!(queue.pop().is_none());
        queue.finish(webhook, Pace::Took(Duration::ZERO));
        assert!(queue.pop().is_some());
        assert!(queue.pop().is_none());
    }

    #[test]
    fn time_outs_halve_the_share_and_answers_bring_it_back() {
        let mut queue = Queue::new(PLACES);
        let webhook = WebhookId::new(at());
        (0..64).for_each(|_| queue.push(held(1, webhook)));
        let drain = |queue: &mut Queue| std::iter::from_fn(|| queue.pop()).count();
        assert_eq!(drain(&mut queue), 8);
        (0..8).for_each(|_| queue.finish(webhook, Pace::TimedOut));
        assert_eq!(drain(&mut queue), 1);
        queue.finish(webhook, Pace::Took(Duration::ZERO));
        assert_eq!(drain(&mut queue), 2);
    }

    #[test]
    fn receivers_that_have_not_proved_themselves_hold_at_most_half_of_all_places() {
        let mut queue = Queue::new(PLACES);
        for company in 1..=1_000 {
            let webhook = WebhookId::new(at());
            queue.push(held(company, webhook));
        }
        let hanging = std::iter::from_fn(|| queue.pop()).count();
        assert_eq!(hanging, PLACES.slow());
        assert_eq!(queue.sizes(), (1_000 - PLACES.slow(), PLACES.slow()));
    }

    #[test]
    fn a_proven_receiver_goes_on_while_slow_ones_fill_their_half() {
        let mut queue = Queue::new(PLACES);
        let healthy = WebhookId::new(at());
        queue.push(held(1, healthy));
        queue.pop().unwrap();
        queue.finish(healthy, Pace::Took(Duration::from_millis(1)));
        for company in 2..=1_000 {
            queue.push(held(company, WebhookId::new(at())));
        }
        while queue.pop().is_some() {}
        queue.push(held(1, healthy));
        assert_eq!(queue.pop().unwrap().leased.key.webhook, healthy);
        assert!(queue.pop().is_none());
    }

    #[test]
    fn a_lease_that_was_not_extended_is_let_go() {
        let mut queue = Queue::new(PLACES);
        let webhook = WebhookId::new(at());
        (0..3).for_each(|_| queue.push(held(1, webhook)));
        let later = at() + jiff::SignedDuration::from_secs(90);
        let asked = queue.ending_before(later);
        assert_eq!(asked.len(), 3);
        queue.extended(&asked, &[0, 2], later);
        assert_eq!(queue.sizes(), (2, 0));
        assert_eq!(queue.first_lease_end(), Some(later));
        assert!(queue.ending_before(later).is_empty());
    }

    #[test]
    fn what_waits_for_a_webhook_can_be_taken_out() {
        let mut queue = Queue::new(PLACES);
        let (a, b) = (WebhookId::new(at()), WebhookId::new(at()));
        queue.push(held(1, a));
        queue.push(held(1, b));
        assert_eq!(queue.take(a).len(), 1);
        assert_eq!(queue.pop().unwrap().leased.key.webhook, b);
        assert!(queue.pop().is_none());
    }
}
