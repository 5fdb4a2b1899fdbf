//! What the scheduler knows of one webhook: what waits, what is in flight, and how fast its receiver is.

use std::collections::VecDeque;

use super::receiver_speed::{Speed, Tier};
use super::{HeldDelivery, Host, MAX_UNSETTLED_PER_WEBHOOK};
use tenterhook_model::ids::CompanyId;

#[derive(Debug)]
pub(super) struct PerWebhook {
    pub(super) company: CompanyId,
    /// The host of its URL. It is fixed while anything is in flight, so that places are freed where they were taken.
    pub(super) host: Option<Host>,
    pub(super) waiting: VecDeque<HeldDelivery>,
    pub(super) in_flight: usize,
    pub(super) unsettled: usize,
    pub(super) cap: usize,
    pub(super) speed: Speed,
    /// The list in which its turn counts. Other lists may still contain it from before its tier changed.
    pub(super) queued_in: Option<Tier>,
    /// Its host had no place for it. It enters its list again when the host has one.
    pub(super) deferred: bool,
    /// How many of its attempts in flight count as slow; decided when each starts.
    pub(super) slow_in_flight: usize,
}

impl PerWebhook {
    /// A webhook without deliveries, whose receiver is untried; `cap` of its requests may be in flight.
    pub(super) fn new(company: CompanyId, cap: usize) -> Self {
        Self {
            company,
            host: None,
            waiting: VecDeque::new(),
            in_flight: 0,
            unsettled: 0,
            cap,
            speed: Speed::Unknown,
            queued_in: None,
            deferred: false,
            slow_in_flight: 0,
        }
    }

    /// Notes the host of its URL. Call it only while the webhook has no attempt in flight. If the host has changed, returns
    /// the old one. The receiver then counts as untried, and attempts that waited for a place at the old host may start at
    /// the new one.
    pub(super) fn lead_to(&mut self, host: Option<Host>, cap: usize) -> Option<Host> {
        let before = std::mem::replace(&mut self.host, host);
        let left = before.filter(|before| self.host.as_ref().is_some_and(|host| host != before))?;
        self.speed = Speed::Unknown;
        self.cap = cap;
        self.deferred = false;
        Some(left)
    }

    pub(super) fn held(&self) -> usize {
        self.waiting.len() + self.in_flight
    }

    pub(super) fn may_start(&self) -> bool {
        !self.waiting.is_empty() && self.in_flight < self.cap && self.unsettled < MAX_UNSETTLED_PER_WEBHOOK
    }

    pub(super) fn tier(&self) -> Tier {
        match self.speed {
            Speed::Fast => Tier::Fast,
            Speed::Unknown if self.in_flight == 0 => Tier::Untried,
            Speed::Unknown | Speed::Slow => Tier::Slow,
        }
    }
}
