//! The measured queries: those that the web app and a careful integrator would send.

use anyhow::ensure;

use super::environment::{Asker, Subject};

/// One question.
pub struct Question {
    /// The name of the query, for people.
    pub name: &'static str,
    /// Whether the bound applies to it.
    pub bounded: bool,
    /// The caller.
    asker: Asker,
    document: &'static str,
    /// JSON pointer to the part of the response that must have content.
    holds: &'static str,
}

impl Question {
    /// Sends the query about a webhook.
    ///
    /// # Errors
    ///
    /// If the response is an error or has no content.
    pub async fn ask(&self, subject: &Subject) -> anyhow::Result<()> {
        let answer = subject.ask(self.asker, self.document).await?;
        let held = answer.pointer(self.holds);
        ensure!(
            held.is_some_and(|value| !value.is_null()),
            "nothing at {} of {answer}",
            self.holds
        );
        Ok(())
    }
}

const fn of_user(name: &'static str, document: &'static str, holds: &'static str) -> Question {
    Question {
        name,
        bounded: true,
        asker: Asker::User,
        document,
        holds,
    }
}

const fn of_operator(name: &'static str, document: &'static str, holds: &'static str) -> Question {
    Question {
        asker: Asker::Operator,
        ..of_user(name, document, holds)
    }
}

const fn counting(name: &'static str, document: &'static str, holds: &'static str) -> Question {
    Question {
        bounded: false,
        ..of_user(name, document, holds)
    }
}

/// The fields of a delivery in a list.
macro_rules! row {
    () => {
        "nodes { id status reason createdAt nextAttemptAt finishedAt } pageInfo { hasNextPage endCursor }"
    };
}

pub const QUESTIONS: [Question; 19] = [
    of_user(
        "a company's webhooks with their health",
        "{ webhooks(first: 20) { nodes { id number subscriptionUrl health { state banCounter failingSince \
         lastSuccessAt lastAttemptAt lostCount } } } }",
        "/webhooks/nodes/0/health/lastSuccessAt",
    ),
    of_user(
        "a webhook's deliveries, first page",
        concat!(
            "query($webhook: ID!) { webhook(id: $webhook) { deliveries(first: 20) { ",
            row!(),
            " } } }"
        ),
        "/webhook/deliveries/nodes/0",
    ),
    of_user(
        "a webhook's deliveries, first page of 100",
        concat!(
            "query($webhook: ID!) { webhook(id: $webhook) { deliveries(first: 100) { ",
            row!(),
            " } } }"
        ),
        "/webhook/deliveries/nodes/0",
    ),
    of_user(
        "a webhook's deliveries, a page in the middle",
        concat!(
            "query($webhook: ID!, $cursor: String) { webhook(id: $webhook) { deliveries(first: 20, after: $cursor) { ",
            row!(),
            " } } }"
        ),
        "/webhook/deliveries/nodes/0",
    ),
    of_user(
        "a webhook's deliveries, the last page",
        concat!(
            "query($webhook: ID!) { webhook(id: $webhook) { deliveries(last: 20) { ",
            row!(),
            " } } }"
        ),
        "/webhook/deliveries/nodes/0",
    ),
    of_user(
        "a webhook's failed deliveries",
        concat!(
            "query($webhook: ID!) { webhook(id: $webhook) { deliveries(first: 20, status: [FAILED]) { ",
            row!(),
            " } } }"
        ),
        "/webhook/deliveries/nodes/0",
    ),
    of_user(
        "a webhook's lost deliveries",
        concat!(
            "query($webhook: ID!) { webhook(id: $webhook) { deliveries(first: 20, status: [LOST]) { ",
            row!(),
            " } } }"
        ),
        "/webhook/deliveries/nodes/0",
    ),
    of_user(
        "a webhook's open deliveries",
        concat!(
            "query($webhook: ID!) { webhook(id: $webhook) { deliveries(first: 20, status: [PENDING]) { ",
            row!(),
            " } } }"
        ),
        "/webhook/deliveries/nodes/0",
    ),
    of_user(
        "a webhook's deliveries from long ago",
        concat!(
            "query($webhook: ID!, $middle: DateTime!) { deliveries(first: 20, filter: { webhookId: $webhook, until: $middle }) { ",
            row!(),
            " } }"
        ),
        "/deliveries/nodes/0",
    ),
    of_user(
        "a company's deliveries, first page",
        concat!("{ deliveries(first: 20) { ", row!(), " } }"),
        "/deliveries/nodes/0",
    ),
    of_user(
        "a company's deliveries, a page in the middle",
        concat!(
            "query($cursor: String) { deliveries(first: 20, after: $cursor) { ",
            row!(),
            " } }"
        ),
        "/deliveries/nodes/0",
    ),
    of_user(
        "a webhook's history: 20 with events and attempts",
        "query($webhook: ID!, $cursor: String) { webhook(id: $webhook) { deliveries(first: 20, after: $cursor) { nodes { \
         id status event { eventId action object objectId } attempts { number startedAt durationMs httpStatus errorClass \
         responseBody } } } } }",
        "/webhook/deliveries/nodes/0/event/eventId",
    ),
    of_user(
        "a delivery with its attempts and their requests",
        "query($delivery: ID!) { node(id: $delivery) { ... on Delivery { status event { eventId } attempts { number \
         requestHeaders { name value } requestBody responseHeaders { name value } responseBody } } } }",
        "/node/event/eventId",
    ),
    of_user(
        "an event with its deliveries",
        "query($event: ID!) { event(id: $event) { eventId action object deliveries(first: 20) { nodes { id status } } } }",
        "/event/deliveries/nodes/0",
    ),
    of_user(
        "a webhook's chart of a day",
        "query($webhook: ID!, $day: DateTime!) { webhook(id: $webhook) { stats(since: $day) { from succeeded failed lost \
         attempts p50Ms p99Ms } } }",
        "/webhook/stats/0",
    ),
    of_user(
        "a webhook's chart of the whole history",
        "query($webhook: ID!, $ever: DateTime!) { webhook(id: $webhook) { stats(since: $ever) { from succeeded failed lost \
         attempts p50Ms p99Ms } } }",
        "/webhook/stats/0",
    ),
    counting(
        "the number of a webhook's deliveries",
        "query($webhook: ID!) { webhook(id: $webhook) { deliveries(first: 1) { totalCount } } }",
        "/webhook/deliveries/totalCount",
    ),
    of_operator(
        "all companies' webhooks, first page",
        "{ webhooks(first: 20) { nodes { id number subscriptionUrl } } }",
        "/webhooks/nodes/0",
    ),
    of_operator(
        "all companies' deliveries, first page",
        concat!("{ deliveries(first: 20) { ", row!(), " } }"),
        "/deliveries/nodes/0",
    ),
];
