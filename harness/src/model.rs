//! The reference model: computes the state of a webhook from what happened and when.
//!
//! It is written from docs/policy.md (B1–B7, R1–R5, T2, T3, D4, D13, W12, W13) and from nothing else, so that tests can
//! compare a server with it. It is pure and deterministic: it has no clock and no I/O, and time is an argument.
//!
//! Guarantees:
//!
//! - a boundary belongs to the later state (T2);
//! - every step has the time at which it was due, however late the model is advanced (T3).
//!
//! Callers report what happened in order of time. A report with an earlier time is accepted, but does not undo
//! steps that the model has already taken. The model knows one webhook. It does not know deliveries, limits and
//! permissions.

mod numbers;
#[cfg(test)]
mod tests;

use jiff::Timestamp;

pub use self::numbers::Numbers;

/// A webhook's state in the API. W13 says which state takes precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the values of the GraphQL enum")]
pub enum State {
    Active,
    Banned,
    Paused,
    Removed,
}

impl State {
    /// The enum value of the API.
    pub fn word(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Banned => "BANNED",
            Self::Paused => "PAUSED",
            Self::Removed => "REMOVED",
        }
    }
}

/// Why a webhook was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the values of the GraphQL enum")]
pub enum RemoveReason {
    DeletedByUser,
    DeletedByAdmin,
    DeletedByApp,
    AppUninstalled,
    AppRemoved,
    UserRemoved,
    NoSuccessfulDelivery,
}

impl RemoveReason {
    /// The enum value of the API.
    pub fn word(self) -> &'static str {
        match self {
            Self::DeletedByUser => "DELETED_BY_USER",
            Self::DeletedByAdmin => "DELETED_BY_ADMIN",
            Self::DeletedByApp => "DELETED_BY_APP",
            Self::AppUninstalled => "APP_UNINSTALLED",
            Self::AppRemoved => "APP_REMOVED",
            Self::UserRemoved => "USER_REMOVED",
            Self::NoSuccessfulDelivery => "NO_SUCCESSFUL_DELIVERY",
        }
    }
}

/// Whether a webhook exists and its user wants it called. Independent of a ban, which continues during a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// The server calls it.
    Live,
    /// Its user has paused it (W13).
    Paused,
    /// It is removed.
    Removed {
        /// When it was removed.
        at: Timestamp,
        /// Why it was removed.
        reason: RemoveReason,
    },
}

/// A ban, from its first moment to the first moment after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ban {
    /// The end of the failed first try that caused it.
    pub start: Timestamp,
    /// The first moment after the ban (T2).
    pub until: Timestamp,
}

/// A pause, from its first moment to the first moment after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pause {
    /// When its user paused the webhook.
    pub start: Timestamp,
    /// When its user resumed it; `None` while it is paused.
    pub until: Option<Timestamp>,
}

/// One webhook as the policy sees it, at the last moment that was reported.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Webhook {
    /// Failed first tries since the last ban ended (B1, B3).
    pub counter: u32,
    /// The current ban.
    pub ban: Option<Ban>,
    /// The end of the first failed attempt since the last success (R1). The open window begins there.
    pub failing_since: Option<Timestamp>,
    /// Number of warnings in this window.
    pub warned: usize,
    /// Whether it exists and may be called.
    pub standing: Standing,
    /// The current or last pause (W13).
    pub pause: Option<Pause>,
}

/// A change of a webhook, with the time at which it was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "`at` is the moment of the step in each")]
pub enum Step {
    /// The counter reached the threshold (B2).
    BanStarted { at: Timestamp, until: Timestamp },
    /// The webhook is active again, with counter zero (B3).
    BanEnded { at: Timestamp },
    /// An attempt failed for the first time since the last success (R1).
    WindowOpened { at: Timestamp },
    /// A notice says for how many hours the webhook has been failing (R4).
    Warned { at: Timestamp, hours: i64 },
    /// A success ended the window. A notice says so (R4).
    Recovered { at: Timestamp },
    /// The policy removed the webhook, because no delivery succeeded in the window (R1).
    Removed { at: Timestamp },
}

