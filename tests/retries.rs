//! A failed first try has three retries, and no more.

use tenterhook_harness::reply::{Reply, Script};
use tenterhook_harness::wire::Fault;

use crate::scene::{Scene, later};

/// D4: 3 s, 30 s and 150 s after the end of the previous attempt. Then the delivery has failed.
#[tokio::test(flavor = "multi_thread")]
async fn three_retries_follow_at_3_30_and_150_seconds_and_then_the_delivery_has_failed() {
    let (scene, receiver) = Scene::new(500).await;
    let start = scene.world.now();
    scene.deliver().await;
    let pending = scene.last_delivery().await;
    assert_eq!(
        (pending.status.as_str(), pending.next_attempt_at),
        ("PENDING", Some(later(start, "PT3S")))
    );

    scene.world.advance("PT1H").await;

    let arrivals: Vec<_> = receiver
        .journal()
        .all()
        .iter()
        .map(|a| (a.attempt(), a.at))
        .collect();
    let due = [(1, "PT0S"), (2, "PT3S"), (3, "PT33S"), (4, "PT183S")];
    assert_eq!(
        arrivals,
        due.map(|(attempt, after)| (attempt, later(start, after)))
    );
    let failed = scene.last_delivery().await;
    assert_eq!(
        (failed.status.as_str(), failed.reason.as_deref()),
        ("FAILED", Some("EXHAUSTED"))
    );
    assert_eq!(
        (failed.finished_at, failed.next_attempt_at),
        (Some(later(start, "PT183S")), None)
    );
    assert_eq!(
        failed.attempts.iter().map(|a| a.number).collect::<Vec<_>>(),
        [1, 2, 3, 4]
    );
    scene.world.verify().await;
}

/// D2, D4: the delays count from the end of an attempt, which is ten seconds after its start if it times out.
#[tokio::test(flavor = "multi_thread")]
async fn delays_count_from_the_end_of_the_attempt_before() {
    let (scene, receiver) = Scene::on_wire(async |world| world.wire(Fault::HangBeforeHeaders).await).await;
    let start = scene.world.now();
    scene.deliver().await;
    scene.world.advance("PT1H").await;

    let starts: Vec<_> = receiver.journal().all().iter().map(|a| a.at).collect();
    assert_eq!(
        starts,
        ["PT0S", "PT13S", "PT53S", "PT213S"].map(|after| later(start, after))
    );
    assert_eq!(
        scene.last_delivery().await.finished_at,
        Some(later(start, "PT223S"))
    );
    scene.world.verify().await;
}

/// D1, D4: the first success ends the delivery.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_that_succeeds_ends_the_delivery() {
    let (scene, receiver) = Scene::new(Script::by_attempt([500, 500], 200)).await;
    let start = scene.world.now();
    scene.deliver().await;
    scene.world.advance("PT1H").await;

    assert_eq!(receiver.journal().len(), 3);
    let delivery = scene.last_delivery().await;
    assert_eq!((delivery.status.as_str(), delivery.reason), ("SUCCEEDED", None));
    assert_eq!(delivery.finished_at, Some(later(start, "PT33S")));
    let results: Vec<_> = delivery
        .attempts
        .iter()
        .map(|a| (a.http_status, a.error_class.as_deref()))
        .collect();
    assert_eq!(
        results,
        [
            (Some(500), Some("STATUS")),
            (Some(500), Some("STATUS")),
            (Some(200), None)
        ]
    );
    scene.world.verify().await;
}

/// D4: `Retry-After` or 410 in a response changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn retry_after_and_gone_change_nothing() {
    for reply in [
        Reply::status(503).header("retry-after", "3600"),
        Reply::status(410),
    ] {
        let (scene, receiver) = Scene::new(reply).await;
        let start = scene.world.now();
        scene.deliver().await;
        scene.world.advance("PT183S").await;
        let starts: Vec<_> = receiver.journal().all().iter().map(|a| a.at).collect();
        assert_eq!(
            starts,
            ["PT0S", "PT3S", "PT33S", "PT183S"].map(|after| later(start, after))
        );
        assert_eq!(scene.health().await.state, "ACTIVE");
        scene.world.verify().await;
    }
}

/// D6: retries that became due while no server ran are made when one starts, with the same attempt number.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_that_came_due_while_no_server_ran_is_made_when_one_starts() {
    let (mut scene, receiver) = Scene::new(Script::by_attempt([500], 200)).await;
    scene.deliver().await;
    scene.restart_after("PT1H").await;
    scene.world.settle().await;

    let arrivals: Vec<_> = receiver
        .journal()
        .all()
        .iter()
        .map(|a| (a.attempt(), a.at))
        .collect();
    assert_eq!(arrivals[1..], [(2, scene.world.now())]);
    assert_eq!(scene.last_delivery().await.status, "SUCCEEDED");
    scene.world.verify().await;
}

/// D9: an attempt uses the URL at its start, not the one at the publication.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_goes_to_where_the_webhook_leads_by_then() {
    let (scene, before) = Scene::new(500).await;
    let after = scene.world.receiver(200).await;
    scene.deliver().await;
    let change = serde_json::json!({"subscriptionUrl": after.url()});
    scene
        .user
        .update_webhook(&scene.webhook.id, change)
        .await
        .unwrap();
    scene.world.advance("PT3S").await;

    assert_eq!((before.journal().len(), after.journal().len()), (1, 1));
    assert_eq!(after.journal().all()[0].attempt(), 2);
    assert_eq!(scene.last_delivery().await.status, "SUCCEEDED");
    scene.world.verify().await;
}
