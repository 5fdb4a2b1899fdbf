//! Three days without a successful delivery remove a webhook, exactly at their end.

use jiff::SignedDuration;
use tenterhook_harness::client::{Health, WebhookList};
use tenterhook_harness::wire::Conduct;

use crate::scene::{Scene, later};

/// The beginning of the window, and the time of the removal.
fn window(health: &Health) -> (Option<jiff::Timestamp>, Option<jiff::Timestamp>) {
    (health.failing_since, health.removal_due_at)
}

/// R1, R3, R5, T2: the window opens with the first failed attempt and removes the webhook when it reaches 72 hours. No
/// request is needed. Pending deliveries are cancelled, and the webhook no longer counts for the limit.
#[tokio::test(flavor = "multi_thread")]
async fn seventy_two_hours_without_success_remove_a_webhook_at_that_instant() {
    let (scene, receiver) = Scene::new(500).await;
    let since = scene.world.now();
    let due = later(since, "PT72H");
    scene.deliver().await;
    let health = scene.health().await;
    assert_eq!(window(&health), (Some(since), Some(due)));
    let next = health.next_transition.unwrap();
    assert_eq!((next.at, next.to.as_str()), (due, "REMOVED"));

    scene.world.advance("PT71H59M59.999S").await;
    scene.deliver().await;
    assert_eq!(scene.health().await.state, "ACTIVE");
    assert_eq!(
        scene.last_delivery().await.status,
        "PENDING",
        "its retry is due after the end"
    );
    assert_eq!(scene.user.quota("GENERAL", None).await.unwrap().used, 1);

    scene.world.advance("PT0.001S").await;
    let webhook = scene
        .user
        .webhook(&scene.webhook.id)
        .await
        .unwrap()
        .expect("removed ones stay readable");
    assert_eq!(webhook.health.state, "REMOVED");
    assert_eq!(
        (webhook.removed_at, webhook.remove_reason.as_deref()),
        (Some(due), Some("NO_SUCCESSFUL_DELIVERY"))
    );
    let cancelled = scene.last_delivery().await;
    assert_eq!(
        (cancelled.status.as_str(), cancelled.reason.as_deref()),
        ("CANCELLED", Some("WEBHOOK_REMOVED"))
    );
    assert_eq!(scene.user.quota("GENERAL", None).await.unwrap().used, 0);
    assert_eq!(scene.user.webhooks(WebhookList::default()).await.unwrap(), []);

    let sent = receiver.journal().len();
    assert_eq!(scene.world.company(1).publish().await.unwrap().delivery_count, 0);
    scene.world.advance("PT1H").await;
    assert_eq!(
        receiver.journal().len(),
        sent,
        "nothing is sent to a removed webhook"
    );
    scene.world.verify().await;
}

/// R1, T2: a success a millisecond before the end closes the window. The next failure opens a new one.
#[tokio::test(flavor = "multi_thread")]
async fn a_success_a_millisecond_before_the_end_prevents_the_removal() {
    let (scene, receiver) = Scene::new(500).await;
    scene.deliver().await;
    scene.world.advance("PT71H59M59.999S").await;
    receiver.answer_with(200);
    scene.deliver().await;
    let health = scene.health().await;
    assert_eq!(window(&health), (None, None));
    assert_eq!(health.last_success_at, Some(scene.world.now()));

    scene.world.advance("PT0.001S").await;
    assert_eq!(scene.health().await.state, "ACTIVE");
    receiver.answer_with(500);
    scene.deliver().await;
    let now = scene.world.now();
    assert_eq!(
        window(&scene.health().await),
        (Some(now), Some(later(now, "PT72H")))
    );
    scene.world.verify().await;
}

/// T3: the end of an attempt decides. An attempt that ends a millisecond before the boundary prevents the removal. One
/// that ends at the boundary is too late, although it began earlier.
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_counts_by_when_it_ended() {
    for (millis, state) in [(4_999, "ACTIVE"), (5_000, "REMOVED")] {
        let (scene, receiver) = Scene::on_wire(async |world| world.wire(500).await).await;
        scene.deliver().await;
        scene.world.advance("PT71H59M55S").await;
        receiver.behave(Conduct::ReplyAfter(
            SignedDuration::from_millis(millis),
            200.into(),
        ));
        scene.deliver().await;
        scene.world.advance("PT1H").await;
        let webhook = scene.user.webhook(&scene.webhook.id).await.unwrap().unwrap();
        assert_eq!(
            webhook.health.state, state,
            "a success {millis} ms after 71:59:55"
        );
        scene.world.verify().await;
    }
}

