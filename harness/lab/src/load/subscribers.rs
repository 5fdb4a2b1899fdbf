//! The webhooks of a load: their companies, URLs and behaviour.
//!
//! All properties of a webhook follow from its number, so that no table is needed.

use anyhow::Context;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use tenterhook_harness::client::{Client, NewWebhook};
use tenterhook_harness::realtime;
use tenterhook_harness::signature::Keyring;
use tenterhook_harness::token::{Claims, TokenKey};

use super::plan::Plan;
use super::receiver::{DatingReceiver, Kind};

/// One user may have 40 webhooks of a type (W3). So each user has this number of a company's webhooks.
const WEBHOOKS_OF_A_USER: u64 = 40;
/// Companies that are set up concurrently.
const AT_ONCE: usize = 16;
/// First company id of loads: different from those of worlds and of people, and below 2^53.
const FIRST_COMPANY: u64 = 3_000_000_000_000;
/// Company ids per millisecond. A load with more companies takes so long to set up that ids of different loads stay
/// apart.
const COMPANIES_OF_A_MILLISECOND: u64 = 1_000;

/// The webhooks of a load.
pub struct Subscribers {
    first_company: u64,
    companies: u64,
    fan_out: u64,
    hosts: u64,
    failing: u64,
    hanging: u64,
}

/// The number of webhooks that get an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recipients {
    /// Those whose receiver responds, with success or not.
    pub answering: u64,
    /// Those whose receiver hangs.
    pub hanging: u64,
}

impl Subscribers {
    /// The webhooks of a plan, in companies that no other load has.
    pub fn new(plan: &Plan) -> Self {
        let milliseconds = u64::try_from(realtime::now().as_millisecond()).unwrap_or(0);
        Self {
            first_company: FIRST_COMPANY + milliseconds * COMPANIES_OF_A_MILLISECOND,
            companies: plan.companies.into(),
            fan_out: plan.fan_out.into(),
            hosts: plan.hosts.into(),
            failing: plan.failing.into(),
            hanging: plan.hanging.into(),
        }
    }

    /// The companies' ids.
    pub fn companies(&self) -> impl Iterator<Item = u64> + use<> {
        self.first_company..self.first_company + self.companies
    }

    /// The number of webhooks that get the event at this position in the load.
    pub fn of_event(&self, number: u64) -> Recipients {
        let company = number % self.companies;
        Recipients {
            answering: self.fan_out,
            hanging: self.hanging_of(company),
        }
    }

    /// Whether the receiver of a webhook that responds fails. The failing ones are spread evenly.
    fn kind(&self, webhook: u64) -> Kind {
        let failing_before = |webhooks: u64| webhooks * self.failing / 100;
        match failing_before(webhook + 1) > failing_before(webhook) {
            true => Kind::Failing,
            false => Kind::Healthy,
        }
    }

    /// The host of a webhook's receiver. If there are several hosts, receivers that hang have the same number of other
    /// ones.
    fn host(&self, webhook: u64, kind: Kind) -> u32 {
        let others = match kind {
            Kind::Hanging if self.hosts > 1 => self.hosts,
            _ => 0,
        };
        (others + webhook % self.hosts) as u32
    }

    /// Hanging webhooks are spread evenly over the companies.
    fn hanging_of(&self, company: u64) -> u64 {
        self.hanging / self.companies + u64::from(company < self.hanging % self.companies)
    }

    /// Number and kind of every webhook of a company.
    fn webhooks(&self, company: u64) -> impl Iterator<Item = (u64, Kind)> {
        let answering =
            (company * self.fan_out..(company + 1) * self.fan_out).map(|number| (number, self.kind(number)));
        let first_hanging = self.companies * self.fan_out + company;
        let hanging = (0..self.hanging_of(company)).map(move |turn| first_hanging + turn * self.companies);
        answering.chain(hanging.map(|number| (number, Kind::Hanging)))
    }

    fn users(&self, company: u64) -> impl Iterator<Item = u64> + use<> {
        1..=(self.fan_out + self.hanging_of(company)).div_ceil(WEBHOOKS_OF_A_USER)
    }

    /// Creates all webhooks.
    ///
    /// # Errors
    ///
    /// If the server refuses one.
    pub async fn create(
        &self,
        server: &str,
        key: &TokenKey,
        receiver: &DatingReceiver,
    ) -> anyhow::Result<()> {
        let (caller, platform) = callers(server, key)?;
        let create = |company: u64| {
            let (caller, platform) = (&caller, &platform);
            async move {
                let id = self.first_company + company;
                for user in self.users(company) {
                    platform.upsert_user(id, user, "ADMIN").await?;
                }
                for (place, (webhook, kind)) in (0..).zip(self.webhooks(company)) {
                    let user = place / WEBHOOKS_OF_A_USER + 1;
                    let token = key.sign(&Claims::user(id, user, "admin"), realtime::now());
                    let owner = caller.with_token(Some(token));
                    let url = receiver.url(self.host(webhook, kind), kind, webhook as u32);
                    let created = owner.create_webhook(NewWebhook::to(&url)).await;
                    created.context(
                        "a webhook to this machine cannot be created; the server must allow loopback",
                    )?;
                }
                anyhow::Ok(())
            }
        };
        stream::iter((0..self.companies).map(create))
            .buffer_unordered(AT_ONCE)
            .try_for_each(|()| async { Ok(()) })
            .await
    }

    /// Removes all webhooks by removing their users.
    ///
    /// # Errors
    ///
    /// If the server refuses.
    pub async fn remove(&self, server: &str, key: &TokenKey) -> anyhow::Result<()> {
        let (_, platform) = callers(server, key)?;
        let remove = |company: u64| {
            let platform = &platform;
            async move {
                for user in self.users(company) {
                    platform.remove_user(self.first_company + company, user).await?;
                }
                anyhow::Ok(())
            }
        };
        stream::iter((0..self.companies).map(remove))
            .buffer_unordered(AT_ONCE)
            .try_for_each(|()| async { Ok(()) })
            .await
    }
}

/// A client without a token, and the platform's client.
fn callers(server: &str, key: &TokenKey) -> anyhow::Result<(Client, Client)> {
    let caller = Client::new(server, None, Keyring::default())?;
    let platform = caller.with_token(Some(platform_token(key)));
    Ok((caller, platform))
}

/// The platform's token.
pub fn platform_token(key: &TokenKey) -> String {
    key.sign(&Claims::of_scope("platform"), realtime::now())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn webhooks_have_unique_numbers_and_the_requested_kinds() {
        let plan = Plan {
            fan_out: 3,
            companies: 50,
            failing: 10,
            hanging: 120,
            ..Plan::default()
        };
        let subscribers = Subscribers::new(&plan);
        let all: Vec<(u64, Kind)> = (0..50)
            .flat_map(|company| subscribers.webhooks(company))
            .collect();
        let numbers: BTreeSet<u64> = all.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, (0..270).collect());
        let count = |kind| all.iter().filter(|(_, of)| *of == kind).count();
        assert_eq!(
            (count(Kind::Healthy), count(Kind::Failing), count(Kind::Hanging)),
            (135, 15, 120)
        );
        for number in [0, 19, 20, 49, 50] {
            let webhooks: Vec<_> = subscribers.webhooks(number % 50).collect();
            let hanging = webhooks.iter().filter(|(_, kind)| *kind == Kind::Hanging).count() as u64;
            let answering = webhooks.len() as u64 - hanging;
            assert_eq!(
                subscribers.of_event(number),
                Recipients { answering, hanging },
                "{number}"
            );
        }
    }
}
