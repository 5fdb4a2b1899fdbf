//! The roles of docs/operations.md. The server has only rights on rows, and the functions that make partitions do nothing
//! else.

use tenterhook_embedded_postgres::EmbeddedPostgres;
use tenterhook_harness::realtime;

use super::{command, refusals, run, said, try_run};
use crate::process::callers::{Callers, SECRET, create, deal_changed, folder, receiver};

const OPERATIONS: &str = include_str!("../../../../docs/operations.md");

/// The URL for one of the roles. The documentation gives them passwords, but our Postgres does not ask for one.
fn as_role(url: &str, role: &str) -> String {
    url.replace("user=postgres", &format!("user={role}"))
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

/// With the roles and grants of docs/operations.md, one role migrates. Another, which owns nothing and cannot
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

/// The functions that make partitions cannot be used for anything else.
#[tokio::test(flavor = "multi_thread")]
async fn the_owners_functions_can_only_make_and_drop_partitions() {
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
