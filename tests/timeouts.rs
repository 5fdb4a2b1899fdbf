//! An attempt times out after ten seconds unless the response headers are complete, whatever it is waiting for.

use jiff::SignedDuration;
use tenterhook_harness::reply::Reply;
use tenterhook_harness::wire::{Conduct, Fault, WireReceiver};
use tenterhook_harness::world::World;

use crate::scene::{Scene, later};

/// Publishes one event, and checks that its first try times out after exactly ten seconds.
async fn times_out(wire: impl AsyncFnOnce(&World) -> WireReceiver) {
    let (scene, _receiver) = Scene::on_wire(wire).await;
    let start = scene.world.now();
    scene.deliver().await;
    scene.world.advance("PT9.999S").await;
    assert_eq!(scene.last_delivery().await.attempts, [], "still on the wire");
    scene.world.advance("PT0.001S").await;

    let delivery = scene.last_delivery().await;
    let attempt = &delivery.attempts[0];
    assert_eq!(
        (attempt.error_class.as_deref(), attempt.http_status),
        (Some("TIMEOUT"), None),
        "{attempt:?}"
    );
    assert_eq!(
        (attempt.started_at, attempt.ended_at),
        (start, later(start, "PT10S"))
    );
    assert_eq!(delivery.next_attempt_at, Some(later(start, "PT13S")));
    assert_eq!(scene.health().await.ban_counter, 1);
    scene.world.verify().await;
}

/// D1, D2, T2: the connection is never accepted.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_never_accepted_times_out_after_ten_seconds() {
    times_out(async |world| world.deaf().await).await;
}

/// D1, D2, T2: the TLS handshake hangs.
#[tokio::test(flavor = "multi_thread")]
async fn a_tls_handshake_that_hangs_times_out_after_ten_seconds() {
    times_out(async |world| world.wire_tls(Fault::Silence).await).await;
}

/// D1, D2, T2: the request gets no response.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_answer_times_out_after_ten_seconds() {
    times_out(async |world| world.wire(Fault::HangBeforeHeaders).await).await;
}

/// D1, D2, T2: a status line alone is not a response; the headers must be complete.
#[tokio::test(flavor = "multi_thread")]
async fn headers_that_never_end_time_out_after_ten_seconds() {
    times_out(async |world| world.wire(Fault::HangInHeaders).await).await;
}

/// D2, T2: a response counts a millisecond before the deadline, and does not count at the deadline.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_just_before_ten_seconds_counts_and_at_ten_seconds_does_not() {
    let after = |millis| Conduct::ReplyAfter(SignedDuration::from_millis(millis), 200.into());
    for (millis, status, class) in [(9_999, Some(200), None), (10_000, None, Some("TIMEOUT"))] {
        let (scene, _receiver) = Scene::on_wire(async |world| world.wire(after(millis)).await).await;
        let start = scene.world.now();
        scene.deliver().await;
        scene.world.advance("PT10S").await;
        let attempt = &scene.last_delivery().await.attempts[0];
        assert_eq!(
            (attempt.http_status, attempt.error_class.as_deref()),
            (status, class),
            "after {millis} ms"
        );
        assert_eq!(attempt.ended_at, start + SignedDuration::from_millis(millis));
        scene.world.verify().await;
    }
}

/// D1, D2, D10: the status decides. A 2xx with an endless body is a success, and only the beginning of the body is
/// kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_success_whose_body_never_ends_is_a_success() {
    let (scene, _receiver) = Scene::on_wire(async |world| world.wire(Fault::EndlessBody).await).await;
    scene.deliver().await;
    let delivery = scene.last_delivery().await;
    assert_eq!(delivery.status, "SUCCEEDED");
    let attempt = &delivery.attempts[0];
    assert_eq!(
        (attempt.http_status, attempt.response_truncated),
        (Some(200), true)
    );
    assert_eq!(attempt.response_body.as_ref().map(String::len), Some(1024));
    scene.world.verify().await;
}

/// D2, D10: 16 KiB of the body are kept for a failure, however long it is.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_long_body_16_kib_are_kept() {
    let reply = Reply::status(500).body(vec![b'x'; 1 << 20]);
    let (scene, _receiver) = Scene::new(reply).await;
    scene.deliver().await;
    let attempt = &scene.last_delivery().await.attempts[0];
    assert_eq!(attempt.response_body.as_ref().map(String::len), Some(16 * 1024));
    assert!(attempt.response_truncated);
    scene.world.verify().await;
}
