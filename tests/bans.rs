//! Ten failed first tries ban a webhook for thirty minutes. Attempts that are due during the ban are lost.

use std::sync::Arc;

use tenterhook_harness::client::NewWebhook;
use tenterhook_harness::wire::{Conduct, Cue};
use tenterhook_harness::world::World;

use crate::scene::{Scene, count, later};

/// B1: a failed first try adds one to the ban counter, retries never do.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_first_try_counts_and_its_retries_do_not() {
    let (scene, receiver) = Scene::new(500).await;
    scene.deliver().await;
    let health = scene.health().await;
    assert_eq!((health.ban_counter, health.ban_threshold), (1, 10));

    scene.world.advance("PT183S").await;
    assert_eq!(receiver.journal().len(), 4);
    assert_eq!(scene.health().await.ban_counter, 1);
    scene.world.verify().await;
}

/// B2, B3, B7, T2: the tenth failed first try bans for thirty minutes from its end. Then the webhook is active with a
/// counter of zero, without any request, and an attempt that is due in that millisecond is sent.
#[tokio::test(flavor = "multi_thread")]
async fn ten_failed_first_tries_make_a_ban_to_the_millisecond() {
    let (scene, receiver) = Scene::new(500).await;
    scene.deliver_times(9).await;
    let health = scene.health().await;
    assert_eq!(
        (health.state.as_str(), health.ban_counter, health.banned_until),
        ("ACTIVE", 9, None)
    );

    scene.world.advance("PT1.234S").await;
    let until = later(scene.world.now(), "PT30M");
    scene.deliver().await;
    let health = scene.health().await;
    assert_eq!((health.state.as_str(), health.ban_counter), ("BANNED", 10));
    assert_eq!(health.banned_until, Some(until));
    let next = health.next_transition.unwrap();
    assert_eq!((next.at, next.to.as_str()), (until, "ACTIVE"));
    assert_eq!(receiver.journal().len(), 10);

    scene.world.advance("PT29M59.999S").await;
    assert_eq!(scene.health().await.state, "BANNED");
    scene.deliver().await;
    assert_eq!(receiver.journal().len(), 10);

    scene.world.advance("PT0.001S").await;
    let health = scene.health().await;
    assert_eq!((health.state.as_str(), health.ban_counter), ("ACTIVE", 0));
    receiver.answer_with(200);
    scene.deliver().await;
    assert_eq!(receiver.journal().len(), 11);
    assert_eq!(scene.last_delivery().await.status, "SUCCEEDED");
    scene.world.verify().await;
}

/// B4: events published during a ban and retries due during it are recorded as lost, and never sent afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_due_in_a_ban_is_lost_recorded_and_never_sent() {
    let (scene, receiver) = Scene::new(500).await;
    scene.deliver_times(10).await;
    let banned = scene.world.now();
    scene.world.advance("PT10M").await;
    let published = scene.world.company(1).publish_many(3).await.unwrap();
    assert!(
        published.events.iter().all(|event| event.delivery_count == 1),
        "lost ones are counted"
    );

    scene.world.advance("P2D").await;

    assert_eq!(
        receiver.journal().len(),
        10,
        "nothing was sent in the ban or kept for later"
    );
    let deliveries = scene.deliveries().await;
    assert_eq!(count(&deliveries, "LOST"), 13);
    assert!(
        deliveries
            .iter()
            .all(|delivery| delivery.reason.as_deref() == Some("BANNED"))
    );
    let (tried, unsent) = deliveries.split_at(10);
    assert!(
        tried
            .iter()
            .all(|d| d.attempts.len() == 1 && d.finished_at == Some(later(banned, "PT3S")))
    );
    assert!(
        unsent
            .iter()
            .all(|d| d.attempts.is_empty() && d.finished_at == Some(later(banned, "PT10M")))
    );
    assert_eq!(scene.health().await.lost_count, 13);
    scene.world.verify().await;
}

/// B3: a success does not change the counter; only the end of a ban resets it.
#[tokio::test(flavor = "multi_thread")]
async fn a_success_does_not_reset_the_counter() {
    let (scene, receiver) = Scene::new(500).await;
    scene.deliver_times(9).await;
    receiver.answer_with(200);
    scene.deliver_times(3).await;
    scene.world.advance("PT1H").await;
    let health = scene.health().await;
    assert_eq!((health.state.as_str(), health.ban_counter), ("ACTIVE", 9));

    receiver.answer_with(500);
    scene.deliver().await;
    assert_eq!(scene.health().await.state, "BANNED");

    scene.world.advance("PT30M").await;
    scene.deliver_times(9).await;
    let health = scene.health().await;
    assert_eq!(
        (health.state.as_str(), health.ban_counter),
        ("ACTIVE", 9),
        "a ban's end starts from zero"
    );
    scene.world.verify().await;
}

