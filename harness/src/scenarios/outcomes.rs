//! Only a 2xx status counts as a success (D1, D3, D5).

use super::scene::Scene;
use crate::client::NewWebhook;
use crate::receiver::Receiver;
use crate::reply::{Answer, Reply, Script};
use crate::scenario::{Need, Play, Scenario, same};
use crate::wire::Fault;
use crate::world::World;

/// Redirect statuses, each tried with a `Location`.
const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = vec![
        Scenario::new(
            "every-2xx-is-a-success",
            "Every status from 200 to 299 ends the delivery as succeeded, also one that no standard names.",
            &["D1"],
            |world| {
                Box::pin(statuses(
                    world,
                    &[200, 201, 202, 203, 204, 205, 206, 207, 226, 250, 299],
                    "SUCCEEDED",
                ))
            },
        )
        .also_in_real_time(),
        Scenario::new(
            "every-3xx-is-a-failure",
            "Every status from 300 to 399 is a failed attempt.",
            &["D1", "D3"],
            |world| {
                Box::pin(statuses(
                    world,
                    &[300, 301, 302, 303, 304, 305, 306, 307, 308, 399],
                    "PENDING",
                ))
            },
        ),
        Scenario::new(
            "every-4xx-is-a-failure",
            "Every status from 400 to 499 is a failed attempt.",
            &["D1"],
            |world| {
                let all = &[
                    400, 401, 402, 403, 404, 405, 406, 408, 409, 410, 413, 418, 422, 425, 429, 451, 499,
                ];
                Box::pin(statuses(world, all, "PENDING"))
            },
        ),
        Scenario::new(
            "every-5xx-is-a-failure",
            "Every status from 500 on is a failed attempt.",
            &["D1"],
            |world| {
                let all = &[500, 501, 502, 503, 504, 505, 507, 508, 511, 520, 599, 600, 999];
                Box::pin(statuses(world, all, "PENDING"))
            },
        ),
        Scenario::new(
            "a-redirect-to-a-metadata-address-is-a-failure-at-once",
            "The attempt ends with the redirect; the metadata service gets no request.",
            &["D3", "W10"],
            |world| {
                Box::pin(async move {
                    let target = "http://169.254.169.254/latest/meta-data/";
                    let (scene, receiver) =
                        Scene::new(world, Reply::status(307).header("location", target)).await?;
                    scene.deliver().await?;
                    // No time has passed. A server that had followed the redirect would still be connecting.
                    expect_failed_once(&scene).await?;
                    same("requests", receiver.journal().len(), 1)
                })
            },
        ),
        Scenario::new(
            "a-redirect-to-itself-is-one-request",
            "A receiver that redirects to itself gets one request per attempt.",
            &["D3", "D5"],
            |world| {
                Box::pin(async move {
                    let receiver = world.receiver(200).await;
                    receiver.answer_with(Reply::status(308).header("location", &receiver.url()));
                    let scene = Scene::leading_to(world, &receiver.url()).await?;
                    scene.deliver().await?;
                    same("requests of the first attempt", receiver.journal().len(), 1)?;
                    world.advance("PT183S").await;
                    same("requests of all attempts", receiver.journal().len(), 4)
                })
            },
        ),
        Scenario::new(
            "not-modified-is-a-failure",
            "304 is a failure, although it is not an error status.",
            &["D1"],
            |world| Box::pin(fails_with(world, Reply::status(304))),
        ),
        Scenario::new(
            "multiple-choices-without-a-location-is-a-failure",
            "300 without a Location is a failure too.",
            &["D1", "D3"],
            |world| Box::pin(fails_with(world, Reply::status(300))),
        ),
        Scenario::new(
            "early-hints-are-passed-over",
            "103 and then 200 is a success: interim responses do not count.",
            &["D1"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::on_wire(world, Fault::EarlyHints).await?;
                    scene.deliver().await?;
                    same(
                        "the delivery",
                        scene.last_delivery().await?.status.as_str(),
                        "SUCCEEDED",
                    )?;
                    same("requests", receiver.journal().len(), 1)
                })
            },
        )
        .needing(Need::Wire),
        Scenario::new(
            "a-refused-connection-is-a-failure",
            "A refused connection fails the attempt at once; it is retried.",
            &["D1"],
            |world| {
                Box::pin(async move {
                    let receiver = world.refusing();
                    let scene = Scene::leading_to(world, &receiver.url()).await?;
                    scene.deliver().await?;
                    expect_failed_once(&scene).await
                })
            },
        ),
        Scenario::new(
            "a-self-signed-certificate-is-a-failure",
            "A self-signed certificate is not accepted, and no request is sent.",
            &["D1"],
            |world| {
                Box::pin(async move {
                    let receiver = world.wire_tls(200).await;
                    let scene = Scene::leading_to(world, &receiver.url()).await?;
                    scene.deliver().await?;
                    expect_failed_once(&scene).await?;
                    same("requests", receiver.journal().len(), 0)
                })
            },
        )
        .needing(Need::Tls),
        Scenario::new(
            "a-failure-and-a-success-are-told-apart-per-attempt",
            "Each attempt is judged by its own response: three failures do not change the success after them.",
            &["D1", "D4"],
            |world| {
                Box::pin(async move {
                    let redirect = Reply::status(302).header("location", "http://127.0.0.1:9/");
                    let answers: [Answer; 3] = [redirect.into(), 404.into(), 500.into()];
                    let (scene, receiver) = Scene::new(world, Script::by_attempt(answers, 299)).await?;
                    scene.deliver().await?;
                    world.advance("PT183S").await;
                    same("requests", receiver.journal().len(), 4)?;
                    same(
                        "the delivery",
                        scene.last_delivery().await?.status.as_str(),
                        "SUCCEEDED",
                    )
                })
            },
        ),
    ];
    all.extend(REDIRECTS.map(not_followed));
    all.extend(
        [
            (
                "switching-protocols-is-a-failure",
                "101 is a final status, and a failure.",
                Fault::SwitchingProtocols,
            ),
            (
                "an-answer-that-is-not-http-is-a-failure",
                "A response that is not HTTP is a failure.",
                Fault::Garbage,
            ),
            (
                "closing-without-an-answer-is-a-failure",
                "A connection closed after the request, without a response, is one failed attempt.",
                Fault::CloseWithoutAnswer,
            ),
            (
                "a-reset-before-the-request-is-a-failure",
                "A connection that is reset as soon as it is open is one failed attempt.",
                Fault::ResetAtOnce,
            ),
        ]
        .map(|(name, sentence, fault)| misbehaves(name, sentence, fault)),
    );
    all
}

