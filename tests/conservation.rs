//! Every accepted delivery is accounted for, at every moment.

use tenterhook_harness::client::NewWebhook;
use tenterhook_harness::reply::Script;
use tenterhook_harness::world::{Tally, World};

/// D7: accepted = succeeded + failed + lost + cancelled + open, at every second, while deliveries end in each of the
/// four ways. The deliveries of each webhook agree with that.
#[tokio::test(flavor = "multi_thread")]
async fn accepted_deliveries_always_equal_the_sum_of_all_states() {
    let world = World::builder().servers(2).start().await;
    let user = world.company(1).user(7);
    let at = async |script: Script, object: &str| {
        let receiver = world.receiver(script).await;
        let new = NewWebhook::to(&receiver.url()).on("CHANGE", object);
        (user.create_webhook(new).await.unwrap().webhook.id, receiver)
    };
    let (succeeding, _one) = at(Script::by_attempt([500], 200), "deal").await;
    let (failing, _two) = at(500.into(), "person").await;
    let (banned, _three) = at(500.into(), "product").await;
    let (removed, _four) = at(500.into(), "stage").await;
    let publish = async |object: &str, times: usize| {
        let event = tenterhook_harness::client::NewEvent::new(1, "CHANGE", object, "8");
        world.platform().publish(&vec![event; times]).await.unwrap();
    };
    publish("deal", 9).await;
    publish("person", 9).await;
    publish("product", 10).await;
    publish("stage", 5).await;
    for second in 0..200 {
        world.advance("PT1S").await;
        let tally = world.tally().await;
        assert!(tally.is_conserved(), "after {second} s: {tally:?}");
        match second {
            20 => publish("product", 4).await,
            40 => drop(user.delete_webhook(&removed).await.unwrap()),
            _ => {}
        }
    }
    let expected = Tally {
        accepted: 37,
        succeeded: 9,
        failed: 9,
        lost: 14,
        cancelled: 5,
        open: 0,
    };
    assert_eq!(world.tally().await, expected);
    for (webhook, status, count) in [
        (succeeding, "SUCCEEDED", 9),
        (failing, "FAILED", 9),
        (banned, "LOST", 14),
        (removed, "CANCELLED", 5),
    ] {
        let deliveries = user.deliveries(&webhook).await.unwrap();
        assert_eq!(crate::scene::count(&deliveries, status), count, "{status}");
        assert_eq!(deliveries.len(), count, "{status}");
        assert!(
            deliveries.iter().all(|delivery| delivery.finished_at.is_some()),
            "{status}"
        );
    }
    world.verify().await;
}

/// D10, D7: after thirty days attempts and events are deleted. Counters keep them.
#[tokio::test(flavor = "multi_thread")]
async fn after_thirty_days_history_is_dropped_and_still_counted() {
    let world = World::start().await;
    let receiver = world.receiver(200).await;
    let user = world.company(1).user(7);
    let webhook = user
        .create_webhook(NewWebhook::to(&receiver.url()))
        .await
        .unwrap()
        .webhook;
    world.company(1).publish().await.unwrap();
    world.advance("PT719H59M59.999S").await;
    assert_eq!(
        user.deliveries(&webhook.id).await.unwrap().len(),
        1,
        "kept for thirty days"
    );
    world.advance("PT0.001S").await;
    assert_eq!(user.deliveries(&webhook.id).await.unwrap(), []);
    let tally = world.tally().await;
    assert_eq!((tally.accepted, tally.succeeded), (1, 1));
    world.company(1).publish().await.unwrap();
    world.settle().await;
    assert_eq!(receiver.journal().len(), 2);
    world.verify().await;
}
