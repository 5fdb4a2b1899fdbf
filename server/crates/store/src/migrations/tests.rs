use std::collections::{BTreeMap, BTreeSet};

use diesel::QueryableByName;
use diesel::sql_types::{Bool, Text};
use diesel_async::{AsyncConnection, RunQueryDsl};

use super::*;
use crate::connection::STATEMENT;
use crate::testing;

#[derive(QueryableByName)]
struct ColumnRow {
    #[diesel(sql_type = Text)]
    table_name: String,
    #[diesel(sql_type = Text)]
    column_name: String,
    #[diesel(sql_type = Text)]
    udt_name: String,
    #[diesel(sql_type = Bool)]
    nullable: bool,
}

/// Every table with its columns in order, as `column -> Type`.
type Tables = BTreeMap<String, Vec<String>>;

async fn tables(url: &str) -> Tables {
    let mut conn = Conn::establish(url).await.unwrap();
    let rows: Vec<ColumnRow> = diesel::sql_query(
        "select c.table_name::text, c.column_name::text, c.udt_name::text, c.is_nullable = 'YES' as nullable
         from information_schema.columns c where c.table_schema = 'public' and c.table_name not like '\\_\\_diesel%'
         order by c.table_name, c.ordinal_position",
    )
    .load(&mut conn)
    .await
    .unwrap();
    let mut tables = Tables::new();
    for row in rows {
        let sql_type = match row.udt_name.as_str() {
            "int2" => "SmallInt",
            "int4" => "Integer",
            "int8" => "BigInt",
            "text" => "Text",
            "bool" => "Bool",
            "bytea" => "Bytea",
            "uuid" => "Uuid",
            "timestamptz" => "Timestamptz",
            other => other,
        };
        let sql_type = if row.nullable {
            format!("Nullable<{sql_type}>")
        } else {
            sql_type.to_owned()
        };
        tables
            .entry(row.table_name)
            .or_default()
            .push(format!("{} -> {sql_type}", row.column_name));
    }
    tables
}

/// The tables of `schema.rs`, read from its text.
fn declared() -> Tables {
    let mut tables = Tables::new();
    let mut table = None;
    for line in include_str!("../schema.rs").lines().map(str::trim) {
        if let Some((name, _)) = line.split_once(" (").filter(|_| line.ends_with(") {")) {
            table = Some(name.to_owned());
        } else if let Some(name) = table.as_ref().filter(|_| line.contains(" -> ")) {
            tables
                .entry(name.clone())
                .or_default()
                .push(line.trim_end_matches(',').to_owned());
        }
    }
    tables
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_in_code_is_that_of_the_database() {
    let url = testing::empty_database().await;
    run_pending(&url).await.unwrap();
    let there = tables(&url).await;
    let declared = declared();
    assert!(!declared.is_empty());
    for (name, columns) in &declared {
        assert_eq!(
            there.get(name),
            Some(columns),
            "adapt table {name} in server/crates/store/src/schema.rs"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_go_up_down_and_up_again() {
    let url = testing::empty_database().await;
    assert!(pending(&url, STATEMENT).await.unwrap() > 0);
    run_pending(&url).await.unwrap();
    let first = tables(&url).await;
    revert_all(&url).await.unwrap();
    assert_eq!(
        tables(&url).await.keys().collect::<BTreeSet<_>>(),
        BTreeSet::new()
    );
    run_pending(&url).await.unwrap();
    assert_eq!(tables(&url).await, first);
    assert_eq!(pending(&url, STATEMENT).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_runs_apply_each_migration_once() {
    let url = testing::empty_database().await;
    let all = pending(&url, STATEMENT).await.unwrap();
    let (one, other) = tokio::join!(run_in_thread(&url), run_in_thread(&url));
    assert_eq!(one.len() + other.len(), all);
    assert_eq!(pending(&url, STATEMENT).await.unwrap(), 0);
}

/// Diesel's migrations block, so two of them in one task would not run at the same time.
async fn run_in_thread(url: &str) -> Vec<String> {
    let url = url.to_owned();
    let run = tenterhook_harness::realtime::spawn(async move { run_pending(&url).await });
    let ran = run.await.expect("it does not panic");
    ran.expect("the migrations run")
}

/// The previous release continues on a database that was migrated since (rule 1 of migrations/README.md).
#[tokio::test(flavor = "multi_thread")]
async fn migrations_of_a_later_release_are_not_pending() {
    let url = testing::empty_database().await;
    run_pending(&url).await.unwrap();
    let mut conn = Conn::establish(&url).await.unwrap();
    diesel::sql_query("insert into __diesel_schema_migrations (version) values ('99990101000000')")
        .execute(&mut conn)
        .await
        .unwrap();
    assert_eq!(pending(&url, STATEMENT).await.unwrap(), 0);
    assert_eq!(run_pending(&url).await.unwrap(), Vec::<String>::new());
}
