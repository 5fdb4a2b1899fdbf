//! An attempt times out ten seconds after its start, unless the response headers are complete by then (D2).

use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use jiff::SignedDuration;

use super::scene::{AROUND, MILLISECOND, Scene};
use crate::scenario::{Need, Scenario, same};
use crate::wire::{Behaviour, Fault, WireReceiver};
use crate::world::World;

/// D2's deadline.
const DEADLINE: SignedDuration = SignedDuration::from_secs(10);

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = vec![
        times_out(
            "a-connection-never-accepted-times-out",
            "A connection that the receiver never accepts",
            |world| world.deaf().boxed_local(),
        )
        .needing(Need::Wire),
        times_out(
            "a-tls-handshake-that-hangs-times-out",
            "A TLS handshake that gets no response",
            |world| world.wire_tls(Fault::Silence).boxed_local(),
        )
        .needing(Need::Tls),
        times_out(
            "a-request-without-answer-times-out",
            "A request that gets no response",
            |world| world.wire(Fault::HangBeforeHeaders).boxed_local(),
        ),
        times_out(
            "headers-that-never-end-time-out",
            "A response whose headers never end",
            |world| world.wire(Fault::HangInHeaders).boxed_local(),
        )
        .needing(Need::Wire),
        Scenario::new(
            "a-body-that-never-ends-is-a-success",
            "The status decides: a 200 whose body never ends is a success, and the rest is not read.",
            &["D2", "D1"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::on_wire(world, Fault::EndlessBody).await?;
                    scene.deliver().await?;
                    world.advance(DEADLINE).await;
                    same(
                        "the delivery",
                        scene.last_delivery().await?.status.as_str(),
                        "SUCCEEDED",
                    )?;
                    same("requests", receiver.journal().len(), 1)?;
                    scene.expect_health("after it", "ACTIVE", 0).await
                })
            },
        )
        .needing(Need::Wire),
        Scenario::new(
            "each-retry-has-its-own-ten-seconds",
            "Every attempt to a receiver that hangs times out after ten seconds: the delivery fails at +223 s.",
            &["D2", "D4"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::on_wire(world, Fault::HangBeforeHeaders).await?;
                    let end = world.now() + SignedDuration::from_secs(10 + 3 + 10 + 30 + 10 + 150 + 10);
                    scene.deliver().await?;
                    world.advance_to(end - MILLISECOND).await;
                    same(
                        "the delivery just before",
                        scene.last_delivery().await?.status.as_str(),
                        "PENDING",
                    )?;
                    world.advance(MILLISECOND).await;
                    let delivery = scene.last_delivery().await?;
                    same(
                        "status and end of the delivery",
                        (delivery.status.as_str(), delivery.finished_at),
                        ("FAILED", Some(end)),
                    )?;
                    same("requests", receiver.journal().len(), 4)
                })
            },
        ),
    ];
    all.extend(AROUND.map(|(word, offset)| answers(word, offset)));
    all
}

/// A scenario in which a first try is pending a millisecond before ten seconds, and has failed at ten.
fn times_out(
    name: &str,
    what: &str,
    receiver: for<'w> fn(&'w World) -> LocalBoxFuture<'w, WireReceiver>,
) -> Scenario {
    Scenario::new(
        name,
        format!("{what} fails at exactly ten seconds, and the delay of the retry counts from then."),
        &["D2", "D1", "T2"],
        move |world| {
            Box::pin(async move {
                let receiver = receiver(world).await;
                let scene = Scene::leading_to(world, &receiver.url()).await?;
                let end = world.now() + DEADLINE;
                scene.deliver().await?;
                world.advance_to(end - MILLISECOND).await;
                scene.expect_health("just before", "ACTIVE", 0).await?;
                world.advance(MILLISECOND).await;
                scene.expect_health("at ten seconds", "ACTIVE", 1).await?;
                let retry = end + SignedDuration::from_secs(3);
                let delivery = scene.last_delivery().await?;
                same("nextAttemptAt", delivery.next_attempt_at, Some(retry))?;
                let first = delivery.attempts.first();
                same(
                    "error class, status, start and end of the attempt",
                    first.map(|a| (a.error_class.as_deref(), a.http_status, a.started_at, a.ended_at)),
                    Some((Some("TIMEOUT"), None, end - DEADLINE, end)),
                )
            })
        },
    )
}

/// A scenario with a response ten seconds after the attempt began, plus `offset`.
fn answers(word: &str, offset: SignedDuration) -> Scenario {
    let counts = offset < SignedDuration::ZERO;
    Scenario::new(
        format!("an-answer-{word}-ten-seconds"),
        format!(
            "A response {} ten seconds {}.",
            word.replace('-', " "),
            if counts { "counts" } else { "comes too late" }
        ),
        &["D2", "T2"],
        move |world| {
            Box::pin(async move {
                let behaviour = Behaviour::ReplyAfter(DEADLINE + offset, 200.into());
                let (scene, _receiver) = Scene::on_wire(world, behaviour).await?;
                let start = world.now();
                scene.deliver().await?;
                world.advance(SignedDuration::from_secs(11)).await;
                let delivery = scene.last_delivery().await?;
                let (status, finished, next) = if counts {
                    ("SUCCEEDED", Some(start + DEADLINE + offset), None)
                } else {
                    ("PENDING", None, Some(start + SignedDuration::from_secs(13)))
                };
                same(
                    "status, end and next attempt of the delivery",
                    (
                        delivery.status.as_str(),
                        delivery.finished_at,
                        delivery.next_attempt_at,
                    ),
                    (status, finished, next),
                )?;
                scene
                    .expect_health("after it", "ACTIVE", u32::from(!counts))
                    .await
            })
        },
    )
}
