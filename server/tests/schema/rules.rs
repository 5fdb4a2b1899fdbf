//! The rules, and the proof that each catches something.
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

fn all() -> impl Iterator<Item = &'static Rule> {
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

/// A schema that keeps every rule. The faults below are one change each.
const GOOD: &str = r#"
"Anything with a global id."
interface Node {
  "The global id."
  id: ID!
}
"Something that is kept."
type Thing implements Node {
  "The global id."
  id: ID!
  "What people call it."
  name: String
  "Who made it."
  ownerId: ID!
  "When it was made."
  createdAt: DateTime!
  "Whether it is there."
  state: State!
}
"Whether a thing is there."
enum State {
  "It is there."
  PRESENT
  "It is on its way out."
  GOING_AWAY @deprecated(reason: "Use `PRESENT`. Stays until 2027-05-23.")
}
"A page of a list."
type ThingConnection {
  "The elements with their cursors."
  edges: [ThingEdge!]!
  "The elements alone."
  nodes: [Thing!]!
  "Where the page stands."
  pageInfo: PageInfo!
  "How many elements the whole list has."
  totalCount: Int!
}
"An element of a list."
type ThingEdge {
  "Where the element stands."
  cursor: String!
  "What stands there."
  node: Thing!
}
"Where a page stands in its list."
type PageInfo {
  "Whether elements stand after the page."
  hasNextPage: Boolean!
  "Whether elements stand before the page."
  hasPreviousPage: Boolean!
  "The first cursor."
  startCursor: String
  "The last cursor."
  endCursor: String
}
"A moment."
scalar DateTime
"What can be read."
type Query {
  "Whatever has this id."
  node("The global id." id: ID!): Node
  "Whatever has these ids."
  nodes("The global ids." ids: [ID!]!): [Node]!
  "All things."
  things(
    "Which ones." filter: ThingFilter,
    "So many from the start." first: Int,
    "Only after this cursor." after: String,
    "So many from the end." last: Int,
    "Only before this cursor." before: String
  ): ThingConnection!
}
"Which things to list."
input ThingFilter {
  "Only of these owners."
  ownerIds: [ID!]
}
"What can be done."
type Mutation {
  "Makes a thing."
  createThing("What to make." input: CreateThingInput!): CreateThingPayload!
}
"A thing to make."
input CreateThingInput {
  "What people call it."
  name: String = "thing"
}
"What became of it."
type CreateThingPayload {
  "What was made."
  thing: Thing
  "How many there are."
  count: Int!
  "What was wrong with the input."
  userErrors: [UserError!]!
}
"Something that was wrong."
type UserError {
  "What it was."
  message: String!
}
"Marks a field."
directive @mark("How to." as: String) on FIELD_DEFINITION
schema { query: Query mutation: Mutation }
"#;

