//! What `previous` says about the state before a change (E4, E5).

use serde_json::{Value, json};

use super::payloads::{Both, before};
use crate::scenario::{Play, Scenario, same};
use crate::world::World;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "previous-has-only-what-changed",
            "In version 2 `previous` has only the top-level fields that changed; a new field is null there.",
            &["E4"],
            |world| {
                Box::pin(async move {
                    let both = Both::new(world).await?;
                    let (_, v2) = both.one_body_each(both.change()).await?;
                    let changed = json!({"title": "old", "labels": [1], "gone": true, "owner": null});
                    same("previous in version 2", v2["previous"].clone(), changed)
                })
            },
        ),
        Scenario::new(
            "previous-of-no-change-is-empty",
            "A change that changed no field has an empty `previous` in version 2.",
            &["E4"],
            |world| {
                Box::pin(async move {
                    let both = Both::new(world).await?;
                    let event = both.change().with("data", before());
                    let (_, v2) = both.one_body_each(event).await?;
                    same("previous in version 2", v2["previous"].clone(), json!({}))
                })
            },
        ),
        Scenario::new(
            "previous-goes-one-level-into-custom-fields",
            "In version 2 `previous` has only those entries of `custom_fields` that changed, each complete. Any other \
             object that changed is there completely. Version 1 has the whole state.",
            &["E4", "E5"],
            |world| {
                Box::pin(async move {
                    let both = Both::new(world).await?;
                    let (v1, v2) = both.one_body_each(nested(&both)).await?;
                    let changed = json!({
                        "custom_fields": {"b": {"x": 1, "y": 1}, "c": 3, "d": null},
                        "address": {"city": "Ghent", "zip": "9000"},
                    });
                    same("previous in version 2", v2["previous"].clone(), changed)?;
                    same("previous in version 1", v1["previous"].clone(), nested_before())
                })
            },
        ),
        Scenario::new(
            "custom-fields-that-come-go-or-stay",
            "`previous` does not have `custom_fields` that did not change. New ones are null, and removed ones are \
             there completely.",
            &["E4"],
            |world| {
                Box::pin(async move {
                    let both = Both::new(world).await?;
                    let fields = json!({"custom_fields": {"a": 1, "b": 2}});
                    let reordered = json!({"custom_fields": {"b": 2, "a": 1}});
                    for (was, is, expected) in [
                        (fields.clone(), reordered, json!({})),
                        (json!({}), fields.clone(), json!({"custom_fields": null})),
                        (fields.clone(), json!({}), fields.clone()),
                        (fields.clone(), json!({"custom_fields": null}), fields),
                    ] {
                        let event = both
                            .event("CHANGE", "deal", "8")
                            .with("previous", was)
                            .with("data", is);
                        let (_, v2) = both.one_body_each(event).await?;
                        same("previous in version 2", v2["previous"].clone(), expected)?;
                    }
                    Ok(())
                })
            },
        ),
        Scenario::new(
            "previous-goes-into-the-objects-that-the-operator-names",
            "An operator can name objects other than `custom_fields`, or none, for `previous` in version 2.",
            &["E4"],
            |world| Box::pin(async move { nested_by_setting(world).await }),
        )
        .in_world(|builder| builder),
        Scenario::new(
            "states-that-are-lists-arrive-as-lists",
            "Version 1 sends the states of a user as the platform gives them, which are lists in Pipedrive: `current[0]`.",
            &["E5", "E4"],
            |world| {
                Box::pin(async move {
                    let both = Both::new(world).await?;
                    let [was, is] = ["A.", "Ada"].map(|name| json!([{"id": 12, "name": name}]));
                    let event = both.event("CHANGE", "user", "12");
                    let event = event.with("previous", was.clone()).with("data", is.clone());
                    let (v1, v2) = both.one_body_each(event).await?;
                    same("current[0]", &v1["current"][0], &json!({"id": 12, "name": "Ada"}))?;
                    same(
                        "current and previous in version 1",
                        [&v1["current"], &v1["previous"]],
                        [&is, &was],
                    )?;
                    same(
                        "data and previous in version 2",
                        [&v2["data"], &v2["previous"]],
                        [&is, &was],
                    )
                })
            },
        ),
    ]
}

/// The state before [`nested`].
fn nested_before() -> Value {
    json!({
        "id": 8, "custom_fields": {"a": "same", "b": {"x": 1, "y": 1}, "c": 3},
        "address": {"city": "Ghent", "zip": "9000"},
    })
}

/// A change of a few of the fields of two nested objects.
fn nested(both: &Both<'_>) -> crate::client::NewEvent {
    let data = json!({
        "id": 8, "custom_fields": {"a": "same", "b": {"x": 1, "y": 2}, "d": 4},
        "address": {"city": "Ghent", "zip": "9050"},
    });
    let event = both.event("CHANGE", "deal", "8").with("data", data);
    event.with("previous", nested_before())
}

/// Starts the server once with each value of the setting.
async fn nested_by_setting(world: &mut World) -> Play {
    let whole = || {
        (
            nested_before()["custom_fields"].clone(),
            nested_before()["address"].clone(),
        )
    };
    for (value, expected) in [
        ("", whole()),
        ("address", (whole().0, json!({"zip": "9000"}))),
        (
            "address,custom_fields",
            (
                json!({"b": {"x": 1, "y": 1}, "c": 3, "d": null}),
                json!({"zip": "9000"}),
            ),
        ),
    ] {
        world.stop(0).await;
        world.set("policy.previous_nested", value);
        world.launch().await;
        let both = Both::new(world).await?;
        let (_, v2) = both.one_body_each(nested(&both)).await?;
        let previous = &v2["previous"];
        same(
            format!("custom_fields and address of previous with {value:?}"),
            (previous["custom_fields"].clone(), previous["address"].clone()),
            expected,
        )?;
    }
    Ok(())
}
