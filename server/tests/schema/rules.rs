//! The rules, in one list.
//!
//! A rule says what it holds a schema to; what breaks it is told by coordinate. Where API.md, Relay or the language itself
//! decides otherwise, the rule's module names the exceptions.

use crate::descriptions;
use crate::document::Document;
use crate::naming;
use crate::relay;

/// What a schema is held to.
pub struct Rule {
    /// As a sentence about the part that keeps it.
    pub name: &'static str,
    /// The coordinates of the parts that do not.
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
