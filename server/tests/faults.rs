//! A short fault campaign against the real binary: no accepted event is lost, whatever fails.
//!
//! It has few rounds and events, and repairs each fault within seconds; the long campaign is `tenterhook-lab
//! faults`.

use std::path::Path;

use tenterhook_lab::faults::{self, Kind, Plan};

/// D6, D7, E1, B1: a server is killed, Postgres is killed, connections are cut in the middle of statements, and a
/// server has no file descriptors left.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_servers_postgres_and_files_fail() {
    hold(vec![
        Kind::KillServer,
        Kind::KillPostgres,
        Kind::CutStatements,
        Kind::ExhaustDescriptors,
    ])
    .await;
}

/// D2, D6, D7, D13: connections to Postgres and name servers go silent, one of a receiver's addresses is dead, and
/// Postgres refuses some rows.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_during_silences_and_refused_rows() {
    hold(vec![
        Kind::SilenceDatabase,
        Kind::SilenceNames,
        Kind::DeadAddress,
        Kind::PoisonedAnswer,
        Kind::PoisonedEvent,
    ])
    .await;
}

/// Runs a campaign with one round of each kind of fault.
async fn hold(kinds: Vec<Kind>) {
    let plan = Plan {
        rounds: u32::try_from(kinds.len()).expect("a handful"),
        seed: 1,
        servers: 2,
        events: 50,
        kinds,
        only: None,
        keep: false,
    };
    let binary = Path::new(env!("CARGO_BIN_EXE_tenterhook"));
    let figures = faults::run(&plan, binary, None, |_, _| ()).await;
    let figures = figures.expect("the campaign can be played");
    assert!(figures.held(), "{figures}");
    assert_eq!(figures.events, u64::from(plan.rounds * plan.events), "{figures}");
    assert_eq!(figures.rounds, plan.rounds, "{figures}");
}
