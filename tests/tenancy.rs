//! No caller sees or changes another's data: every element of the schema, for every kind of caller (W2, W4 to W7, E2).
//!
//! The queries are generated from the committed schema. A new element is queried by every caller at once, and fails the
//! test until it has a verdict and the fixture has a value for it.

mod access_matrix;
mod assertions;
mod callers;
mod fixture;
mod ids;
mod mutations;
mod rest;
mod schema;
mod scopes;
mod subscriptions;

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tenterhook_harness::client::Client;
use tenterhook_harness::world::AppSees;

use self::access_matrix::{
    Duty, Entry, Gate, MUTATIONS, QUERIES, REQUIRED, SUBSCRIPTIONS, Shows, TYPES, answer_to,
};
use self::assertions::{Expected, judge};
use self::callers::{ITS_APP, Identity, OPERATOR, OWNER, everybody, find};
use self::fixture::Fixture;
use self::schema::Schema;

/// Levels of objects that a query about a root field selects.
const FAR: usize = 2;
/// Most failures shown, because one fault of the server causes hundreds.
const MOST_SHOWN: usize = 10;

/// The whole response, with data and errors.
async fn ask(client: &Client, document: &str) -> Value {
    let asked = client.post("/graphql", json!({"query": document})).await;
    asked.unwrap_or_else(|refusal| panic!("{document}: {refusal}")).1
}

/// Data and errors of a response, without its cost.
fn said(answer: &Value) -> (&Value, &Value) {
    (&answer["data"], &answer["errors"])
}

fn called(field: &str, arguments: &str) -> String {
    if arguments.is_empty() {
        field.to_owned()
    } else {
        format!("{field}({arguments})")
    }
}

fn schema() -> Schema {
    Schema::read(schema::SDL, REQUIRED)
}

/// Sends a query as every caller. Returns the callers whose response differs from `expected`, with the difference.
async fn faults(
    fixture: &Fixture,
    everybody: &[Identity],
    question: &str,
    expected: impl Fn(&Identity) -> Option<Expected>,
) -> Vec<String> {
    let (own, twin) = (fixture.fill(question), fixture.fill_with_twins(question));
    let asked = everybody.iter().map(async |who| {
        let expected = expected(who)?;
        let answer = ask(&who.client, &own).await;
        let mut fault = judge(&answer, &expected, &fixture.marks, &who.sees()).err();
        if matches!(expected, Expected::Nothing | Expected::Told("NOT_FOUND")) {
            let of_twin = ask(&who.client, &twin).await;
            if said(&answer) != said(&of_twin) {
                fault.get_or_insert(format!(
                    "what is not there is answered otherwise: {answer} {of_twin}"
                ));
            }
        }
        fault.map(|fault| format!("{}: {own}\n    {fault}", who.name))
    });
    join_all(asked).await.into_iter().flatten().collect()
}

fn none(faults: &[String]) {
    let first = faults[..faults.len().min(MOST_SHOWN)].join("\n");
    assert!(faults.is_empty(), "{} faults\n{first}", faults.len());
}

/// The root fields of these rows, each with all its tried arguments.
fn tried(rows: impl Iterator<Item = (&'static str, &'static str)>) -> BTreeMap<&'static str, String> {
    let mut tried: BTreeMap<&str, String> = BTreeMap::new();
    for (field, arguments) in rows {
        *tried.entry(field).or_default() += arguments;
    }
    tried
}

