//! Preconditions of the database: it is refused with a sentence if nothing can be stored in it. It is accepted if the
//! server has only rights on rows, if its clock is wrong, or if its locale has rules of its own.

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

const OPERATIONS: &str = include_str!("../../../docs/operations.md");

async fn try_run(url: &str, sql: &str) -> Result<(), String> {
    let mut conn = Conn::establish(url).await.expect("there is such a database");
    conn.batch_execute(sql).await.map_err(|error| error.to_string())
}

async fn run(url: &str, sql: &str) {
    try_run(url, sql)
        .await
        .unwrap_or_else(|error| panic!("{error}: {sql}"));
}

/// The URL for one of the roles. The documentation gives them passwords, but our Postgres does not ask for one.
fn as_role(url: &str, role: &str) -> String {
    url.replace("user=postgres", &format!("user={role}"))
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

/// F3: a database that cannot store every text is refused before anything is stored, by every command that would
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

/// F4, F22: no changes are possible, and the error says so.
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

/// The blocks of SQL in the section of docs/operations.md about roles: one for the administrator, one for the owner.
fn documented() -> (Vec<String>, String) {
    let (_, section) = OPERATIONS.split_once("## Roles").expect("a section about roles");
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut blocks = section
        .split("```sql\n")
        .skip(1)
        .map(|block| block.split("```").next().unwrap_or_default());
    let by_administrator = blocks.next().expect("a block for the administrator");
    let by_owner = blocks.next().expect("a block for the owner").to_owned();
    assert_eq!(blocks.next(), None);
    let statements = by_administrator
        .split(";\n")
        .map(str::trim)
        .filter(|one| !one.is_empty());
    (statements.map(str::to_owned).collect(), by_owner)
}

const PARTITIONS: &str = "from pg_inherits i join pg_class c on c.oid = i.inhrelid";

/// F22: with the roles and grants of docs/operations.md, one role migrates. Another, which owns nothing and cannot
/// create anything, serves: it publishes, delivers, makes and drops partitions, reseals, and passes `doctor`.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_with_rights_on_rows_alone_serves() {
    let (postgres, keys) = (EmbeddedPostgres::temporary().await.unwrap(), folder());
    let (by_administrator, by_owner) = documented();
    for statement in by_administrator {
        run(&postgres.url("postgres"), &statement).await;
    }
    let database = postgres.url("tenterhook");
    let (owner, server) = (
        as_role(&database, "tenterhook_owner"),
        as_role(&database, "tenterhook_server"),
    );
    // Before the migration: the server's role may not migrate, and gets the message of Postgres.
    let text = refusals(&["migrate"], &server).await.remove(0);
    assert!(
        text.contains("permission denied for schema public") && !text.contains("inconsistent"),
        "{text}"
    );
    let migrated = command("migrate", &keys, &owner).run().await.unwrap();
    assert!(migrated.status.success(), "{}", said(&migrated));
    let text = refusals(&["serve"], &server).await.remove(0);
    assert!(
        text.contains("permission denied") && !text.contains("inconsistent"),
        "{text}"
    );
    run(&owner, &by_owner).await;
    let again = command("migrate", &keys, &server).run().await.unwrap();
    assert!(said(&again).contains("nothing to do"), "{}", said(&again));

    let receiver = receiver(200).await;
    let process = command("serve", &keys, &server)
        .setting("TENTERHOOK_CLOCK", "simulated")
        .serve()
        .await
        .unwrap();
    let callers = Callers::new(&process, SECRET);
    callers.platform().register_app("crm").await.unwrap();
    callers.platform().install_app("crm", 1, 7).await.unwrap();
    let webhook = create(&callers.user(), &receiver.url()).await;
    callers.platform().publish_one(deal_changed()).await.unwrap();
    callers.advance("PT1S").await;
    let first = callers.user().deliveries(&webhook).await.unwrap().remove(0);
    assert_eq!(first.status, "SUCCEEDED");
    let counted = |sign: &str, day: jiff::Timestamp| {
        let name = day.strftime("events_%Y%m%d").to_string();
        format!(
            "do $$ begin assert (select count(*) {sign} 0 {PARTITIONS} where c.relname = '{name}'); end $$"
        )
    };
    let today = realtime::now();
    run(&database, &counted(">", today)).await;
    callers.advance("P40D").await;
    run(&database, &counted("=", today)).await;
    let later = today + jiff::SignedDuration::from_hours(40 * 24);
    run(&database, &counted(">", later)).await;
    callers.platform().publish_one(deal_changed()).await.unwrap();
    callers.advance("PT1S").await;
    let last = callers.user().deliveries(&webhook).await.unwrap().pop().unwrap();
    assert_eq!(last.status, "SUCCEEDED");
    callers.user().delete_webhook(&webhook).await.unwrap();
    let log = process.printed();
    assert!(
        !log.contains("permission denied") && !log.contains("must be owner"),
        "{log}"
    );

    let resealed = command("reseal", &keys, &server).run().await.unwrap();
    assert!(resealed.status.success(), "{}", said(&resealed));
    let doctor = command("doctor", &keys, &server).run().await.unwrap();
    for line in [
        "ok    migrations: none pending",
        "ok    encoding: UTF8",
        "ok    lanes: 64",
    ] {
        assert!(said(&doctor).contains(line), "{}", said(&doctor));
    }
}

