//! A short load of each kind on the real binary: all deliveries arrive, and their cost is measured.
//! `tenterhook-lab load` has sizes whose results mean something.

use tenterhook_harness::database::{Cluster, Database};
use tenterhook_lab::load::{self, Against, Figures, Plan, Programs, Work};

async fn database() -> Database {
    let cluster = Cluster::shared().await.expect("a Postgres starts");
    cluster.database().await.expect("a database is made")
}

/// Runs a plan for one second against `servers` servers on this database, or on a durable Postgres of its own.
async fn run(plan: Plan, servers: u32, database: Option<&Database>) -> Figures {
    let programs = Programs {
        binary: env!("CARGO_BIN_EXE_tenterhook").into(),
        count: servers,
        database: database.map(|database| database.url(None)),
        settings: vec![("TENTERHOOK_DATABASE_CONNECTIONS".to_owned(), "8".to_owned())],
        postgres_settings: vec!["shared_buffers=32MB".to_owned()],
    };
    let plan = Plan {
        seconds: 1,
        grace: 60,
        ..plan
    };
    let figures = load::run(&plan, &Against::Programs(programs), |_| ()).await;
    let figures = figures.expect("the load runs");
    assert!(figures.complete(), "{figures}");
    assert_eq!((figures.calls_failed, figures.servers), (0, servers), "{figures}");
    assert_eq!(figures.deliveries_repeated, 0, "{figures}");
    if cfg!(target_os = "linux") {
        let costs = &figures.costs;
        assert!(
            costs.server_and_postgres.is_some() && costs.receiver.is_some(),
            "{figures}"
        );
        assert_eq!(costs.memory.len(), servers as usize, "{figures}");
        assert!(
            costs
                .memory
                .iter()
                .all(|memory| 0.0 < memory.end && memory.end <= memory.peak)
        );
    }
    figures
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_of_waiting_callers_measures_a_durable_postgres() {
    let plan = Plan {
        work: Work::Callers(3),
        warm_up: 1,
        fan_out: 2,
        companies: 3,
        batch: 2,
        ..Plan::default()
    };
    let figures = run(plan, 2, None).await;
    assert!(figures.events_published >= 6, "{figures}");
    assert_eq!(
        figures.deliveries_expected,
        figures.events_published * 2,
        "{figures}"
    );
    assert!(
        figures
            .costs
            .wal_bytes_per_delivery
            .is_some_and(|bytes| bytes > 0.0),
        "{figures}"
    );
    assert!(figures.costs.sync_ms.is_some(), "{figures}");
    // If Postgres counts statements.
    let statements = figures.costs.statements_per_delivery;
    assert_eq!(
        statements.is_some(),
        !figures.costs.costliest.is_empty(),
        "{}",
        figures.statements()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_at_a_rate_includes_failing_and_hanging_receivers() {
    let plan = Plan {
        work: Work::Rate(30.0),
        fan_out: 2,
        companies: 2,
        failing: 50,
        hanging: 1,
        hosts: if cfg!(target_os = "linux") { 3 } else { 1 },
        ..Plan::default()
    };
    let figures = run(plan, 1, Some(&database().await)).await;
    assert_eq!(
        (
            figures.events_published,
            figures.deliveries_arrived,
            figures.hanging_expected
        ),
        (30, 60, 15),
        "{figures}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_with_a_backlog_starts_servers_that_deliver_all_of_it() {
    let plan = Plan {
        work: Work::Backlog(125),
        fan_out: 3,
        companies: 4,
        ..Plan::default()
    };
    let figures = run(plan, 2, Some(&database().await)).await;
    // Each company has the same number of events.
    assert_eq!(
        (figures.deliveries_expected, figures.deliveries_arrived),
        (120, 120),
        "{figures}"
    );
    assert!(figures.deliveries_per_second > 0.0, "{figures}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_load_has_no_deliveries() {
    let plan = Plan {
        work: Work::Idle,
        ..Plan::default()
    };
    let figures = run(plan, 1, Some(&database().await)).await;
    assert_eq!(
        (figures.deliveries_expected, figures.costs.deliveries),
        (0, 0),
        "{figures}"
    );
}