/// Elements without a verdict, verdicts without an element, and arguments that name an object but occur in no verdict.
fn gaps(schema: &Schema) -> Vec<String> {
    let mut gaps = Vec::new();
    let mut compare = |what: &str, there: BTreeSet<&str>, judged: BTreeSet<&str>| {
        gaps.extend(
            there
                .difference(&judged)
                .map(|name| format!("{what}{name} has no verdict")),
        );
        gaps.extend(
            judged
                .difference(&there)
                .map(|name| format!("{what}{name} is not there")),
        );
    };
    let roots = [
        (
            "Query",
            tried(QUERIES.iter().map(|ask| (ask.0, ask.1))),
            &["ID", "String"][..],
        ),
        (
            "Subscription",
            tried(SUBSCRIPTIONS.iter().map(|ask| (ask.0, ask.1))),
            &["ID", "String"][..],
        ),
        (
            "Mutation",
            tried(MUTATIONS.iter().map(|act| (act.0, act.1))),
            &["ID"][..],
        ),
    ];
    for (root, tried, _) in &roots {
        let fields = schema.fields(root).iter().map(|field| field.name.as_str());
        compare(
            &format!("{root}."),
            fields.collect(),
            tried.keys().copied().collect(),
        );
    }
    let types = TYPES
        .iter()
        .map(|(of, ..)| *of)
        .chain(roots.iter().map(|(root, ..)| *root));
    compare(
        "",
        schema.types.keys().map(String::as_str).collect(),
        types.collect(),
    );

    let obeys_platform = |field: &str| {
        let mut acts = MUTATIONS.iter().filter(|act| act.0 == field);
        acts.all(|act| matches!(act.2, Duty::Platform))
    };
    for (root, tried, kinds) in &roots {
        for field in schema.fields(root) {
            // A caller without the right to the mutation gets no further than that, whatever object the input names.
            if *root == "Mutation" && obeys_platform(&field.name) {
                continue;
            }
            for name in schema.naming(&field.arguments, kinds) {
                let tried = tried.get(field.name.as_str()).map_or("", String::as_str);
                if !tried.contains(&format!("{name}: <")) && !tried.contains(&format!("{name}: [<")) {
                    gaps.push(format!("{root}.{}: no verdict tries its {name}", field.name));
                }
            }
        }
    }
    for (of, fields) in schema
        .types
        .iter()
        .filter(|(of, _)| roots.iter().all(|(root, ..)| of != root))
    {
        for field in fields {
            let required = field.arguments.iter().any(|argument| argument.required);
            let coordinate = format!("{of}.{}", field.name);
            if required != schema.required.contains_key(coordinate.as_str()) {
                gaps.push(format!(
                    "{coordinate}: its required arguments are not those of the walk"
                ));
            }
        }
    }
    gaps
}

/// Every root field and every type has a verdict with a reason, every verdict has its element, and every argument of a
/// root field that names an object is tried.
#[test]
fn every_element_of_the_schema_has_a_verdict() {
    assert_eq!(gaps(&schema()), Vec::<String>::new());
    let rules = QUERIES.iter().chain(SUBSCRIPTIONS).map(|(.., rule)| rule);
    let rules = rules.chain(TYPES.iter().map(|(.., rule)| rule));
    let mut rules = rules.chain(MUTATIONS.iter().map(|(.., rule)| rule));
    assert!(rules.all(|rule| !rule.is_empty()));
}

/// If the schema changes, the test says what is missing.
#[test]
fn an_element_without_a_verdict_is_named() {
    for (old, new, gap) in [
        (
            "type Query {\n",
            "type Query {\n\tsecrets: [String!]!\n",
            "Query.secrets has no verdict",
        ),
        (
            "type Mutation {\n",
            "type Mutation {\n\tleak: Boolean!\n",
            "Mutation.leak has no verdict",
        ),
        (
            "type Query {\n",
            "type Leak {\n\tid: ID!\n}\ntype Query {\n",
            "Leak has no verdict",
        ),
        (
            "noticePosted: Notice!",
            "noticeSent: Notice!",
            "Subscription.noticePosted is not there",
        ),
        (
            "type AttemptTimings {",
            "type Renamed {",
            "AttemptTimings is not there",
        ),
        (
            "input NoticeFilter {\n",
            "input NoticeFilter {\n\tappId: ID\n",
            "Query.notices: no verdict tries its appId",
        ),
        (
            "input PauseWebhookInput {\n",
            "input PauseWebhookInput {\n\tuserId: ID\n",
            "Mutation.pauseWebhook: no verdict tries its userId",
        ),
        (
            "type Header {\n",
            "type Header {\n\tof(company: ID!): String\n",
            "Header.of: its required arguments are not those of the walk",
        ),
    ] {
        let changed = schema::SDL.replacen(old, new, 1);
        assert_ne!(changed, schema::SDL, "{old}");
        assert!(
            gaps(&Schema::read(&changed, REQUIRED)).contains(&gap.to_owned()),
            "{gap}"
        );
    }
}

/// Each query with each argument that names an object, sent by every caller.
#[tokio::test(flavor = "multi_thread")]
async fn every_query_shows_callers_only_their_own_data() {
    walk_queries(AppSees::Application).await;
}

/// The same where apps also see the general webhooks of their user.
#[tokio::test(flavor = "multi_thread")]
async fn under_own_general_every_query_shows_callers_only_their_own_data() {
    walk_queries(AppSees::OwnGeneral).await;
}