/// F22: the functions that make partitions cannot be used for anything else.
#[tokio::test(flavor = "multi_thread")]
async fn the_functions_with_the_owners_rights_make_and_drop_partitions_alone() {
    let (postgres, keys) = (EmbeddedPostgres::temporary().await.unwrap(), folder());
    let (by_administrator, by_owner) = documented();
    for statement in by_administrator {
        run(&postgres.url("postgres"), &statement).await;
    }
    run(&postgres.url("postgres"), "create role stranger login").await;
    let database = postgres.url("tenterhook");
    let owner = as_role(&database, "tenterhook_owner");
    let migrated = command("migrate", &keys, &owner).run().await.unwrap();
    assert!(migrated.status.success(), "{}", said(&migrated));
    run(&owner, &by_owner).await;
    let (server, stranger) = (
        as_role(&database, "tenterhook_server"),
        as_role(&database, "stranger"),
    );

    // The functions do not use objects that somebody has created in schemas that are searched first.
    let planted = "create temp table pg_inherits (inhrelid oid, inhparent oid);
        create function pg_temp.to_char(date, text) returns text language sql as $$ select 'planted' $$;
        create function pg_temp.to_regclass(text) returns regclass language sql as $$ select 'public.apps'::regclass $$;
        set search_path = pg_temp, public, pg_catalog;
        do $$ begin
            assert public.make_partition('events', '2099-01-01');
            assert not public.make_partition('events', '2099-01-01');
            assert to_regclass('public.events_20990101') is not null;
        end $$";
    run(
        &server,
        &planted.replace("to_regclass('public", "pg_catalog.to_regclass('public"),
    )
    .await;
    run(
        &server,
        "do $$ begin
            assert drop_partition('events', '2099-01-01') and not drop_partition('events', '2099-01-01');
        end $$",
    )
    .await;
    run(&owner, "create table events_20990102 (mine integer)").await;
    for (who, sql, why) in [
        (
            &server,
            "select make_partition('apps', '2099-01-01')",
            "there are no partitions of apps",
        ),
        (
            &server,
            "select make_partition('events; drop table apps', '2099-01-01')",
            "there are no partitions",
        ),
        (
            &server,
            "select make_partition(null, '2099-01-01')",
            "there are no partitions",
        ),
        (
            &server,
            "select make_partition('events', null)",
            "there are no partitions",
        ),
        (
            &server,
            "select make_partition('events', 'infinity')",
            "there are no partitions",
        ),
        (
            &server,
            "select drop_partition('settings', '2099-01-01')",
            "there are no partitions",
        ),
        (
            &stranger,
            "select make_partition('events', '2099-01-01')",
            "permission denied for function",
        ),
        (
            &stranger,
            "select drop_partition('events', '2099-01-01')",
            "permission denied for function",
        ),
        (
            &server,
            "create table mine (n integer)",
            "permission denied for schema",
        ),
        (&server, "drop table events", "must be owner"),
        (
            &server,
            "delete from __diesel_schema_migrations",
            "permission denied for table",
        ),
        (
            &stranger,
            "select count(*) from webhooks",
            "permission denied for table",
        ),
    ] {
        let refused = try_run(who, sql)
            .await
            .err()
            .unwrap_or_else(|| panic!("it was done: {sql}"));
        assert!(refused.contains(why), "{sql}: {refused}");
    }
    // Not a partition: a table with such a name is not touched.
    run(
        &server,
        "do $$ begin assert not drop_partition('events', '2099-01-02'); end $$",
    )
    .await;
    run(&owner, "select mine from events_20990102").await;

    // A superuser who migrates does not give its rights to the functions.
    run(
        &database,
        "drop function make_partition(text, date), drop_partition(text, date);
         delete from __diesel_schema_migrations where version like '20261130130000%'",
    )
    .await;
    let migrated = command("migrate", &keys, &database).run().await.unwrap();
    assert!(migrated.status.success(), "{}", said(&migrated));
    let owned = "do $$ begin
        assert (select count(*) = 2 from pg_proc
                where proname in ('make_partition', 'drop_partition') and proowner = 'tenterhook_owner'::regrole
                  and prosecdef and proconfig = '{\"search_path=pg_catalog, pg_temp\"}');
    end $$";
    run(&database, owned).await;
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

/// F16: the server reports a database whose clock is wrong at start, while it lasts, and when it is over. Times in
/// requests are the database's.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_whose_clock_is_off_is_told_of() {
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

/// F21: `i` and `I` are the same letter of a URL, whatever the locale of the database.
#[tokio::test(flavor = "multi_thread")]
async fn a_search_does_not_go_by_the_databases_locale() {
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
