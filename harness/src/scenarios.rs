//! The catalogue of scenarios: each one shows that a promise of the policy holds.
//!
//! Guarantees: a scenario for each rule (a test compares with [`crate::rules::RULES`]); one just below, at and above
//! each number of the policy; and scenarios for mistakes that were seen in other systems. Names are stable, because
//! reports and CI refer to them.

mod apps;
mod attempt_log;
mod bans;
mod bans_in_motion;
mod batches;
mod callers;
mod credentials;
mod deliveries;
mod events;
mod failing;
mod faults;
mod idempotency;
mod limits;
mod live;
mod names;
mod notices;
mod outcomes;
mod pauses;
mod payloads;
mod permissions;
mod removal;
mod replays;
mod restoring;
mod retries;
mod scene;
mod signatures;
mod targets;
mod timeouts;
mod types;
mod verbatim;
mod visibility;
mod webhooks;

use crate::scenario::Scenario;

/// Every scenario, in the order in which reports list them.
pub fn all() -> Vec<Scenario> {
    [
        webhooks::scenarios(),
        targets::scenarios(),
        credentials::scenarios(),
        limits::scenarios(),
        visibility::scenarios(),
        permissions::scenarios(),
        apps::scenarios(),
        events::scenarios(),
        faults::scenarios(),
        batches::scenarios(),
        idempotency::scenarios(),
        payloads::scenarios(),
        verbatim::scenarios(),
        signatures::scenarios(),
        outcomes::scenarios(),
        timeouts::scenarios(),
        names::scenarios(),
        deliveries::scenarios(),
        attempt_log::scenarios(),
        bans::scenarios(),
        bans_in_motion::scenarios(),
        retries::scenarios(),
        removal::scenarios(),
        restoring::scenarios(),
        pauses::scenarios(),
        notices::scenarios(),
        live::scenarios(),
        replays::scenarios(),
        types::scenarios(),
        failing::scenarios(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests;
