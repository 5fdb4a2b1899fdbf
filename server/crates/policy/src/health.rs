//! The state machine of a webhook: how results and the passing of time change it.
//!
//! Two machines share one row, [`Health`]. The *counter* decides about bans (B), the *window* about removal (R). Pausing and
//! removal take precedence over both (W13).
//!
//! ```text
//!                10th failed first try: BanStarted
//!   ┌────────┐ ─────────────────────────────────────▶ ┌────────┐
//!   │ ACTIVE │                                        │ BANNED │   the counter stands at 10
//!   └────────┘ ◀───────────────────────────────────── └────────┘
//!                30 minutes later: BanEnded, counter 0
//!
//!                failed attempt: WindowOpened
//!   no window ──────────────────────────▶ window ─── 24, 48, 71 h: Warned ─── 72 h: Removed ──▶ REMOVED
//!             ◀──────────────────────────
//!                success: Recovered
//!
//!   ACTIVE, BANNED ── pause ──▶ PAUSED ── resume ──▶ ACTIVE, BANNED   no window; counter and ban run on
//!   any ───────────── remove ─▶ REMOVED ─ restore ─▶ ACTIVE           no window, no ban, counter 0
//! ```
//!
//! Each arrow with a capitalised name is a [`Transition`]. [`record`] makes the transitions that a result causes,
//! [`advance`] those that time causes. Pausing, resuming, removing and restoring have one function each. [`view`] says what
//! the row means at a moment, whether or not the sweep has run (T3); [`verdict`] says what that means for a delivery.
//!
//! Results may be recorded in any order of their ends, because several workers settle. Where the order is lost, the machine
//! decides what is better for the webhook: a success that is settled late also cancels failures that ended after it but
//! were settled before it. Results of test deliveries are never recorded here (B1).

#[cfg(test)]
mod tests;
mod view;

use jiff::Timestamp;

use super::after;
use tenterhook_model::health::{Health, NoticeKind, Standing};
use tenterhook_settings::policy::PolicySettings;

pub use view::{NextTransition, Verdict, View, verdict, view};

/// A result for this machine to judge. It comes from a real attempt, never from a test delivery (B1, D12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// When the attempt ended. The result is judged by this time (T3).
    pub ended_at: Timestamp,
    /// 1 for the first try. Only first tries count towards a ban (B1).
    pub number: u8,
    /// Whether the response was a 2xx (D1).
    pub succeeded: bool,
}

/// A step of the machine. `at` is the time when it happened, not when it was noticed (T3). `episode` is the number of the
/// webhook's ban or window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// The counter reached its threshold (B2).
    BanStarted {
        /// The latest end among the failed first tries that caused the ban.
        at: Timestamp,
        /// The first moment after the ban (T2).
        until: Timestamp,
        /// The number of the ban.
        episode: i32,
    },
    /// The ban is over and the counter is zero (B3, B7).
    BanEnded {
        /// The ban's `until`.
        at: Timestamp,
        /// The number of the ban.
        episode: i32,
    },
    /// The first failed attempt since the last success, or ever (R1).
    WindowOpened {
        /// The end of that attempt.
        at: Timestamp,
        /// The number of the window.
        episode: i32,
    },
    /// The window has lasted until the time of a warning (R4).
    Warned {
        /// Which warning.
        kind: NoticeKind,
        /// The warning's boundary.
        at: Timestamp,
        /// The number of the window.
        episode: i32,
    },
    /// A success ended the window (R1).
    Recovered {
        /// The end of the successful attempt.
        at: Timestamp,
        /// The number of the window.
        episode: i32,
        /// When the window opened.
        failing_since: Timestamp,
    },
    /// The window reached its end: the webhook is removed for `NO_SUCCESSFUL_DELIVERY` (R1).
    Removed {
        /// The boundary (T3).
        at: Timestamp,
        /// The number of the window.
        episode: i32,
        /// When the window opened.
        failing_since: Timestamp,
    },
}

impl Transition {
    /// The kind of the notice to people, if there is one (R4). Webhook, kind and [`episode`](Self::episode) together are
    /// unique: each transition has at most one notice.
    pub fn notice(&self) -> Option<NoticeKind> {
        match self {
            Self::BanStarted { .. } => Some(NoticeKind::Banned),
            Self::BanEnded { .. } => Some(NoticeKind::BanEnded),
            Self::Warned { kind, .. } => Some(*kind),
            Self::Removed { .. } => Some(NoticeKind::Removed),
            // Also if no warning was given: R4 does not distinguish.
            Self::Recovered { .. } => Some(NoticeKind::Recovered),
            Self::WindowOpened { .. } => None,
        }
    }

