//! Checks events before they are published, all of them together.

use std::sync::Arc;

use crate::types::event::publish::{ChangeSource, EventInput};
use crate::types::scalars::Json;
use crate::user_error::{Path, Problems, UserErrorCode};
use tenterhook_graphql_http::json::Text;
use tenterhook_model::event::Draft;
use tenterhook_model::ids::ObjectId;
use tenterhook_model::webhook::EventAction;
use tenterhook_policy::input_limits;
use tenterhook_policy::matching::{self, NotInCatalog};
use tenterhook_settings::policy::Catalog;

/// Checks all events and returns them typed, or all errors in any of them.
pub(super) fn check(events: Vec<EventInput>, catalog: &Catalog) -> Result<Vec<Draft>, Problems> {
    let list = Path::input().field("events");
    let mut problems = Problems::none();
    problems.check(&list, input_limits::entries(events.len(), input_limits::EVENTS));
    if !problems.is_empty() {
        return Err(problems);
    }
    let drafts: Vec<Option<Draft>> = events
        .into_iter()
        .enumerate()
        .map(|(index, event)| draft(event, &list.index(index), catalog, &mut problems))
        .collect();
    if problems.is_empty() {
        Ok(drafts.into_iter().flatten().collect())
    } else {
        Err(problems)
    }
}

fn draft(event: EventInput, at: &Path, catalog: &Catalog, problems: &mut Problems) -> Option<Draft> {
    let action = event.action.into();
    catalogued(action, &event.object.0, at, catalog, problems);
    let company = problems.check(&at.field("companyId"), event.company_id.parse());
    let object_id = problems.check(&at.field("objectId"), event.object_id.parse());
    let user = problems.check(&at.field("userId"), event.user_id.parse());
    let permitted = event.permitted_user_ids.map(|ids| {
        let list = at.field("permittedUserIds");
        problems.check(
            &list,
            input_limits::entries(ids.len(), input_limits::PERMITTED_USERS),
        );
        let users = ids
            .iter()
            .enumerate()
            .map(|(index, id)| problems.check(&list.index(index), id.parse()));
        users.collect::<Vec<_>>()
    });
    let data = json(event.data, &at.field("data"), problems);
    let previous = json(event.previous, &at.field("previous"), problems);
    let merged_previous = json(
        event.merged_from_previous,
        &at.field("mergedFromPrevious"),
        problems,
    );
    let merged_id = event.merged_from_id.as_ref().map(|id| id.as_str());
    let merged_from = merged(
        action,
        object_id.as_ref(),
        merged_id,
        merged_previous,
        at,
        problems,
    );
    for (name, text, limit) in [
        (
            "correlationId",
            event.correlation_id.as_ref().map(|id| id.as_str()),
            input_limits::CORRELATION_ID_CHARS,
        ),
        ("host", event.host.as_deref(), input_limits::HOST_CHARS),
        (
            "idempotencyKey",
            event.idempotency_key.as_deref(),
            input_limits::IDEMPOTENCY_KEY_CHARS,
        ),
    ] {
        if let Some(text) = text {
            problems.check(&at.field(name), input_limits::text(text, limit));
        }
    }
    Some(Draft {
        company: company?,
        action,
        object: event.object.0,
        object_id: object_id?,
        user: user?,
        data,
        previous,
        merged_from,
        permitted: permitted.map(|users| users.into_iter().flatten().collect()),
        change_source: event.change_source.unwrap_or(ChangeSource::App).into(),
        is_bulk_edit: event.is_bulk_edit.unwrap_or(false),
        correlation_id: event.correlation_id.map(|id| id.0),
        host: event.host,
        occurred_at: event.occurred_at.map(|at| at.0),
        idempotency_key: event.idempotency_key,
    })
}

/// Checks that action and object are in the catalogue (W9).
fn catalogued(action: EventAction, object: &str, at: &Path, catalog: &Catalog, problems: &mut Problems) {
    let checked = matching::publishable(action, object, catalog);
    let field = match &checked {
        Err(NotInCatalog::Action(_)) => "action",
        Ok(()) | Err(NotInCatalog::Object(_)) => "object",
    };
    problems.check(&at.field(field), checked);
}

