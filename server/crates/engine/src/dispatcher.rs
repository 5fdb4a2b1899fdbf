//! Starts attempts while there is capacity: a free place by the limits on requests, and room among the results that are
//! not settled yet.
//!
//! It is one task. Whoever frees capacity or adds deliveries notifies it, and several notifications that come together
//! wake it once. Simulated time does not move between a notification and the starts that follow from it, because a
//! notified task counts as busy.

use std::sync::Arc;

use crate::deliver::attempt;
use crate::state::{Permit, Shared};

/// Starts attempts until the process ends.
pub(crate) async fn run(shared: Arc<Shared>) {
    loop {
        dispatch(&shared);
        shared.clock.park(shared.capacity.notified()).await;
    }
}

/// Starts as many attempts as there is capacity for; none while the server stops.
fn dispatch(shared: &Arc<Shared>) {
    while !shared.is_stopping() && !shared.unsettled.is_full() {
        let Some(held) = shared.queue().pop() else { break };
        let permit = Permit::new(shared, &held);
        drop(
            shared
                .clock
                .spawn("attempt", attempt::run(shared.clone(), held, permit)),
        );
    }
}
