//! The published schema as a product: it reads like documentation, its names follow one style, Relay accepts it, and
//! every change that clients may notice is declared.
//!
//! Reads `schema.graphql`. A test in the API crate compares that file with the schema that is served.

mod changes;
mod declared;
mod descriptions;
mod document;
mod faults;
mod naming;
mod relay;
mod rules;

use document::Document;

const PUBLISHED: &str = include_str!("../../../schema.graphql");
const BASELINE: &str = include_str!("../../../docs/schema-baseline.graphql");
const PAGE: &str = include_str!("../../../docs/schema-changes.md");

#[test]
fn the_published_schema_keeps_every_rule() {
    let broken = rules::broken(&Document::read(PUBLISHED));
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn changes_that_clients_may_notice_are_declared() {
    let made = changes::between(&Document::read(BASELINE), &Document::read(PUBLISHED));
    let wrong = declared::compare(&made, PAGE);
    assert!(wrong.is_empty(), "docs/schema-changes.md:\n{}", wrong.join("\n"));
}
