//! Whether the scenarios can fail: each is played on a fake server, whole and with one rule bent at a time.

mod fake;

use tenterhook_harness::run::Verdict;
use tenterhook_harness::scenario::{Need, Scenario};
use tenterhook_harness::scenarios;
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
        key: fake::key(),
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

const CENSUS: [Bend; 60] = [
    Bend::BansAtNine,
    Bend::BansAtEleven,
    Bend::BanOfTwentyNineMinutes,
    Bend::BanOfThirtyOneMinutes,
    Bend::BanEndsAMillisecondLate,
    Bend::RemovesAtSeventyOneHours,
    Bend::RemovesAtSeventyThreeHours,
    Bend::RemovesAMillisecondLate,
    Bend::TwoRetries,
    Bend::FourRetries,
    Bend::TimesOutAtNineSeconds,
    Bend::TimesOutAtElevenSeconds,
    Bend::AllowsFortyOneWebhooks,
    Bend::CountsRetries,
    Bend::SuccessResetsTheCounter,
    Bend::CountsOverTenInABan,
    Bend::BanEndKeepsTheCounter,
    Bend::BanCountsFromTheStart,
    Bend::OnlyTheFirstWebhookIsBanned,
    Bend::OneCounterForAUser,
    Bend::TimeoutsDoNotCount,
    Bend::RefusedConnectionsDoNotCount,
    Bend::LateSuccessLiftsTheBan,
    Bend::LateFailureProlongsTheBan,
    Bend::SendsInABan,
    Bend::RetriesInABan,
    Bend::KeepsForAfterTheBan,
    Bend::ForgetsWhatIsLost,
    Bend::CountsNoLosses,
    Bend::BelowFourHundredIsSuccess,
    Bend::FollowsRedirects,
    Bend::UnfinishedBodyFails,
    Bend::ClientErrorsAreFinal,
    Bend::GoneRemoves,
    Bend::HonoursRetryAfter,
    Bend::RetriesFromTheFirstEnd,
    Bend::RetriesFromTheStart,
    Bend::SendsTwice,
    Bend::BanRestartsTheWindow,
    Bend::WindowOutlivesSuccess,
    Bend::OnlyFirstTriesOpenAWindow,
    Bend::OnlyFirstTriesEndAWindow,
    Bend::LossesOpenAWindow,
    Bend::SilenceOpensAWindow,
    Bend::EveryFailureRestartsTheWindow,
    Bend::NoRemovalInABan,
    Bend::RemovalKeepsThePending,
    Bend::RemovalFreesNoPlace,
    Bend::RemovalIsAtTheNextRequest,
    Bend::NamesNoNextTransition,
    Bend::BannedOnesAreNotCounted,
    Bend::AnotherAppSees,
    Bend::AdminSeesApplicationWebhooks,
    Bend::EverybodyGetsTheEvent,
    Bend::IgnoresIdempotencyKeys,
    Bend::SendsAfterUninstall,
    Bend::EventIdDiffersByAttempt,
    Bend::AttemptStaysAtOne,
    Bend::SignsAnotherBody,
    Bend::LosesADelivery,
];

#[tokio::test]
async fn census() {
    for bend in CENSUS {
        let mut line = format!("CENSUS {bend:?}:");
        for scenario in scenarios::all().iter().filter(|scenario| playable(scenario)) {
            match tenterhook_harness::realtime::within(
                std::time::Duration::from_secs(15),
                play(scenario, Some(bend)),
            )
            .await
            {
                Some(Ok(Verdict::Held)) => {}
                Some(Ok(Verdict::Broken(_))) => line += &format!(" {}", scenario.name),
                _ => line += &format!(" !{}", scenario.name),
            }
        }
        println!("{line}");
    }
}