/// A rule, a change that breaks it, and where.
const FAULTS: &[(&str, &str, &str, &str)] = &[
    (
        "is described",
        "\"Something that is kept.\"\ntype",
        "type",
        "Thing",
    ),
    ("is described", "\"Who made it.\"", "", "Thing.ownerId"),
    (
        "is described",
        "\"Which ones.\" filter",
        "filter",
        "Query.things(filter:)",
    ),
    ("is described", "\"It is there.\"", "", "State.PRESENT"),
    (
        "is described",
        "\"Only of these owners.\"",
        "",
        "ThingFilter.ownerIds",
    ),
    ("is described", "\"How to.\" as", "as", "@mark(as:)"),
    ("is described", "\"Marks a field.\"", "", "@mark"),
    (
        "is described in sentences, not too many",
        "Who made it.",
        "who made it.",
        "Thing.ownerId",
    ),
    (
        "is described in sentences, not too many",
        "Who made it.",
        "Who made it",
        "Thing.ownerId",
    ),
    (
        "is described by more than its name",
        "Who made it.",
        "The owner id.",
        "Thing.ownerId",
    ),
    (
        "is described by more than its name",
        "What can be done.",
        "Mutation.",
        "Mutation",
    ),
    (
        "stays until a date if it is deprecated, and says what to use",
        " Stays until 2027-05-23.",
        "",
        "State.GOING_AWAY",
    ),
    (
        "stays until a date if it is deprecated, and says what to use",
        "2027-05-23",
        "2027-05-32",
        "State.GOING_AWAY",
    ),
    (
        "stays until a date if it is deprecated, and says what to use",
        "Use `PRESENT`. ",
        "",
        "State.GOING_AWAY",
    ),
    (
        "stays until a date if it is deprecated, and says what to use",
        "(reason: \"Use `PRESENT`. Stays until 2027-05-23.\")",
        "",
        "State.GOING_AWAY",
    ),
    (
        "has a name in the case of its kind",
        "enum State {",
        "enum STATE {",
        "STATE",
    ),
    (
        "has a name in the case of its kind",
        "name: String\n",
        "Name: String\n",
        "Thing.Name",
    ),
    (
        "has a name in the case of its kind",
        "name: String\n",
        "nick_name: String\n",
        "Thing.nick_name",
    ),
    (
        "has a name in the case of its kind",
        "name: String\n",
        "nameURL: String\n",
        "Thing.nameURL",
    ),
    (
        "has a name in the case of its kind",
        "filter: ThingFilter",
        "Filter: ThingFilter",
        "Query.things(Filter:)",
    ),
    (
        "has a name in the case of its kind",
        "PRESENT\n",
        "Present\n",
        "State.Present",
    ),
    (
        "has a name in the case of its kind",
        "GOING_AWAY",
        "GOING__AWAY",
        "State.GOING__AWAY",
    ),
    (
        "is an Input or a Filter exactly if it goes in",
        "input ThingFilter",
        "input ThingChoice",
        "ThingChoice",
    ),
    (
        "is an Input or a Filter exactly if it goes in",
        "type UserError",
        "type ErrorInput",
        "ErrorInput",
    ),
    (
        "does what its first word says",
        "createThing(",
        "thingCreation(",
        "Mutation.thingCreation",
    ),
    (
        "takes one input and answers a payload, both called after it",
        "input: CreateThingInput!)",
        "input: CreateThingInput)",
        "Mutation.createThing",
    ),
    (
        "takes one input and answers a payload, both called after it",
        "input: CreateThingInput!)",
        "thing: CreateThingInput!)",
        "Mutation.createThing",
    ),
    (
        "takes one input and answers a payload, both called after it",
        "CreateThingInput!)",
        "CreateThingInput!, \"How often.\" times: Int)",
        "Mutation.createThing",
    ),
    (
        "takes one input and answers a payload, both called after it",
        "): CreateThingPayload!",
        "): Thing!",
        "Mutation.createThing",
    ),
    (
        "takes one input and answers a payload, both called after it",
        "): CreateThingPayload!",
        "): CreateThingPayload",
        "Mutation.createThing",
    ),
    (
        "is not abbreviated",
        "message: String!",
        "msg: String!",
        "UserError.msg",
    ),
    (
        "is not abbreviated",
        "PRESENT\n",
        "MAX_PRESENT\n",
        "State.MAX_PRESENT",
    ),
    (
        "says by its name that it is a moment",
        "createdAt: DateTime!",
        "creation: DateTime!",
        "Thing.creation",
    ),
    (
        "says by its name that it is a moment",
        "createdAt: DateTime!",
        "createdAt: String!",
        "Thing.createdAt",
    ),
    (
        "is an ID if its name says so",
        "ownerId: ID!",
        "ownerId: String!",
        "Thing.ownerId",
    ),
    (
        "has a plural for a name if it is a list",
        "ownerIds: [ID!]",
        "owner: [ID!]",
        "ThingFilter.owner",
    ),
    (
        "has no nulls in its lists",
        "ownerIds: [ID!]",
        "ownerIds: [ID]",
        "ThingFilter.ownerIds",
    ),
    (
        "is of use",
        "message: String!",
        "message: String!\n}\n\"Nobody's.\"\nscalar Spare\n\"More.\"\ntype Rest {\n\"Spares.\"\nthing: Spare",
        "Spare",
    ),
    (
        "has the fields of a Node exactly if it is one",
        "type Thing implements Node {",
        "type Thing {",
        "Thing",
    ),
    (
        "has the fields of a Node exactly if it is one",
        "type Thing implements Node {\n  \"The global id.\"\n  id: ID!",
        "type Thing implements Node {",
        "Thing",
    ),
    (
        "has the fields of a Node exactly if it is one",
        "interface Node {\n  \"The global id.\"\n  id: ID!",
        "interface Node {\n  \"The global id.\"\n  id: String!",
        "Node",
    ),
    (
        "finds nodes by id",
        "node(\"The global id.\" id: ID!): Node\n",
        "node(\"The global id.\" id: ID!): Node!\n",
        "Query.node",
    ),
    (
        "finds nodes by id",
        "ids: [ID!]!): [Node]!",
        "ids: [ID!]): [Node]!",
        "Query.nodes",
    ),
    (
        "is a whole connection",
        "edges: [ThingEdge!]!",
        "edges: [ThingEdge]!",
        "ThingConnection",
    ),
    (
        "is a whole connection",
        "nodes: [Thing!]!",
        "nodes: [Node!]!",
        "ThingConnection",
    ),
    (
        "is a whole connection",
        "totalCount: Int!",
        "totalCount: Int",
        "ThingConnection",
    ),
    (
        "is a whole connection",
        "cursor: String!",
        "cursor: String",
        "ThingEdge",
    ),
    (
        "is a whole connection",
        "endCursor: String",
        "endCursor: String!",
        "PageInfo",
    ),
    (
        "is paged exactly if it is a connection",
        "first: Int,",
        "first: Int!,",
        "Query.things",
    ),
    (
        "is paged exactly if it is a connection",
        "\"Only after this cursor.\" after: String,",
        "",
        "Query.things",
    ),
    (
        "is paged exactly if it is a connection",
        "\"Only before this cursor.\" before: String",
        "",
        "Query.things",
    ),
    (
        "is paged exactly if it is a connection",
        "): ThingConnection!",
        "): ThingConnection",
        "Query.things",
    ),
    (
        "is paged exactly if it is a connection",
        "ids: [ID!]!): [Node]!",
        "ids: [ID!]!, \"So many.\" first: Int): [Node]!",
        "Query.nodes",
    ),
    (
        "answers what was wrong besides what can be null",
        "userErrors: [UserError!]!",
        "userErrors: [UserError!]",
        "CreateThingPayload",
    ),
    (
        "answers what was wrong besides what can be null",
        "thing: Thing\n",
        "thing: Thing!\n",
        "CreateThingPayload",
    ),
];

#[test]
fn a_good_schema_breaks_no_rule() {
    assert_eq!(broken(&Document::read(GOOD)), [""; 0]);
}

#[test]
fn each_fault_breaks_its_rule_where_it_is() {
    for (rule, from, to, at) in FAULTS {
        assert_eq!(GOOD.matches(from).count(), 1, "{from}");
        let bad = Document::read(&GOOD.replace(from, to));
        let rule = all().find(|known| known.name == *rule);
        let rule = rule.expect("the table names a rule");
        assert!(
            (rule.broken_by)(&bad).contains(&(*at).to_owned()),
            "{} at {at}: {:?}",
            rule.name,
            broken(&bad)
        );
    }
}

#[test]
fn each_rule_has_a_fault_that_it_catches() {
    for rule in all() {
        assert!(
            FAULTS.iter().any(|(name, ..)| *name == rule.name),
            "{}",
            rule.name
        );
    }
}
