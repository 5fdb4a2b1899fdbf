//! General and application webhooks have the same policy (P1).

use super::scene::{BAN, MILLISECOND, USER, WINDOW};
use crate::client::{Client, Health, NewWebhook};
use crate::receiver::Receiver;
use crate::scenario::{Failure, Play, Scenario, same};
use crate::world::World;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![Scenario::new(
        "both-types-are-judged-alike",
        "An application webhook is retried, banned and removed exactly as a general one with the same results.",
        &["P1", "B2", "B4", "D4", "R1"],
        |world| {
            Box::pin(async move {
                let both = Both::new(world).await?;
                both.deliver("after a failed first try", "ACTIVE").await?;
                world.advance("PT1H").await;
                both.expect_alike("when all retries have failed", "ACTIVE")
                    .await?;
                for _ in 0..8 {
                    both.deliver("after a further failure", "ACTIVE").await?;
                }
                both.deliver("after the tenth", "BANNED").await?;
                both.deliver("after a loss in the ban", "BANNED").await?;
                world.advance(BAN - MILLISECOND).await;
                both.expect_alike("a millisecond before the ban ends", "BANNED")
                    .await?;
                world.advance(MILLISECOND).await;
                both.expect_alike("when the ban ends", "ACTIVE").await?;
                both.answer_with(200);
                both.deliver("after a success", "ACTIVE").await?;
                both.answer_with(500);
                world.advance("PT1H").await;
                both.deliver("after another failure", "ACTIVE").await?;
                world.advance(WINDOW - MILLISECOND).await;
                both.expect_alike("a millisecond before the window ends", "ACTIVE")
                    .await?;
                world.advance(MILLISECOND).await;
                both.expect_alike("when the window ends", "REMOVED").await
            })
        },
    )]
}

/// A webhook with its caller and its receiver.
struct One {
    caller: Client,
    id: String,
    receiver: Receiver,
}

impl One {
    async fn new(world: &World, caller: Client) -> Result<Self, Failure> {
        let receiver = world.receiver(500).await;
        let webhook = caller
            .create_webhook(NewWebhook::to(&receiver.url()))
            .await?
            .webhook;
        Ok(Self {
            caller,
            id: webhook.id,
            receiver,
        })
    }

    /// The webhook's health and, for each delivery, its status and the HTTP statuses of its attempts.
    async fn fate(&self) -> Result<(Health, Vec<Fate>), Failure> {
        let health = self.caller.health(&self.id).await?;
        let deliveries = self.caller.deliveries(&self.id).await?;
        let fates = deliveries.into_iter().map(|delivery| Fate {
            status: delivery.status,
            reason: delivery.reason,
            attempts: delivery
                .attempts
                .iter()
                .map(|attempt| (attempt.number, attempt.http_status))
                .collect(),
        });
        Ok((health, fates.collect()))
    }
}

/// The state of a delivery.
#[derive(Debug, PartialEq)]
struct Fate {
    status: String,
    reason: Option<String>,
    attempts: Vec<(u8, Option<u16>)>,
}

/// A general and an application webhook of the same user. Their receivers respond alike.
struct Both<'w> {
    world: &'w World,
    general: One,
    application: One,
}

impl<'w> Both<'w> {
    async fn new(world: &'w World) -> Result<Self, Failure> {
        let company = world.company(1);
        let general = One::new(world, company.user(USER)).await?;
        let application = One::new(world, company.app("crm").install(USER).await?).await?;
        Ok(Self {
            world,
            general,
            application,
        })
    }

    fn answer_with(&self, status: u16) {
        self.general.receiver.answer_with(status);
        self.application.receiver.answer_with(status);
    }

    /// Publishes one event for both webhooks, and compares the results once the attempts that are due are made.
    async fn deliver(&self, when: &str, state: &str) -> Play {
        self.world.company(1).publish().await?;
        self.world.settle().await;
        self.expect_alike(when, state).await
    }

    async fn expect_alike(&self, when: &str, state: &str) -> Play {
        let (general, application) = (self.general.fate().await?, self.application.fate().await?);
        same(
            format!("the general webhook's state {when}"),
            general.0.state.as_str(),
            state,
        )?;
        same(format!("the application webhook {when}"), application, general)
    }
}
