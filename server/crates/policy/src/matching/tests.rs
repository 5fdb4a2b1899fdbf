//! Every kind of webhook with every kind of event.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::samples;
use tenterhook_model::ids::UserId;
use tenterhook_model::webhook::EventAction::{Any, Change, Create, Delete, Merge};
use tenterhook_model::webhook::PayloadVersion::{V1, V2};

fn event(action: EventAction, object: &str) -> Event {
    Event {
        action,
        object: object.to_owned(),
        ..samples::event()
    }
}

/// Whether a webhook with this subscription and this user gets `event`: action and object match in its version's
/// terms (E6), and its user may see the object (E2).
fn wants(
    webhook_action: EventAction,
    webhook_object: &str,
    webhook_version: PayloadVersion,
    webhook_user: UserId,
    event: &Event,
    catalog: &Catalog,
) -> bool {
    let action_matches = selector(event, catalog)
        .seen_by(webhook_version)
        .is_some_and(|seen| webhook_action == EventAction::Any || webhook_action == seen);
    let object_matches = webhook_object == ANY_OBJECT || webhook_object == event.object;
    let may_see = event
        .permitted
        .as_ref()
        .is_none_or(|users| users.contains(&webhook_user));
    action_matches && object_matches && may_see
}

fn user(id: i64) -> UserId {
    UserId::new(id).unwrap()
}

/// The actions of webhooks that want an event about a deal.
fn wanted_by(version: PayloadVersion, action: EventAction) -> Vec<EventAction> {
    let wants = |webhook| {
        wants(
            webhook,
            "deal",
            version,
            user(1),
            &event(action, "deal"),
            &Catalog::default(),
        )
    };
    EventAction::ALL
        .iter()
        .copied()
        .filter(|webhook| wants(*webhook))
        .collect()
}

#[test]
fn w9_an_event_matches_its_action_and_any() {
    for version in [V1, V2] {
        for action in [Create, Change, Delete] {
            assert_eq!(wanted_by(version, action), [Any, action]);
        }
    }
}

#[test]
fn e6_a_merge_is_merged_in_version_1_and_changed_in_version_2() {
    assert_eq!(wanted_by(V1, Merge), [Any, Merge]);
    assert_eq!(wanted_by(V2, Merge), [Any, Change]);
}

#[test]
fn w9_a_wildcard_is_any_object_of_the_webhooks_own_version() {
    let catalog = Catalog::default();
    for (object, v1, v2) in [
        ("deal", true, true),
        ("lead", false, true),
        ("activityType", true, false),
    ] {
        let wants = |version| {
            wants(
                Any,
                ANY_OBJECT,
                version,
                user(1),
                &event(Create, object),
                &catalog,
            )
        };
        assert_eq!((wants(V1), wants(V2)), (v1, v2), "{object}");
    }
    assert!(!wants(
        Any,
        "deal",
        V2,
        user(1),
        &event(Create, "person"),
        &catalog
    ));
}

#[test]
fn e2_only_a_user_who_may_see_the_object_gets_the_event() {
    let permitted = |users: Option<Vec<UserId>>| {
        let event = Event {
            permitted: users,
            ..samples::event()
        };
        wants(Any, ANY_OBJECT, V2, user(7), &event, &Catalog::default())
    };
    assert!(permitted(None), "everyone");
    assert!(permitted(Some(vec![user(1), user(7)])));
    assert!(!permitted(Some(vec![user(1)])));
    assert!(!permitted(Some(vec![])), "an empty list is nobody");
}

#[test]
fn w9_subscriptions_are_checked_against_their_versions_catalogue() {
    let catalog = Catalog::default();
    let ok = |action, object, version| subscribable(action, object, version, &catalog).is_ok();
    assert!(ok(Any, "*", V1) && ok(Any, "*", V2) && ok(Create, "*", V2) && ok(Any, "deal", V1));
    assert!(ok(Merge, "deal", V1) && !ok(Merge, "deal", V2) && !ok(Merge, "*", V2));
    assert!(ok(Any, "lead", V2) && !ok(Any, "lead", V1));
    assert!(ok(Any, "activityType", V1) && !ok(Any, "activityType", V2));
    assert!(!ok(Any, "", V2) && !ok(Any, "Deal", V2) && !ok(Any, "deals", V2));
    let refused = subscribable(Any, "boat", V2, &catalog).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "\"boat\" is not an object of the event catalogue"
    );
}

#[test]
fn w9_an_operator_can_replace_the_objects() {
    let catalog = Catalog {
        v1: BTreeSet::new(),
        v2: ["boat".to_owned()].into(),
    };
    assert!(
        subscribable(Any, "boat", V2, &catalog).is_ok() && subscribable(Any, "deal", V2, &catalog).is_err()
    );
    assert!(publishable(Create, "boat", &catalog).is_ok() && publishable(Create, "deal", &catalog).is_err());
}

#[test]
fn an_event_needs_one_action_and_object_of_either_catalogue() {
    let catalog = Catalog::default();
    let ok = |action, object| publishable(action, object, &catalog).is_ok();
    assert!(ok(Create, "lead") && ok(Merge, "lead") && ok(Delete, "activityType"));
    assert!(!ok(Any, "deal") && !ok(Create, "*") && !ok(Create, "boat"));
}

proptest! {
    /// No subscription is useless: for each one that is allowed, a matching event can be published.
    #[test]
    fn every_allowed_subscription_matches_some_event(
        action in select(EventAction::ALL),
        object in select(&["*", "deal", "lead", "activityType", "boat"][..]),
        version in select(PayloadVersion::ALL),
    ) {
        let catalog = Catalog::default();
        let published = [Create, Change, Merge, Delete].into_iter().any(|happens| {
            objects(version, &catalog).iter().any(|about| {
                publishable(happens, about, &catalog).is_ok()
                    && wants(action, object, version, user(1), &event(happens, about), &catalog)
            })
        });
        prop_assert_eq!(subscribable(action, object, version, &catalog).is_ok(), published);
    }
}
