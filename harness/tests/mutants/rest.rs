//! Plays through the REST routes of the fake: a correct one passes, and rules that only REST breaks are noticed there alone.

use tenterhook_harness::face::Face;
use tenterhook_harness::run::Verdict;
use tenterhook_harness::scenario::Scenario;
use tenterhook_harness::scenarios;

use crate::fake::Bend;
use crate::{named, play, play_through, playable};

/// Rules that only the REST routes break, with a scenario that must notice it through REST.
const NOTICED_THROUGH_REST: [(Bend, &str); 2] = [
    (Bend::RestIgnoresTheLimit, "limit-41-general-webhooks"),
    (
        Bend::RestShowsOtherUsersWebhooks,
        "what-a-user-sees-of-general-webhooks",
    ),
];

#[tokio::test]
async fn a_server_that_keeps_every_promise_passes_through_rest() {
    let mut broken = Vec::new();
    let mut played = 0;
    for scenario in scenarios::all() {
        if !playable(&scenario) || !scenario.runs_through(Face::Rest) {
            continue;
        }
        played += 1;
        match play_through(Face::Rest, &scenario, None).await {
            Ok(Verdict::Held) => {}
            other => broken.push(format!("{}: {other:#?}", scenario.name)),
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(played > 80, "{played} plays");
}

#[tokio::test]
async fn rules_that_only_rest_breaks_are_noticed_through_rest_alone() {
    let all = scenarios::all();
    for (bend, name) in NOTICED_THROUGH_REST {
        let scenario = named(&all, name).unwrap_or_else(|| panic!("there is no scenario {name}"));
        let through = play_through(Face::Rest, scenario, Some(bend)).await.unwrap();
        assert!(matches!(through, Verdict::Broken(_)), "{bend:?}: {through:?}");
        let verdict = play(scenario, Some(bend)).await.unwrap();
        assert_eq!(verdict, Verdict::Held, "{bend:?} through GraphQL");
    }
}

/// A scenario that is marked wrongly does not count as played through REST.
#[tokio::test]
async fn a_play_that_calls_no_rest_route_could_not_run() {
    let idle = Scenario::new("idle", "Nothing happens.", &["P1"], |_| {
        Box::pin(async { Ok(()) })
    });
    let all = scenarios::all();
    let not_in_rest = named(&all, "node-hides-what-webhook-hides").expect("it is in the catalogue");
    for (scenario, why) in [
        (&idle, "called no REST route"),
        (not_in_rest, "REST has no query"),
    ] {
        match play_through(Face::Rest, scenario, None).await.unwrap() {
            Verdict::CouldNotRun(said) => assert!(said.contains(why), "{said}"),
            other => panic!("{}: {other:?}", scenario.name),
        }
    }
    assert_eq!(play(&idle, None).await.unwrap(), Verdict::Held);
}
