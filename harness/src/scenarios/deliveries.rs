//! Deliveries do not affect each other: none is lost, sent twice or delayed by another (D6–D9, D11).

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::json;

use super::scene::{Scene, count};
use crate::client::NewWebhook;
use crate::reply::{Answer, Script};
use crate::scenario::{Failure, Play, Scenario, holds, same};
use crate::world::{Tally, World};

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "in-calm-every-event-arrives-exactly-once",
            "If nothing fails, nothing is repeated: two hundred events arrive once each.",
            &["D6", "D7"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 200).await?;
                    let publication = scene.company().publish_many(200).await?;
                    world.advance("PT1H").await;
                    let arrivals = receiver.journal().all();
                    let arrived: BTreeSet<&str> = arrivals.iter().map(|arrival| arrival.event()).collect();
                    let published: BTreeSet<&str> = publication
                        .events
                        .iter()
                        .map(|event| event.event.event_id.as_str())
                        .collect();
                    same("requests", arrivals.len(), 200)?;
                    same("the events that arrived", arrived, published)
                })
            },
        ),
        Scenario::new(
            "every-delivery-ends-in-exactly-one-way",
            "One delivery ends in each of the four ways, and the server's metrics increase by exactly these.",
            &["D7"],
            |world| Box::pin(one_of_each(world)),
        ),
        Scenario::new(
            "the-sum-holds-from-second-to-second",
            "At every moment the accepted deliveries are those that succeeded, failed, were lost, were cancelled or are open.",
            &["D7"],
            |world| {
                Box::pin(async move {
                    let (scene, _receiver) = Scene::new(world, Script::by_attempt([500], 200)).await?;
                    scene.company().publish_many(9).await?;
                    for second in 0..40 {
                        world.advance("PT1S").await;
                        let tally = world.tally().await;
                        holds(
                            format!("the sum after {second} s"),
                            "conserved",
                            tally.is_conserved(),
                            &tally,
                        )?;
                        if second == 20 {
                            scene.company().publish().await?;
                        }
                    }
                    let deliveries = scene.deliveries().await?;
                    same(
                        "succeeded and lost",
                        (count(&deliveries, "SUCCEEDED"), count(&deliveries, "LOST")),
                        (9, 1),
                    )
                })
            },
        ),
        Scenario::new(
            "a-slow-receiver-delays-no-neighbour",
            "A webhook of the same user with hundreds of deliveries to a receiver that hangs delays nobody.",
            &["D8"],
            |world| Box::pin(beside_a_hanging_one(world, 1)),
        ),
        Scenario::new(
            "a-slow-receiver-delays-no-other-company",
            "A company with hundreds of deliveries to a receiver that hangs delays no other company.",
            &["D8"],
            |world| Box::pin(beside_a_hanging_one(world, 2)),
        ),
        Scenario::new(
            "a-retry-goes-to-the-new-url",
            "The URL is read when an attempt starts: a change between two attempts applies to the second.",
            &["D9"],
            |world| {
                Box::pin(async move {
                    let (scene, old) = Scene::new(world, 500).await?;
                    let new = world.receiver(200).await;
                    scene.deliver().await?;
                    let change = json!({"subscriptionUrl": new.url()});
                    scene.user.update_webhook(&scene.webhook.id, change).await?;
                    world.advance("PT3S").await;
                    same(
                        "requests, old and new",
                        (old.journal().len(), new.journal().len()),
                        (1, 1),
                    )?;
                    same(
                        "the delivery",
                        scene.last_delivery().await?.status.as_str(),
                        "SUCCEEDED",
                    )
                })
            },
        ),
        Scenario::new(
            "a-retry-carries-the-new-credentials",
            "Credentials are read when an attempt starts: the next retry is sent with a new password.",
            &["D9", "W11"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 500).await?;
                    scene.deliver().await?;
                    let steps = [
                        json!({"httpAuthUser": "user", "httpAuthPassword": "one"}),
                        json!({"httpAuthPassword": "two"}),
                        json!({"httpAuthUser": null, "httpAuthPassword": null}),
                    ];
                    for (change, wait) in steps.into_iter().zip(["PT3S", "PT30S", "PT150S"]) {
                        scene.user.update_webhook(&scene.webhook.id, change).await?;
                        world.advance(wait).await;
                    }
                    let arrivals = receiver.journal().all();
                    let sent: Vec<_> = arrivals
                        .iter()
                        .map(|arrival| arrival.header("authorization"))
                        .collect();
                    // user:one and user:two
                    let expected = vec![None, Some("Basic dXNlcjpvbmU="), Some("Basic dXNlcjp0d28="), None];
                    same("Authorization of each attempt", sent, expected)
                })
            },
        ),
        Scenario::new(
            "ids-and-times-put-events-in-order",
            "A retry arrives after a later event; ids and timestamps both show the order of publication.",
            &["D11"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, Script::by_attempt([500], 200)).await?;
                    let first = scene.deliver().await?.event.event_id;
                    world.advance("PT1S").await;
                    receiver.answer_with(200);
                    let second = scene.deliver().await?.event.event_id;
                    world.advance("PT2S").await;
                    let arrivals = receiver.journal().all();
                    let order: Vec<&str> = arrivals.iter().map(|arrival| arrival.event()).collect();
                    same("as they arrived", order, vec![&*first, &*second, &*first])?;
                    let mut succeeded: Vec<(String, Option<Timestamp>)> = arrivals[1..]
                        .iter()
                        .map(|arrival| {
                            let stamp = arrival.json()["meta"]["timestamp"]
                                .as_str()
                                .and_then(|text| text.parse().ok());
                            (arrival.event().to_owned(), stamp)
                        })
                        .collect();
                    succeeded.sort();
                    same("the first by id", succeeded[0].0.as_str(), first.as_str())?;
                    let rising = succeeded[0].1.is_some() && succeeded[0].1 < succeeded[1].1;
                    holds(
                        "their timestamps in the order of ids",
                        "rising",
                        rising,
                        &succeeded,
                    )
                })
            },
        ),
        Scenario::new(
            "evidence-survives-success",
            "A delivery that succeeded can be read weeks later, with its start and end.",
            &["D7", "D10"],
            |world| {
                Box::pin(async move {
                    let (scene, _receiver) = Scene::new(world, 200).await?;
                    let start = world.now();
                    let event = scene.deliver().await?.event.event_id;
                    world.advance("P29D").await;
                    let delivery = scene.last_delivery().await?;
                    same(
                        "event, status, beginning and end",
                        (
                            delivery.event.event_id,
                            delivery.status.as_str(),
                            delivery.created_at,
                            delivery.finished_at,
                        ),
                        (event, "SUCCEEDED", start, Some(start)),
                    )
                })
            },
        ),
    ]
}

