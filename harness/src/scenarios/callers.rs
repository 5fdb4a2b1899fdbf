//! The callers of the scenarios about permissions: users 7 and 8 and admin 9 of company 1, two apps, and company 2.
//!
//! The app `crm` is installed for user 7 and for the admin, `erp` for user 7. Each caller has one webhook.

use serde_json::json;

use crate::client::{Client, NewWebhook, Webhook, WebhookList};
use crate::scenario::Failure;
use crate::world::World;

/// A URL on which nothing listens, for webhooks that get no event.
pub const DEAD: &str = "http://127.0.0.1:9/hook";

/// A webhook to [`DEAD`].
pub fn silent() -> NewWebhook {
    NewWebhook::to(DEAD)
}

/// Every scope but `admin`. Through an app they have no effect (W2).
pub const ALL_BUT_ADMIN: &str = "webhooks:read webhooks:write platform operator";

/// The webhooks of all callers, each with its name in the scenarios.
pub struct Callers {
    webhooks: Vec<(&'static str, Webhook)>,
}

impl Callers {
    /// Creates all callers, each with one webhook.
    pub async fn new(world: &World) -> Result<Self, Failure> {
        let company = world.company(1);
        let (crm, erp) = (company.app("crm"), company.app("erp"));
        crm.install(9).await?;
        let owners = [
            ("user 7's", company.user(7)),
            ("user 8's", company.user(8)),
            ("the admin's", company.admin(9)),
            ("crm's for user 7", crm.install(7).await?),
            ("erp's for user 7", erp.install(7).await?),
            ("crm's for the admin", crm.acting_for_admin(9)),
            ("company 2's", world.company(2).user(7)),
        ];
        let mut webhooks = Vec::new();
        for (name, owner) in owners {
            webhooks.push((name, owner.create_webhook(silent()).await?.webhook));
        }
        Ok(Self { webhooks })
    }

    /// The webhook with this name.
    ///
    /// # Errors
    ///
    /// If there is none. That is a mistake in the scenario.
    pub fn webhook(&self, name: &str) -> Result<&Webhook, Failure> {
        let found = self.webhooks.iter().find(|(given, _)| *given == name);
        let (_, webhook) =
            found.ok_or_else(|| Failure::CouldNotRun(format!("no caller has the webhook {name:?}")))?;
        Ok(webhook)
    }

    /// The names of the webhooks of this type that a caller can read by id.
    pub async fn seen_by_id(&self, caller: &Client, kind: &str) -> Result<Vec<&'static str>, Failure> {
        let mut names = Vec::new();
        for (name, webhook) in self.of(kind) {
            if caller.webhook(&webhook.id).await?.is_some() {
                names.push(*name);
            }
        }
        Ok(names)
    }

    /// The names of the webhooks of this type that a caller finds in lists, with and without the type filter.
    pub async fn listed(
        &self,
        caller: &Client,
        kind: &'static str,
        filtered: bool,
    ) -> Result<Vec<&'static str>, Failure> {
        let mut found = Vec::new();
        for company in self.companies() {
            // Filtered by company, because an operator of a shared server sees other companies too.
            let list = WebhookList {
                kind: filtered.then_some(kind),
                filter: Some(json!({"companyId": company})),
            };
            found.extend(caller.webhooks(list).await?);
        }
        let is_there = |webhook: &Webhook| found.iter().any(|seen| seen.id == webhook.id);
        // A filtered list has no webhook of the other type.
        let names = self
            .webhooks
            .iter()
            .filter(|(_, webhook)| (filtered || webhook.kind == kind) && is_there(webhook));
        Ok(names.map(|(name, _)| *name).collect())
    }

    fn of(&self, kind: &str) -> impl Iterator<Item = &(&'static str, Webhook)> {
        self.webhooks
            .iter()
            .filter(move |(_, webhook)| webhook.kind == kind)
    }

    fn companies(&self) -> Vec<String> {
        let mut companies: Vec<String> = self
            .webhooks
            .iter()
            .map(|(_, webhook)| webhook.company_id.clone())
            .collect();
        companies.dedup();
        companies
    }
}
