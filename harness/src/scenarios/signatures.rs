//! The headers that show a receiver the event, the attempt and that the request is genuine (E7).

use std::collections::BTreeSet;

use jiff::SignedDuration;
use serde_json::json;

use super::callers::silent;
use super::scene::{MILLISECOND, Scene};
use crate::client::NewWebhook;
use crate::journal::Arrival;
use crate::reply::Script;
use crate::scenario::{Need, Scenario, holds, refused, same};
use crate::signature::{Signed, Verdict};

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "a-delivery-is-signed",
            "A request carries the event's id, its webhook's number, attempt 1 and a signature that a receiver can check.",
            &["E7"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 200).await?;
                    let published = scene.deliver().await?;
                    let arrivals = receiver.journal().wait_for(1).await;
                    let first = &arrivals[0];
                    same(
                        "webhook-id, tenterhook-webhook and tenterhook-attempt",
                        (first.event(), first.webhook(), first.attempt()),
                        (published.event.event_id.as_str(), scene.webhook.number.as_str(), 1),
                    )?;
                    same("the signature", &first.verdict, &Verdict::Valid)
                })
            },
        )
        .also_in_real_time(),
        Scenario::new(
            "every-attempt-is-signed-anew-under-one-id",
            "All four attempts carry one webhook-id, their own number and time, and a valid signature of their own.",
            &["E7"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, Script::by_attempt([500, 500, 500], 200)).await?;
                    let start = world.now().as_second();
                    let published = scene.deliver().await?;
                    world.advance("PT1H").await;
                    let arrivals = receiver.journal().all();
                    let mut signatures = BTreeSet::new();
                    for (place, (arrival, due)) in arrivals.iter().zip([0, 3, 33, 183]).enumerate() {
                        same("webhook-id", arrival.event(), published.event.event_id.as_str())?;
                        same("tenterhook-attempt", usize::from(arrival.attempt()), place + 1)?;
                        let time = (start + due).to_string();
                        same("webhook-timestamp", arrival.header("webhook-timestamp"), Some(time.as_str()))?;
                        same("the signature", &arrival.verdict, &Verdict::Valid)?;
                        signatures.insert(arrival.header("webhook-signature"));
                    }
                    same("attempts, and different signatures", (arrivals.len(), signatures.len()), (4, 4))
                })
            },
        ),
        Scenario::new(
            "two-webhooks-to-one-receiver-share-the-events-id",
            "A receiver that subscribed twice gets the event twice under one webhook-id, each signed with its secret.",
            &["E7"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 200).await?;
                    let other = scene.user.create_webhook(NewWebhook::to(&receiver.url())).await?.webhook;
                    scene.deliver().await?;
                    let arrivals = receiver.journal().wait_for(2).await;
                    same("the second request's id", arrivals[1].event(), arrivals[0].event())?;
                    let numbers: BTreeSet<&str> = arrivals.iter().map(|arrival| arrival.webhook()).collect();
                    let expected = BTreeSet::from([scene.webhook.number.as_str(), other.number.as_str()]);
                    same("the webhooks they came from", numbers, expected)?;
                    for arrival in &arrivals {
                        same("the signature", &arrival.verdict, &Verdict::Valid)?;
                    }
                    Ok(())
                })
            },
        ),
        Scenario::new(
            "each-webhook-has-its-own-secret",
            "Secrets begin with whsec_ and no two webhooks share one.",
            &["E7"],
            |world| {
                Box::pin(async move {
                    let user = world.company(1).owner(7).await?;
                    let mut secrets = BTreeSet::new();
                    for _ in 0..5 {
                        secrets.insert(user.create_webhook(silent()).await?.signing_secret);
                    }
                    let form = secrets.iter().all(|secret| secret.starts_with("whsec_"));
                    holds("five secrets", "all different, all whsec_", form && secrets.len() == 5, &secrets.len())
                })
            },
        ),
        Scenario::new(
            "a-secret-is-shown-once",
            "After the creation no field returns the secret, and no response contains it.",
            &["E7"],
            |world| {
                Box::pin(async move {
                    let user = world.company(1).owner(7).await?;
                    let created = user.create_webhook(silent()).await?;
                    let id = &created.webhook.id;
                    for field in ["signingSecret", "secret"] {
                        let document = format!("query($id: ID!) {{ webhook(id: $id) {{ {field} }} }}");
                        let answer = user.query(&document, json!({"id": id})).await;
                        refused(format!("a query for {field}"), answer, "GRAPHQL_VALIDATION_FAILED")?;
                    }
                    let change = json!({"id": id, "name": "renamed"});
                    let answer = user.mutate("updateWebhook", change, "webhook { id name }").await?;
                    let shown = format!("{answer} {:?}", user.webhook(id).await?);
                    holds("later answers", "without the secret", !shown.contains(&created.signing_secret), &shown)
                })
            },
        )
        .needing(Need::Reading),
        Scenario::new(
            "a-delivery-is-a-post-of-json",
            "A request is a POST with the content type of JSON.",
            &["E7"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 200).await?;
                    scene.deliver().await?;
                    let arrivals = receiver.journal().wait_for(1).await;
                    let media = arrivals[0].header("content-type").unwrap_or_default();
                    let method = arrivals[0].method.as_str();
                    let json = method == "POST" && media.starts_with("application/json");
                    holds("method and content type", "POST of application/json", json, &(method, media))
                })
            },
        ),
        Scenario::new(
            "a-rotation-overlaps-for-24-hours",
            "After a rotation both secrets sign until 24 hours have passed; from then on the new one alone.",
            &["E7", "D9", "T2"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 200).await?;
                    scene.deliver().await?;
                    let rotation = scene.user.rotate(&scene.webhook).await?;
                    let end = world.now() + SignedDuration::from_hours(24);
                    same("previousExpiresAt", rotation.previous_expires_at, end)?;
                    scene.deliver().await?;
                    world.advance_to(end - MILLISECOND).await;
                    scene.deliver().await?;
                    world.advance_to(end).await;
                    scene.deliver().await?;
                    let requests = receiver.journal().all();
                    let secret = rotation.signing_secret.parse()?;
                    let seen: Vec<_> = requests
                        .iter()
                        .map(|sent| {
                            let signature = sent.header("webhook-signature").unwrap_or_default();
                            let by_new = signed(sent).verify(std::slice::from_ref(&secret), sent.at);
                            (signature.split(' ').count(), by_new == Verdict::Valid)
                        })
                        .collect();
                    let expected = vec![(1, false), (2, true), (2, true), (1, true)];
                    same("signatures before, after, just before 24 h and at it; signed by the new secret", seen, expected)?;
                    let verdicts: Vec<_> = requests.iter().map(|sent| &sent.verdict).collect();
                    same("signatures by a secret that is known", verdicts, vec![&Verdict::Valid; 4])
                })
            },
        )
        .needing(Need::Rotation),
        Scenario::new(
            "the-old-secret-still-signs-in-the-overlap",
            "A receiver that knows only the old secret accepts what is sent in the overlap, and nothing after it.",
            &["E7"],
            |world| {
                Box::pin(async move {
                    let receiver = world.receiver(200).await;
                    let user = world.company(1).owner(7).await?;
                    let created = user.create_webhook(NewWebhook::to(&receiver.url())).await?;
                    let old = created.signing_secret.parse()?;
                    user.rotate(&created.webhook).await?;
                    for wait in [SignedDuration::from_hours(23), SignedDuration::from_hours(1)] {
                        world.advance(wait).await;
                        world.company(1).publish().await?;
                        world.settle().await;
                    }
                    let requests = receiver.journal().all();
                    let by_old: Vec<bool> = requests
                        .iter()
                        .map(|sent| signed(sent).verify(std::slice::from_ref(&old), sent.at) == Verdict::Valid)
                        .collect();
                    same("signed by the old secret after 23 and 24 hours", by_old, vec![true, false])
                })
            },
        )
        .needing(Need::Rotation),
    ]
}

/// The parts of a request that the signature covers.
fn signed(sent: &Arrival) -> Signed<'_> {
    Signed {
        id: sent.header("webhook-id"),
        timestamp: sent.header("webhook-timestamp"),
        signature: sent.header("webhook-signature"),
        body: &sent.body,
    }
}