/// A webhook for changes of this kind of object only, and its receiver.
async fn webhook_for(
    world: &World,
    script: impl Into<Script>,
    object: &str,
) -> Result<(String, crate::receiver::Receiver), Failure> {
    let receiver = world.receiver(script).await;
    let new = NewWebhook::to(&receiver.url()).on("CHANGE", object);
    let id = world
        .company(1)
        .owner(7)
        .await?
        .create_webhook(new)
        .await?
        .webhook
        .id;
    Ok((id, receiver))
}

async fn publish(world: &World, company: u64, object: &str, times: usize) -> Play {
    let id = world.company(company).id();
    let event = crate::client::NewEvent::new(id, "CHANGE", object, "8").with("data", json!({}));
    world.platform().publish(&vec![event; times]).await?;
    Ok(())
}

/// Brings deliveries into each final status: deals succeed, persons fail, products are banned at the tenth failure and
/// lose the eleventh, stages are cancelled.
async fn one_of_each(world: &World) -> Play {
    world.settle().await;
    let before = world.tally().await;
    let user = world.company(1).owner(7).await?;
    let (succeeding, _one) = webhook_for(world, Script::by_attempt([500], 200), "deal").await?;
    let (failing, _two) = webhook_for(world, 500, "person").await?;
    let (banned, _three) = webhook_for(world, 500, "product").await?;
    let (removed, _four) = webhook_for(world, 500, "stage").await?;
    publish(world, 1, "deal", 9).await?;
    publish(world, 1, "person", 8).await?;
    publish(world, 1, "product", 10).await?;
    publish(world, 1, "stage", 5).await?;
    world.advance("PT20S").await;
    publish(world, 1, "product", 4).await?;
    user.delete_webhook(&removed).await?;
    world.advance("PT200S").await;
    for (webhook, status, expected) in [
        (succeeding, "SUCCEEDED", 9),
        (failing, "FAILED", 8),
        (banned, "LOST", 14),
        (removed, "CANCELLED", 5),
    ] {
        let deliveries = user.deliveries(&webhook).await?;
        same(
            format!("deliveries, and those {status}"),
            (deliveries.len(), count(&deliveries, status)),
            (expected, expected),
        )?;
    }
    let after = world.tally().await;
    let rise = Tally {
        accepted: after.accepted - before.accepted,
        succeeded: after.succeeded - before.succeeded,
        failed: after.failed - before.failed,
        lost: after.lost - before.lost,
        cancelled: after.cancelled - before.cancelled,
        open: after.open - before.open,
    };
    let expected = Tally {
        accepted: 36,
        succeeded: 9,
        failed: 8,
        lost: 14,
        cancelled: 5,
        open: 0,
    };
    same("the rise of the figures", rise, expected)
}

/// Checks that a hanging webhook of company 1 with a backlog does not delay a healthy one of `company`.
async fn beside_a_hanging_one(world: &World, company: u64) -> Play {
    let (_, hanging) = webhook_for(world, Answer::Hang, "deal").await?;
    let healthy = world.receiver(200).await;
    let user = world.company(company).owner(7).await?;
    user.create_webhook(NewWebhook::to(&healthy.url()).on("CHANGE", "lead"))
        .await?;
    publish(world, 1, "deal", 500).await?;
    let mut published = Vec::new();
    for _ in 0..12 {
        // Publishes halfway through the hanging attempts, and again as they time out and the next ones start.
        publish(world, company, "lead", 1).await?;
        published.push(world.now());
        world.advance("PT1S").await;
    }
    let arrived = healthy.journal().all();
    same("events of the healthy webhook", arrived.len(), published.len())?;
    for (arrival, at) in arrived.iter().zip(published) {
        let late = arrival.at.duration_since(at);
        holds(
            "how late an event arrived",
            "at most a second",
            late.as_secs_f64() <= 1.0,
            &late,
        )?;
    }
    let started = hanging.journal().len();
    holds(
        "requests to the hanging receiver",
        "some, but far from 500",
        (1..100).contains(&started),
        &started,
    )
}