    /// When it happened.
    pub fn at(&self) -> Timestamp {
        match self {
            Self::BanStarted { at, .. }
            | Self::BanEnded { at, .. }
            | Self::WindowOpened { at, .. }
            | Self::Warned { at, .. }
            | Self::Recovered { at, .. }
            | Self::Removed { at, .. } => *at,
        }
    }

    /// The number of its ban or window.
    pub fn episode(&self) -> i32 {
        match self {
            Self::BanStarted { episode, .. }
            | Self::BanEnded { episode, .. }
            | Self::WindowOpened { episode, .. }
            | Self::Warned { episode, .. }
            | Self::Recovered { episode, .. }
            | Self::Removed { episode, .. } => *episode,
        }
    }
}

/// Judges one result by when its attempt ended, and returns the transitions.
///
/// The only time-driven step that it takes is the end of a ban that was over when the attempt ended, so that the result
/// counts after that ban (B3, B7). Warnings and removal are left to [`advance`]. A result that ended at or after the removal
/// boundary, or that belongs to a removed webhook, changes nothing: it is too late to prevent or to cause anything (T2, T3).
pub fn record(health: &mut Health, result: &Judged, settings: &PolicySettings) -> Vec<Transition> {
    let mut steps = Vec::new();
    if is_removed(health, result.ended_at, settings) {
        return steps;
    }
    steps.extend(end_ban(health, result.ended_at));
    if result.succeeded {
        steps.extend(recover(health, result.ended_at, settings));
        if settings.success_resets_counter && !in_or_before_last_ban(health, result.ended_at) {
            health.ban_counter = 0;
        }
    } else {
        steps.extend(open_window(health, result.ended_at));
        if result.number == 1 {
            steps.extend(count(health, result.ended_at, settings));
        }
    }
    steps
}

/// Applies a success that ended at `at` to the window alone. The success ends the window, unless the window opened later
/// (R1) or had already reached its end (T2).
///
/// Safe to repeat. If a success ends no window when it is settled, it is not written to the row. So before a webhook is
/// removed, its last success before the boundary is passed to this function.
pub fn recover(health: &mut Health, at: Timestamp, settings: &PolicySettings) -> Option<Transition> {
    if is_removed(health, at, settings) {
        return None;
    }
    health.window_floor = health.window_floor.max(Some(at));
    let failing_since = health.failing_since.filter(|since| *since <= at)?;
    close_window(health);
    Some(Transition::Recovered {
        at,
        episode: health.window_episode,
        failing_since,
    })
}

/// Makes every transition that time alone has caused by `now`, in order of time, each dated at its boundary (B7, R3, R4,
/// T3). Call it after results that ended before `now` are recorded (T3).
pub fn advance(health: &mut Health, now: Timestamp, settings: &PolicySettings) -> Vec<Transition> {
    let mut steps = Vec::new();
    while let Some((at, boundary)) = next_boundary(health, settings).filter(|(at, _)| *at <= now) {
        steps.extend(cross(health, at, boundary));
    }
    steps
}

/// When [`advance`] next has something to do; `None` if time alone changes nothing.
pub fn due(health: &Health, settings: &PolicySettings) -> Option<Timestamp> {
    next_boundary(health, settings).map(|(at, _)| at)
}

/// The user pauses the webhook: an open window closes; counter and ban continue (W13). A webhook whose window has reached
/// its end can no longer be paused, even if the removal is not written yet: check [`view`] first.
pub fn pause(health: &mut Health) {
    if health.standing == Standing::Live {
        health.standing = Standing::Paused;
        close_window(health);
    }
}

/// The user resumes at `at` the webhook that was paused at `paused_at`. Attempts that ended before `at` no longer open a
/// window. What became due in the pause stays lost, even if no worker has reached it yet (W13).
pub fn resume(health: &mut Health, paused_at: Timestamp, at: Timestamp) {
    if health.standing == Standing::Paused {
        health.standing = Standing::Live;
        health.window_floor = health.window_floor.max(Some(at));
        // Two processes with different clocks may have paused and resumed it.
        health.last_pause = Some((paused_at, at.max(paused_at)));
    }
}

/// Removes the webhook. Its row stays readable and no longer changes.
pub fn remove(health: &mut Health) {
    health.standing = Standing::Removed;
}

/// A removed webhook is restored at `at`: counter 0, no window (W12). It has no ban either, because a ban is a counter at
/// the threshold.
pub fn restore(health: &mut Health, at: Timestamp) {
    health.standing = Standing::Live;
    health.window_floor = health.window_floor.max(Some(at));
    close_window(health);
    health.ban_counter = 0;
    health.ban_open = false;
    if health.ban_started_at.is_some_and(|start| start < at) {
        health.banned_until = health.banned_until.min(Some(at));
    }
}

