//! Which users may see the object, in each version, and the webhook's type next to it (E4, E5).

use serde_json::{Value, json};

use super::payloads::Both;
use super::scene::USER;
use crate::client::NewWebhook;
use crate::receiver::Receiver;
use crate::scenario::{Failure, Need, Play, Scenario, same};
use crate::world::World;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "everyone-is-a-star-in-version-2-and-an-empty-list-in-version-1",
            "An event for everyone has `[\"*\"]` in version 2, where ids are strings, and an empty list in version 1, where \
             they are numbers.",
            &["E4", "E5"],
            |world| {
                Box::pin(async move {
                    let both = Both::new(world).await?;
                    let event = both.event("CHANGE", "deal", "8").with("data", json!({"id": 8}));
                    let (v1, v2) = both.one_body_each(event).await?;
                    same("permitted_user_ids in version 1", permitted(&v1), Some(json!([])))?;
                    same("permitted_user_ids in version 2", permitted(&v2), Some(json!(["*"])))
                })
            },
        ),
        Scenario::new(
            "everyone-in-version-1-is-written-as-the-operator-chooses",
            "An operator can choose an empty list, `[\"*\"]` or no key for everyone in version 1; a list of users stays a list \
             of numbers, and version 2 stays as it is.",
            &["E5"],
            |world| Box::pin(async move { everyone_by_setting(world).await }),
        )
        .in_world(|builder| builder),
        Scenario::new(
            "no-version-2-payload-says-who-may-see-a-user",
            "Where the object is a user, version 2 leaves `permitted_user_ids` out, whoever may see it; version 1 has it.",
            &["E4", "E5"],
            |world| {
                Box::pin(async move {
                    let both = Both::new(world).await?;
                    let of_user = || both.event("CHANGE", "user", "12").with("data", json!({"id": 12}));
                    let named = of_user().with("permittedUserIds", json!(["7", "12"]));
                    for (event, in_v1) in [(of_user(), json!([])), (named, json!([7, 12]))] {
                        let (v1, v2) = both.one_body_each(event).await?;
                        same("permitted_user_ids in version 2", permitted(&v2), None)?;
                        same("permitted_user_ids in version 1", permitted(&v1), Some(in_v1))?;
                    }
                    Ok(())
                })
            },
        ),
        Scenario::new(
            "each-webhook-says-its-type",
            "`meta.type` is `general` for a user's webhook and `application` for an app's, in both versions.",
            &["E4", "E5", "W1"],
            |world| {
                Box::pin(async move {
                    let user = world.company(1).user(USER);
                    let crm = world.company(1).app("crm").install(USER).await?;
                    let mut receivers = Vec::new();
                    for (caller, kind) in [(user, "general"), (crm, "application")] {
                        for v1 in [true, false] {
                            let receiver = world.receiver(200).await;
                            let new = NewWebhook::to(&receiver.url());
                            caller.create_webhook(if v1 { new.v1() } else { new }).await?;
                            receivers.push((receiver, kind, v1));
                        }
                    }
                    world.company(1).publish().await?;
                    world.settle().await;
                    for (receiver, kind, v1) in receivers {
                        let said = last(&receiver)?["meta"]["type"].clone();
                        let version = if v1 { 1 } else { 2 };
                        same(format!("meta.type of version {version}"), said, json!(kind))?;
                    }
                    Ok(())
                })
            },
        ),
        Scenario::new(
            "a-test-delivery-has-the-format-of-its-version",
            "A test delivery has the keys of its version, the webhook's type, and the webhook's user as the only one who may see \
             the object; about a user, version 2 does not say who may see it.",
            &["D12", "E4", "E5"],
            |world| {
                Box::pin(async move {
                    let user = world.company(1).owner(USER).await?;
                    let receiver = world.receiver(200).await;
                    for (object, in_v1, in_v2) in [
                        ("deal", Some(json!([USER])), Some(json!([USER.to_string()]))),
                        ("user", Some(json!([USER])), None),
                    ] {
                        let new = || NewWebhook::to(&receiver.url()).on("CHANGE", object);
                        for (new, expected) in [(new().v1(), in_v1.clone()), (new(), in_v2)] {
                            let id = user.create_webhook(new).await?.webhook.id;
                            user.test(&id).await?;
                            let body = last(&receiver)?;
                            same("meta.type", body["meta"]["type"].clone(), json!(world.webhook_type().name()))?;
                            same(format!("permitted_user_ids about a {object}"), permitted(&body), expected)?;
                        }
                    }
                    Ok(())
                })
            },
        )
        .needing(Need::Replay),
    ]
}

/// Starts the server once with each value of the setting.
async fn everyone_by_setting(world: &mut World) -> Play {
    for (value, everyone) in [
        ("star", Some(json!(["*"]))),
        ("absent", None),
        ("empty", Some(json!([]))),
    ] {
        world.stop(0).await;
        world.set("policy.everyone_v1", value);
        world.launch().await;
        let both = Both::new(world).await?;
        let event = || both.event("CHANGE", "deal", "8").with("data", json!({"id": 8}));
        let (v1, v2) = both.one_body_each(event()).await?;
        same(
            format!("everyone in version 1 with {value}"),
            permitted(&v1),
            everyone,
        )?;
        same("everyone in version 2", permitted(&v2), Some(json!(["*"])))?;
        let (v1, _) = both
            .one_body_each(event().with("permittedUserIds", json!(["7"])))
            .await?;
        same(
            format!("one user in version 1 with {value}"),
            permitted(&v1),
            Some(json!([7])),
        )?;
    }
    Ok(())
}

/// `permitted_user_ids`; `None` if there is no such key.
fn permitted(body: &Value) -> Option<Value> {
    body.pointer("/meta/permitted_user_ids").cloned()
}

/// The body of the last request.
fn last(receiver: &Receiver) -> Result<Value, Failure> {
    let last = receiver.journal().all().last().map(|arrival| arrival.json());
    last.ok_or_else(|| Failure::CouldNotRun("no request has arrived".to_owned()))
}
