use std::collections::BTreeSet;

use super::*;
use crate::{migrations, testing};

const SHARDS: u16 = 32;

async fn migrated() -> Conn {
    let url = testing::empty_database().await;
    migrations::run_pending(&url).await.expect("the migrations run");
    Conn::establish(&url).await.expect("there is a database")
}

async fn names(conn: &mut Conn, sql: &str) -> BTreeSet<String> {
    let rows: Vec<NameRow> = diesel::sql_query(sql)
        .load(conn)
        .await
        .expect("the catalogue can be read");
    rows.into_iter().map(|row| row.name).collect()
}

fn by_lane() -> Vec<&'static str> {
    let by_lane = TABLES
        .iter()
        .filter(|(_, placement)| *placement == Placement::ByLane);
    by_lane.map(|(table, _)| *table).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_has_a_verdict() {
    let conn = &mut migrated().await;
    let there = "select c.relname::text as name from pg_class c
                 where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
                   and c.relname not like '\\_\\_diesel%'";
    let judged: BTreeSet<String> = TABLES.iter().map(|(table, _)| (*table).to_owned()).collect();
    assert_eq!(
        judged,
        names(conn, there).await,
        "say in TABLES of server/crates/store/src/distribution.rs how a new table lies on a cluster"
    );
    assert_eq!(judged.len(), TABLES.len(), "a table is there twice");
}

/// Citus refuses any other key, or would have to search every machine for it.
#[tokio::test(flavor = "multi_thread")]
async fn every_key_of_a_distributed_table_begins_with_its_lane() {
    let conn = &mut migrated().await;
    let keys = "select (i.indrelid::regclass)::text as name from pg_index i
                join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
                where i.indisunique and i.indrelid::regclass::text not like 'pg\\_%' and a.attname <> 'lane'
                  and exists (select from pg_attribute l where l.attrelid = i.indrelid and l.attname = 'lane')";
    // The feed is not a tenant's table: every process reads all of it.
    assert_eq!(names(conn, keys).await, BTreeSet::from(["changes".to_owned()]));
    let with_lane = "select c.relname::text as name from pg_class c join pg_attribute a on a.attrelid = c.oid
                     where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and a.attname = 'lane'";
    let with_lane = names(conn, with_lane).await;
    for table in by_lane() {
        assert!(with_lane.contains(table), "{table} has no lane");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn referenced_tables_are_placed_first_and_in_the_same_way() {
    let conn = &mut migrated().await;
    let foreign =
        "select (conrelid::regclass)::text || ' ' || (confrelid::regclass)::text as name from pg_constraint
                   where contype = 'f' and conparentid = 0";
    let foreign = names(conn, foreign).await;
    assert!(!foreign.is_empty());
    for pair in foreign {
        let (from, to) = pair.split_once(' ').expect("two names");
        let place = |table| TABLES.iter().position(|(name, _)| *name == table);
        let (from, to) = (place(from).expect("judged"), place(to).expect("judged"));
        assert!(to < from, "{pair}");
        assert_eq!(TABLES[from].1, TABLES[to].1, "{pair}");
    }
}

#[test]
fn the_plan_places_every_table_once_with_the_first() {
    let plan = Plan::new(&[], SHARDS);
    let moved = TABLES
        .iter()
        .filter(|(_, placement)| *placement != Placement::Coordinator);
    assert_eq!(plan.placing.len(), moved.clone().count());
    for ((placing, emptying), (table, _)) in plan.placing.iter().zip(&plan.emptying).zip(moved) {
        for statement in [placing, emptying] {
            assert!(statement.contains(&format!("('{table}'")), "{statement}");
        }
    }
    let (first, beside): (Vec<_>, Vec<_>) = plan
        .placing
        .iter()
        .filter(|statement| statement.contains("create_distributed_table"))
        .partition(|statement| statement.contains("colocate_with => 'none'"));
    assert_eq!(
        first,
        ["select create_distributed_table('webhooks', 'lane', colocate_with => 'none', shard_count => 32)"]
    );
    assert_eq!(beside.len(), by_lane().len() - 1);
    assert!(
        beside
            .iter()
            .all(|statement| statement.ends_with("'lane', colocate_with => 'webhooks')"))
    );
}

#[test]
fn placed_tables_are_left_alone() {
    let all: Vec<String> = TABLES.iter().map(|(table, _)| (*table).to_owned()).collect();
    assert!(Plan::new(&all, SHARDS).is_empty());
    let but_one: Vec<String> = all.iter().filter(|table| *table != "replays").cloned().collect();
    assert_eq!(
        Plan::new(&but_one, SHARDS),
        Plan {
            placing: vec![
                "select create_distributed_table('replays', 'lane', colocate_with => 'webhooks')".to_owned()
            ],
            emptying: vec!["select truncate_local_data_after_distributing_table('replays')".to_owned()],
        }
    );
}

/// If one statement fails, those before it are rolled back: here the first one fails, on a database without Citus.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_fails_changes_nothing() {
    let conn = &mut migrated().await;
    assert!(!has_citus(conn).await.unwrap());
    let mut plan = Plan::new(&[], SHARDS);
    plan.placing.insert(0, "drop table replays".to_owned());
    carry_out(conn, &plan).await.unwrap_err();
    assert_eq!(testing::count(conn, "replays").await, 0);
}
