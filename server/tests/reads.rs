//! Reading a filled database over HTTP, on a small scale: the server returns a result for each query. The command
//! measures the times, not this test.

use std::path::Path;

use tenterhook_lab::read_latency::{self, Plan};
use tenterhook_lab::seed_database;

#[tokio::test(flavor = "multi_thread")]
async fn every_query_succeeds_on_a_seeded_database() {
    let fill = seed_database::Plan {
        webhooks: 48,
        open: 480,
        attempts: 24_000,
        days: 3,
        url: "http://127.0.0.1:9".to_owned(),
    };
    let plan = Plan {
        samples: 10,
        bound: f64::MAX,
    };
    let server = Path::new(env!("CARGO_BIN_EXE_tenterhook"));
    let figures = read_latency::run_filled(&plan, server, &fill, |_| (), |_| ())
        .await
        .unwrap();
    assert!(figures.kept(), "{figures}");
    assert!(figures.answers.iter().all(|answers| answers.many.max > 0.0));
}
