//! Differences between two schemas that clients may notice.
//!
//! Finds every change after which a valid document or an accepted variable is refused, or a response has something
//! that a generated client does not handle. Descriptions, deprecations, and additions that only appear in responses
//! if requested do not matter. Not found: changes of a field's meaning without a change of its type, and whether a
//! directive may be repeated, because the parser treats all as repeatable.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use async_graphql::parser::types::{
    BaseType, DirectiveDefinition, EnumType, FieldDefinition, InputValueDefinition, Type, TypeDefinition,
    TypeKind,
};
use async_graphql::{Name, Positioned};

use super::document::{Document, fields, implements};

/// One difference: its place and its kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    pub at: String,
    pub what: &'static str,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.at, self.what)
    }
}

const REMOVED: &str = "removed";
const ANOTHER_KIND: &str = "another kind of type";
const ANOTHER_TYPE: &str = "another type";
const REQUIRED: &str = "now required";
const ANOTHER_ROOT: &str = "another root";
// These two do not break documents.
const ADDED: &str = "added";
const ANOTHER_DEFAULT: &str = "another default";

/// Every change from one schema to the next, in order.
pub fn between(before: &Document, after: &Document) -> Vec<Change> {
    let mut found = Found(Vec::new());
    found.roots(before, after);
    for (name, was, is) in paired(by_key(&before.types), by_key(&after.types)) {
        match (was, is) {
            (Some(was), Some(is)) => found.ty(name, was, is),
            (Some(_), None) => found.add(name, REMOVED),
            (None, _) => {}
        }
    }
    for (name, was, is) in paired(by_key(&before.directives), by_key(&after.directives)) {
        match (was, is) {
            (Some(was), Some(is)) => found.directive(name, was, is),
            (Some(_), None) => found.add(format!("@{name}"), REMOVED),
            (None, _) => {}
        }
    }
    found.0.sort();
    found.0
}

struct Found(Vec<Change>);

impl Found {
    fn add(&mut self, at: impl Into<String>, what: &'static str) {
        self.0.push(Change { at: at.into(), what });
    }

    fn roots(&mut self, before: &Document, after: &Document) {
        let name = |root: &Option<Positioned<Name>>| root.as_ref().map(|root| root.node.to_string());
        let (was, is) = (&before.roots, &after.roots);
        for (root, was, is) in [
            ("query", name(&was.query), name(&is.query)),
            ("mutation", name(&was.mutation), name(&is.mutation)),
            ("subscription", name(&was.subscription), name(&is.subscription)),
        ] {
            if was.is_some() && was != is {
                self.add(root, ANOTHER_ROOT);
            }
        }
    }

    fn ty(&mut self, name: &str, was: &TypeDefinition, is: &TypeDefinition) {
        match (&was.kind, &is.kind) {
            (TypeKind::Scalar, TypeKind::Scalar) => {}
            (TypeKind::Object(_), TypeKind::Object(_)) | (TypeKind::Interface(_), TypeKind::Interface(_)) => {
                let interfaces = |ty: &TypeDefinition| plain(implements(&ty.kind));
                self.names(interfaces(was), interfaces(is), |interface| {
                    format!("{name} as {interface}")
                });
                self.fields(name, fields(&was.kind), fields(&is.kind));
            }
            (TypeKind::Union(was), TypeKind::Union(is)) => {
                self.names(plain(&was.members), plain(&is.members), |member| {
                    format!("{member} as {name}")
                });
            }
            (TypeKind::Enum(was), TypeKind::Enum(is)) => {
                let values = |ty: &EnumType| {
                    ty.values
                        .iter()
                        .map(|value| value.node.value.node.to_string())
                        .collect()
                };
                self.names(values(was), values(is), |value| format!("{name}.{value}"));
            }
            (TypeKind::InputObject(was), TypeKind::InputObject(is)) => {
                self.inputs(&was.fields, &is.fields, |field| format!("{name}.{field}"));
            }
            _ => self.add(name, ANOTHER_KIND),
        }
    }

    /// Only compares which names exist. Clients may meet added names without asking for them.
    fn names(&mut self, was: BTreeSet<String>, is: BTreeSet<String>, at: impl Fn(&str) -> String) {
        was.difference(&is).for_each(|name| self.add(at(name), REMOVED));
        is.difference(&was).for_each(|name| self.add(at(name), ADDED));
    }