async fn walk_queries(sees: AppSees) {
    let (schema, fixture) = (schema(), Fixture::where_apps_see(sees).await);
    let everybody = everybody(&fixture.world, sees);
    let mut found = Vec::new();
    for (field, arguments, gate, shows, _) in QUERIES {
        let kind = &schema.field("Query", field).expect("checked by name").kind;
        let question = format!(
            "{{ {} {{ {} }} }}",
            called(field, arguments),
            schema.everything(kind, FAR)
        );
        found.extend(
            faults(&fixture, &everybody, &question, |who| {
                Some(answer_to(who, *gate, *shows))
            })
            .await,
        );
    }
    none(&found);
    fixture.world.verify().await;
}

/// Where to query the fields of a type: the call of a root field, and the path from there.
struct Place {
    root: &'static str,
    way: Vec<schema::Step>,
    gate: Gate,
    shows: Shows,
}

/// The shortest path to each type that can be read.
fn places(schema: &Schema) -> BTreeMap<String, Place> {
    let mut places: BTreeMap<String, Place> = BTreeMap::new();
    for (of, entry, _) in TYPES {
        let Entry::Ask(root, gate, shows) = *entry else {
            continue;
        };
        let name = root.split('(').next().unwrap_or_default();
        let start = &schema.field("Query", name).expect("a query").kind;
        let there = &schema.ways(start)[*of];
        for (kind, on) in schema.ways(of) {
            let within = TYPES
                .iter()
                .any(|(other, entry, _)| *other == kind && matches!(entry, Entry::Within));
            let way = [&there[..], &on[..]].concat();
            let nearer = places.get(&kind).is_none_or(|place| way.len() < place.way.len());
            // Types that are reachable from an interface's objects are queried through those objects.
            if kind == *of || (within && nearer && !schema.objects_of.contains_key(*of)) {
                let place = Place {
                    root,
                    way,
                    gate,
                    shows,
                };
                places.insert(kind, place);
            }
        }
    }
    places
}

/// Whether anything in a response has a value.
fn has_value(data: &Value) -> bool {
    match data {
        Value::Null => false,
        Value::Array(entries) => entries.iter().any(has_value),
        Value::Object(fields) => fields.values().any(has_value),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

/// Each field of each type alone, so that no refusal of another field hides it, by every caller. The caller with the
/// most rights gets a value of each field. Otherwise it would prove nothing that others get none.
#[tokio::test(flavor = "multi_thread")]
async fn every_field_shows_callers_only_their_own_data() {
    walk_fields(AppSees::Application).await;
}

/// The same where apps also see the general webhooks of their user.
#[tokio::test(flavor = "multi_thread")]
async fn under_own_general_every_field_shows_callers_only_their_own_data() {
    walk_fields(AppSees::OwnGeneral).await;
}

async fn walk_fields(sees: AppSees) {
    let (schema, fixture) = (schema(), Fixture::where_apps_see(sees).await);
    let everybody = everybody(&fixture.world, sees);
    let places = places(&schema);
    let (mut found, mut asked) = (Vec::new(), 0);
    for (of, entry, _) in TYPES {
        if matches!(entry, Entry::Payload | Entry::Complaint) {
            continue;
        }
        let place = places
            .get(*of)
            .unwrap_or_else(|| panic!("{of} cannot be come to by any question"));
        for field in schema.fields(of) {
            let question = format!("{{ {} }}", schema.question(place.root, &place.way, of, field));
            let expected = |who: &Identity| {
                let expected = answer_to(who, place.gate, place.shows);
                // A single field need not contain a mark.
                Some(match expected {
                    Expected::Shown(_) => Expected::Shown(BTreeSet::new()),
                    other => other,
                })
            };
            found.extend(faults(&fixture, &everybody, &question, expected).await);
            let mut values = 0;
            for witness in [ITS_APP, OPERATOR, OWNER] {
                let answer = ask(&find(&everybody, witness).client, &fixture.fill(&question)).await;
                values += usize::from(has_value(&answer["data"]));
            }
            if values == 0 {
                found.push(format!("{of}.{}: nobody gets a value: {question}", field.name));
            }
            asked += 1;
        }
    }
    none(&found);
    let readable = TYPES
        .iter()
        .filter(|(_, entry, _)| !matches!(entry, Entry::Payload | Entry::Complaint));
    let fields: usize = readable.map(|(of, ..)| schema.fields(of).len()).sum();
    assert_eq!(asked, fields);
    fixture.world.verify().await;
}

fn mutation(schema: &Schema, name: &str, input: &str) -> String {
    let kind = &schema.field("Mutation", name).expect("checked by name").kind;
    format!(
        "mutation {{ {name}(input: {{{input}}}) {{ {} }} }}",
        schema.everything(kind, FAR)
    )
}
