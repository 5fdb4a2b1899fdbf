//! Rules for names: one style, so that a client can guess a name from others.

use std::collections::BTreeSet;

use async_graphql::Positioned;
use async_graphql::parser::types::{FieldDefinition, TypeKind};

use super::document::{Document, Kind, Part, elements, fields, implements, innermost, words};
use super::rules::Rule;

/// `JSON` is the scalar for any JSON value. Everywhere else an initialism counts as one word.
const IN_CAPITALS: [&str; 1] = ["JSON"];
/// The first words of mutations. Before adding a verb, check whether one of these fits.
const VERBS: [&str; 15] = [
    "create",
    "update",
    "delete",
    "pause",
    "resume",
    "restore",
    "rotate",
    "test",
    "replay",
    "publish",
    "register",
    "remove",
    "install",
    "uninstall",
    "upsert",
];
/// Words that other schemas abbreviate.
const ABBREVIATIONS: [&str; 33] = [
    "addr", "arg", "asc", "attr", "auth", "cfg", "cnt", "conf", "ctx", "curr", "del", "desc", "dst", "err",
    "evt", "idx", "info", "init", "len", "max", "min", "msg", "num", "obj", "org", "param", "prev", "pwd",
    "req", "res", "sub", "tmp", "val",
];
/// Allowed abbreviations; `PageInfo` is Relay's.
const ALLOWED_SHORT: [&str; 8] = [
    "CREATED_ASC",
    "CREATED_DESC",
    "NAME_ASC",
    "httpAuthUser",
    "httpAuthPassword",
    "hasHttpAuthPassword",
    "PageInfo",
    "pageInfo",
];
/// Last words of names of times: `createdAt`, `failingSince`, `bannedUntil`, and `from` and `to` of a time bucket.
const OF_MOMENTS: [&str; 5] = ["at", "since", "until", "from", "to"];
/// Lists that may have a singular name: a filter has the name of the field that it filters by, and a path is one thing
/// although it is a list of steps.
const SINGULAR_LISTS: [&str; 3] = ["state", "kind", "path"];

pub const RULES: &[Rule] = &[
    Rule {
        name: "is written in the case of its kind",
        broken_by: |document| document.breaches(|part| !is_in_case(part.kind, part.name)),
    },
    Rule {
        name: "ends in Input or Filter if it is an input type, and only then",
        broken_by: |document| {
            let goes_in = |kind: &TypeKind| matches!(kind, TypeKind::InputObject(_));
            let types = document.types.iter();
            types
                .filter(|(name, ty)| {
                    (name.ends_with("Input") || name.ends_with("Filter")) != goes_in(&ty.kind)
                })
                .map(|(name, _)| name.clone())
                .collect()
        },
    },
    Rule {
        name: "does what its first word says",
        broken_by: |document| {
            mutations(document, |mutation| {
                let verb = words(&mutation.name.node).into_iter().next().unwrap_or_default();
                !VERBS.contains(&verb.as_str())
            })
        },
    },
    Rule {
        name: "takes one input and returns a payload, both named after it",
        broken_by: |document| mutations(document, |mutation| !takes_one_input(mutation)),
    },
    Rule {
        name: "is not abbreviated",
        broken_by: |document| {
            document.breaches(|part| {
                let short = |word: &String| ABBREVIATIONS.contains(&word.as_str());
                words(part.name).iter().any(short) && !ALLOWED_SHORT.contains(&part.name)
            })
        },
    },
    Rule {
        name: "has the name of a moment if it is one, and only then",
        broken_by: |document| {
            typed(document, |part, ty| {
                let last = last_word(part.name);
                if ty == "DateTime" {
                    !OF_MOMENTS.contains(&last.as_str())
                } else {
                    last == "at"
                }
            })
        },
    },
    Rule {
        name: "is an ID if its name says so",
        broken_by: |document| {
            typed(document, |part, ty| {
                ["id", "ids"].contains(&last_word(part.name).as_str()) && ty != "ID"
            })
        },
    },
    Rule {
        name: "has a plural name if it is a list",
        broken_by: |document| {
            document.breaches(|part| {
                let is_list = part.ty.is_some_and(|ty| elements(ty).is_some());
                is_list && !part.name.ends_with('s') && !SINGULAR_LISTS.contains(&part.name)
            })
        },
    },
    Rule {
        name: "has no nulls in its lists",
        broken_by: |document| {
            document.breaches(|part| {
                let nullable = part
                    .ty
                    .and_then(elements)
                    .is_some_and(|elements| elements.nullable);
                // `nodes(ids: [ID!]!): [Node]!` has a null for an object that the caller may not see.
                nullable && part.at != "Query.nodes"
            })
        },
    },
    Rule {
        name: "is of use",
        broken_by: useless,
    },
];

