//! Proves that scenarios can fail: each is played on a correct fake server, and on fakes that each break one rule.
//! What no fake can play is played on real servers that something makes break a rule ([`real`]). Rules that only the REST
//! routes break are noticed through REST ([`rest`]).

mod fake;
mod real;
mod rest;

use tenterhook_harness::explore::{self, Plan};
use tenterhook_harness::face::Face;
use tenterhook_harness::run::Verdict;
use tenterhook_harness::scenario::{Need, Scenario};
use tenterhook_harness::scenarios;
use tenterhook_harness::world::{AppSees, Target, World};

use fake::{Bend, Running};

/// The needs that the fake meets in addition to the core.
const OFFERED: [Need; 7] = [
    Need::OwnGeneral,
    Need::Pause,
    Need::Restore,
    Need::Restart,
    Need::Wire,
    Need::Names,
    Need::Live,
];

/// Each changed rule, with a scenario that must notice it. A scenario for both webhook types is played for general ones
/// unless its name has the type.
const NOTICED_BY: &[(Bend, &str)] = &[
    (Bend::BansAtNine, "failures-9"),
    (Bend::BansAtEleven, "failures-10"),
    (Bend::BanOfTwentyNineMinutes, "ban-end-just-before"),
    (Bend::BanOfThirtyOneMinutes, "ban-end-at"),
    (Bend::BanEndsAMillisecondLate, "ban-end-at"),
    (Bend::RemovesAtSeventyOneHours, "window-end-just-before"),
    (Bend::RemovesAtSeventyThreeHours, "window-end-at"),
    (Bend::RemovesAMillisecondLate, "window-end-at"),
    (Bend::TwoRetries, "four-attempts-then-failed"),
    (Bend::FourRetries, "four-attempts-then-failed"),
    (Bend::TimesOutAtNineSeconds, "an-answer-just-before-ten-seconds"),
    (Bend::TimesOutAtElevenSeconds, "an-answer-at-ten-seconds"),
    (Bend::AllowsFortyOneWebhooks, "limit-41-general-webhooks"),
    (Bend::CountsRetries, "retries-never-count"),
    (
        Bend::SuccessResetsTheCounter,
        "success-does-not-reset-the-counter",
    ),
    (
        Bend::CountsOverTenInABan,
        "a-late-failure-does-not-prolong-the-ban",
    ),
    (Bend::BanEndKeepsTheCounter, "after-a-ban-the-counter-is-zero"),
    (
        Bend::BanCountsFromTheStart,
        "ban-counts-from-the-end-of-the-tenth",
    ),
    (Bend::OnlyTheFirstWebhookIsBanned, "every-5xx-is-a-failure"),
    (Bend::OneCounterForAUser, "each-webhook-has-its-own-counter"),
    (Bend::TimeoutsDoNotCount, "timeouts-ban-too"),
    (Bend::RefusedConnectionsDoNotCount, "refused-connections-ban-too"),
    (
        Bend::LateSuccessLiftsTheBan,
        "a-late-success-does-not-lift-the-ban",
    ),
    (
        Bend::LateFailureProlongsTheBan,
        "a-late-failure-does-not-prolong-the-ban",
    ),
    (Bend::SendsInABan, "events-in-a-ban-are-lost"),
    (Bend::RetriesInABan, "retries-due-in-a-ban-are-lost"),
    (Bend::KeepsForAfterTheBan, "events-in-a-ban-are-lost"),
    (Bend::ForgetsWhatIsLost, "events-in-a-ban-are-lost"),
    (Bend::CountsNoLosses, "losses-are-counted"),
    (Bend::BelowFourHundredIsSuccess, "every-3xx-is-a-failure"),
    (Bend::FollowsRedirects, "a-redirect-to-itself-is-one-request"),
    (Bend::LongBodyFails, "a-body-that-never-ends-is-a-success"),
    (Bend::ClientErrorsAreFinal, "client-errors-are-retried"),
    (Bend::GoneRemoves, "gone-changes-nothing"),
    (Bend::HonoursRetryAfter, "retry-after-changes-nothing"),
    (Bend::RetriesFromTheFirstEnd, "retry-2-at"),
    (
        Bend::RetriesFromTheStart,
        "retries-count-from-the-end-of-the-attempt",
    ),
    (Bend::SendsTwice, "retries-work-in-seconds"),
    (Bend::BanRestartsTheWindow, "a-ban-does-not-move-the-window"),
    (Bend::WindowOutlivesSuccess, "a-success-ends-the-window"),
    (Bend::OnlyFirstTriesOpenAWindow, "a-failed-retry-opens-a-window"),
    (
        Bend::OnlyFirstTriesEndAWindow,
        "a-retry-that-succeeds-ends-the-window",
    ),
    (Bend::LossesOpenAWindow, "losses-open-no-window"),
    (Bend::SilenceOpensAWindow, "silence-opens-no-window"),
    (
        Bend::EveryFailureRestartsTheWindow,
        "the-window-opens-with-the-first-failure",
    ),
    (Bend::NoRemovalInABan, "a-ban-does-not-move-the-window"),
    (Bend::RemovalKeepsThePending, "removal-cancels-and-frees"),
    (Bend::RemovalFreesNoPlace, "removal-cancels-and-frees"),
    (Bend::RemovalIsAtTheNextRequest, "removal-cancels-and-frees"),
    (Bend::NamesNoNextTransition, "a-ban-ends-without-a-request"),
    (Bend::BannedOnesAreNotCounted, "a-banned-webhook-takes-a-place"),
    (
        Bend::AnotherAppSees,
        "what-another-app-sees-of-application-webhooks",
    ),
    (
        Bend::AdminSeesApplicationWebhooks,
        "what-an-admin-sees-of-application-webhooks",
    ),
    (
        Bend::AppsSeeGeneralWebhooks,
        "what-an-app-sees-of-general-webhooks",
    ),
    (
        Bend::AppsSeeGeneralWebhooks,
        "what-another-app-sees-of-general-webhooks",
    ),
    (
        Bend::AdminsSeeAllThroughApps,
        "what-an-app-for-an-admin-sees-of-general-webhooks",
    ),
    (
        Bend::AdminsSeeAllThroughApps,
        "what-an-app-for-an-admin-sees-under-own-general",
    ),
    (
        Bend::AdminsSeeAllThroughApps,
        "an-app-for-an-admin-cannot-delete-a-general-webhook-under-own-general",
    ),
    (
        Bend::AppsCountGeneralWebhooks,
        "an-app-cannot-count-general-webhooks",
    ),
    (
        Bend::AdminsSeeAllThroughApps,
        "an-app-counts-its-users-general-webhooks-under-own-general",
    ),
    (Bend::EverybodyGetsTheEvent, "only-permitted-users-get-an-event"),
    (Bend::IgnoresIdempotencyKeys, "the-same-key-publishes-once"),
    (Bend::SendsAfterUninstall, "after-uninstalling-no-event-is-owed"),
    (
        Bend::EventIdDiffersByAttempt,
        "every-attempt-is-signed-anew-under-one-id",
    ),
    (Bend::AttemptStaysAtOne, "each-body-says-which-attempt-it-is"),
    (Bend::SignsAnotherBody, "a-delivery-is-signed"),
    (Bend::LosesADelivery, "every-delivery-ends-in-exactly-one-way"),
    (Bend::PreviousIsWhole, "previous-has-only-what-changed"),
    (
        Bend::NestedPreviousIsWhole,
        "previous-goes-one-level-into-custom-fields",
    ),
    (Bend::NoTypeInVersion1, "each-webhook-says-its-type"),
    (
        Bend::EveryoneIsAStarInVersion1,
        "everyone-is-a-star-in-version-2-and-an-empty-list-in-version-1",
    ),
    (
        Bend::UsersSayWhoSeesThem,
        "no-version-2-payload-says-who-may-see-a-user",
    ),
    (
        Bend::TriesEightAddresses,
        "of-twelve-addresses-the-last-one-is-found",
    ),
    (Bend::MergesStoreOneEvent, "a-merge-in-version-2"),
    (
        Bend::UninstallingKeepsThePending,
        "uninstalling-cancels-what-is-pending",
    ),
    (Bend::KeysAreSharedByCompanies, "another-companys-key-is-another"),
    (Bend::RestartLosesAnEvent, "a-crash-forgets-nothing"),
    (Bend::RestartForgetsTheCounter, "a-crash-forgets-nothing"),
    (
        Bend::SilentNameServersAreAFailure,
        "silent-name-servers-are-no-failure",
    ),
    (
        Bend::OneBadCallRefusesItsNeighbours,
        "a-bad-call-refuses-nobody-else",
    ),
    (
        Bend::DropsSocketsWithoutACloseFrame,
        "a-client-closes-after-the-acknowledgement",
    ),
    (Bend::OnlyGeneralWebhooksAreBanned, "both-types-are-judged-alike"),
    (Bend::OnlyGeneralWebhooksAreBanned, "failures-10/application"),
    (Bend::OnlyGeneralWebhooksAreRemoved, "window-end-at/application"),
    (
        Bend::RetriesOfApplicationWebhooksCount,
        "retries-never-count/application",
    ),
    (
        Bend::LossesOfApplicationWebhooksAreForgotten,
        "events-in-a-ban-are-lost/application",
    ),
    (
        Bend::AnybodyChanges,
        "the-admin-cannot-delete-an-application-webhook",
    ),
    (
        Bend::AnybodyChanges,
        "another-user-cannot-delete-a-general-webhook",
    ),
    (
        Bend::AnybodyChanges,
        "changes-follow-the-same-rights-as-deletions",
    ),
    (Bend::AnybodyChanges, "an-app-cannot-delete-a-general-webhook"),
    (
        Bend::AppsChangeGeneralWebhooks,
        "an-app-cannot-delete-a-general-webhook-under-own-general",
    ),
    (
        Bend::AppsChangeGeneralWebhooks,
        "an-app-for-an-admin-cannot-delete-the-admins-general-webhook-under-own-general",
    ),
    (
        Bend::AppsChangeGeneralWebhooks,
        "changes-follow-the-same-rights-as-deletions-under-own-general",
    ),
    (
        Bend::RegularUsersCreateForOthers,
        "a-regular-user-cannot-create-for-another",
    ),
    (
        Bend::RegularUsersCreateForOthers,
        "an-application-webhook-is-the-tokens-own-users",
    ),
    (
        Bend::AdminScopeIsNotNeeded,
        "an-app-without-the-admin-scope-writes-nothing",
    ),
    (
        Bend::AdminScopeIsNotNeeded,
        "an-app-without-the-admin-scope-sees-nothing",
    ),
    (
        Bend::AdminScopeAloneIsNotEnough,
        "the-admin-scope-alone-is-enough-for-an-app",
    ),
    (
        Bend::ScopesMeanNothing,
        "a-reader-may-not-write-nor-a-writer-read",
    ),
    (Bend::ScopesMeanNothing, "the-platform-reads-no-webhooks"),
    (Bend::ScopesMeanNothing, "only-the-platform-publishes"),
    (
        Bend::AppsNeedNoInstallation,
        "an-app-that-is-not-installed-cannot-create",
    ),
    (
        Bend::AppsNeedNoInstallation,
        "a-reinstalled-app-sees-what-was-removed",
    ),
    (
        Bend::EverythingIsInTheCatalogue,
        "what-is-not-in-the-catalogue-is-refused",
    ),
    (Bend::EveryUrlIsTaken, "only-http-and-https-urls"),
    (Bend::EveryUrlIsTaken, "no-credentials-in-the-url"),
    (Bend::TypeIsAnInput, "the-type-is-no-input"),
    (Bend::ListsIgnoreTheType, "what-an-app-sees-of-general-webhooks"),
    (
        Bend::OneLimitForAUserAndTheirApps,
        "each-user-and-each-app-has-its-own-limit",
    ),
    (
        Bend::LimitCountsTheCreator,
        "an-admins-webhook-for-a-user-takes-that-users-place",
    ),
    (Bend::RemovalFreesNoPlace, "a-removed-webhook-frees-its-place"),
    (
        Bend::RemovedAreReadableForTwentyNineDays,
        "removed-general-webhook-just-before-30-days",
    ),
    (Bend::OneSecretForAll, "each-webhook-has-its-own-secret"),
    (Bend::IdsAreStringsInVersion1, "a-change-in-version-1"),
    (Bend::EveryChangeHasBothStates, "a-creation-has-nothing-before-it"),
    (Bend::EveryChangeHasBothStates, "a-deletion-has-nothing-after-it"),
    (Bend::OccurredAtIsIgnored, "a-change-in-version-2"),
    (
        Bend::MergedIsUpdatedInVersion1,
        "each-half-of-a-merge-is-matched-on-its-own",
    ),
    (
        Bend::MatchesEveryObject,
        "an-event-goes-to-every-webhook-that-matches",
    ),
    (
        Bend::LaterWebhooksGetEarlierEvents,
        "a-later-webhook-gets-no-earlier-event",
    ),
    (
        Bend::KeysHoldForTwelveHours,
        "idempotency-key-just-before-24-hours",
    ),
    (
        Bend::KeysIgnoreTheContent,
        "a-key-with-other-content-is-a-conflict",
    ),
    (
        Bend::AcceptsTheRestOfABadCall,
        "an-invalid-event-refuses-the-whole-call",
    ),
    (Bend::RetriesGoToTheOldUrl, "a-retry-goes-to-the-new-url"),
    (Bend::RetriesASuccess, "success-at-attempt-2"),
    (
        Bend::RetriesAfterUninstalling,
        "an-attempt-on-the-wire-may-end-after-uninstalling",
    ),
    (
        Bend::NoCredentialsOnRetries,
        "basic-credentials-go-with-every-attempt",
    ),
    (Bend::EmptyUserSendsNoCredentials, "an-empty-user-name-is-sent"),
    (Bend::NullLeavesTheCredentials, "credentials-are-cleared-by-null"),
    (
        Bend::MarketplaceRemovalIsForOneCompany,
        "an-app-removed-from-the-marketplace-takes-all-its-webhooks",
    ),
    (
        Bend::UninstallingTakesOtherApps,
        "uninstalling-leaves-everything-else",
    ),
    (
        Bend::RemovedUserKeepsWebhooks,
        "a-removed-user-takes-their-webhooks-along",
    ),
    (Bend::ResendsAfterAClose, "closing-without-an-answer-is-a-failure"),
    (Bend::GarbageIsASuccess, "an-answer-that-is-not-http-is-a-failure"),
    (
        Bend::SwitchingProtocolsIsASuccess,
        "switching-protocols-is-a-failure",
    ),
    (
        Bend::RefusedConnectionsDoNotCount,
        "a-refused-connection-is-a-failure",
    ),
    (
        Bend::TimesOutAtElevenSeconds,
        "a-connection-never-accepted-times-out",
    ),
    (
        Bend::TimesOutAtElevenSeconds,
        "a-request-without-answer-times-out",
    ),
    (Bend::TimesOutAtElevenSeconds, "headers-that-never-end-time-out"),
    (Bend::RetriesFromTheStart, "each-retry-has-its-own-ten-seconds"),
];

