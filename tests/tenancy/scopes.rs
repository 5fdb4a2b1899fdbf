//! W2 over the whole schema: through an app the scope `admin` alone is enough, and all other scopes together are not.

use serde_json::json;
use tenterhook_harness::world::AppSees;

use super::access_matrix::{Duty, Gate, MUTATIONS, QUERIES};
use super::callers::{ITS_APP, ITS_APP_WITHOUT_ADMIN, everybody, find};
use super::fixture::Fixture;
use super::schema::Schema;
use super::{FAR, ask, called, mutation, none, schema};

/// Every query that needs the right to read webhooks.
fn reads(schema: &Schema) -> Vec<String> {
    let asked = QUERIES.iter().filter(|(_, _, gate, ..)| {
        matches!(
            gate,
            Gate::Readers | Gate::Users | Gate::Apps | Gate::ReadersAndPlatform
        )
    });
    asked
        .map(|(field, arguments, ..)| {
            let kind = &schema.field("Query", field).expect("checked by name").kind;
            let selection = schema.everything(kind, FAR);
            format!("{{ {} {{ {selection} }} }}", called(field, arguments))
        })
        .collect()
}

/// Every mutation of webhooks and deliveries, with its name and the caller who finally uses it.
fn writes(schema: &Schema) -> Vec<(&'static str, &'static str, String)> {
    let asked = MUTATIONS
        .iter()
        .filter(|(_, _, duty, ..)| !matches!(duty, Duty::Platform));
    asked
        .map(|(name, input, duty, by, _)| {
            let by = if matches!(duty, Duty::Creates) {
                ITS_APP
            } else {
                *by
            };
            (*name, by, mutation(schema, name, input))
        })
        .collect()
}

/// W2: with every scope but `admin` an app can use none of these operations. With `admin` alone it can use all that
/// concern its own webhooks: it creates, reads, changes and deletes.
#[tokio::test(flavor = "multi_thread")]
async fn w2_an_app_needs_admin_and_no_other_scope() {
    let (schema, fixture) = (schema(), Fixture::new().await);
    let everybody = everybody(&fixture.world, AppSees::Application);
    let (reads, writes) = (reads(&schema), writes(&schema));
    assert!(reads.len() > 20 && writes.len() > 10);
    let mut found = Vec::new();

    let without = &find(&everybody, ITS_APP_WITHOUT_ADMIN).client;
    for document in reads.iter().chain(writes.iter().map(|(.., document)| document)) {
        let answer = ask(without, &fixture.fill(document)).await;
        if answer["errors"][0]["extensions"]["code"] != "FORBIDDEN" {
            found.push(format!("without admin: {document}\n    {answer}"));
        }
    }

    let with = &find(&everybody, ITS_APP).client;
    for document in &reads {
        let answer = ask(with, &fixture.fill(document)).await;
        if !answer["errors"].is_null() {
            found.push(format!("with admin: {document}\n    {answer}"));
        }
    }
    let mut done = Vec::new();
    for (name, _, document) in writes.iter().filter(|(_, by, _)| *by == ITS_APP) {
        let answer = ask(with, &fixture.fill(document)).await;
        fixture.world.settle().await;
        if answer["data"][*name]["userErrors"] == json!([]) {
            done.push(*name);
        } else {
            found.push(format!("with admin: {document}\n    {answer}"));
        }
    }
    none(&found);
    for name in ["createWebhook", "updateWebhook", "deleteWebhook"] {
        assert!(done.contains(&name), "{name} is tried");
    }
    fixture.world.verify().await;
}
