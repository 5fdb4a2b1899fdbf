//! Rules for Relay's types, and for payloads: clients' caches and paging rely on them.

use async_graphql::Positioned;
use async_graphql::parser::types::{FieldDefinition, TypeKind};

use super::document::{Document, fields, implements, innermost};
use super::rules::Rule;

/// `name: Type` of each field of Relay's `PageInfo`.
const PAGE_INFO: [&str; 4] = [
    "hasNextPage: Boolean!",
    "hasPreviousPage: Boolean!",
    "startCursor: String",
    "endCursor: String",
];
const FORWARDS: [&str; 2] = ["first: Int", "after: String"];
const BOTH_WAYS: [&str; 4] = ["first: Int", "after: String", "last: Int", "before: String"];
/// Arguments that only pages have.
const PAGING: [&str; 4] = ["first", "after", "last", "before"];

pub const RULES: &[Rule] = &[
    Rule {
        name: "has the fields of a Node exactly if it is one",
        broken_by: |document| {
            types(document, |name, kind| {
                let has_id = name != "Node" && has(kind, "id: ID!");
                let is_node = implements(kind).iter().any(|interface| interface.node == "Node");
                if name == "Node" {
                    signatures(kind) != ["id: ID!"]
                } else {
                    is_node != has_id
                }
            })
        },
    },
    Rule {
        name: "finds nodes by id",
        broken_by: |document| {
            let wanted = [("node", "id: ID!", "Node"), ("nodes", "ids: [ID!]!", "[Node]!")];
            let is_there = |(name, argument, ty): &(&str, &str, &str)| {
                let fields = document
                    .fields_of(&root(document))
                    .iter()
                    .map(|field| &field.node);
                fields
                    .filter(|field| field.name.node == *name && field.ty.node.to_string() == *ty)
                    .any(|field| arguments(field) == [*argument])
            };
            let missing = wanted.into_iter().filter(|wanted| !is_there(wanted));
            missing
                .map(|(name, ..)| format!("{}.{name}", root(document)))
                .collect()
        },
    },
    Rule {
        name: "is a whole connection",
        broken_by: |document| types(document, |name, kind| !is_whole(name, kind)),
    },
    Rule {
        name: "is paged exactly if it is a connection",
        broken_by: |document| {
            let types = document.types.iter();
            let fields =
                types.flat_map(|(name, ty)| fields(&ty.kind).iter().map(move |field| (name, &field.node)));
            fields
                .filter(|(_, field)| !is_paged_rightly(field))
                .map(|(name, field)| format!("{name}.{}", field.name.node))
                .collect()
        },
    },
    Rule {
        name: "answers what was wrong besides what can be null",
        broken_by: |document| {
            types(document, |name, kind| {
                name.ends_with("Payload")
                    && !(has(kind, "userErrors: [UserError!]!")
                        && fields(kind).iter().all(is_absent_if_wrong))
            })
        },
    },
];

fn root(document: &Document) -> String {
    document
        .roots
        .query
        .as_ref()
        .map(|root| root.node.to_string())
        .unwrap_or_default()
}

fn types(document: &Document, breaks: impl Fn(&str, &TypeKind) -> bool) -> Vec<String> {
    let types = document.types.iter();
    types
        .filter(|(name, ty)| breaks(name, &ty.kind))
        .map(|(name, _)| name.clone())
        .collect()
}

/// `name: Type` of each field.
fn signatures(kind: &TypeKind) -> Vec<String> {
    let fields = fields(kind).iter().map(|field| &field.node);
    fields
        .map(|field| format!("{}: {}", field.name.node, field.ty.node))
        .collect()
}

fn has(kind: &TypeKind, signature: &str) -> bool {
    signatures(kind).iter().any(|known| known == signature)
}

/// `name: Type` of each argument, with its default if it has one. Paging arguments have none.
fn arguments(field: &FieldDefinition) -> Vec<String> {
    let arguments = field.arguments.iter().map(|argument| &argument.node);
    arguments
        .map(|argument| {
            let default = argument
                .default_value
                .as_ref()
                .map(|value| format!(" = {}", value.node));
            format!(
                "{}: {}{}",
                argument.name.node,
                argument.ty.node,
                default.unwrap_or_default()
            )
        })
        .collect()
}

fn is_whole(name: &str, kind: &TypeKind) -> bool {
    if let Some(node) = name.strip_suffix("Connection") {
        let edges = format!("edges: [{node}Edge!]!");
        let nodes = format!("nodes: [{node}!]!");
        signatures(kind) == [edges.as_str(), &nodes, "pageInfo: PageInfo!", "totalCount: Int!"]
    } else if let Some(node) = name.strip_suffix("Edge") {
        signatures(kind) == ["cursor: String!".to_owned(), format!("node: {node}!")]
    } else {
        name != "PageInfo" || signatures(kind) == PAGE_INFO
    }
}

/// Some lists can be read only forwards; none only backwards.
fn is_paged_rightly(field: &FieldDefinition) -> bool {
    let is_paging = |argument: &String| {
        let name = argument.split(':').next();
        name.is_some_and(|name| PAGING.contains(&name))
    };
    let paging: Vec<String> = arguments(field).into_iter().filter(is_paging).collect();
    if innermost(&field.ty.node).ends_with("Connection") {
        (paging == FORWARDS || paging == BOTH_WAYS) && !field.ty.node.nullable
    } else {
        paging.is_empty()
    }
}

/// On success the payload has its object. On an error it is null; counts are 0 and lists are empty.
fn is_absent_if_wrong(field: &Positioned<FieldDefinition>) -> bool {
    let ty = field.node.ty.node.to_string();
    field.node.ty.node.nullable || ty == "Int!" || ty.starts_with('[')
}