/// Checks that the first try failed and was not repeated: the counter is 1, and a retry is pending.
async fn expect_failed_once(scene: &Scene<'_>) -> Play {
    scene.expect_health("after the first try", "ACTIVE", 1).await?;
    let delivery = scene.last_delivery().await?;
    same(
        "the delivery, and whether a retry is ahead",
        (delivery.status.as_str(), delivery.next_attempt_at.is_some()),
        ("PENDING", true),
    )
}

async fn fails_with(world: &World, reply: Reply) -> Play {
    let (scene, receiver) = Scene::new(world, reply).await?;
    scene.deliver().await?;
    expect_failed_once(&scene).await?;
    same("requests", receiver.journal().len(), 1)
}

/// A receiver that responds to `/hook/404` with 404, and so on.
async fn by_path(world: &World) -> Receiver {
    let script = Script::new(|arrival, _| {
        let last = arrival.path.rsplit('/').next();
        Answer::Reply(last.and_then(|last| last.parse().ok()).unwrap_or(500).into())
    });
    world.receiver(script).await
}

/// Checks that a delivery has the status `expected` after a first try that got any of these HTTP statuses.
async fn statuses(world: &World, statuses: &[u16], expected: &str) -> Play {
    let receiver = by_path(world).await;
    let user = world.company(1).owner(7).await?;
    let mut webhooks = Vec::new();
    for status in statuses {
        let url = format!("{}/{status}", receiver.url());
        webhooks.push((
            status,
            user.create_webhook(NewWebhook::to(&url)).await?.webhook.id,
        ));
    }
    world.company(1).publish().await?;
    world.settle().await;
    for (status, id) in webhooks {
        let delivery = user.last_delivery(&id).await?;
        let health = user.health(&id).await?;
        same(
            format!("the delivery, the ban counter and the last status after {status}"),
            (
                delivery.status.as_str(),
                health.ban_counter,
                health.last_http_status,
            ),
            (expected, u32::from(expected != "SUCCEEDED"), Some(*status)),
        )?;
    }
    same("requests", receiver.journal().len(), statuses.len())
}

/// A scenario in which the server must not follow a redirect.
fn not_followed(status: u16) -> Scenario {
    Scenario::new(
        format!("a-{status}-is-not-followed"),
        format!("{status} with a Location is a failure; where it points, nothing arrives."),
        &["D3"],
        move |world| {
            Box::pin(async move {
                let elsewhere = world.receiver(200).await;
                let reply = Reply::status(status).header("location", &elsewhere.url());
                let (scene, receiver) = Scene::new(world, reply).await?;
                scene.deliver().await?;
                expect_failed_once(&scene).await?;
                world.advance("PT183S").await;
                same(
                    "the delivery",
                    scene.last_delivery().await?.status.as_str(),
                    "FAILED",
                )?;
                same("requests", receiver.journal().len(), 4)?;
                same("requests elsewhere", elsewhere.journal().len(), 0)
            })
        },
    )
}

/// A scenario with one fault, which must cause at most one request.
fn misbehaves(name: &str, sentence: &str, fault: Fault) -> Scenario {
    Scenario::new(name, sentence, &["D1", "D5"], move |world| {
        Box::pin(async move {
            let (scene, receiver) = Scene::on_wire(world, fault).await?;
            scene.deliver().await?;
            expect_failed_once(&scene).await?;
            let read = usize::from(fault != Fault::ResetAtOnce);
            same("requests of the first attempt", receiver.journal().len(), read)
        })
    })
    .needing(Need::Wire)
}
