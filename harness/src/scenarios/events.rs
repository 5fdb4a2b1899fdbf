//! What a publication stores, for which webhooks, and how often (E2, E3). Also the bounds of a call.

use serde_json::{Value, json};

use super::callers::silent;
use super::scene::Scene;
use crate::client::{NewEvent, NewWebhook, Refusal};
use crate::scenario::{Need, Play, Scenario, Types, refused, same};
use crate::world::World;

/// Largest `data` of an event, in bytes of JSON text.
const DATA_BYTES: usize = 256 * 1024;

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = vec![
        Scenario::new(
            "an-event-goes-to-every-webhook-that-matches",
            "A webhook gets the events of its company that match its action and object, in the words of its version, also \
             with wildcards.",
            &["E2", "W9"],
            |world| {
                Box::pin(async move {
                    let company = world.company(1).id();
                    let receiver = world.receiver(200).await;
                    let new = |path: &str| NewWebhook::to(&format!("{}/{path}", receiver.url()));
                    let user = world.company(1).user(7);
                    for webhook in [
                        new("any").on("ANY", "*"),
                        new("deals").on("ANY", "deal"),
                        new("changes").on("CHANGE", "*"),
                        new("changed-deals").on("CHANGE", "deal"),
                        new("deleted-deals").on("DELETE", "deal"),
                        new("leads").on("ANY", "lead"),
                        new("changed-deals-v1").on("CHANGE", "deal").v1(),
                        new("any-v1").v1(),
                    ] {
                        user.create_webhook(webhook).await?;
                    }
                    world.company(2).user(7).create_webhook(new("company-2")).await?;
                    let expectations: [(_, _, &[&str]); 6] = [
                        (
                            "CHANGE",
                            "deal",
                            &[
                                "any",
                                "any-v1",
                                "changed-deals",
                                "changed-deals-v1",
                                "changes",
                                "deals",
                            ],
                        ),
                        ("DELETE", "deal", &["any", "any-v1", "deals", "deleted-deals"]),
                        ("CREATE", "lead", &["any", "leads"]),
                        ("CHANGE", "activityType", &["any-v1"]),
                        ("CREATE", "person", &["any", "any-v1"]),
                        ("CREATE", "project", &["any"]),
                    ];
                    for (action, object, expected) in expectations {
                        let before = receiver.journal().len();
                        let event = NewEvent::new(company, action, object, "1");
                        let published = world.platform().publish_one(event).await?;
                        world.settle().await;
                        let arrivals = receiver.journal().all();
                        let mut paths: Vec<String> = arrivals[before..]
                            .iter()
                            .map(|arrival| arrival.path.replace("/hook/", ""))
                            .collect();
                        paths.sort();
                        same(
                            format!("who got {action} {object}"),
                            paths,
                            expected.iter().map(|path| (*path).to_owned()).collect(),
                        )?;
                        let count = published.delivery_count as usize;
                        same(
                            format!("deliveryCount of {action} {object}"),
                            count,
                            expected.len(),
                        )?;
                    }
                    Ok(())
                })
            },
        ),
        Scenario::new(
            "only-permitted-users-get-an-event",
            "If the event lists who may see the object, only the webhooks of these users get it; an application webhook counts for its user.",
            &["E2"],
            |world| {
                Box::pin(async move {
                    permitted(
                        world,
                        &[(json!(["7"]), 2), (json!(["8", "9"]), 2), (json!([]), 0)],
                    )
                    .await
                })
            },
        ),
        Scenario::new(
            "an-event-for-everyone-goes-to-every-user",
            "An event without such a list goes to all users; admins are treated like other users.",
            &["E2"],
            |world| Box::pin(async move { permitted(world, &[(Value::Null, 4)]).await }),
        ),
        Scenario::new(
            "a-later-webhook-gets-no-earlier-event",
            "The recipients of an event are fixed at publication: a webhook that is created between two attempts gets nothing.",
            &["E3"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 500).await?;
                    scene.deliver().await?;
                    let later = scene
                        .user
                        .create_webhook(NewWebhook::to(&receiver.url()))
                        .await?
                        .webhook;
                    world.advance("PT1H").await;
                    same(
                        "the later webhook's deliveries",
                        scene.user.deliveries(&later.id).await?,
                        Vec::new(),
                    )
                })
            },
        ),
        Scenario::new(
            "a-changed-subscription-keeps-what-was-owed",
            "After a change of its object, a webhook still gets the retries of earlier events, and no new events for the \
             old object.",
            &["E3"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 500).await?;
                    scene.deliver().await?;
                    let change = json!({"eventAction": "CREATE", "eventObject": "lead"});
                    scene.user.update_webhook(&scene.webhook.id, change).await?;
                    world.advance("PT3S").await;
                    same("requests after the retry was due", receiver.journal().len(), 2)?;
                    same(
                        "deliveries of the next event",
                        scene.deliver().await?.delivery_count,
                        0,
                    )
                })
            },
        ),
        Scenario::new(
            "a-deletion-does-not-reach-back",
            "Deleting the webhook cancels what was accepted; the event stays counted, once.",
            &["E3", "D7"],
            |world| {
                Box::pin(async move {
                    let (scene, _receiver) = Scene::new(world, 500).await?;
                    scene.deliver().await?;
                    scene.user.delete_webhook(&scene.webhook.id).await?;
                    world.settle().await;
                    let deliveries = scene.deliveries().await?;
                    let ends: Vec<_> = deliveries
                        .iter()
                        .map(|delivery| delivery.status.as_str())
                        .collect();
                    same("how its deliveries ended", ends, vec!["CANCELLED"])
                })
            },
        )
        .of(Types::Both),
        Scenario::new(
            "an-invalid-event-refuses-the-whole-call",
            "If one event of a batch is invalid, the batch is refused with the field and the position, and nothing is stored.",
            &["E3"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 200).await?;
                    let company = scene.company().id();
                    let good = || scene.company().deal_changed();
                    for (bad, field) in [
                        (NewEvent::new(company, "CHANGE", "unicorn", "8"), "object"),
                        (NewEvent::new(company, "CHANGE", "*", "8"), "object"),
                        (NewEvent::new(company, "ANY", "deal", "8"), "action"),
                        (NewEvent::new(company, "CHANGE", "deal", "no spaces"), "objectId"),
                        (NewEvent::new(0, "CHANGE", "deal", "8"), "companyId"),
                        (good().with("userId", "-1"), "userId"),
                        (good().with("mergedFromId", "9"), "mergedFromId"),
                        (NewEvent::new(company, "MERGE", "person", "8"), "mergedFromId"),
                    ] {
                        let refusal = world.platform().publish(&[good(), bad, good()]).await.err();
                        let path = refusal
                            .as_ref()
                            .and_then(Refusal::user_error)
                            .map(|error| error.path.join("."));
                        same(
                            format!("the path of a bad {field}"),
                            path,
                            Some(format!("input.events.1.{field}")),
                        )?;
                    }
                    world.settle().await;
                    same("deliveries", scene.deliveries().await?, Vec::new())?;
                    same("requests", receiver.journal().len(), 0)
                })
            },
        ),
        Scenario::new(
            "only-the-platform-publishes",
            "Neither a user nor an admin nor an app publishes events.",
            &["E1"],
            |world| {
                Box::pin(async move {
                    let company = world.company(1);
                    let crm = company.app("crm").install(7).await?;
                    for caller in [company.user(7), company.admin(9), crm] {
                        refused(
                            "a publication",
                            caller.publish(&[company.deal_changed()]).await,
                            "FORBIDDEN",
                        )?;
                    }
                    Ok(())
                })
            },
        ),
        Scenario::new(
            "a-thousand-events-are-accepted",
            "A call with 1000 events publishes each of them once.",
            &["E1", "D6"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 200).await?;
                    let published = scene.company().publish_many(1000).await?;
                    same("events published", published.events.len(), 1000)?;
                    world.settle().await;
                    let arrivals = receiver.journal().all();
                    let ids: std::collections::BTreeSet<&str> =
                        arrivals.iter().map(|arrival| arrival.event()).collect();
                    same(
                        "requests, and different events in them",
                        (arrivals.len(), ids.len()),
                        (1000, 1000),
                    )
                })
            },
        )
        .of(Types::Both),
        Scenario::new(
            "a-thousand-and-one-events-are-refused",
            "A call with 1001 events is refused as a whole.",
            &["E1"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 200).await?;
                    refused(
                        "1001 events",
                        scene.company().publish_many(1001).await,
                        "TOO_MANY",
                    )?;
                    world.settle().await;
                    same("requests", receiver.journal().len(), 0)
                })
            },
        ),
        Scenario::new(
            "an-event-without-a-match-leaves-a-trace",
            "An event that matches no webhook is stored, and can be read.",
            &["E3"],
            |world| {
                Box::pin(async move {
                    let published = world.company(1).publish().await?;
                    same("deliveryCount", published.delivery_count, 0)?;
                    let document = "query($id: ID!) { event(id: $id) { eventId objectId } }";
                    let variables = json!({"id": published.event.event_id});
                    let data = world.operator().query(document, variables).await?;
                    same(
                        "the event",
                        data["event"].clone(),
                        json!({"eventId": published.event.event_id, "objectId": "8"}),
                    )
                })
            },
        )
        .needing(Need::Reading),
    ];
    for field in ["data", "previous"] {
        all.extend([("up-to", 0), ("past", 1)].map(|(word, more)| size(field, word, more)));
    }
    all
}

