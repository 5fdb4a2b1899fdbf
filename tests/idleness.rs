//! An idle server does almost nothing.

use tenterhook_harness::client::NewWebhook;
use tenterhook_harness::world::World;

/// No loop with a fixed interval runs on the simulated clock, so 72 idle hours with webhooks take fewer than 200
/// statements.
#[tokio::test(flavor = "multi_thread")]
async fn seventy_two_idle_hours_cost_under_200_statements() {
    let world = World::builder().metered().start().await;
    let receiver = world.receiver(200).await;
    for user in 1..=3 {
        world
            .company(1)
            .user(user)
            .create_webhook(NewWebhook::to(&receiver.url()))
            .await
            .unwrap();
    }
    world.company(1).publish().await.unwrap();
    world.settle().await;
    assert_eq!(receiver.journal().len(), 3);

    let before = world.statements();
    assert!(before > 0, "the server's statements are counted");
    world.advance("PT72H").await;
    let cost = world.statements() - before;
    assert!(cost < 200, "72 idle hours cost {cost} statements");
    world.verify().await;
}
