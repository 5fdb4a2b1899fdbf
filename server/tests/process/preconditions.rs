//! Preconditions of the database: it is refused with a sentence if nothing can be stored in it. It is accepted if the
//! server has only rights on rows, if its clock is wrong, or if its locale has rules of its own.

mod roles;

use std::process::Output;

use diesel_async::{AsyncConnection, SimpleAsyncConnection};
use serde_json::json;
use tempfile::TempDir;
use tenterhook_embedded_postgres::EmbeddedPostgres;
use tenterhook_harness::client::{Client, NewWebhook};
use tenterhook_harness::realtime;
use tenterhook_harness::token::Claims;
use tenterhook_lab::process::Program;
use tenterhook_store::Conn;

use super::callers::{Callers, SECRET, create, deal_changed, folder, production, receiver};

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
        other => program.command_instead(other),
    }
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Runs each of these commands to its end; returns their output.
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

/// A database that cannot store every text is refused before anything is stored, by every command that would
/// store something.
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
            "the database's encoding is {encoding} and must be UTF8: create another one with `create database … encoding \
             'UTF8' template template0` and set DATABASE_URL to it"
        );
        for text in refusals(&["migrate", "serve", "doctor", "dev"], &postgres.url(&name)).await {
            assert_eq!(text.matches(&sentence).count(), 1, "{text}");
        }
        let untouched = "do $$ begin assert to_regclass('__diesel_schema_migrations') is null; end $$";
        run(&postgres.url(&name), untouched).await;
    }
}

/// No changes are possible, and the error says so.
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

/// A database whose clock is ahead by the value in its table `skew`: the search path decides which
/// `clock_timestamp()` is called.
async fn with_a_clock_of_its_own(postgres: &EmbeddedPostgres, ahead: &str) -> String {
    let admin = postgres.url("postgres");
    run(
        &admin,
        "create database skewed encoding 'UTF8' template template0",
    )
    .await;
    run(
        &admin,
        "alter database skewed set search_path = public, pg_catalog",
    )
    .await;
    let url = postgres.url("skewed");
    let clock = format!(
        "create table skew (ahead interval not null);
         insert into skew values ('{ahead}');
         create function public.clock_timestamp() returns timestamptz language sql volatile
         as $$ select pg_catalog.clock_timestamp() + (select ahead from public.skew) $$"
    );
    run(&url, &clock).await;
    url
}

/// By how much the database is ahead, according to the metrics.
async fn offset(caller: &Client) -> f64 {
    let (_, page) = caller.get("/metrics").await.expect("it serves");
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix("tenterhook_database_clock_offset_seconds "));
    line.expect("there is a gauge")
        .parse()
        .expect("there are metrics")
}

/// The server reports a database whose clock is wrong at start, while it lasts, and when it is over. Times in
/// requests are the database's.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_with_a_wrong_clock_is_reported() {
    const APART: &str = "the database's clock and this machine's differ";
    const OVER: &str = "the database's clock and this machine's agree again";
    let (postgres, keys) = (EmbeddedPostgres::temporary().await.unwrap(), folder());
    let url = with_a_clock_of_its_own(&postgres, "29 s").await;
    let migrated = command("migrate", &keys, &url).run().await.unwrap();
    assert!(migrated.status.success(), "{}", said(&migrated));
    let process = command("serve", &keys, &url).serve().await.unwrap();
    let caller = process.caller(None).unwrap();
    let ahead = offset(&caller).await;
    assert!((28.0..=30.0).contains(&ahead), "{ahead}");
    assert!(!process.printed().contains(APART), "within the tolerance");

    run(&url, "update skew set ahead = '10 min'").await;
    realtime::eventually("the log names it", async || process.printed().contains(APART)).await;
    assert!(
        process
            .printed()
            .lines()
            .any(|line| line.contains("\"WARN\"") && line.contains(APART))
    );
    let ahead = offset(&caller).await;
    assert!((599.0..=601.0).contains(&ahead), "{ahead}");
    let (status, ready) = caller.get("/readyz").await.unwrap();
    assert_eq!(status, 200, "it serves: {ready}");
    assert!(ready.contains("are 600 s apart"), "{ready}");
    let doctor = command("doctor", &keys, &url).run().await.unwrap();
    assert!(
        said(&doctor).contains("FAIL  database: its clock and this machine's differ by"),
        "{}",
        said(&doctor)
    );

    let receiver = receiver(200).await;
    let callers = Callers::new(&process, SECRET);
    create(&callers.user(), &receiver.url()).await;
    callers.platform().publish_one(deal_changed()).await.unwrap();
    receiver.journal().wait_for(1).await;
    let signed: i64 = receiver.journal().all()[0]
        .header("webhook-timestamp")
        .expect("it is signed")
        .parse()
        .unwrap();
    let by = signed - realtime::now().as_second();
    assert!(
        (590..=601).contains(&by),
        "the database's time is on the wire: {by} s"
    );

    run(&url, "update skew set ahead = '0 s'").await;
    realtime::eventually("it is said to be over", async || process.printed().contains(OVER)).await;
    drop(process);
    run(&url, "update skew set ahead = '-31 s'").await;
    let process = command("serve", &keys, &url).serve().await.unwrap();
    let log = process.printed();
    assert!(log.contains(APART), "at the start, and when it is behind: {log}");
}

/// `i` and `I` are the same letter of a URL, whatever the locale of the database.
#[tokio::test(flavor = "multi_thread")]
async fn a_search_does_not_depend_on_the_databases_locale() {
    let (postgres, keys) = (EmbeddedPostgres::temporary().await.unwrap(), folder());
    let made =
        "create database turkish encoding 'UTF8' template template0 locale_provider icu icu_locale 'tr-TR'";
    run(&postgres.url("postgres"), made).await;
    let url = postgres.url("turkish");
    run(&url, "do $$ begin assert lower('TITLE') <> 'title'; end $$").await;
    let migrated = command("migrate", &keys, &url).run().await.unwrap();
    assert!(migrated.status.success(), "{}", said(&migrated));
    let process = command("serve", &keys, &url).serve().await.unwrap();
    let callers = Callers::new(&process, SECRET);
    let user = callers.with(&Claims::user(1, 7, "regular"));
    for path in ["TITLE", "title", "TiTlE"] {
        user.create_webhook(NewWebhook::to(&format!("http://127.0.0.1:9/{path}")))
            .await
            .unwrap();
    }
    for text in ["title", "TITLE", "Title", "I", "i"] {
        let query = "query Q($text: String) { webhooks(filter: {urlContains: $text}) { totalCount } }";
        let found = user.query(query, json!({"text": text})).await.unwrap();
        assert_eq!(found["webhooks"]["totalCount"], 3, "{text}");
    }
}
