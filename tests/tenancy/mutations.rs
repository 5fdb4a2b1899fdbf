//! Mutations are refused without effect for callers without the right, and succeed for the others.

use serde_json::{Value, json};
use tenterhook_harness::client::Client;
use tenterhook_harness::world::AppSees;

use super::access_matrix::{Entry, MUTATIONS, QUERIES, TYPES, refusal_of};
use super::callers::{OPERATOR, everybody, find};
use super::fixture::Fixture;
use super::schema::{Field, Schema};
use super::{FAR, ask, called, faults, has_value, mutation, none, schema};

/// Everything that an operator can read, and the requests that receivers got.
async fn state(schema: &Schema, fixture: &Fixture, operator: &Client) -> Vec<Value> {
    let mut state = Vec::new();
    for (field, arguments, ..) in QUERIES.iter().filter(|(field, ..)| *field != "webhookQuota") {
        let kind = &schema.field("Query", field).expect("checked by name").kind;
        let question = format!(
            "{{ {} {{ {} }} }}",
            called(field, arguments),
            schema.everything(kind, FAR)
        );
        let answer = ask(operator, &fixture.fill(&question)).await;
        assert!(answer["errors"].is_null(), "an operator can read it: {answer}");
        state.push(answer["data"].clone());
    }
    state.extend(
        fixture
            .receivers
            .iter()
            .map(|receiver| json!(receiver.journal().len())),
    );
    state
}

/// The fields that a successful mutation's payload lacks, also in types that only payloads have.
fn lacking(schema: &Schema, of: &str, payload: &Value) -> Vec<String> {
    let of_payloads = |field: &Field| {
        let entry = TYPES.iter().find(|(name, ..)| *name == field.kind);
        matches!(entry, Some((_, Entry::Payload, _)))
    };
    let mut lacking = Vec::new();
    for field in schema
        .fields(of)
        .iter()
        .filter(|field| field.name != "userErrors")
    {
        let value = &payload[&field.name];
        if !has_value(value) {
            lacking.push(format!("{of}.{}", field.name));
        } else if of_payloads(field) {
            lacking.extend(self::lacking(schema, &field.kind, &value[0]));
        }
    }
    lacking
}

/// Each mutation on the user's data: every caller without the right is refused, and nothing changes. Then a caller with
/// the right succeeds.
#[tokio::test(flavor = "multi_thread")]
async fn every_mutation_obeys_only_callers_with_the_right() {
    walk_mutations(AppSees::Application).await;
}

/// The same where apps also see the general webhooks of their user.
#[tokio::test(flavor = "multi_thread")]
async fn under_own_general_every_mutation_obeys_only_callers_with_the_right() {
    walk_mutations(AppSees::OwnGeneral).await;
}

async fn walk_mutations(sees: AppSees) {
    let (schema, fixture) = (schema(), Fixture::where_apps_see(sees).await);
    let everybody = everybody(&fixture.world, sees);
    let operator = &find(&everybody, OPERATOR).client;
    let before = state(&schema, &fixture, operator).await;
    let mut found = Vec::new();
    for (name, input, duty, ..) in MUTATIONS {
        let question = mutation(&schema, name, input);
        found.extend(faults(&fixture, &everybody, &question, |who| refusal_of(who, *duty)).await);
    }
    none(&found);
    fixture.world.settle().await;
    let after = state(&schema, &fixture, operator).await;
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before, after, "whoever is refused changes nothing");
    }

    for (name, input, _, by, _) in MUTATIONS.iter().filter(|(.., by, _)| !by.is_empty()) {
        let question = fixture.fill(&mutation(&schema, name, input));
        let answer = ask(&find(&everybody, by).client, &question).await;
        fixture.world.settle().await;
        let payload = &answer["data"][*name];
        let kind = &schema.field("Mutation", name).expect("checked by name").kind;
        let lacking = lacking(&schema, kind, payload);
        if payload["userErrors"] != json!([]) || !lacking.is_empty() {
            found.push(format!("{by}: {question}\n    lacks {lacking:?}: {answer}"));
        }
    }
    none(&found);
    fixture.world.verify().await;
}
