//! Which webhooks get an event, and which actions and objects can be subscribed to or published (W9, E2, E6).
//!
//! The store joins an event with the webhooks on what [`selector`] returns. The state of a webhook does not matter here: a
//! paused webhook matches its events too, and loses them (W13).

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use tenterhook_model::event::Event;
use tenterhook_model::webhook::{EventAction, PayloadVersion};
use tenterhook_settings::policy::Catalog;

/// The object of a subscription to all objects of its version.
pub(crate) const ANY_OBJECT: &str = "*";

/// The action that webhooks of each version see in an event. `None` if the version's catalogue does not have the event's
/// object: no webhook of that version gets the event then, not even one for `*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selector {
    /// For version 1.
    pub v1: Option<EventAction>,
    /// For version 2.
    pub v2: Option<EventAction>,
}

impl Selector {
    /// The action seen by webhooks of `version`.
    pub fn seen_by(self, version: PayloadVersion) -> Option<EventAction> {
        match version {
            PayloadVersion::V1 => self.v1,
            PayloadVersion::V2 => self.v2,
        }
    }
}

/// Why a pair of action and object is refused (W9).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotInCatalog {
    /// The action is not one of this version's, or not one that can be published.
    #[error("{0}")]
    Action(&'static str),
    /// The object is not in the catalogue.
    #[error("\"{0}\" is not an object of the event catalogue")]
    Object(String),
}

/// The action that webhooks of each version see in `event`.
pub fn selector(event: &Event, catalog: &Catalog) -> Selector {
    let seen_by = |version| {
        objects(version, catalog)
            .contains(&event.object)
            .then(|| event.action.seen_by(version))
    };
    Selector {
        v1: seen_by(PayloadVersion::V1),
        v2: seen_by(PayloadVersion::V2),
    }
}

/// The actions that a webhook of `version` can name, without `Any` (W9).
pub fn actions(version: PayloadVersion) -> &'static [EventAction] {
    match version {
        PayloadVersion::V1 => &[
            EventAction::Create,
            EventAction::Change,
            EventAction::Merge,
            EventAction::Delete,
        ],
        PayloadVersion::V2 => &[EventAction::Create, EventAction::Change, EventAction::Delete],
    }
}

/// The objects that a webhook of `version` can name, without `*` (W9).
pub fn objects(version: PayloadVersion, catalog: &Catalog) -> &BTreeSet<String> {
    match version {
        PayloadVersion::V1 => &catalog.v1,
        PayloadVersion::V2 => &catalog.v2,
    }
}

/// Whether a webhook of `version` may name this pair; each part is concrete or a wildcard (W9).
pub fn subscribable(
    action: EventAction,
    object: &str,
    version: PayloadVersion,
    catalog: &Catalog,
) -> Result<(), NotInCatalog> {
    if action != EventAction::Any && !actions(version).contains(&action) {
        return Err(NotInCatalog::Action(
            "version 2 has no action for merges: it sends a change and a delete",
        ));
    }
    if object != ANY_OBJECT && !objects(version, catalog).contains(object) {
        return Err(NotInCatalog::Object(object.to_owned()));
    }
    Ok(())
}

/// Whether an event may name this pair: a concrete action, and an object of at least one version's catalogue.
pub fn publishable(action: EventAction, object: &str, catalog: &Catalog) -> Result<(), NotInCatalog> {
    if action == EventAction::Any {
        return Err(NotInCatalog::Action(
            "an event has one action: ANY is for subscriptions only",
        ));
    }
    if !catalog.v1.contains(object) && !catalog.v2.contains(object) {
        return Err(NotInCatalog::Object(object.to_owned()));
    }
    Ok(())
}
