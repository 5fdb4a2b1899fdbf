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

/// Why a part of the catalogue is not played through REST; `None` if it is, except for scenarios that say otherwise.
type NotThroughRest = Option<&'static str>;

/// The parts about webhooks, visibility, permissions and limits.
const THROUGH_REST: NotThroughRest = None;
/// They would repeat through REST what GraphQL has shown: a webhook is the same whichever API created it.
const DELIVERIES: NotThroughRest = Some("about events and deliveries");
const BANS_AND_REMOVAL: NotThroughRest = Some("about bans and removal");
const NOT_IN_REST: NotThroughRest = Some("about calls that REST does not offer");

/// Every play of every scenario, in the order in which reports list them: a scenario that is about both webhook types is
/// in the list twice, once for each.
pub fn all() -> Vec<Scenario> {
    let plays = |(types, not_through_rest, part): (Types, NotThroughRest, Vec<Scenario>)| {
        let plays = part.into_iter().flat_map(move |mut scenario| {
            scenario.not_through_rest = scenario.not_through_rest.or(not_through_rest);
            scenario.by_type(types)
        });
        plays.collect::<Vec<_>>()
    };
    parts().into_iter().flat_map(plays).collect()
}

/// The parts of the catalogue, each with the webhook types for which its scenarios are played unless they say otherwise, and
/// why they are not played through REST.
fn parts() -> Vec<(Types, NotThroughRest, Vec<Scenario>)> {
    let application = Types::Only(WebhookType::Application);
    vec![
        (Types::Once, THROUGH_REST, webhooks::scenarios()),
        (Types::Once, THROUGH_REST, targets::scenarios()),
        (Types::Both, THROUGH_REST, credentials::scenarios()),
        (Types::Once, THROUGH_REST, limits::scenarios()),
        (Types::Once, THROUGH_REST, visibility::scenarios()),
        (Types::Once, NOT_IN_REST, app_views::scenarios()),
        (Types::Once, THROUGH_REST, permissions::scenarios()),
        (application, THROUGH_REST, apps::scenarios()),
        (Types::Once, DELIVERIES, events::scenarios()),
        (Types::Both, DELIVERIES, faults::scenarios()),
        (Types::Once, DELIVERIES, batches::scenarios()),
        (Types::Once, DELIVERIES, idempotency::scenarios()),
        (Types::Both, DELIVERIES, payloads::scenarios()),
        (Types::Both, DELIVERIES, previous::scenarios()),
        (Types::Both, DELIVERIES, permitted_users::scenarios()),
        (Types::Both, DELIVERIES, verbatim::scenarios()),
        (Types::Both, DELIVERIES, signatures::scenarios()),
        (Types::Both, DELIVERIES, outcomes::scenarios()),
        (Types::Both, DELIVERIES, timeouts::scenarios()),
        (Types::Both, DELIVERIES, names::scenarios()),
        (Types::Both, DELIVERIES, deliveries::scenarios()),
        (Types::Both, NOT_IN_REST, attempt_log::scenarios()),
        (Types::Both, BANS_AND_REMOVAL, bans::scenarios()),
        (Types::Both, BANS_AND_REMOVAL, bans_in_motion::scenarios()),
        (Types::Both, DELIVERIES, retries::scenarios()),
        (Types::Both, BANS_AND_REMOVAL, removal::scenarios()),
        (Types::Both, NOT_IN_REST, restoring::scenarios()),
        (Types::Both, NOT_IN_REST, pauses::scenarios()),
        (Types::Both, NOT_IN_REST, notices::scenarios()),
        (Types::Once, NOT_IN_REST, live::scenarios()),
        (Types::Both, NOT_IN_REST, replays::scenarios()),
        (Types::Once, BANS_AND_REMOVAL, types::scenarios()),
        (Types::Both, BANS_AND_REMOVAL, failing::scenarios()),
    ]
}

#[cfg(test)]
mod tests;
