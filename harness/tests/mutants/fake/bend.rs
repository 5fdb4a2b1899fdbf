//! The one rule that a fake server breaks.

use jiff::SignedDuration;
use tenterhook_harness::model::Numbers;

/// The changed rule, and how it is changed. Numbers are changed in the model's [`Numbers`], everything else in the
/// fake's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bend {
    BansAtNine,
    BansAtEleven,
    BanOfTwentyNineMinutes,
    BanOfThirtyOneMinutes,
    BanEndsAMillisecondLate,
    RemovesAtSeventyOneHours,
    RemovesAtSeventyThreeHours,
    RemovesAMillisecondLate,
    TwoRetries,
    FourRetries,
    TimesOutAtNineSeconds,
    TimesOutAtElevenSeconds,
    AllowsFortyOneWebhooks,
    CountsRetries,
    SuccessResetsTheCounter,
    CountsOverTenInABan,
    BanEndKeepsTheCounter,
    BanCountsFromTheStart,
    OnlyTheFirstWebhookIsBanned,
    OnlyGeneralWebhooksAreBanned,
    OneCounterForAUser,
    TimeoutsDoNotCount,
    RefusedConnectionsDoNotCount,
    LateSuccessLiftsTheBan,
    LateFailureProlongsTheBan,
    SendsInABan,
    RetriesInABan,
    KeepsForAfterTheBan,
    ForgetsWhatIsLost,
    CountsNoLosses,
    BelowFourHundredIsSuccess,
    FollowsRedirects,
    LongBodyFails,
    ClientErrorsAreFinal,
    GoneRemoves,
    HonoursRetryAfter,
    RetriesFromTheFirstEnd,
    RetriesFromTheStart,
    SendsTwice,
    BanRestartsTheWindow,
    WindowOutlivesSuccess,
    OnlyFirstTriesOpenAWindow,
    OnlyFirstTriesEndAWindow,
    LossesOpenAWindow,
    SilenceOpensAWindow,
    EveryFailureRestartsTheWindow,
    NoRemovalInABan,
    RemovalKeepsThePending,
    RemovalFreesNoPlace,
    RemovalIsAtTheNextRequest,
    NamesNoNextTransition,
    BannedOnesAreNotCounted,
    AnotherAppSees,
    AdminSeesApplicationWebhooks,
    EverybodyGetsTheEvent,
    IgnoresIdempotencyKeys,
    SendsAfterUninstall,
    EventIdDiffersByAttempt,
    AttemptStaysAtOne,
    SignsAnotherBody,
    LosesADelivery,
    PreviousIsWhole,
    MergesStoreOneEvent,
    UninstallingKeepsThePending,
    KeysAreSharedByCompanies,
    RestartLosesAnEvent,
    RestartForgetsTheCounter,
    SilentNameServersAreAFailure,
    OneBadCallRefusesItsNeighbours,
    DropsSocketsWithoutACloseFrame,
}

impl Bend {
    /// The numbers of the policy, with the one that this bend changes.
    pub fn numbers(bend: Option<Self>) -> Numbers {
        let mut numbers = Numbers::default();
        let millisecond = SignedDuration::from_millis(1);
        match bend {
            Some(Self::BansAtNine) => numbers.ban_threshold = 9,
            Some(Self::BansAtEleven) => numbers.ban_threshold = 11,
            Some(Self::BanOfTwentyNineMinutes) => numbers.ban = SignedDuration::from_mins(29),
            Some(Self::BanOfThirtyOneMinutes) => numbers.ban = SignedDuration::from_mins(31),
            Some(Self::BanEndsAMillisecondLate) => numbers.ban += millisecond,
            Some(Self::RemovesAtSeventyOneHours) => numbers.window = SignedDuration::from_hours(71),
            Some(Self::RemovesAtSeventyThreeHours) => numbers.window = SignedDuration::from_hours(73),
            Some(Self::RemovesAMillisecondLate) => numbers.window += millisecond,
            Some(Self::TwoRetries) => numbers.retry_delays.truncate(2),
            Some(Self::FourRetries) => numbers.retry_delays.push(SignedDuration::from_secs(600)),
            Some(Self::TimesOutAtNineSeconds) => numbers.timeout = SignedDuration::from_secs(9),
            Some(Self::TimesOutAtElevenSeconds) => numbers.timeout = SignedDuration::from_secs(11),
            Some(Self::AllowsFortyOneWebhooks) => numbers.webhook_limit = 41,
            _ => {}
        }
        numbers
    }
}
