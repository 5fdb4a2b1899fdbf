//! A world on a remote server, with companies and apps of its own. Others may use the same clock and database.
//!
//! No other world uses its company and app ids, and [`World::leave`] deletes its webhooks. It uses the server's GraphQL
//! API, its metrics and, unless the server runs in real time, `/sim/…`.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex};

use anyhow::{Context, ensure};
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde_json::json;

use super::remote::RemoteTime;
use super::tenancy::IdRange;
use super::time::TimeDriver;
use super::{Home, World};
use crate::client::{CallLog, Client};
use crate::dns_server::NameServer;
use crate::realtime;
use crate::signature::Keyring;
use crate::token::{Claims, TokenKey};
use crate::webhook_type::WebhookType;

/// A remote server.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its base address, such as `http://127.0.0.1:8080`.
    pub url: String,
    /// The key that signs its tokens.
    pub key: TokenKey,
    /// Whether it runs in real time and not on a simulated clock.
    pub real_time: bool,
    /// How to restart it, if the caller knows a way.
    pub restart: Option<Restart>,
    /// The server's name server, if the test controls it.
    pub names: Option<Arc<NameServer>>,
}

/// Crashes a remote server, and starts it again on the same database.
#[derive(Clone)]
pub struct Restart(Arc<dyn Fn() -> BoxFuture<'static, anyhow::Result<()>> + Send + Sync>);

impl Restart {
    /// A restart by this function. The world then waits until the server is ready.
    pub fn by(act: impl Fn() -> BoxFuture<'static, anyhow::Result<()>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(act))
    }

    pub(super) async fn run(&self) -> anyhow::Result<()> {
        (self.0)().await
    }
}

impl fmt::Debug for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Restart")
    }
}

impl World {
    /// A world on a remote server.
    ///
    /// # Errors
    ///
    /// If the server does not respond, is not ready, or does not accept tokens of this key.
    pub async fn connect(target: &Target) -> anyhow::Result<Self> {
        let keyring = Keyring::default();
        let nobody = Client::new(&target.url, None, keyring.clone())?;
        nobody
            .until_ready()
            .await
            .with_context(|| format!("the server at {}", target.url))?;
        // The server's clock is not known before the first call, and may be far from the time of day. So this operator
        // token has an expiry that no clock reaches.
        let forever = Timestamp::MAX - SignedDuration::from_hours(24 * 366);
        let now = realtime::now();
        let token = target.key.sign_until(&Claims::of_scope("operator"), now, forever);
        let operator = nobody.with_token(Some(token));
        let viewer = operator.query("{ viewer { scopes } }", json!({})).await;
        viewer.with_context(|| format!("the server at {} does not accept the key's tokens", target.url))?;
        let driver = if target.real_time {
            let (status, _) = operator.call(Method::GET, "/sim/clock", None).await?;
            ensure!(
                status != 200,
                "the server at {} runs on a simulated clock, where time stands still until somebody advances it",
                target.url
            );
            TimeDriver::Real
        } else {
            TimeDriver::There(RemoteTime::of(operator).await?)
        };
        Ok(Self {
            began: driver.now(),
            log: CallLog::new(driver.time()),
            driver,
            key: target.key.clone(),
            keyring,
            journals: Mutex::default(),
            ids: IdRange::part(),
            webhook_type: WebhookType::General,
            rest: None,
            outages: Vec::new(),
            home: Home::There(Box::new(target.clone())),
        })
    }

    /// Removes from the remote server what this world created: every user that got a webhook.
    ///
    /// # Errors
    ///
    /// If the server refuses.
    pub async fn leave(&self) -> anyhow::Result<()> {
        if matches!(self.home, Home::Here(_)) {
            return Ok(());
        }
        let users: BTreeSet<(String, String)> = self
            .log
            .made()
            .into_iter()
            .map(|webhook| (webhook.company_id, webhook.user_id))
            .collect();
        for (company, user) in users {
            let input = json!({"companyId": company, "userId": user});
            self.platform()
                .mutate("removeUser", input, "removedWebhookCount")
                .await?;
        }
        Ok(())
    }

    /// In real time no clock reports that all is done: polls until no delivery of this world's webhooks is due.
    pub(super) async fn settle_really(&self) {
        let operator = self.operator();
        realtime::eventually("nothing is due or on the wire", async || {
            self.is_quiet(&operator).await.unwrap_or(false)
        })
        .await;
    }

    async fn is_quiet(&self, operator: &Client) -> anyhow::Result<bool> {
        for webhook in self.log.made() {
            let deliveries = operator.deliveries(&webhook.id).await?;
            let due = |delivery: &crate::client::Delivery| {
                delivery.status == "PENDING" && delivery.next_attempt_at.is_none_or(|at| at <= self.now())
            };
            if deliveries.iter().any(due) {
                return Ok(false);
            }
        }
        ensure!(self.servers() > 0, "there is no server");
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_simulated_clock_is_not_taken_for_the_time_of_day() {
        let world = World::builder().start().await;
        let mut target = Target {
            url: world.url(0),
            key: world.key.clone(),
            real_time: true,
            restart: None,
            names: None,
        };
        let refused = World::connect(&target).await.err().map(|error| error.to_string());
        assert!(
            refused.is_some_and(|why| why.contains("runs on a simulated clock")),
            "its time stands still"
        );
        target.real_time = false;
        assert!(World::connect(&target).await.is_ok());
    }
}
