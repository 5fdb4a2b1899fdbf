//! The stored health of a webhook. `tenterhook_policy::health` says what it means at a moment and how it changes.

use jiff::Timestamp;

use super::stored_enum;

stored_enum!(
    /// A step of the health state machine that people get a notice of (R4).
    NoticeKind {
        /// A ban began (B2).
        Banned = 1,
        /// A ban is over (B3).
        BanEnded = 2,
        /// A day without success.
        Failing24h = 3,
        /// Two days without success.
        Failing48h = 4,
        /// 71 hours without success, an hour before removal.
        Failing71h = 5,
        /// Removed after three days without success (R1).
        Removed = 6,
        /// A success ended a window.
        Recovered = 7,
    }
);

stored_enum!(
    /// Whether results and time change the health of a webhook.
    #[derive(Default)]
    Standing {
        /// All results count.
        #[default]
        Live = 0,
        /// Paused by its user: counter and ban continue, no window is open (W13).
        Paused = 1,
        /// Removed, for any reason: nothing changes.
        Removed = 2,
    }
);

/// The row of `webhook_health`. Times are exact. A ban or window that time has ended may still be in the row (T3).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Health {
    /// Changes with the webhook's pausing and removal, so that results settled late are judged by it.
    pub standing: Standing,
    /// Failed first tries since the end of the last ban (B1, B3).
    pub ban_counter: i32,
    /// The latest end among the failures in the counter, in whatever order they were settled. The next ban begins here (B2).
    /// Has no meaning while the counter is 0.
    pub last_counted_at: Option<Timestamp>,
    /// The number of bans so far, which is also the number of the current or last one. 0 before the first.
    pub ban_episode: i32,
    /// When the current or last ban began.
    pub ban_started_at: Option<Timestamp>,
    /// When the current or last ban ends or ended. Kept after the end, because B4 judges late work by it.
    pub banned_until: Option<Timestamp>,
    /// Whether the ban's end is not written yet: true from the tenth failure until the sweep writes the end.
    pub ban_open: bool,
    /// When the window of R1 opened.
    pub failing_since: Option<Timestamp>,
    /// The number of windows so far, which is also the number of the current or last one.
    pub window_episode: i32,
    /// The number of the window's warnings that were given (R4).
    pub warnings_given: i16,
    /// An attempt that ended before this time opens no window. It is the last success that was judged here, or the last
    /// resumption or restoration. It may be earlier than the last success, which is not written if it ends no window.
    pub window_floor: Option<Timestamp>,
    /// From when until when the webhook was last paused: from the pause until the resumption. W13 judges late work by it.
    pub last_pause: Option<(Timestamp, Timestamp)>,
}