impl Step {
    /// The time at which the step was due.
    pub fn at(self) -> Timestamp {
        match self {
            Self::BanStarted { at, .. }
            | Self::BanEnded { at }
            | Self::WindowOpened { at }
            | Self::Warned { at, .. }
            | Self::Recovered { at }
            | Self::Removed { at } => at,
        }
    }
}

impl Webhook {
    /// A new webhook.
    pub fn new() -> Self {
        Self {
            counter: 0,
            ban: None,
            failing_since: None,
            warned: 0,
            standing: Standing::Live,
            pause: None,
        }
    }

    /// Reports an attempt that ended at `at`; `number` is 1 for a first try, 2 to 4 for retries. Test deliveries are
    /// not reported (B1). Returns all steps up to `at`, those caused by time first.
    pub fn attempt_ended(
        &mut self,
        at: Timestamp,
        number: u8,
        succeeded: bool,
        numbers: &Numbers,
    ) -> Vec<Step> {
        let mut steps = self.advance(at, numbers);
        if matches!(self.standing, Standing::Removed { .. }) {
            return steps;
        }
        if succeeded {
            // B3: the counter stays.
            if self.failing_since.is_some() {
                self.close_window();
                steps.push(Step::Recovered { at });
            }
            return steps;
        }
        if self.failing_since.is_none() && self.standing == Standing::Live {
            self.failing_since = Some(at);
            steps.push(Step::WindowOpened { at });
        }
        if number == 1 && self.ban.is_none() {
            self.counter += 1;
            if self.counter >= numbers.ban_threshold {
                let until = at + numbers.ban;
                self.ban = Some(Ban { start: at, until });
                steps.push(Step::BanStarted { at, until });
            }
        }
        steps
    }

    /// Applies the steps that time alone has caused by `now` (B7, R3, R4), in order of time, and returns them.
    pub fn advance(&mut self, now: Timestamp, numbers: &Numbers) -> Vec<Step> {
        let mut steps = Vec::new();
        while let Some(step) = self.next_step(numbers).filter(|step| step.at() <= now) {
            match step {
                Step::BanEnded { .. } => {
                    self.ban = None;
                    self.counter = 0;
                }
                Step::Removed { at } => {
                    let reason = RemoveReason::NoSuccessfulDelivery;
                    self.standing = Standing::Removed { at, reason };
                }
                _ => self.warned += 1,
            }
            steps.push(step);
        }
        steps
    }

    /// The next step that time alone will cause, if any.
    pub fn next_step(&self, numbers: &Numbers) -> Option<Step> {
        if matches!(self.standing, Standing::Removed { .. }) {
            return None;
        }
        let ban_end = self.ban.map(|ban| Step::BanEnded { at: ban.until });
        let warning = self
            .failing_since
            .zip(numbers.warnings.get(self.warned))
            .map(|(since, wait)| Step::Warned {
                at: since + *wait,
                hours: wait.as_hours(),
            });
        let removal = self.removal_due(numbers).map(|at| Step::Removed { at });
        // If several are due at the same instant, the first in the list wins: the removal is the last step of a
        // webhook.
        [ban_end, warning, removal]
            .into_iter()
            .flatten()
            .min_by_key(|step| step.at())
    }

    /// When the policy removes it, unless a delivery succeeds before (R1).
    pub fn removal_due(&self, numbers: &Numbers) -> Option<Timestamp> {
        self.failing_since.map(|since| since + numbers.window)
    }

    /// The state at `now`, also if [`advance`](Self::advance) was not called (T3).
    pub fn state(&self, now: Timestamp, numbers: &Numbers) -> State {
        let mut then = self.clone();
        then.advance(now, numbers);
        match then.standing {
            Standing::Removed { .. } => State::Removed,
            Standing::Paused => State::Paused,
            Standing::Live if then.ban.is_some() => State::Banned,
            Standing::Live => State::Active,
        }
    }

