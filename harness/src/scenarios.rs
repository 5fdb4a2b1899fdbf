//! The catalogue of scenarios: each one shows that a promise of the policy holds.
//!
//! Guarantees: a scenario for each rule (a test compares with [`crate::rules::RULES`]), for both webhook types where the
//! rule is about deliveries, bans or removal (P1); one just below, at and above each number of the policy; and scenarios
//! for mistakes that were seen in other systems. Names are stable, because reports and CI refer to them.

mod app_views;
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
mod permitted_users;
mod previous;
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

use crate::scenario::{Scenario, Types};
use crate::webhook_type::WebhookType;

/// Every play of every scenario, in the order in which reports list them: a scenario that is about both webhook types is
/// in the list twice, once for each.
pub fn all() -> Vec<Scenario> {
    let plays = |(types, part): (Types, Vec<Scenario>)| {
        let plays = part.into_iter().flat_map(move |scenario| scenario.by_type(types));
        plays.collect::<Vec<_>>()
    };
    parts().into_iter().flat_map(plays).collect()
}

/// The parts of the catalogue, each with the webhook types for which its scenarios are played unless they say otherwise.
fn parts() -> Vec<(Types, Vec<Scenario>)> {
    vec![
        (Types::Once, webhooks::scenarios()),
        (Types::Once, targets::scenarios()),
        (Types::Both, credentials::scenarios()),
        (Types::Once, limits::scenarios()),
        (Types::Once, visibility::scenarios()),
        (Types::Once, app_views::scenarios()),
        (Types::Once, permissions::scenarios()),
        (Types::Only(WebhookType::Application), apps::scenarios()),
        (Types::Once, events::scenarios()),
        (Types::Both, faults::scenarios()),
        (Types::Once, batches::scenarios()),
        (Types::Once, idempotency::scenarios()),
        (Types::Both, payloads::scenarios()),
        (Types::Both, previous::scenarios()),
        (Types::Both, permitted_users::scenarios()),
        (Types::Both, verbatim::scenarios()),
        (Types::Both, signatures::scenarios()),
        (Types::Both, outcomes::scenarios()),
        (Types::Both, timeouts::scenarios()),
        (Types::Both, names::scenarios()),
        (Types::Both, deliveries::scenarios()),
        (Types::Both, attempt_log::scenarios()),
        (Types::Both, bans::scenarios()),
        (Types::Both, bans_in_motion::scenarios()),
        (Types::Both, retries::scenarios()),
        (Types::Both, removal::scenarios()),
        (Types::Both, restoring::scenarios()),
        (Types::Both, pauses::scenarios()),
        (Types::Both, notices::scenarios()),
        (Types::Once, live::scenarios()),
        (Types::Both, replays::scenarios()),
        (Types::Once, types::scenarios()),
        (Types::Both, failing::scenarios()),
    ]
}

#[cfg(test)]
mod tests;
