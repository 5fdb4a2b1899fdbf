//! The initial state of some tests: company 1, its user 7, and a general webhook of that user for all events.

use jiff::{SignedDuration, Timestamp};
use tenterhook_harness::client::{Client, Delivery, NewWebhook, Webhook};
use tenterhook_harness::world::World;

/// A world with one webhook.
pub struct Scene {
    pub world: World,
    pub user: Client,
    pub webhook: Webhook,
}

impl Scene {
    /// Creates the webhook for this URL.
    pub async fn leading_to(world: World, url: &str) -> Self {
        let user = world.company(1).user(7);
        let created = user
            .create_webhook(NewWebhook::to(url))
            .await
            .expect("the user may create a webhook");
        Self {
            world,
            user,
            webhook: created.webhook,
        }
    }

    /// Publishes one event, and waits for its first try.
    pub async fn deliver(&self) {
        let published = self
            .world
            .company(1)
            .publish()
            .await
            .expect("the platform may publish");
        assert_eq!(published.delivery_count, 1);
        self.world.settle().await;
    }

    /// Publishes this number of events, each after the first try of the previous one.
    pub async fn deliver_times(&self, times: usize) {
        for _ in 0..times {
            self.deliver().await;
        }
    }
}

/// The time `at` plus this span.
pub fn later(at: Timestamp, by: &str) -> Timestamp {
    let by: SignedDuration = by.parse().expect("a duration");
    at + by
}

/// The number of deliveries with this status.
pub fn count(deliveries: &[Delivery], status: &str) -> usize {
    deliveries
        .iter()
        .filter(|delivery| delivery.status == status)
        .count()
}
