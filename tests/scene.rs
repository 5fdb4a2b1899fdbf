//! The initial state of most tests: company 1, its user 7, and a general webhook of that user for all events.

use jiff::{SignedDuration, Timestamp};
use tenterhook_harness::client::{Client, Delivery, Health, NewWebhook, Webhook};
use tenterhook_harness::receiver::Receiver;
use tenterhook_harness::reply::Script;
use tenterhook_harness::wire::WireReceiver;
use tenterhook_harness::world::World;

/// A world with one webhook.
pub struct Scene {
    pub world: World,
    pub user: Client,
    pub webhook: Webhook,
}

impl Scene {
    /// Creates the webhook for a receiver that responds according to `script`.
    pub async fn new(script: impl Into<Script>) -> (Self, Receiver) {
        let world = World::start().await;
        let receiver = world.receiver(script).await;
        (Self::leading_to(world, &receiver.url()).await, receiver)
    }

    /// Creates the webhook for a receiver on raw sockets that `wire` starts.
    pub async fn on_wire(wire: impl AsyncFnOnce(&World) -> WireReceiver) -> (Self, WireReceiver) {
        let world = World::start().await;
        let receiver = wire(&world).await;
        (Self::leading_to(world, &receiver.url()).await, receiver)
    }

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

    /// Stops the server, lets this span pass, and starts it again.
    pub async fn restart_after(&mut self, pause: &str) {
        self.world.stop(0).await;
        self.world.advance(pause).await;
        self.world.launch().await;
        self.user = self.world.company(1).user(7);
    }

    /// The webhook's health now.
    pub async fn health(&self) -> Health {
        self.user
            .health(&self.webhook.id)
            .await
            .expect("the user sees the webhook")
    }

    /// The webhook's deliveries, oldest first.
    pub async fn deliveries(&self) -> Vec<Delivery> {
        self.user
            .deliveries(&self.webhook.id)
            .await
            .expect("the user sees the webhook")
    }

    /// The webhook's latest delivery.
    pub async fn last_delivery(&self) -> Delivery {
        self.user
            .last_delivery(&self.webhook.id)
            .await
            .expect("there is a delivery")
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
