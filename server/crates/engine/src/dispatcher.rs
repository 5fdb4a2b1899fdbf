//! Starts attempts while there is capacity: a free place by the limits on requests, and room among the results that are
//! not settled yet.
//!
//! It is one task. Whoever frees capacity or adds deliveries notifies it, and several notifications that come together
//! wake it once. Simulated time does not move between a notification and the starts that follow from it, because a
//! notified task counts as busy.

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
    pub async fn run(self) {
        loop {
            self.dispatch();
            self.clock.park(self.held.capacity()).await;
        }
    }

    /// Starts as many attempts as there is capacity for; none while the server stops.
    fn dispatch(&self) {
        while !self.process.is_stopping() && !self.in_flight.is_full() {
            let Some((held, permit)) = self.held.next() else {
                break;
            };
            let attempt = self.attempts.clone().run(held, permit);
            drop(self.clock.spawn("attempt", attempt));
        }
    }
}
