//! Turns: company by company, and within a company webhook by webhook.

use std::collections::{HashMap, VecDeque};

use tenterhook_model::ids::{CompanyId, WebhookId};

/// Webhooks that may start an attempt, company by company.
#[derive(Debug, Default)]
pub(super) struct RoundRobin {
    companies: VecDeque<CompanyId>,
    webhooks: HashMap<CompanyId, VecDeque<WebhookId>>,
}

impl RoundRobin {
    pub(super) fn push(&mut self, company: CompanyId, webhook: WebhookId) {
        let webhooks = self.webhooks.entry(company).or_default();
        if webhooks.is_empty() {
            self.companies.push_back(company);
        }
        webhooks.push_back(webhook);
    }

    pub(super) fn pop(&mut self) -> Option<WebhookId> {
        let company = self.companies.pop_front()?;
        let webhooks = self.webhooks.get_mut(&company)?;
        let webhook = webhooks.pop_front();
        if webhooks.is_empty() {
            self.webhooks.remove(&company);
        } else {
            self.companies.push_back(company);
        }
        webhook
    }
}