    /// The user pauses the webhook at `at`. An open window closes; counter and ban continue (W13). No window opens
    /// until the user resumes it: results of attempts in flight do not count for a webhook that is not called.
    pub fn pause(&mut self, at: Timestamp, numbers: &Numbers) -> Vec<Step> {
        let steps = self.advance(at, numbers);
        if self.standing == Standing::Live {
            self.standing = Standing::Paused;
            self.pause = Some(Pause {
                start: at,
                until: None,
            });
            self.close_window();
        }
        steps
    }

    /// The user resumes the webhook at `at`.
    pub fn resume(&mut self, at: Timestamp, numbers: &Numbers) -> Vec<Step> {
        let steps = self.advance(at, numbers);
        if self.standing == Standing::Paused {
            self.standing = Standing::Live;
            self.pause = self.pause.map(|pause| Pause {
                until: Some(at),
                ..pause
            });
        }
        steps
    }

    /// Whether a delivery that was due at `due` is lost in the current or last pause, even if a worker reaches it only
    /// afterwards (W13).
    pub fn was_due_in_pause(&self, due: Timestamp) -> bool {
        self.pause
            .is_some_and(|pause| pause.start <= due && pause.until.is_none_or(|until| due < until))
    }

    /// A caller removes the webhook at `at`. Its last values stay readable and do not change any more.
    pub fn remove(&mut self, at: Timestamp, reason: RemoveReason, numbers: &Numbers) -> Vec<Step> {
        let steps = self.advance(at, numbers);
        if !matches!(self.standing, Standing::Removed { .. }) {
            self.standing = Standing::Removed { at, reason };
        }
        steps
    }

    /// Restores the webhook at `at`, with counter 0 and no window, if it was removed because no delivery succeeded and
    /// is still kept (W12). Returns whether it was restored.
    pub fn restore(&mut self, at: Timestamp, numbers: &Numbers) -> bool {
        self.advance(at, numbers);
        let restorable = matches!(self.standing, Standing::Removed { at: removed, reason }
            if reason == RemoveReason::NoSuccessfulDelivery && at < removed + numbers.removed_retention);
        if restorable {
            *self = Self::new();
        }
        restorable
    }

    fn close_window(&mut self) {
        self.failing_since = None;
        self.warned = 0;
    }
}

impl Default for Webhook {
    fn default() -> Self {
        Self::new()
    }
}

/// When the next attempt is due after the failed attempt `number` that ended at `ended`. `None` after the last one
/// (D4).
pub fn retry_at(number: u8, ended: Timestamp, numbers: &Numbers) -> Option<Timestamp> {
    let delay = numbers.retry_delays.get(usize::from(number).checked_sub(1)?)?;
    Some(ended + *delay)
}

/// What one process has asked name servers, across all servers and names (D13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Names {
    /// The last lookup.
    asked: Option<Timestamp>,
    /// The last response.
    answered: Option<Timestamp>,
    /// The first lookup since the last response.
    silent_since: Option<Timestamp>,
}

impl Names {
    /// A lookup is sent at `at`.
    pub fn asked(&mut self, at: Timestamp) {
        self.asked = Some(at);
        self.silent_since.get_or_insert(at);
    }

    /// A response arrives at `at`, whatever it contains.
    pub fn answered(&mut self, at: Timestamp) {
        self.answered = Some(at);
        self.silent_since = None;
    }

    /// Whether an attempt that ends at `ended` without an address does not count: in the time before it a lookup was
    /// sent, no name server responded, and the silence has not lasted too long.
    pub fn are_silent(&self, ended: Timestamp, numbers: &Numbers) -> bool {
        let since = ended - numbers.dns_silence;
        // A response exactly `dns_silence` ago does not count any more (T2).
        let asked = self.asked.is_some_and(|at| since <= at && at <= ended);
        let answered = self.answered.is_some_and(|at| since < at && at <= ended);
        let given_up = self
            .silent_since
            .is_some_and(|since| since + numbers.dns_give_up <= ended);
        asked && !answered && !given_up
    }
}

/// When a delivery is due that was postponed at `ended`, after `before` earlier times (D13).
pub fn postponed_until(before: usize, ended: Timestamp, numbers: &Numbers) -> Timestamp {
    let [first, rest] = numbers.postponements;
    ended + if before == 0 { first } else { rest }
}
