//! `tenterhook distribute` without a cluster: it prints its plan, and changes nothing.

use std::process::Output;

use tenterhook_harness::database::{Cluster, Database};

use super::callers::program;

/// Number of tables to distribute that are not distributed.
const TABLES: &str =
    "select count(*) from pg_tables where schemaname = 'public' and tablename not like '\\_\\_diesel%'";

async fn database() -> Database {
    let cluster = Cluster::shared().await.expect("there is a Postgres");
    cluster.database().await.expect("it has room for a database")
}

async fn distribute(database: &Database, arguments: &[&str]) -> Output {
    let program = program()
        .argument("distribute")
        .setting("DATABASE_URL", database.url(None));
    let program = arguments
        .iter()
        .fold(program, |program, argument| program.argument(argument));
    program.run().await.expect("it ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn distributing_plain_postgres_is_refused_and_changes_nothing() {
    let database = database().await;
    let before = database.number(TABLES).await.unwrap();
    let output = distribute(&database, &["--experimental"]).await;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("nothing was changed: this database is not a Citus cluster"),
        "{said}"
    );
    assert_eq!(text(&output.stdout), "");
    assert_eq!(database.number(TABLES).await.unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_prints_the_whole_plan_anywhere() {
    let database = database().await;
    let output = distribute(&database, &["--dry-run", "--shards", "64"]).await;
    let (plan, said) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{said}");
    let (placing, emptying) = plan
        .split_once("commit;\n")
        .expect("a transaction, and what follows it");
    assert!(
        placing.starts_with("begin;\nselect create_reference_table('apps');\n"),
        "{plan}"
    );
    let count = |text: &str, word| text.matches(word).count();
    assert_eq!(count(placing, "create_distributed_table"), 14, "{plan}");
    assert_eq!(count(placing, "shard_count => 64"), 1, "{plan}");
    assert_eq!(
        count(emptying, "truncate_local_data_after_distributing_table"),
        15,
        "{plan}"
    );
    assert!(
        said.contains(
            "nothing was changed; without --dry-run this would fail: this database is not a Citus cluster"
        ),
        "{said}"
    );
}

/// There are 64 lanes, and a shard has at least one.
#[tokio::test(flavor = "multi_thread")]
async fn there_are_no_more_shards_than_lanes() {
    let database = database().await;
    for (shards, code) in [("0", 2), ("1", 0), ("64", 0), ("65", 2)] {
        let output = distribute(&database, &["--dry-run", "--shards", shards]).await;
        assert_eq!(
            output.status.code(),
            Some(code),
            "{shards}: {}",
            text(&output.stderr)
        );
    }
}
