//! A slow or dead receiver does not delay other webhooks.

use tenterhook_harness::client::NewWebhook;
use tenterhook_harness::reply::Answer;
use tenterhook_harness::world::World;

use crate::scene::later;

/// Number of deliveries in the backlog of the hanging webhook.
const BACKLOG: usize = 100_000;

/// D8: one webhook has 100,000 deliveries to a receiver that hangs. A healthy one of the same company, and so of the
/// same lane, gets its events within a second of publication.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_deliveries_to_a_receiver_that_hangs_delay_nobody() {
    let world = World::start().await;
    let hanging = world.receiver(Answer::Hang).await;
    let healthy = world.receiver(200).await;
    let user = world.company(1).user(7);
    let slow = user
        .create_webhook(NewWebhook::to(&hanging.url()).on("CHANGE", "deal"))
        .await
        .unwrap()
        .webhook;
    user.create_webhook(NewWebhook::to(&healthy.url()).on("CREATE", "lead"))
        .await
        .unwrap();
    let company = world.company(1);
    for _ in 0..BACKLOG / 1000 {
        company.publish_many(1000).await.unwrap();
    }
    let lead = || tenterhook_harness::client::NewEvent::new(1, "CREATE", "lead", "1");
    let mut published = Vec::new();
    for _ in 0..12 {
        // Publishes halfway through the hanging attempts, and again as they time out and the next ones start.
        world.platform().publish_one(lead()).await.unwrap();
        published.push(world.now());
        world.advance("PT1S").await;
    }
    assert!(world.tally().await.open > 0 || user.health(&slow.id).await.unwrap().state == "BANNED");

    let arrivals = healthy.journal().wait_for(published.len()).await;
    for (arrival, at) in arrivals.iter().zip(published) {
        assert!(
            arrival.at <= later(at, "PT1S"),
            "published {at}, arrived {}",
            arrival.at
        );
    }
    assert!(
        hanging.journal().len() < 100,
        "concurrency per webhook is bounded"
    );
    world.verify().await;
}
