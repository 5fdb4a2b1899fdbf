//! The words of Pipedrive's JSON for values that the schema names differently.

use async_graphql::Value;
use async_graphql::resolver_utils::{EnumType, enum_value};

use tenterhook_model::webhook::{EventAction, PayloadVersion, WebhookType};

/// The versions, with their names.
pub const VERSIONS: [(&str, PayloadVersion); 2] = [("1.0", PayloadVersion::V1), ("2.0", PayloadVersion::V2)];

/// The actions that a webhook of this version can name.
pub fn actions(version: PayloadVersion) -> &'static [(&'static str, EventAction)] {
    match version {
        PayloadVersion::V1 => &[
            ("*", EventAction::Any),
            ("added", EventAction::Create),
            ("updated", EventAction::Change),
            ("merged", EventAction::Merge),
            ("deleted", EventAction::Delete),
        ],
        PayloadVersion::V2 => &[
            ("*", EventAction::Any),
            ("create", EventAction::Create),
            ("change", EventAction::Change),
            ("delete", EventAction::Delete),
        ],
    }
}

/// The name of an action of this version.
pub fn action_name(action: EventAction, version: PayloadVersion) -> &'static str {
    let action = action.seen_by(version);
    named(actions(version), action)
}

/// `1.0` or `2.0`.
pub fn version_name(version: PayloadVersion) -> &'static str {
    named(&VERSIONS, version)
}

/// `general` or `application`.
pub fn type_name(kind: WebhookType) -> &'static str {
    match kind {
        WebhookType::General => "general",
        WebhookType::Application => "application",
    }
}

/// The value with this name.
pub fn value<T: Copy>(names: &[(&str, T)], name: &str) -> Option<T> {
    let found = names.iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| *value)
}

/// The name of a value.
fn named<T: PartialEq>(names: &[(&'static str, T)], value: T) -> &'static str {
    let found = names.iter().find(|(_, known)| *known == value);
    found.map_or("", |(name, _)| *name)
}

/// The schema's name of an enum's value, in lower case.
pub fn lower_case<T: EnumType>(value: T) -> String {
    match enum_value(value) {
        Value::Enum(name) => name.to_lowercase(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::enums::RemoveReason;
    use tenterhook_policy::matching;

    #[test]
    fn names_of_versions_and_actions_parse_back_to_the_same_value() {
        for version in PayloadVersion::ALL {
            assert_eq!(value(&VERSIONS, version_name(*version)), Some(*version));
            let all = matching::actions(*version).iter().chain([&EventAction::Any]);
            for action in all {
                let name = action_name(*action, *version);
                assert_eq!(value(actions(*version), name), Some(*action), "{name:?}");
            }
        }
        assert_eq!(value(actions(PayloadVersion::V2), "added"), None);
        assert_eq!(value(actions(PayloadVersion::V1), "create"), None);
    }

    #[test]
    fn enums_are_in_lower_case() {
        assert_eq!(
            lower_case(RemoveReason::NoSuccessfulDelivery),
            "no_successful_delivery"
        );
    }
}
