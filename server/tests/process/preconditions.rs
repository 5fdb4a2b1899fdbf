//! What the database may be: refused with a sentence where nothing can be kept in it, and enough where a server has rights on
//! rows alone, where its clock is wrong, and where its locale has rules of its own.

use std::process::Output;

use diesel_async::{AsyncConnection, SimpleAsyncConnection};
use tempfile::TempDir;
use tenterhook::embedded::EmbeddedPostgres;
use tenterhook::store::Conn;
use tenterhook_harness::process::Program;

use super::cast::{folder, production};


async fn try_run(url: &str, sql: &str) -> Result<(), String> {
    let mut conn = Conn::establish(url).await.expect("there is such a database");
    conn.batch_execute(sql).await.map_err(|error| error.to_string())
}

async fn run(url: &str, sql: &str) {
    try_run(url, sql)
        .await
        .unwrap_or_else(|error| panic!("{error}: {sql}"));
}

/// A command on a database.
fn command(name: &str, keys: &TempDir, url: &str) -> Program {
    let program = production(keys.path(), url).setting("TENTERHOOK_LOG", "info");
    // The arguments of `production` begin with `serve`.
    match name {
        "serve" => program,
        other => program.with_arguments([other]),
    }
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Runs each of these to its end; answers what it said.
async fn refusals(names: &[&str], url: &str) -> Vec<String> {
    let keys = folder();
    let mut all = Vec::new();
    for name in names {
        let output = command(name, &keys, url).run().await.expect("it ends");
        assert!(!output.status.success(), "{name}: {}", said(&output));
        all.push(said(&output));
    }
    all
}

/// F3: what cannot hold every text is refused before anything is kept in it, by every command that would begin to.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_utf8_is_refused_in_one_sentence() {
    let postgres = EmbeddedPostgres::temporary().await.unwrap();
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let name = encoding.to_lowercase();
        let made = format!(
            "create database {name} encoding '{encoding}' template template0 lc_collate 'C' lc_ctype 'C'"
        );
        run(&postgres.url("postgres"), &made).await;
        let sentence = format!(
            "the database's encoding is {encoding} and must be UTF8: make another one with `create database … encoding \
             'UTF8' template template0` and let DATABASE_URL lead there"
        );
        for text in refusals(&["migrate", "serve", "doctor", "dev"], &postgres.url(&name)).await {
            assert_eq!(text.matches(&sentence).count(), 1, "{text}");
        }
        let untouched = "do $$ begin assert to_regclass('__diesel_schema_migrations') is null; end $$";
        run(&postgres.url(&name), untouched).await;
    }
}

/// F4, F22: no changes can be made, and that is what is said.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_database_is_named_as_such() {
    let postgres = EmbeddedPostgres::temporary().await.unwrap();
    let admin = postgres.url("postgres");
    run(
        &admin,
        "create database readonly encoding 'UTF8' template template0",
    )
    .await;
    run(
        &admin,
        "alter database readonly set default_transaction_read_only = on",
    )
    .await;
    for text in refusals(&["migrate", "serve", "doctor"], &postgres.url("readonly")).await {
        assert!(
            text.contains("the database is read-only: set default_transaction_read_only to off"),
            "{text}"
        );
        assert!(!text.contains("inconsistent"), "{text}");
    }
}