/// The other object of a merge. A merge needs one; other actions must not have one (E6).
fn merged(
    action: EventAction,
    survivor: Option<&ObjectId>,
    id: Option<&str>,
    previous: Option<Arc<str>>,
    at: &Path,
    problems: &mut Problems,
) -> Option<(ObjectId, Option<Arc<str>>)> {
    let at_id = at.field("mergedFromId");
    match (action, id) {
        (EventAction::Merge, Some(id)) => {
            let merged: ObjectId = problems.check(&at_id, id.parse())?;
            if Some(&merged) == survivor {
                problems.add(
                    UserErrorCode::Invalid,
                    at_id,
                    "an object cannot be merged into itself",
                );
            }
            Some((merged, previous))
        }
        (EventAction::Merge, None) => {
            problems.add(
                UserErrorCode::Invalid,
                at_id,
                "a merge must have the id of the object that was merged into this one",
            );
            None
        }
        (_, Some(_)) => {
            problems.add(UserErrorCode::Invalid, at_id, "only a merge may have this field");
            None
        }
        (_, None) => {
            if previous.is_some() {
                let at = at.field("mergedFromPrevious");
                problems.add(UserErrorCode::Invalid, at, "only a merge may have this field");
            }
            None
        }
    }
}

/// A JSON value as the text to store; null is `None`.
fn json(value: Option<Json>, at: &Path, problems: &mut Problems) -> Option<Arc<str>> {
    let text = Text(&value?.0).to_string();
    problems.check(at, input_limits::object(&text))?;
    Some(text.into())
}

#[cfg(test)]
mod tests {
    use async_graphql::{InputType, Value, value};

    use super::*;
    use crate::user_error::UserError;

    fn event(fields: Value) -> EventInput {
        let mut all = value!({
            "companyId": "1", "action": "CHANGE", "object": "deal", "objectId": "8", "userId": "7",
            "data": { "title": "x" }
        });
        if let (Value::Object(all), Value::Object(fields)) = (&mut all, fields) {
            all.extend(fields);
        }
        EventInput::parse(Some(all)).ok().unwrap()
    }

    fn errors(fields: Value) -> Vec<String> {
        match check(vec![event(value!({})), event(fields)], &Catalog::default()) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.into_errors().iter().map(UserError::line).collect(),
        }
    }

    #[test]
    fn all_faults_are_reported_at_once() {
        let found =
            errors(value!({ "companyId": "0", "object": "*", "permittedUserIds": ["1", "x"], "host": "" }));
        assert_eq!(
            found,
            [
                "NotInCatalog input.events.1.object",
                "Invalid input.events.1.companyId",
                "Invalid input.events.1.permittedUserIds.1",
                "Invalid input.events.1.host",
            ]
        );
    }

    #[test]
    fn the_action_any_cannot_be_published() {
        assert_eq!(
            errors(value!({ "action": "ANY" })),
            ["NotInCatalog input.events.1.action"]
        );
    }

    #[test]
    fn a_merge_must_name_another_object_and_no_other_action_may() {
        let at = "Invalid input.events.1.mergedFromId";
        assert_eq!(errors(value!({ "action": "MERGE" })), [at]);
        assert_eq!(errors(value!({ "action": "MERGE", "mergedFromId": "8" })), [at]);
        assert_eq!(errors(value!({ "mergedFromId": "9" })), [at]);
        assert!(errors(value!({ "action": "MERGE", "mergedFromId": "9" })).is_empty());
    }

    #[test]
    fn data_over_the_size_limit_is_too_long() {
        let large = "x".repeat(input_limits::OBJECT_BYTES);
        assert_eq!(errors(value!({ "data": large })), ["TooLong input.events.1.data"]);
    }

    #[test]
    fn the_number_of_events_is_bounded() {
        let events = (0..=input_limits::EVENTS).map(|_| event(value!({}))).collect();
        let found: Vec<_> = check(events, &Catalog::default()).unwrap_err().into_errors();
        assert_eq!(
            found.iter().map(UserError::line).collect::<Vec<_>>(),
            ["TooMany input.events"]
        );
    }
}
