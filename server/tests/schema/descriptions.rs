//! Rules for descriptions, from which documentation is generated.

use async_graphql::Value;
use async_graphql::parser::types::ConstDirective;
use jiff::civil::Date;

use super::document::words;
use super::rules::Rule;

/// Maximum number of characters of a description: the length of a tooltip, and what GraphiQL shows without scrolling.
const LONGEST: usize = 400;
/// The language's own directives, exported without a description of their argument.
const OF_THE_LANGUAGE: [&str; 2] = ["@include(if:)", "@skip(if:)"];
/// Words that say nothing about the part.
const FILLING: [&str; 7] = ["a", "an", "the", "its", "their", "this", "of"];

pub const RULES: &[Rule] = &[
    Rule {
        name: "is described",
        broken_by: |document| {
            document.breaches(|part| {
                !OF_THE_LANGUAGE.contains(&part.at.as_str())
                    && part.description.is_none_or(|text| text.trim().is_empty())
            })
        },
    },
    Rule {
        name: "is described in sentences, not too many",
        broken_by: |document| {
            document.breaches(|part| part.description.is_some_and(|text| !reads_well(text)))
        },
    },
    Rule {
        name: "is described by more than its name",
        broken_by: |document| {
            document.breaches(|part| part.description.is_some_and(|text| repeats(part.name, text)))
        },
    },
    Rule {
        name: "stays until a date if it is deprecated, and says what to use",
        broken_by: |document| {
            document.breaches(|part| {
                let mut deprecations = part
                    .directives
                    .iter()
                    .filter(|directive| directive.node.name.node == "deprecated");
                deprecations.any(|directive| !is_policy(&directive.node))
            })
        },
    },
];

/// Checks each paragraph. A sentence may begin with a number or with code.
fn reads_well(text: &str) -> bool {
    let is_sentence = |paragraph: &str| {
        let begins = |c: char| c.is_uppercase() || c.is_ascii_digit() || c == '`';
        paragraph.trim().starts_with(begins) && paragraph.trim().ends_with('.')
    };
    text.split("\n\n").all(is_sentence) && text.chars().count() <= LONGEST
}

fn repeats(name: &str, text: &str) -> bool {
    let text = text.to_lowercase();
    let said: Vec<&str> = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty() && !FILLING.contains(word))
        .collect();
    said == words(name)
}

/// Checks the form ``Use `…`. Stays until 2027-05-23.`` that docs/schema-changes.md promises.
fn is_policy(deprecation: &ConstDirective) -> bool {
    let Some(Value::String(reason)) = deprecation.get_argument("reason").map(|reason| &reason.node) else {
        return false;
    };
    let date = reason
        .split_once(" Stays until ")
        .and_then(|(_, rest)| rest.strip_suffix('.'));
    reason.starts_with("Use `") && date.is_some_and(|date| date.parse::<Date>().is_ok())
}

#[test]
fn a_description_is_as_long_as_allowed_and_no_longer() {
    let text = |length: usize| format!("{}.", "A".repeat(length - 1));
    assert!(reads_well(&text(LONGEST)));
    assert!(!reads_well(&text(LONGEST + 1)));
}
