//! Within 24 hours a company publishes only once with the same idempotency key (E1).

use futures_util::future::join_all;
use jiff::SignedDuration;
use serde_json::json;

use super::scene::{AROUND, Scene};
use crate::client::NewEvent;
use crate::scenario::{Need, Scenario, holds, refused, same};

/// How long a key is remembered.
const KEY_HOLDS: SignedDuration = SignedDuration::from_hours(24);

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = vec![
        Scenario::new(
            "the-same-key-publishes-once",
            "The same idempotency key again returns the first event and sends nothing.",
            &["E1"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 200).await?;
                    let event = scene.company().deal_changed().with("idempotencyKey", "change-8");
                    let first = world.platform().publish_one(event.clone()).await?;
                    same("whether the first is a duplicate", first.duplicate, false)?;
                    let again = world.platform().publish_one(event).await?;
                    same(
                        "the event in the second response",
                        (again.duplicate, again.event),
                        (true, first.event),
                    )?;
                    world.settle().await;
                    same("requests", receiver.journal().len(), 1)
                })
            },
        )
        .also_in_real_time(),
        Scenario::new(
            "the-order-of-keys-is-no-other-content",
            "The same key with the same object in another order, or the same users in another order, returns the first event.",
            &["E1"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 200).await?;
                    let event = |data, users| {
                        let event = scene.company().deal_changed().with("idempotencyKey", "in-order");
                        event.with("data", data).with("permittedUserIds", users)
                    };
                    let (one, other) = (
                        json!({"a": 1, "b": {"c": 2, "d": 3}}),
                        json!({"b": {"d": 3, "c": 2}, "a": 1}),
                    );
                    let first = event(one.clone(), json!(["7", "8"]));
                    let first = world.platform().publish_one(first).await?;
                    same("whether the first is a duplicate", first.duplicate, false)?;
                    for (what, again) in [
                        ("keys in another order", event(other, json!(["7", "8"]))),
                        ("users in another order", event(one, json!(["8", "7"]))),
                    ] {
                        let again = world.platform().publish_one(again).await?;
                        same(what, (again.duplicate, &again.event), (true, &first.event))?;
                    }
                    world.settle().await;
                    same("requests", receiver.journal().len(), 1)
                })
            },
        ),
        Scenario::new(
            "a-last-digit-is-other-content",
            "The same key with a number that differs in its twenty-third digit is refused.",
            &["E1"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 200).await?;
                    let publish = async |number: &str| {
                        let event = NewEvent::new(scene.company().id(), "CHANGE", "deal", "8")
                            .with("idempotencyKey", "digits");
                        let data = format!(r#"{{"n":{number}}}"#);
                        world.platform().publish_text(event, &[("data", &data)]).await
                    };
                    publish("12345678901234567890123").await?;
                    let again = publish("12345678901234567890123").await?;
                    let duplicates: Vec<bool> = again.events.iter().map(|event| event.duplicate).collect();
                    same("whether the same again is a duplicate", duplicates, vec![true])?;
                    let other = publish("12345678901234567890124").await;
                    refused("another last digit", other, "IDEMPOTENCY_CONFLICT")?;
                    world.settle().await;
                    same("requests", receiver.journal().len(), 1)
                })
            },
        )
        .needing(Need::Verbatim),
        Scenario::new(
            "without-a-key-the-same-event-is-published-twice",
            "Events without a key are never treated as duplicates.",
            &["E1"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 200).await?;
                    scene.deliver_times(2).await?;
                    same("requests", receiver.journal().len(), 2)
                })
            },
        ),
        Scenario::new(
            "the-same-key-at-once-publishes-once",
            "Simultaneous calls, each with the same key twice, together publish once.",
            &["E1"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 200).await?;
                    let event = scene.company().deal_changed().with("idempotencyKey", "once");
                    let batch = [event.clone(), event];
                    let platform = world.platform();
                    let publish = async |_: usize| platform.publish(&batch).await;
                    let mut published = Vec::new();
                    for publication in join_all((0..10).map(publish)).await {
                        published.extend(publication?.events);
                    }
                    let originals = published.iter().filter(|event| !event.duplicate).count();
                    same(
                        "answers, and those that are not duplicates",
                        (published.len(), originals),
                        (20, 1),
                    )?;
                    world.settle().await;
                    same("requests", receiver.journal().len(), 1)
                })
            },
        ),
        Scenario::new(
            "another-companys-key-is-another",
            "The same key of another company publishes an event there.",
            &["E1"],
            |world| {
                Box::pin(async move {
                    for company in [1, 2] {
                        let event = world
                            .company(company)
                            .deal_changed()
                            .with("idempotencyKey", "change-8");
                        let published = world.platform().publish_one(event).await?;
                        same("whether it is a duplicate", published.duplicate, false)?;
                    }
                    Ok(())
                })
            },
        ),
        Scenario::new(
            "a-key-with-other-content-is-a-conflict",
            "A key seen with other content is a conflict for that event alone; the rest of the batch is published.",
            &["E1"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 200).await?;
                    let event = |title: &str| {
                        scene
                            .company()
                            .deal_changed()
                            .with("data", json!({"title": title}))
                    };
                    let first = event("first").with("idempotencyKey", "k");
                    world.platform().publish_one(first).await?;
                    let batch = [
                        event("a"),
                        event("second").with("idempotencyKey", "k"),
                        event("b"),
                    ];
                    let publication = world.platform().publish(&batch).await?;
                    let places: Vec<usize> = publication.events.iter().map(|event| event.index).collect();
                    same("which events were published", places, vec![0, 2])?;
                    let errors: Vec<_> = publication
                        .user_errors
                        .iter()
                        .map(|error| (error.code.as_str(), error.path.join(".")))
                        .collect();
                    let place = |path: &str| path.starts_with("input.events.1");
                    holds(
                        "the user errors",
                        "one IDEMPOTENCY_CONFLICT at input.events.1",
                        matches!(&errors[..], [("IDEMPOTENCY_CONFLICT", path)] if place(path)),
                        &errors,
                    )?;
                    world.settle().await;
                    same("requests", receiver.journal().len(), 3)
                })
            },
        ),
    ];
    all.extend(AROUND.map(|(word, offset)| key_expires(word, offset)));
    all
}

/// A scenario that uses the same key again 24 hours later, plus `offset`.
fn key_expires(word: &str, offset: SignedDuration) -> Scenario {
    let holds = offset < SignedDuration::ZERO;
    Scenario::new(
        format!("idempotency-key-{word}-24-hours"),
        format!(
            "A key {} {} 24 hours after its first use.",
            if holds { "still holds" } else { "is free again" },
            word.replace('-', " ")
        ),
        &["E1", "T2"],
        move |world| {
            Box::pin(async move {
                let (scene, receiver) = Scene::new(world, 200).await?;
                let event = scene.company().deal_changed().with("idempotencyKey", "change-8");
                let first = world.platform().publish_one(event.clone()).await?;
                world.advance(KEY_HOLDS + offset).await;
                let again = world.platform().publish_one(event).await?;
                same(
                    "whether it is a duplicate, and the same event",
                    (again.duplicate, again.event == first.event),
                    (holds, holds),
                )?;
                world.settle().await;
                same("requests", receiver.journal().len(), if holds { 1 } else { 2 })
            })
        },
    )
}
