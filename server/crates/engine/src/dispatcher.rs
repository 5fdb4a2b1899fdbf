//! Starts attempts while there is capacity: a free place by the limits on requests, and room among the results that are
//! not settled yet.
//!
//! It is one task. Whoever frees capacity or adds deliveries notifies it, and several notifications that come together
//! wake it once. Simulated time does not move between a notification and the starts that follow from it, because a
//! notified task counts as busy.
//!
//! The committers start the attempts of what they have published themselves: on a machine without idle cores a notified
//! task waits behind all others, which made deliveries 12 ms late (2026-12-01, two cores, fan-out 10).

use std::sync::Arc;

use crate::cluster::process::ProcessState;
use crate::deliver::attempt::Attempts;
use crate::deliver::held_deliveries::HeldDeliveries;
use crate::settle::in_flight_attempts::InFlightAttempts;
use tenterhook_clock::Clock;

/// Starts attempts.
pub(crate) struct Dispatcher {
    pub clock: Clock,
    pub process: Arc<ProcessState>,
    pub held: Arc<HeldDeliveries>,
    pub in_flight: Arc<InFlightAttempts>,
    pub attempts: Arc<Attempts>,
}

impl Dispatcher {
    /// Starts attempts until the process ends.
    pub async fn run(self: Arc<Self>) {
        loop {
            self.dispatch();
            self.clock.park(self.held.capacity()).await;
        }
    }

    /// Starts as many attempts as there is capacity for; none while the server stops.
    pub fn dispatch(&self) {
        while !self.process.is_stopping() && !self.in_flight.is_full() {
            let Some((held, permit)) = self.held.next() else {
                break;
            };
            let attempt = self.attempts.clone().run(held, permit);
            drop(self.clock.spawn("attempt", attempt));
        }
    }
}
