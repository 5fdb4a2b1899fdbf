//! The scan of a GraphQL document before it is parsed, with arbitrary text.
//!
//! Properties: Nothing panics, and neither does the parser on a document that the scan accepts; otherwise it would
//! overflow its stack. A document that is accepted and parses keeps every bound when it is counted again after parsing.
//! White space, commas and comments do not change the verdict. Escapes that are rewritten for the parser do not change
//! the verdict. A document that parses without rewriting stays unchanged, and one with an invalid escape does not
//! parse.

use std::collections::HashMap;

use async_graphql::Value;
use async_graphql::parser::parse_query;
use async_graphql::parser::types::{Directive, ExecutableDocument, Selection, SelectionSet};
use async_graphql::{Name, Positioned};
use tenterhook_graphql_http::document::{check as scan, faulty_escape, readable};
use tenterhook_graphql_http::limits::{MAX_ALIASES, MAX_DIRECTIVES, MAX_NESTING, MAX_SPREADS};

/// Scans the text, and parses it if it is accepted.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let verdict = scan(text);
    assert_eq!(
        scan(&format!("# {{{{\"\n,\t{text}\n#[")),
        verdict,
        "blanks change the verdict"
    );
    if verdict.is_err() {
        return;
    }
    let rewritten = readable(text);
    assert_eq!(scan(&rewritten), verdict, "escapes change the verdict");
    assert_eq!(
        rewritten.chars().count(),
        text.chars().count(),
        "tokens have moved"
    );
    assert_eq!(readable(&rewritten), rewritten, "an escape is left");
    let fault = faulty_escape(text);
    if parse_query(text).is_ok() {
        assert_eq!(rewritten, text, "the parser reads it as it is");
    }
    if let Ok(document) = parse_query(&*rewritten) {
        assert!(fault.is_none(), "{fault:?} was parsed");
        let mut seen = Seen::default();
        let spreads = seen.document(&document);
        assert!(seen.aliases <= MAX_ALIASES, "{} aliases", seen.aliases);
        assert!(
            seen.directives <= MAX_DIRECTIVES,
            "{} directives",
            seen.directives
        );
        assert!(seen.nesting <= MAX_NESTING, "{} levels", seen.nesting);
        assert!(spreads <= MAX_SPREADS, "{spreads} spreads");
    }
}

/// The counts of a parsed document, without expanding fragments.
#[derive(Default)]
struct Seen {
    aliases: usize,
    directives: usize,
    nesting: usize,
}

impl Seen {
    /// Counts everything except spreads. Returns the number of spreads after expanding fragments in every operation.
    fn document(&mut self, document: &ExecutableDocument) -> u64 {
        for fragment in document.fragments.values() {
            self.directives(&fragment.node.directives);
            self.selections(&fragment.node.selection_set.node, 1);
        }
        let mut expanded = HashMap::new();
        let mut spreads = 0_u64;
        for (_, operation) in document.operations.iter() {
            self.directives(&operation.node.directives);
            for variable in &operation.node.variable_definitions {
                self.directives(&variable.node.directives);
                if let Some(value) = &variable.node.default_value {
                    self.value(&value.node, 1);
                }
            }
            let set = &operation.node.selection_set.node;
            self.selections(set, 1);
            spreads = spreads.saturating_add(expand(document, set, &mut expanded));
        }
        spreads
    }

    fn directives(&mut self, directives: &[Positioned<Directive>]) {
        self.directives += directives.len();
    }

    fn selections(&mut self, set: &SelectionSet, depth: usize) {
        self.nesting = self.nesting.max(depth);
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => {
                    self.aliases += usize::from(field.node.alias.is_some());
                    self.directives(&field.node.directives);
                    for (_, value) in &field.node.arguments {
                        if let Some(value) = value.node.clone().into_const() {
                            self.value(&value, depth + 1);
                        }
                    }
                    let inner = &field.node.selection_set.node;
                    if !inner.items.is_empty() {
                        self.selections(inner, depth + 1);
                    }
                }
                Selection::InlineFragment(fragment) => {
                    self.directives(&fragment.node.directives);
                    self.selections(&fragment.node.selection_set.node, depth + 1);
                }
                Selection::FragmentSpread(spread) => self.directives(&spread.node.directives),
            }
        }
    }

    fn value(&mut self, value: &Value, depth: usize) {
        let within: Vec<&Value> = match value {
            Value::List(values) => values.iter().collect(),
            Value::Object(fields) => fields.values().collect(),
            _ => return,
        };
        // A list is in the parentheses of arguments, or next to a variable in them.
        self.nesting = self.nesting.max(depth + 1);
        within.into_iter().for_each(|value| self.value(value, depth + 1));
    }
}

/// A fragment that contains itself counts as zero there, because validation refuses it.
fn expand(document: &ExecutableDocument, set: &SelectionSet, known: &mut HashMap<Name, u64>) -> u64 {
    let mut spreads = 0_u64;
    for selection in &set.items {
        let more = match &selection.node {
            Selection::Field(field) => expand(document, &field.node.selection_set.node, known),
            Selection::InlineFragment(fragment) => expand(document, &fragment.node.selection_set.node, known),
            Selection::FragmentSpread(spread) => {
                let name = &spread.node.fragment_name.node;
                if !known.contains_key(name) {
                    known.insert(name.clone(), 0);
                    let fragment = document.fragments.get(name);
                    let inner = fragment.map(|fragment| &fragment.node.selection_set.node);
                    let inner = inner.map_or(0, |set| expand(document, set, known));
                    known.insert(name.clone(), inner);
                }
                known[name].saturating_add(1)
            }
        };
        spreads = spreads.saturating_add(more);
    }
    spreads
}
