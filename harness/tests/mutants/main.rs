//! Whether the scenarios can fail: each is played on a fake server, whole and with one rule bent at a time.

mod fake;

use tenterhook_harness::run::Verdict;
use tenterhook_harness::scenario::{Need, Scenario};
use tenterhook_harness::scenarios;
use tenterhook_harness::token::TokenKey;
use tenterhook_harness::world::{Target, World};

use fake::{Bend, Running};

/// What the fake has beyond the core.
const OFFERED: [Need; 2] = [Need::Pause, Need::Restore];

fn playable(scenario: &Scenario) -> bool {
    scenario.needs.iter().all(|need| OFFERED.contains(need))
}

async fn play(scenario: &Scenario, bend: Option<Bend>) -> anyhow::Result<Verdict> {
    let running = Running::start(bend).await?;
    let target = Target {
        url: running.url.clone(),
        key: TokenKey {
            secret: "any".to_owned(),
            issuer: "harness".to_owned(),
            audience: "harness".to_owned(),
        },
        real_time: false,
    };
    let mut world = World::connect(&target).await?;
    Ok(scenario.play(&mut world).await)
}

#[tokio::test]
async fn a_server_that_keeps_every_promise_passes_every_scenario() {
    let mut broken = Vec::new();
    for scenario in scenarios::all().iter().filter(|scenario| playable(scenario)) {
        match play(scenario, None).await {
            Ok(Verdict::Held) => {}
            other => broken.push(format!("{}: {other:#?}", scenario.name)),
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