/// B5: attempts in flight when the ban begins may end. A success counts but does not end the ban; a failure does not
/// raise the counter above ten.
#[tokio::test(flavor = "multi_thread")]
async fn attempts_on_the_wire_when_a_ban_begins_may_end() {
    let cue = Cue::default();
    let held = |status: u16| Conduct::ReplyOnCue(cue.clone(), status.into());
    let (succeeding, failing) = (held(200), held(500));
    let conducts = Arc::new(move |connection| match connection {
        0 => succeeding.clone(),
        1 => failing.clone(),
        _ => 500.into(),
    });
    let (scene, receiver) = Scene::on_wire(async |world| world.wire_by_connection(conducts).await).await;
    for on_the_wire in 1..=2 {
        scene.world.company(1).publish().await.unwrap();
        receiver.journal().wait_for(on_the_wire).await;
    }
    scene.deliver_times(10).await;
    let banned = scene.health().await;
    assert_eq!((banned.state.as_str(), banned.ban_counter), ("BANNED", 10));

    cue.give();
    scene.world.settle().await;

    let health = scene.health().await;
    assert_eq!((health.state.as_str(), health.ban_counter), ("BANNED", 10));
    assert_eq!(health.banned_until, banned.banned_until);
    assert_eq!(health.last_success_at, Some(scene.world.now()));
    let deliveries = scene.deliveries().await;
    assert_eq!(deliveries[0].status, "SUCCEEDED");
    assert_eq!(deliveries[1].attempts[0].http_status, Some(500));
    scene.world.advance("PT1H").await;
    assert_eq!(receiver.journal().len(), 12);
    scene.world.verify().await;
}

/// B6: ten or more failures at the same instant on two servers cause one ban, which both servers know.
#[tokio::test(flavor = "multi_thread")]
async fn failures_in_one_instant_on_two_servers_make_one_ban() {
    let world = World::builder().servers(2).start().await;
    let cue = Cue::default();
    let receiver = world.wire(Conduct::ReplyOnCue(cue.clone(), 500.into())).await;
    let user = world.company(1).user(7);
    let webhook = user
        .create_webhook(NewWebhook::to(&receiver.url()))
        .await
        .unwrap()
        .webhook;
    for server in [0, 1] {
        for _ in 0..6 {
            world.company(1).at(server).publish().await.unwrap();
        }
    }
    receiver.journal().wait_for(12).await;
    cue.give();
    world.settle().await;

    for server in [0, 1] {
        let health = world
            .company(1)
            .at(server)
            .user(7)
            .health(&webhook.id)
            .await
            .unwrap();
        assert_eq!((health.state.as_str(), health.ban_counter), ("BANNED", 10));
        assert_eq!(health.banned_until, Some(later(world.now(), "PT30M")));
        world.company(1).at(server).publish().await.unwrap();
    }
    world.advance("PT29M59.999S").await;
    assert_eq!(receiver.journal().len(), 12);
    world.advance("PT0.001S").await;
    assert_eq!(user.health(&webhook.id).await.unwrap().state, "ACTIVE");
    world.advance("PT10M").await;
    assert_eq!(receiver.journal().len(), 12, "one ban, and its end");
    world.verify().await;
}

/// B6, B7: a ban keeps its counter and its end across a restart, and also ends while no server runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_ban_survives_a_restart_and_ends_also_while_no_server_runs() {
    let (mut scene, receiver) = Scene::new(500).await;
    scene.deliver_times(10).await;
    let before = scene.health().await;
    scene.restart_after("PT1S").await;

    let after = scene.health().await;
    assert_eq!((after.state.as_str(), after.ban_counter), ("BANNED", 10));
    assert_eq!(after.banned_until, before.banned_until);
    scene.deliver().await;
    assert_eq!(
        (
            receiver.journal().len(),
            scene.last_delivery().await.status.as_str()
        ),
        (10, "LOST")
    );

    scene.restart_after("PT29M59S").await;
    let health = scene.health().await;
    assert_eq!((health.state.as_str(), health.ban_counter), ("ACTIVE", 0));
    scene.deliver().await;
    assert_eq!(receiver.journal().len(), 11);
    assert!(
        count(&scene.deliveries().await, "LOST") == 11,
        "what came due in the ban was not sent after it"
    );
    scene.world.verify().await;
}