    fn fields(&mut self, ty: &str, was: &[Positioned<FieldDefinition>], is: &[Positioned<FieldDefinition>]) {
        let by_name = |fields| by_name(fields, |field: &FieldDefinition| &field.name.node);
        for (name, was, is) in paired(by_name(was), by_name(is)) {
            let at = format!("{ty}.{name}");
            match (was, is) {
                (Some(was), Some(is)) => {
                    self.inputs(&was.arguments, &is.arguments, |argument| {
                        format!("{at}({argument}:)")
                    });
                    if !promises(&is.ty.node, &was.ty.node) {
                        self.add(at, ANOTHER_TYPE);
                    }
                }
                (Some(_), None) => self.add(at, REMOVED),
                (None, _) => {}
            }
        }
    }

    /// Compares arguments, and fields of an input.
    fn inputs(
        &mut self,
        was: &[Positioned<InputValueDefinition>],
        is: &[Positioned<InputValueDefinition>],
        at: impl Fn(&str) -> String,
    ) {
        let by_name = |inputs| by_name(inputs, |input: &InputValueDefinition| &input.name.node);
        for (name, was, is) in paired(by_name(was), by_name(is)) {
            let what = match (was, is) {
                (Some(_), None) => Some(REMOVED),
                (None, is) => is.filter(|is| is_required(is)).map(|_| REQUIRED),
                (Some(was), Some(is)) => input(was, is),
            };
            if let Some(what) = what {
                self.add(at(name), what);
            }
        }
    }

    fn directive(&mut self, name: &str, was: &DirectiveDefinition, is: &DirectiveDefinition) {
        self.inputs(&was.arguments, &is.arguments, |argument| {
            format!("@{name}({argument}:)")
        });
        for location in was.locations.iter().map(|location| location.node) {
            if !is.locations.iter().any(|allowed| allowed.node == location) {
                self.add(format!("@{name} on {location:?}"), REMOVED);
            }
        }
    }
}

fn input(was: &InputValueDefinition, is: &InputValueDefinition) -> Option<&'static str> {
    let default = |input: &InputValueDefinition| input.default_value.as_ref().map(|value| value.node.clone());
    if !promises(&was.ty.node, &is.ty.node) {
        Some(ANOTHER_TYPE)
    } else if is_required(is) && !is_required(was) {
        Some(REQUIRED)
    } else if default(was) != default(is) {
        Some(ANOTHER_DEFAULT)
    } else {
        None
    }
}

fn is_required(input: &InputValueDefinition) -> bool {
    !input.ty.node.nullable && input.default_value.is_none()
}

/// Whether each value of the first type is also one of the second: the types of results may become narrower, those of
/// inputs wider.
fn promises(first: &Type, second: &Type) -> bool {
    let base = match (&first.base, &second.base) {
        (BaseType::Named(first), BaseType::Named(second)) => first == second,
        (BaseType::List(first), BaseType::List(second)) => promises(first, second),
        _ => false,
    };
    base && (second.nullable || !first.nullable)
}

fn plain(names: &[Positioned<Name>]) -> BTreeSet<String> {
    names.iter().map(|name| name.node.to_string()).collect()
}

fn by_key<T>(map: &BTreeMap<String, T>) -> BTreeMap<&str, &T> {
    map.iter().map(|(name, value)| (name.as_str(), value)).collect()
}

fn by_name<T>(all: &[Positioned<T>], name: fn(&T) -> &Name) -> BTreeMap<&str, &T> {
    all.iter()
        .map(|one| (name(&one.node).as_str(), &one.node))
        .collect()
}

type Pair<'a, T> = (&'a str, Option<&'a T>, Option<&'a T>);