/// A step that time alone causes. The order is that of steps at the same instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Boundary {
    BanEnd,
    Warning(NoticeKind),
    Removal,
}

/// The notices at the three warning times of the settings (R4).
const WARNINGS: [NoticeKind; 3] = [
    NoticeKind::Failing24h,
    NoticeKind::Failing48h,
    NoticeKind::Failing71h,
];

fn next_boundary(health: &Health, settings: &PolicySettings) -> Option<(Timestamp, Boundary)> {
    if health.standing == Standing::Removed {
        return None;
    }
    let ban_end = health
        .banned_until
        .filter(|_| health.ban_open)
        .map(|at| (at, Boundary::BanEnd));
    let given = usize::try_from(health.warnings_given).unwrap_or(0);
    let warning = settings.removal_warnings.iter().zip(WARNINGS).nth(given);
    let warning = health
        .failing_since
        .zip(warning)
        .map(|(since, (wait, kind))| (after(since, *wait), Boundary::Warning(kind)));
    let removal = removal_due(health, settings).map(|at| (at, Boundary::Removal));
    [ban_end, warning, removal].into_iter().flatten().min()
}

fn cross(health: &mut Health, at: Timestamp, boundary: Boundary) -> Option<Transition> {
    let episode = health.window_episode;
    match boundary {
        Boundary::BanEnd => end_ban(health, at),
        Boundary::Warning(kind) => {
            health.warnings_given += 1;
            Some(Transition::Warned { kind, at, episode })
        }
        Boundary::Removal => {
            remove(health);
            health.failing_since.map(|failing_since| Transition::Removed {
                at,
                episode,
                failing_since,
            })
        }
    }
}

fn end_ban(health: &mut Health, at: Timestamp) -> Option<Transition> {
    let until = health
        .banned_until
        .filter(|until| health.ban_open && *until <= at)?;
    health.ban_open = false;
    health.ban_counter = 0;
    Some(Transition::BanEnded {
        at: until,
        episode: health.ban_episode,
    })
}

/// Counts a failed first try (B1), unless it ended in or before the current or last ban. That ban already has its ten
/// failures: one that is settled late neither prolongs the ban nor counts after it (B5, B6). The ban begins at the latest
/// end of its ten (B2), which is not always the one that was settled last.
fn count(health: &mut Health, at: Timestamp, settings: &PolicySettings) -> Option<Transition> {
    if in_or_before_last_ban(health, at) {
        return None;
    }
    let earlier = health.last_counted_at.filter(|_| health.ban_counter > 0);
    let last = earlier.map_or(at, |earlier| earlier.max(at));
    health.ban_counter = health.ban_counter.saturating_add(1);
    health.last_counted_at = Some(last);
    if i64::from(health.ban_counter) < i64::from(settings.ban_threshold) {
        return None;
    }
    let until = after(last, settings.ban_duration);
    health.ban_episode += 1;
    health.ban_started_at = Some(last);
    health.banned_until = Some(until);
    health.ban_open = true;
    Some(Transition::BanStarted {
        at: last,
        until,
        episode: health.ban_episode,
    })
}

fn in_or_before_last_ban(health: &Health, at: Timestamp) -> bool {
    health.banned_until.is_some_and(|until| at < until)
}

/// A failed attempt, first try or retry, in a ban or not, opens the window if none is open (R1). If it ended before the
/// attempt that opened the window but is judged later, the window is dated back to it.
fn open_window(health: &mut Health, at: Timestamp) -> Option<Transition> {
    if health.standing != Standing::Live || health.window_floor.is_some_and(|floor| at < floor) {
        return None;
    }
    let opens = health.failing_since.is_none();
    health.failing_since = Some(health.failing_since.map_or(at, |since| since.min(at)));
    health.window_episode += i32::from(opens);
    opens.then_some(Transition::WindowOpened {
        at,
        episode: health.window_episode,
    })
}

fn close_window(health: &mut Health) {
    health.failing_since = None;
    health.warnings_given = 0;
}

fn removal_due(health: &Health, settings: &PolicySettings) -> Option<Timestamp> {
    health
        .failing_since
        .map(|since| after(since, settings.removal_window))
}

fn removal_reached(health: &Health, now: Timestamp, settings: &PolicySettings) -> bool {
    removal_due(health, settings).is_some_and(|due| due <= now)
}

fn is_removed(health: &Health, at: Timestamp, settings: &PolicySettings) -> bool {
    health.standing == Standing::Removed || removal_reached(health, at, settings)
}