/// R1: the success of a retry closes the window like any other.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_that_succeeds_ends_the_window() {
    let (scene, receiver) = Scene::new(500).await;
    let since = scene.world.now();
    scene.deliver().await;
    scene.world.advance("PT30S").await;
    assert_eq!(
        window(&scene.health().await).0,
        Some(since),
        "failed retries leave it as it is"
    );
    receiver.answer_with(200);
    scene.world.advance("PT3S").await;
    assert_eq!(window(&scene.health().await), (None, None));
    scene.world.advance("P30D").await;
    assert_eq!(scene.health().await.state, "ACTIVE");
    scene.world.verify().await;
}

/// R2: a webhook without events is not failing, neither from the beginning nor after a success.
#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_without_events_is_not_failing() {
    let (scene, _receiver) = Scene::new(200).await;
    scene.world.advance("P10D").await;
    let health = scene.health().await;
    assert_eq!((health.state.as_str(), window(&health)), ("ACTIVE", (None, None)));

    scene.deliver().await;
    scene.world.advance("P10D").await;
    let health = scene.health().await;
    assert_eq!((health.state.as_str(), window(&health)), ("ACTIVE", (None, None)));
    assert_eq!(health.next_transition, None);
    scene.world.verify().await;
}

/// R2, W13: deliveries lost in a ban neither open nor close a window, and a ban does not delay the removal.
#[tokio::test(flavor = "multi_thread")]
async fn a_ban_neither_closes_nor_prolongs_the_window() {
    let (scene, _receiver) = Scene::new(500).await;
    let since = scene.world.now();
    scene.deliver().await;
    scene.world.advance("PT71H50M").await;
    scene.deliver_times(9).await;
    scene.deliver_times(3).await;
    let health = scene.health().await;
    assert_eq!(
        (health.state.as_str(), window(&health).0),
        ("BANNED", Some(since))
    );
    let next = health.next_transition.unwrap();
    assert_eq!((next.at, next.to.as_str()), (later(since, "PT72H"), "REMOVED"));

    scene.world.advance("PT10M").await;
    let webhook = scene.user.webhook(&scene.webhook.id).await.unwrap().unwrap();
    assert_eq!(
        (webhook.health.state.as_str(), webhook.removed_at),
        ("REMOVED", Some(later(since, "PT72H")))
    );
    scene.world.verify().await;
}

/// R1, R3, T3: the removal also happens while no server runs, and has the time at which it was due. Retries that were
/// due later are not made.
#[tokio::test(flavor = "multi_thread")]
async fn the_removal_happens_also_while_no_server_runs() {
    let (mut scene, receiver) = Scene::new(500).await;
    let due = later(scene.world.now(), "PT72H");
    scene.deliver().await;
    scene.restart_after("P4D").await;

    let webhook = scene.user.webhook(&scene.webhook.id).await.unwrap().unwrap();
    assert_eq!(webhook.health.state, "REMOVED");
    assert_eq!(
        (webhook.removed_at, webhook.remove_reason.as_deref()),
        (Some(due), Some("NO_SUCCESSFUL_DELIVERY"))
    );
    scene.world.settle().await;
    assert_eq!(
        (
            receiver.journal().len(),
            scene.last_delivery().await.status.as_str()
        ),
        (1, "CANCELLED")
    );
    scene.world.verify().await;
}

/// W12: a removed webhook stays readable for thirty days, in lists only on request.
#[tokio::test(flavor = "multi_thread")]
async fn a_removed_webhook_stays_readable_for_thirty_days() {
    let (scene, _receiver) = Scene::new(200).await;
    scene.user.delete_webhook(&scene.webhook.id).await.unwrap();
    let all = WebhookList {
        filter: Some(serde_json::json!({"includeRemoved": true})),
        ..WebhookList::default()
    };
    scene.world.advance("PT719H59M59.999S").await;
    assert_eq!(scene.user.webhooks(WebhookList::default()).await.unwrap(), []);
    assert_eq!(scene.user.webhooks(all.clone()).await.unwrap().len(), 1);
    scene.world.advance("PT0.001S").await;
    assert_eq!(scene.user.webhooks(all).await.unwrap(), []);
    assert_eq!(scene.user.webhook(&scene.webhook.id).await.unwrap(), None);
    scene.world.verify().await;
}
