//! A webhook's health as stored. What it means at a moment, and how it moves, is `tenterhook_policy::health`.

use jiff::Timestamp;

use super::stored_enum;

stored_enum!(
    /// A step of the health state machine that people are told of (R4).
    NoticeKind {
        /// A ban began (B2).
        Banned = 1,
        /// A ban is over (B3).
        BanEnded = 2,
        /// A day without success.
        Failing24h = 3,
        /// Two days without success.
        Failing48h = 4,
        /// An hour before removal.
        Failing71h = 5,
        /// Removed after three days without success (R1).
        Removed = 6,
        /// A success ended a window that had been warned about.
        Recovered = 7,
    }
);

stored_enum!(
    /// Whether the health of a webhook moves at all.
    #[derive(Default)]
    Standing {
        /// Everything counts.
        #[default]
        Live = 0,
        /// Paused by its user: counter and ban run on, no window is open (W13).
        Paused = 1,
        /// Removed, for whatever reason: nothing moves.
        Removed = 2,
    }
);

/// The row of `webhook_health`. Times are exact; a ban or window that is over by time alone may still stand here (T3).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Health {
    /// Follows the webhook's pausing and removal, so that results settled late are judged by it.
    pub standing: Standing,
    /// Failed first tries since the last ban's end (B1, B3).
    pub ban_counter: i32,
    /// The latest end among those the counter holds, whenever each was settled: where the ban of the last one begins
    /// (B2). Means nothing at counter 0.
    pub last_counted_at: Option<Timestamp>,
    /// How many bans there have been; names the current or last one. 0 before the first.
    pub ban_episode: i32,
    /// When the current or last ban began.
    pub ban_started_at: Option<Timestamp>,
    /// When the current or last ban ends or ended: stays after the end, since B4 judges late work by it.
    pub banned_until: Option<Timestamp>,
    /// Whether the ban's end is still to be written: true from the tenth failure until the sweeper notes the end.
    pub ban_open: bool,
    /// When the window of R1 opened.
    pub failing_since: Option<Timestamp>,
    /// How many windows there have been; names the current or last one.
    pub window_episode: i32,
    /// How many of the window's warnings were given (R4).
    pub warnings_given: i16,
    /// An attempt that ended before this opens no window: the last success that was judged here, or the
    /// last resumption or restoration. It may be older than the last success, which is not written
    /// where it ends no window.
    pub window_floor: Option<Timestamp>,
}