/// Publishes to four webhooks: of users 7 and 8, of admin 9, and of an app for user 7. Each case lists the users that
/// may see the event.
async fn permitted(world: &World, cases: &[(Value, u32)]) -> Play {
    let company = world.company(1);
    let crm = company.app("crm").install(7).await?;
    for caller in [&company.user(7), &company.user(8), &company.admin(9), &crm] {
        caller.create_webhook(silent()).await?;
    }
    for (users, count) in cases {
        let event = company.deal_changed().with("permittedUserIds", users.clone());
        let published = world.platform().publish_one(event).await?;
        same(
            format!("deliveryCount for {users}"),
            published.delivery_count,
            *count,
        )?;
    }
    Ok(())
}

/// A scenario with an object state of the maximum size, plus `more` bytes.
fn size(field: &'static str, word: &str, more: usize) -> Scenario {
    Scenario::new(
        format!("{field}-{word}-256-kib"),
        format!(
            "`{field}` of {} is {}.",
            if more == 0 {
                "256 KiB"
            } else {
                "a byte more than 256 KiB"
            },
            if more == 0 {
                "accepted and delivered whole"
            } else {
                "refused"
            }
        ),
        &["E4"],
        move |world| {
            Box::pin(async move {
                let (scene, receiver) = Scene::new(world, 200).await?;
                // The rest of the JSON text, `{"t":""}`, has eight bytes.
                let text = "x".repeat(DATA_BYTES - 8 + more);
                let event = scene
                    .company()
                    .deal_changed()
                    .with(field, json!({"t": text.clone()}));
                let published = world.platform().publish_one(event).await;
                world.settle().await;
                if more > 0 {
                    refused(field, published, "TOO_LONG")?;
                    return same("requests", receiver.journal().len(), 0);
                }
                published?;
                let body = receiver.journal().wait_for(1).await[0].json();
                let length = body[field]["t"].as_str().map(str::len);
                same(
                    format!("the length of {field} as delivered"),
                    length,
                    Some(text.len()),
                )
            })
        },
    )
}
