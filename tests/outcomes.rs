//! What counts as a success, and the error class of each failure.

use tenterhook_harness::client::NewWebhook;
use tenterhook_harness::reply::{Answer, Reply, Script};
use tenterhook_harness::wire::{Fault, WireReceiver};
use tenterhook_harness::world::World;

use crate::scene::Scene;

/// Responds to `/hook/404` with 404, and so on, always with a `Location`.
fn by_path(elsewhere: String) -> Script {
    Script::new(move |arrival, _| {
        let status = arrival
            .path
            .rsplit('/')
            .next()
            .and_then(|last| last.parse().ok())
            .unwrap_or(200);
        Answer::Reply(Reply::status(status).header("location", &elsewhere))
    })
}

/// D1, D3: exactly the 2xx statuses are a success. A redirect is a failure like any other, and is never followed.
#[tokio::test(flavor = "multi_thread")]
async fn every_2xx_is_a_success_and_every_other_status_a_failure() {
    let world = World::start().await;
    let elsewhere = world.receiver(200).await;
    let receiver = world.receiver(by_path(elsewhere.url())).await;
    let user = world.company(1).user(7);
    let mut webhooks = Vec::new();
    for status in [
        200, 201, 202, 203, 204, 205, 206, 226, 299, 300, 301, 302, 303, 304, 305, 307, 308, 400, 401, 404,
        408, 410, 418, 429, 499, 500, 502, 503, 504, 599, 600, 999,
    ] {
        let url = format!("{}/{status}", receiver.url());
        webhooks.push((
            status,
            user.create_webhook(NewWebhook::to(&url)).await.unwrap().webhook,
        ));
    }
    world.company(1).publish().await.unwrap();
    world.settle().await;

    for (status, webhook) in webhooks {
        let delivery = user.last_delivery(&webhook.id).await.unwrap();
        let attempt = &delivery.attempts[0];
        let expected = if (200..300).contains(&status) {
            ("SUCCEEDED", None)
        } else {
            ("PENDING", Some("STATUS"))
        };
        assert_eq!(
            (delivery.status.as_str(), attempt.error_class.as_deref()),
            expected,
            "{status}"
        );
        assert_eq!(attempt.http_status, Some(status));
    }
    assert!(elsewhere.journal().is_empty(), "a redirect was followed");
    world.verify().await;
}

/// D3, W10: a redirect to a metadata address is not followed either. The attempt ends with the redirect.
#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_to_a_metadata_address_is_a_failure_at_once() {
    let reply = Reply::status(307).header("location", "http://169.254.169.254/latest/meta-data/");
    let (scene, receiver) = Scene::new(reply).await;
    let start = scene.world.now();
    scene.deliver().await;
    let attempt = &scene.last_delivery().await.attempts[0];
    assert_eq!(
        (attempt.http_status, attempt.error_class.as_deref()),
        (Some(307), Some("STATUS"))
    );
    assert_eq!((attempt.ended_at, receiver.journal().len()), (start, 1));
    scene.world.verify().await;
}

/// Publishes one event. Returns status and error class of its first try.
async fn first_try(wire: impl AsyncFnOnce(&World) -> WireReceiver) -> (Option<u16>, Option<String>) {
    let (scene, _receiver) = Scene::on_wire(wire).await;
    scene.deliver().await;
    let delivery = scene.last_delivery().await;
    assert_eq!(delivery.attempts.len(), 1, "one request per attempt (D5)");
    assert_eq!(
        scene.health().await.ban_counter,
        u32::from(delivery.status != "SUCCEEDED")
    );
    scene.world.verify().await;
    let attempt = delivery.attempts.into_iter().next().expect("there is one");
    (attempt.http_status, attempt.error_class)
}

async fn fault(fault: Fault) -> (Option<u16>, Option<String>) {
    first_try(async |world| world.wire(fault).await).await
}

fn failed(class: &str) -> (Option<u16>, Option<String>) {
    (None, Some(class.to_owned()))
}

/// D1: 101 is a final status, and not a success.
#[tokio::test(flavor = "multi_thread")]
async fn switching_protocols_is_a_failure() {
    assert_eq!(
        fault(Fault::SwitchingProtocols).await,
        (Some(101), Some("STATUS".to_owned()))
    );
}

/// D1: an interim response is skipped; the final one decides.
#[tokio::test(flavor = "multi_thread")]
async fn early_hints_before_a_200_are_no_failure() {
    assert_eq!(fault(Fault::EarlyHints).await, (Some(200), None));
}

/// D1, D10: the connection is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_is_a_failure() {
    assert_eq!(first_try(async |world| world.refusing()).await, failed("CONNECT"));
}

/// D1, D5, D10: the connection breaks. The request is not sent a second time in the same attempt.
#[tokio::test(flavor = "multi_thread")]
async fn a_reset_connection_is_a_failure() {
    for broken in [Fault::ResetAfterRequest, Fault::CloseWithoutAnswer] {
        let (scene, receiver) = Scene::on_wire(async |world| world.wire(broken).await).await;
        scene.deliver().await;
        let delivery = scene.last_delivery().await;
        assert_eq!(
            delivery.attempts[0].error_class.as_deref(),
            Some("RESET"),
            "{broken:?}"
        );
        assert_eq!(
            (delivery.attempts.len(), receiver.journal().len()),
            (1, 1),
            "{broken:?}"
        );
        scene.world.verify().await;
    }
    assert_eq!(fault(Fault::ResetAtOnce).await, failed("RESET"));
}

/// D1, D10: the response is not HTTP.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_http_is_a_failure() {
    assert_eq!(fault(Fault::Garbage).await, failed("PROTOCOL"));
}

/// D1, D10: a self-signed certificate is not accepted, and no request is sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_self_signed_certificate_is_a_failure() {
    let (scene, receiver) = Scene::on_wire(async |world| world.wire_tls(200).await).await;
    scene.deliver().await;
    let attempt = &scene.last_delivery().await.attempts[0];
    assert_eq!(
        (attempt.http_status, attempt.error_class.as_deref()),
        (None, Some("TLS"))
    );
    assert!(receiver.journal().is_empty());
    scene.world.verify().await;
}
