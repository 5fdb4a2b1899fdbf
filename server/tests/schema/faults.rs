//! Proves that each rule catches something: faults in an otherwise good schema.

use super::document::Document;
use super::rules::{all, broken};

/// Keeps every rule. Each fault below is one change of it.
const GOOD: &str = include_str!("good.graphql");

/// For each rule: the text to change, its replacement, and where the change breaks the rule.
const FAULTS: &[(&str, &[[&str; 3]])] = &[
    (
        "is described",
        &[
            ["\"Something that is kept.\"\ntype", "type", "Thing"],
            ["\"Who made it.\"", "", "Thing.ownerId"],
            ["\"Which ones.\" filter", "filter", "Query.things(filter:)"],
            ["\"It is there.\"", "", "State.PRESENT"],
            ["\"Only of these owners.\"", "", "ThingFilter.ownerIds"],
            ["\"How to.\" as", "as", "@mark(as:)"],
            ["\"Marks a field.\"", "", "@mark"],
        ],
    ),
    (
        "is described in sentences, not too many",
        &[
            ["Who made it.", "who made it.", "Thing.ownerId"],
            ["Who made it.", "Who made it", "Thing.ownerId"],
        ],
    ),
    (
        "is described by more than its name",
        &[
            ["Who made it.", "The owner id.", "Thing.ownerId"],
            ["What can be done.", "Mutation.", "Mutation"],
        ],
    ),
    (
        "stays until a date if it is deprecated, and says what to use",
        &[
            [" Stays until 2027-05-23.", "", "State.GOING_AWAY"],
            ["2027-05-23", "2027-05-32", "State.GOING_AWAY"],
            ["Use `PRESENT`. ", "", "State.GOING_AWAY"],
            [
                "(reason: \"Use `PRESENT`. Stays until 2027-05-23.\")",
                "",
                "State.GOING_AWAY",
            ],
        ],
    ),
    (
        "is written in the case of its kind",
        &[
            ["enum State {", "enum STATE {", "STATE"],
            ["name: String\n", "Name: String\n", "Thing.Name"],
            ["name: String\n", "nick_name: String\n", "Thing.nick_name"],
            ["name: String\n", "nameURL: String\n", "Thing.nameURL"],
            [
                "filter: ThingFilter",
                "Filter: ThingFilter",
                "Query.things(Filter:)",
            ],
            ["PRESENT\n", "Present\n", "State.Present"],
            ["GOING_AWAY", "GOING__AWAY", "State.GOING__AWAY"],
        ],
    ),
    (
        "ends in Input or Filter if it is an input type, and only then",
        &[
            ["input ThingFilter", "input ThingChoice", "ThingChoice"],
            ["type UserError", "type ErrorInput", "ErrorInput"],
        ],
    ),
    (
        "does what its first word says",
        &[["createThing(", "thingCreation(", "Mutation.thingCreation"]],
    ),
    (
        "takes one input and returns a payload, both named after it",
        &[
            [
                "input: CreateThingInput!)",
                "input: CreateThingInput)",
                "Mutation.createThing",
            ],
            [
                "input: CreateThingInput!)",
                "thing: CreateThingInput!)",
                "Mutation.createThing",
            ],
            [
                "CreateThingInput!)",
                "CreateThingInput!, \"How often.\" times: Int)",
                "Mutation.createThing",
            ],
            ["): CreateThingPayload!", "): Thing!", "Mutation.createThing"],
            [
                "): CreateThingPayload!",
                "): CreateThingPayload",
                "Mutation.createThing",
            ],
        ],
    ),
    (
        "is not abbreviated",
        &[
            ["message: String!", "msg: String!", "UserError.msg"],
            ["PRESENT\n", "MAX_PRESENT\n", "State.MAX_PRESENT"],
        ],
    ),
    (
        "has the name of a moment if it is one, and only then",
        &[
            ["createdAt: DateTime!", "creation: DateTime!", "Thing.creation"],
            ["createdAt: DateTime!", "createdAt: String!", "Thing.createdAt"],
        ],
    ),
    (
        "is an ID if its name says so",
        &[["ownerId: ID!", "ownerId: String!", "Thing.ownerId"]],
    ),
    (
        "has a plural name if it is a list",
        &[["ownerIds: [ID!]", "owner: [ID!]", "ThingFilter.owner"]],
    ),
    (
        "has no nulls in its lists",
        &[["ownerIds: [ID!]", "ownerIds: [ID]", "ThingFilter.ownerIds"]],
    ),
    (
        "is of use",
        &[[
            "message: String!",
            "message: String!\n}\n\"Nobody's.\"\nscalar Spare\n\"More.\"\ntype Rest {\n\"Spares.\"\nthing: Spare",
            "Spare",
        ]],
    ),
    (
        "has the fields of a Node exactly if it is one",
        &[
            ["type Thing implements Node {", "type Thing {", "Thing"],
            [
                "type Thing implements Node {\n  \"The global id.\"\n  id: ID!",
                "type Thing implements Node {",
                "Thing",
            ],
            [
                "interface Node {\n  \"The global id.\"\n  id: ID!",
                "interface Node {\n  \"The global id.\"\n  id: String!",
                "Node",
            ],
        ],
    ),
    (
        "finds nodes by id",
        &[
            [
                "node(\"The global id.\" id: ID!): Node\n",
                "node(\"The global id.\" id: ID!): Node!\n",
                "Query.node",
            ],
            ["ids: [ID!]!): [Node]!", "ids: [ID!]): [Node]!", "Query.nodes"],
        ],
    ),
    (
        "is a whole connection",
        &[
            ["edges: [ThingEdge!]!", "edges: [ThingEdge]!", "ThingConnection"],
            ["nodes: [Thing!]!", "nodes: [Node!]!", "ThingConnection"],
            ["totalCount: Int!", "totalCount: Int", "ThingConnection"],
            ["cursor: String!", "cursor: String", "ThingEdge"],
            ["endCursor: String", "endCursor: String!", "PageInfo"],
        ],
    ),
    (
        "is paged exactly if it is a connection",
        &[
            ["first: Int,", "first: Int!,", "Query.things"],
            ["\"Only after this cursor.\" after: String,", "", "Query.things"],
            ["\"Only before this cursor.\" before: String", "", "Query.things"],
            ["): ThingConnection!", "): ThingConnection", "Query.things"],
            [
                "ids: [ID!]!): [Node]!",
                "ids: [ID!]!, \"Maximum number.\" first: Int): [Node]!",
                "Query.nodes",
            ],
        ],
    ),
    (
        "answers what was wrong besides what can be null",
        &[
            [
                "userErrors: [UserError!]!",
                "userErrors: [UserError!]",
                "CreateThingPayload",
            ],
            ["thing: Thing\n", "thing: Thing!\n", "CreateThingPayload"],
        ],
    ),
];

#[test]
fn a_good_schema_breaks_no_rule() {
    assert_eq!(broken(&Document::read(GOOD)), [""; 0]);
}

#[test]
fn each_fault_breaks_its_rule_where_it_is() {
    for (name, faults) in FAULTS {
        let rule = all().find(|rule| rule.name == *name);
        let rule = rule.expect("the table names a rule");
        for [from, to, at] in *faults {
            assert_eq!(GOOD.matches(from).count(), 1, "{from}");
            let bad = Document::read(&GOOD.replace(from, to));
            let found = (rule.broken_by)(&bad);
            assert!(found.iter().any(|found| found == at), "{name} at {at}: {found:?}");
        }
    }
}

#[test]
fn each_rule_has_a_fault_that_it_catches() {
    for rule in all() {
        assert!(FAULTS.iter().any(|(name, _)| *name == rule.name), "{}", rule.name);
    }
}
