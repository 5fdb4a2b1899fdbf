//! The list of all rules.
//!
//! A rule is a requirement on the schema; it reports the coordinates that break it. If docs/graphql.md, Relay or
//! GraphQL itself needs an exception, the rule's module lists it.

use super::descriptions;
use super::document::Document;
use super::naming;
use super::relay;

/// A requirement on the schema.
pub struct Rule {
    /// Ends a sentence about a part that keeps the rule.
    pub name: &'static str,
    /// Returns the coordinates of the parts that break the rule.
    pub broken_by: fn(&Document) -> Vec<String>,
}

/// Every rule.
pub fn all() -> impl Iterator<Item = &'static Rule> {
    [descriptions::RULES, naming::RULES, relay::RULES]
        .into_iter()
        .flatten()
}

/// Every breach, as `Webhook.name: rule`.
pub fn broken(document: &Document) -> Vec<String> {
    let breaches = |rule: &Rule| {
        let breach = |at: String| format!("{at}: {}", rule.name);
        (rule.broken_by)(document)
            .into_iter()
            .map(breach)
            .collect::<Vec<_>>()
    };
    all().flat_map(breaches).collect()
}
