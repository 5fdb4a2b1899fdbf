//! What a health row means at a moment, for people and for a worker that has a delivery.
//!
//! Guarantees: a row reads the same before and after the sweep has written the transitions that time caused (T3). It changes
//! nothing: [`super::record`] and [`super::advance`] do.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::friendly::{Designator, Spacing, SpanPrinter};

use super::{removal_due, removal_reached};
use tenterhook_model::delivery::DeliveryReason;
use tenterhook_model::health::Health;
use tenterhook_model::webhook::{RemoveReason, WebhookState};
use tenterhook_settings::policy::PolicySettings;

/// A webhook's health as people see it at a moment (R5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The one state that takes precedence (W13).
    pub state: WebhookState,
    /// When and why it was removed. At the window's end this is set even if the removal is not written yet (R1).
    pub removed: Option<(Timestamp, RemoveReason)>,
    /// Failed first tries since the end of the last ban; during a ban, the threshold.
    pub ban_counter: u32,
    /// The number of failures that causes a ban (B2).
    pub ban_threshold: u32,
    /// The end of the ban, only while a ban lasts, also during a pause.
    pub banned_until: Option<Timestamp>,
    /// When the window opened. For a removed webhook: when the window opened that was open at its removal.
    pub failing_since: Option<Timestamp>,
    /// When the window removes the webhook; `None` once it is removed.
    pub removal_due_at: Option<Timestamp>,
    /// What time alone will change, and when.
    pub next: Option<NextTransition>,
}

/// The next change of state that time alone causes (R5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextTransition {
    /// When.
    pub at: Timestamp,
    /// The new state.
    pub to: WebhookState,
    /// The reason, as a sentence for people.
    pub because: String,
}

/// What to do with a delivery that a worker has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Make the attempt.
    Attempt,
    /// It is lost (B4, W13).
    Lose {
        /// [`DeliveryReason::Banned`] or [`DeliveryReason::Paused`].
        reason: DeliveryReason,
        /// The ban in which it was due.
        ban_episode: Option<i32>,
        /// When it is lost: now. If a worker with a faster clock dated the ban later than now: the beginning of the ban.
        at: Timestamp,
    },
    /// The webhook is removed: the delivery is cancelled (R3, W8).
    Cancel,
    /// The window has reached its end, but the removal is not written yet: a success that ended earlier may still be
    /// settled. No attempt starts; the process that writes the transition decides (T3).
    AwaitRemoval,
}

/// What the row means at `now` (T3). `paused_at` and `removed` are the webhook's own columns.
pub fn view(
    health: &Health,
    paused_at: Option<Timestamp>,
    removed: Option<(Timestamp, RemoveReason)>,
    now: Timestamp,
    settings: &PolicySettings,
) -> View {
    let banned_until = health.banned_until.filter(|until| now < *until);
    let removal_due_at = removal_due(health, settings);
    let state = if removed.is_some() || removal_reached(health, now, settings) {
        WebhookState::Removed
    } else if paused_at.is_some() {
        WebhookState::Paused
    } else if banned_until.is_some() {
        WebhookState::Banned
    } else {
        WebhookState::Active
    };
    let gone = state == WebhookState::Removed;
    let ban_is_over = health.ban_open && banned_until.is_none();
    let by_window = removal_due_at.map(|at| (at, RemoveReason::NoSuccessfulDelivery));
    View {
        state,
        removed: removed.or(by_window.filter(|_| gone)),
        ban_counter: if ban_is_over {
            0
        } else {
            health.ban_counter.max(0).unsigned_abs()
        },
        ban_threshold: settings.ban_threshold,
        banned_until: banned_until.filter(|_| !gone),
        failing_since: health.failing_since,
        removal_due_at: removal_due_at.filter(|_| !gone),
        next: next(state, banned_until, removal_due_at, settings),
    }
}

fn next(
    state: WebhookState,
    banned_until: Option<Timestamp>,
    removal_due_at: Option<Timestamp>,
    settings: &PolicySettings,
) -> Option<NextTransition> {
    let ban_end = banned_until
        .filter(|_| state == WebhookState::Banned)
        .map(|at| NextTransition {
            at,
            to: WebhookState::Active,
            because: format!(
                "A ban ends by itself {} after it began.",
                spoken(settings.ban_duration)
            ),
        });
    let removal = removal_due_at
        .filter(|_| state != WebhookState::Removed)
        .map(|at| NextTransition {
            at,
            to: WebhookState::Removed,
            because: format!(
                "A webhook is removed after {} without a successful delivery.",
                spoken(settings.removal_window)
            ),
        });
    // At the same instant removal goes first (W13): min_by_key keeps the first of equals.
    [removal, ban_end]
        .into_iter()
        .flatten()
        .min_by_key(|next| next.at)
}

/// What to do now with a delivery whose attempt was due at `due_at`.
///
/// A delivery that was due before the end of a ban or in a pause is lost, even if a worker reaches it afterwards (B4, W13).
/// So this checks the last ban and the last pause as well as the current ones. One that was due in both is lost in the pause.
pub fn verdict(
    health: &Health,
    paused_at: Option<Timestamp>,
    removed: Option<(Timestamp, RemoveReason)>,
    due_at: Timestamp,
    now: Timestamp,
    settings: &PolicySettings,
) -> Verdict {
    if removed.is_some() {
        Verdict::Cancel
    } else if removal_reached(health, now, settings) {
        Verdict::AwaitRemoval
    } else if paused_at.is_some() || was_due_in_pause(health, due_at) {
        Verdict::Lose {
            reason: DeliveryReason::Paused,
            ban_episode: None,
            at: now,
        }
    } else if health.banned_until.is_some_and(|until| due_at < until) {
        Verdict::Lose {
            reason: DeliveryReason::Banned,
            ban_episode: Some(health.ban_episode),
            at: health.ban_started_at.map_or(now, |start| start.max(now)),
        }
    } else {
        Verdict::Attempt
    }
}

/// Whether the last pause lasted at this time. Its end is after it (T2).
fn was_due_in_pause(health: &Health, due_at: Timestamp) -> bool {
    health
        .last_pause
        .is_some_and(|(paused_at, resumed_at)| (paused_at..resumed_at).contains(&due_at))
}

/// The length of a setting in words: `30 minutes`, `72 hours`.
fn spoken(length: Duration) -> String {
    let printer = SpanPrinter::new()
        .designator(Designator::Verbose)
        .spacing(Spacing::BetweenUnitsAndDesignators);
    printer.unsigned_duration_to_string(&length)
}