/// The scenario with this name.
fn named<'a>(all: &'a [Scenario], name: &str) -> Option<&'a Scenario> {
    all.iter().find(|scenario| scenario.is_called(name))
}

fn playable(scenario: &Scenario) -> bool {
    scenario.needs.iter().all(|need| OFFERED.contains(need))
}

fn target(running: &Running) -> Target {
    Target {
        url: running.url.clone(),
        key: fake::key(),
        real_time: false,
        restart: Some(running.restart()),
        names: Some(running.names.clone()),
    }
}

async fn play(scenario: &Scenario, bend: Option<Bend>) -> anyhow::Result<Verdict> {
    play_through(Face::GraphQl, scenario, bend).await
}

async fn play_through(face: Face, scenario: &Scenario, bend: Option<Bend>) -> anyhow::Result<Verdict> {
    let app_sees = if scenario.needs.contains(&Need::OwnGeneral) {
        AppSees::OwnGeneral
    } else {
        AppSees::Application
    };
    let running = Running::start(bend, app_sees).await?;
    let mut world = World::connect(&target(&running)).await?;
    world.call_through(face);
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

#[tokio::test]
async fn every_bent_rule_is_noticed_by_its_scenario() {
    let all = scenarios::all();
    let mut survivors = Vec::new();
    for &(bend, name) in NOTICED_BY {
        let Some(scenario) = named(&all, name).filter(|scenario| playable(scenario)) else {
            survivors.push(format!(
                "{bend:?}: the fake cannot play {name:?}, or there is no such scenario"
            ));
            continue;
        };
        match play(scenario, Some(bend)).await {
            Ok(Verdict::Broken(_)) => {}
            other => survivors.push(format!("{bend:?} survives {name}: {other:?}")),
        }
    }
    assert!(survivors.is_empty(), "{}", survivors.join("\n"));
}

/// A server that exempts application webhooks from a rule keeps it for general ones. Only the play for application
/// webhooks can notice that.
#[tokio::test]
async fn general_plays_do_not_notice_application_exemptions() {
    let all = scenarios::all();
    let mut played = 0;
    for &(bend, name) in NOTICED_BY {
        let Some(base) = name.strip_suffix("/application") else {
            continue;
        };
        let general = format!("{base}/general");
        let scenario = named(&all, &general).unwrap_or_else(|| panic!("there is no scenario {general}"));
        let verdict = play(scenario, Some(bend)).await.unwrap();
        assert_eq!(verdict, Verdict::Held, "{bend:?} in {general}");
        played += 1;
    }
    assert!(played >= 4, "{played} plays");
}

#[tokio::test]
async fn a_seed_explored_twice_gives_the_same_history() {
    let mut histories = Vec::new();
    for _ in 0..2 {
        let running = Running::start(None, AppSees::Application).await.unwrap();
        match explore::play(&Plan::new(7, explore::STEPS), Some(&target(&running))).await {
            explore::Ending::Held(_, history) => histories.push(history),
            explore::Ending::Broken(found) => {
                panic!("a promise kept was said to be broken: {:#?}", found.breach)
            }
            explore::Ending::CouldNotRun(why) => panic!("{why}"),
        }
    }
    assert_eq!(histories[0], histories[1]);
    assert!(!histories[0].is_empty());
}
