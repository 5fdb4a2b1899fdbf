//! The initial state of most scenarios: company 1, its user 7, and a webhook of that user for all events. The webhook has
//! the type for which the scenario is played.

use jiff::{SignedDuration, Timestamp};

use crate::client::{Client, Delivery, Health, NewWebhook, Published, Webhook};
use crate::receiver::Receiver;
use crate::reply::Script;
use crate::scenario::{Failure, Play, same};
use crate::wire::{Behaviour, WireReceiver};
use crate::world::{Company, World};

/// The user of every scene.
pub const USER: u64 = 7;

/// A webhook in a world, with its user.
pub struct Scene<'w> {
    pub world: &'w World,
    /// The user, through an app if the webhook is an application webhook.
    pub user: Client,
    pub webhook: Webhook,
}

impl<'w> Scene<'w> {
    /// Creates the webhook for a web server that responds according to `script`.
    pub async fn new(world: &'w World, script: impl Into<Script>) -> Result<(Self, Receiver), Failure> {
        let receiver = world.receiver(script).await;
        Ok((Self::leading_to(world, &receiver.url()).await?, receiver))
    }

    /// Creates the webhook for a raw socket that treats all connections alike.
    pub async fn on_wire(
        world: &'w World,
        behaviour: impl Into<Behaviour>,
    ) -> Result<(Self, WireReceiver), Failure> {
        let receiver = world.wire(behaviour).await;
        Ok((Self::leading_to(world, &receiver.url()).await?, receiver))
    }

    /// Creates the webhook for this URL.
    pub async fn leading_to(world: &'w World, url: &str) -> Result<Self, Failure> {
        let user = world.company(1).owner(USER).await?;
        let webhook = user.create_webhook(NewWebhook::to(url)).await?.webhook;
        Ok(Self { world, user, webhook })
    }

    pub fn company(&self) -> Company<'w> {
        self.world.company(1)
    }

    /// Publishes one event, and waits until the server has made the attempts that are due.
    pub async fn deliver(&self) -> Result<Published, Failure> {
        let published = self.company().publish().await?;
        self.world.settle().await;
        Ok(published)
    }

    /// Publishes this number of events, each after the attempts of the previous one.
    pub async fn deliver_times(&self, times: usize) -> Play {
        for _ in 0..times {
            self.deliver().await?;
        }
        Ok(())
    }

    /// The number of webhooks that count under the limit for the webhook's type.
    pub async fn places_used(&self) -> Result<u32, Failure> {
        let kind = self.world.webhook_type().word();
        Ok(self.user.quota(kind, None).await?.used)
    }

    pub async fn health(&self) -> Result<Health, Failure> {
        Ok(self.user.health(&self.webhook.id).await?)
    }

    /// All deliveries of the webhook, oldest first.
    pub async fn deliveries(&self) -> Result<Vec<Delivery>, Failure> {
        Ok(self.user.deliveries(&self.webhook.id).await?)
    }

    pub async fn last_delivery(&self) -> Result<Delivery, Failure> {
        Ok(self.user.last_delivery(&self.webhook.id).await?)
    }

    /// Checks the state and the ban counter of the webhook.
    pub async fn expect_health(&self, when: &str, state: &str, counter: u32) -> Play {
        let health = self.health().await?;
        same(
            format!("state and ban counter {when}"),
            (health.state.as_str(), health.ban_counter),
            (state, counter),
        )
    }

    /// Checks the beginning of the failure window, and the removal date that follows from it.
    pub async fn expect_window(&self, when: &str, since: Option<Timestamp>) -> Play {
        let health = self.health().await?;
        same(format!("failingSince {when}"), health.failing_since, since)?;
        same(
            format!("removalDueAt {when}"),
            health.removal_due_at,
            since.map(|since| since + WINDOW),
        )
    }
}

/// R1's window.
pub const WINDOW: SignedDuration = SignedDuration::from_hours(72);
/// B2's ban.
pub const BAN: SignedDuration = SignedDuration::from_mins(30);
/// The smallest step of time that the API shows.
pub const MILLISECOND: SignedDuration = SignedDuration::from_millis(1);

/// The number of deliveries with this status.
pub fn count(deliveries: &[Delivery], status: &str) -> usize {
    deliveries
        .iter()
        .filter(|delivery| delivery.status == status)
        .count()
}

/// `-1 ms`, `0 ms` and `+1 ms`, each with its word in scenario names.
pub const AROUND: [(&str, SignedDuration); 3] = [
    ("just-before", SignedDuration::from_millis(-1)),
    ("at", SignedDuration::ZERO),
    ("just-after", SignedDuration::from_millis(1)),
];
