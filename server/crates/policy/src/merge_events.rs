//! Turns a published draft into the events that are stored: one event, or two for a merge (E6).

use jiff::Timestamp;

use tenterhook_model::event::{Draft, Event, Merge};
use tenterhook_model::ids::{EventId, Lane};
use tenterhook_model::webhook::EventAction;

/// The event of a draft. For a merge also the other event, about the object that was merged away.
///
/// `next_id` is called once for each event; the survivor's id comes first.
pub fn events(draft: &Draft, mut next_id: impl FnMut() -> EventId) -> (Event, Option<Event>) {
    let id = next_id();
    let about = event(draft, id);
    let Some((gone, last_state)) = &draft.merged_from else {
        return (about, None);
    };
    let other = Event {
        id: next_id(),
        action: EventAction::Delete,
        object_id: gone.clone(),
        data: None,
        previous: last_state.clone(),
        merge: Some(Merge::To(draft.object_id.clone())),
        ..about.clone()
    };
    let other = Event {
        accepted_at: other.id.accepted_at(),
        ..other
    };
    (
        Event {
            merge: Some(Merge::From(gone.clone())),
            ..about
        },
        Some(other),
    )
}

fn event(draft: &Draft, id: EventId) -> Event {
    Event {
        lane: Lane::of(draft.company),
        id,
        company: draft.company,
        action: draft.action,
        object: draft.object.clone(),
        object_id: draft.object_id.clone(),
        user: draft.user,
        data: draft.data.clone(),
        previous: draft.previous.clone(),
        permitted: draft.permitted.clone(),
        change_source: draft.change_source,
        is_bulk_edit: draft.is_bulk_edit,
        merge: None,
        correlation_id: draft.correlation_id.clone().unwrap_or_else(|| correlation(id)),
        host: draft.host.clone(),
        occurred_at: draft.occurred_at,
        accepted_at: accepted(id),
    }
}

/// An event without a correlation id of its own starts a new one: its own id.
fn correlation(id: EventId) -> String {
    id.to_string()
}

fn accepted(id: EventId) -> Timestamp {
    id.accepted_at()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenterhook_model::event::ChangeSource;
    use tenterhook_model::ids::{CompanyId, EventIds, UserId};

    fn draft() -> Draft {
        Draft {
            company: CompanyId::new(7).unwrap(),
            action: EventAction::Merge,
            object: "deal".to_owned(),
            object_id: "8".parse().unwrap(),
            user: UserId::new(1).unwrap(),
            data: Some("{\"id\":8}".into()),
            previous: Some("{}".into()),
            merged_from: Some(("9".parse().unwrap(), Some("{\"id\":9}".into()))),
            permitted: None,
            change_source: ChangeSource::Api,
            is_bulk_edit: true,
            correlation_id: None,
            host: None,
            occurred_at: None,
            idempotency_key: None,
        }
    }

    /// E6: a merge makes two events. Each has its own id; they share the correlation id.
    #[test]
    fn a_merge_makes_two_events_that_refer_to_each_other() {
        let mut ids = EventIds::default();
        let at = "2026-11-23T00:00:00Z".parse().unwrap();
        let (survivor, other) = events(&draft(), || ids.next(at));
        let other = other.unwrap();
        assert!(survivor.id < other.id);
        assert_eq!(survivor.correlation_id, other.correlation_id);
        assert_eq!(
            (survivor.action, other.action),
            (EventAction::Merge, EventAction::Delete)
        );
        assert_eq!(survivor.merge, Some(Merge::From("9".parse().unwrap())));
        assert_eq!(other.merge, Some(Merge::To("8".parse().unwrap())));
        assert_eq!((other.data, other.previous), (None, Some("{\"id\":9}".into())));
        assert_eq!(other.object_id.as_str(), "9");
    }

    #[test]
    fn any_other_action_makes_one_event() {
        let plain = Draft {
            action: EventAction::Create,
            merged_from: None,
            ..draft()
        };
        let mut ids = EventIds::default();
        let at: Timestamp = "2026-11-23T00:00:00.123456Z".parse().unwrap();
        let (event, other) = events(&plain, || ids.next(at));
        assert!(other.is_none());
        assert_eq!(event.merge, None);
        assert_eq!(event.accepted_at, "2026-11-23T00:00:00.123Z".parse().unwrap());
    }
}