/// Pairs the parts before and after by name.
fn paired<'a, T>(was: BTreeMap<&'a str, &'a T>, is: BTreeMap<&'a str, &'a T>) -> Vec<Pair<'a, T>> {
    let names: BTreeSet<&str> = was.keys().chain(is.keys()).copied().collect();
    let pair = |name| (name, was.get(name).copied(), is.get(name).copied());
    names.into_iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "
        type Query { thing(id: ID!, size: Int = 1, tags: [String]): Thing, other: Result, kind: Kind }
        type Mutation { make(input: MakeInput!): Thing }
        interface Node { id: ID! }
        type Thing implements Node { id: ID!, name: String, parts: [Thing!]!, labels: [String] }
        type Spare { id: ID! }
        union Result = Thing | Spare
        enum Kind { LARGE SMALL }
        input MakeInput { name: String, size: Int! = 1, kind: Kind }
        scalar Moment
        directive @mark(as: String, at: Int) on FIELD | QUERY
        schema { query: Query mutation: Mutation }";

    /// A change of the text and the reported difference; empty if clients do not notice.
    const CHANGES: &[(&str, &str, &str)] = &[
        ("scalar Moment", "", "`Moment`: removed"),
        (
            "scalar Moment",
            "enum Moment { NOW }",
            "`Moment`: another kind of type",
        ),
        ("name: String, parts", "parts", "`Thing.name`: removed"),
        (
            "name: String, parts",
            "name: Int, parts",
            "`Thing.name`: another type",
        ),
        (
            "name: String, parts",
            "name: [String], parts",
            "`Thing.name`: another type",
        ),
        (
            "parts: [Thing!]!",
            "parts: [Thing!]",
            "`Thing.parts`: another type",
        ),
        (
            "parts: [Thing!]!",
            "parts: [Thing]!",
            "`Thing.parts`: another type",
        ),
        ("parts: [Thing!]!", "parts: Thing!", "`Thing.parts`: another type"),
        (
            "interface Node { id: ID! }",
            "interface Node { id: ID }",
            "`Node.id`: another type",
        ),
        ("implements Node ", "", "`Thing as Node`: removed"),
        (
            "type Spare {",
            "type Spare implements Node {",
            "`Spare as Node`: added",
        ),
        ("= Thing | Spare", "= Thing", "`Spare as Result`: removed"),
        (
            "= Thing | Spare",
            "= Thing | Spare | Query",
            "`Query as Result`: added",
        ),
        ("LARGE SMALL", "LARGE", "`Kind.SMALL`: removed"),
        ("LARGE SMALL", "LARGE SMALL TINY", "`Kind.TINY`: added"),
        ("size: Int = 1, ", "", "`Query.thing(size:)`: removed"),
        (
            "size: Int = 1",
            "size: Int = 2",
            "`Query.thing(size:)`: another default",
        ),
        (
            "size: Int = 1",
            "size: Int",
            "`Query.thing(size:)`: another default",
        ),
        (
            "size: Int = 1",
            "size: Int! = 1",
            "`Query.thing(size:)`: another type",
        ),
        (
            "size: Int = 1",
            "size: Float = 1",
            "`Query.thing(size:)`: another type",
        ),
        (
            "tags: [String]",
            "tags: [String!]",
            "`Query.thing(tags:)`: another type",
        ),
        (
            "tags: [String]",
            "tags: [String], more: Int!",
            "`Query.thing(more:)`: now required",
        ),
        ("size: Int! = 1", "size: Int!", "`MakeInput.size`: now required"),
        (
            "input MakeInput { name: String",
            "input MakeInput { name: String!",
            "`MakeInput.name`: another type",
        ),
        (
            "input MakeInput { name: String,",
            "input MakeInput {",
            "`MakeInput.name`: removed",
        ),
        (
            "kind: Kind }\n        scalar",
            "kind: Kind, more: Int! }\n        scalar",
            "`MakeInput.more`: now required",
        ),
        (
            "directive @mark(as: String, at: Int) on FIELD | QUERY",
            "",
            "`@mark`: removed",
        ),
        ("at: Int)", "more: Int)", "`@mark(at:)`: removed"),
        ("at: Int)", "at: Int, more: Int!)", "`@mark(more:)`: now required"),
        ("FIELD | QUERY", "FIELD", "`@mark on Query`: removed"),
        (" mutation: Mutation }", "}", "`mutation`: another root"),
        (
            "mutation: Mutation }",
            "mutation: Query }",
            "`mutation`: another root",
        ),
        // Changes that clients do not notice.
        ("name: String, parts", "name: String!, parts", ""),
        ("labels: [String]", "labels: [String!]!, more: Int", ""),
        ("tags: [String]", "tags: [String], more: Int, most: Int! = 1", ""),
        ("thing(id: ID!", "thing(id: ID", ""),
        ("size: Int! = 1", "size: Int = 1", ""),
        (
            "kind: Kind }\n        scalar",
            "kind: Kind, more: Int }\n        scalar",
            "",
        ),
        (
            "scalar Moment",
            "\"A moment.\" scalar Moment\n type More { it: Int }",
            "",
        ),
        (
            "labels: [String]",
            "labels: [String] @deprecated(reason: \"Use `parts`.\")",
            "",
        ),
        (
            "at: Int) on FIELD",
            "at: Int, more: Int) on FRAGMENT_SPREAD | FIELD",
            "",
        ),
        (
            " mutation: Mutation }",
            " mutation: Mutation subscription: Query }",
            "",
        ),
    ];

    #[test]
    fn each_kind_of_change_is_found_and_nothing_else() {
        let before = Document::read(BEFORE);
        assert_eq!(between(&before, &before), []);
        for (from, to, change) in CHANGES {
            assert_eq!(BEFORE.matches(from).count(), 1, "{from}");
            let found = between(&before, &Document::read(&BEFORE.replace(from, to)));
            let found: Vec<String> = found.iter().map(Change::to_string).collect();
            assert_eq!(found.join(", "), *change, "{from} -> {to}");
        }
    }
}