/// The parts whose innermost type breaks a rule.
fn typed(document: &Document, breaks: impl Fn(&Part, &str) -> bool) -> Vec<String> {
    document.breaches(|part| part.ty.is_some_and(|ty| breaks(part, innermost(ty))))
}

fn mutations(document: &Document, breaks: impl Fn(&FieldDefinition) -> bool) -> Vec<String> {
    let Some(root) = &document.roots.mutation else {
        return Vec::new();
    };
    let mutations = document
        .fields_of(&root.node)
        .iter()
        .map(|mutation| &mutation.node);
    mutations
        .filter(|mutation| breaks(mutation))
        .map(|mutation| format!("{}.{}", root.node, mutation.name.node))
        .collect()
}

fn takes_one_input(mutation: &FieldDefinition) -> bool {
    let name = mutation.name.node.as_str();
    let (first, rest) = name.split_at(1);
    let called = format!("{}{rest}", first.to_uppercase());
    let [argument] = mutation.arguments.as_slice() else {
        return false;
    };
    argument.node.name.node == "input"
        && argument.node.ty.node.to_string() == format!("{called}Input!")
        && mutation.ty.node.to_string() == format!("{called}Payload!")
}

fn last_word(name: &str) -> String {
    words(name).pop().unwrap_or_default()
}

fn is_in_case(kind: Kind, name: &str) -> bool {
    let is_word = |name: &str, begins: fn(&char) -> bool| {
        let letters: Vec<char> = name.chars().collect();
        let two_capitals = |pair: &[char]| pair.iter().all(char::is_ascii_uppercase);
        letters.first().is_some_and(begins)
            && letters.iter().all(char::is_ascii_alphanumeric)
            && !letters.windows(2).any(two_capitals)
    };
    match kind {
        Kind::Type => is_word(name, char::is_ascii_uppercase) || IN_CAPITALS.contains(&name),
        Kind::Field | Kind::Argument | Kind::InputField | Kind::Directive => {
            is_word(name, char::is_ascii_lowercase)
        }
        Kind::Value => name.split('_').all(|word| {
            let is_screamed = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit();
            !word.is_empty() && word.chars().all(is_screamed)
        }),
    }
}

/// Types that no operation reaches.
fn useless(document: &Document) -> Vec<String> {
    let roots = [
        &document.roots.query,
        &document.roots.mutation,
        &document.roots.subscription,
    ];
    let mut ahead: Vec<&str> = roots
        .into_iter()
        .flatten()
        .map(|root| root.node.as_str())
        .collect();
    let of_directives = document
        .directives
        .values()
        .flat_map(|directive| &directive.arguments);
    ahead.extend(of_directives.map(|argument| innermost(&argument.node.ty.node)));
    let mut seen = BTreeSet::new();
    while let Some(name) = ahead.pop() {
        let Some(ty) = document.types.get(name).filter(|_| seen.insert(name)) else {
            continue;
        };
        for Positioned { node: field, .. } in fields(&ty.kind) {
            ahead.push(innermost(&field.ty.node));
            ahead.extend(
                field
                    .arguments
                    .iter()
                    .map(|argument| innermost(&argument.node.ty.node)),
            );
        }
        match &ty.kind {
            TypeKind::InputObject(input) => {
                ahead.extend(input.fields.iter().map(|field| innermost(&field.node.ty.node)));
            }
            TypeKind::Union(union) => ahead.extend(union.members.iter().map(|member| member.node.as_str())),
            // The types that implement the interface.
            TypeKind::Interface(_) => ahead.extend(document.types.iter().filter_map(|(other, ty)| {
                let mut implemented = implements(&ty.kind).iter();
                implemented
                    .any(|interface| interface.node == name)
                    .then_some(other.as_str())
            })),
            _ => ahead.extend(
                implements(&ty.kind)
                    .iter()
                    .map(|interface| interface.node.as_str()),
            ),
        }
    }
    let types = document.types.keys();
    types
        .filter(|name| !seen.contains(name.as_str()))
        .cloned()
        .collect()
}
