//! The reference model: what the policy says becomes of a webhook, as a function of what happened and when.
//!
//! Written from docs/policy.md (B1–B7, R1–R5, T2, T3, D4, D13, W12, W13) and from nothing else, so that a server can be held
//! against it. Pure and deterministic: it has no clock, asks nobody, and starts nothing; time is an argument.
//!
//! Promises that a boundary belongs to the later state (T2), and that every step is dated when it was due, however late
//! it is asked for (T3). Expects to be told of what happened in the order in which it happened: an earlier moment than
//! one already told of is taken as it is, and time does not go back for it. Knows one webhook; deliveries, limits and
//! permissions are not its business.

#[cfg(test)]
mod tests;

use jiff::{SignedDuration, Timestamp};

/// The bold numbers of docs/policy.md, and the retry delays of D4. The default is what the policy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbers {
    /// Failed first tries that make a ban (B2).
    pub ban_threshold: u32,
    /// How long a ban lasts, from the end of the failed first try that made it (B2).
    pub ban: SignedDuration,
    /// How long a window without success may last (R1).
    pub window: SignedDuration,
    /// How far into a window people are warned, in order (R4).
    pub warnings: [SignedDuration; 3],
    /// The waits between the end of an attempt and the start of the next (D4).
    pub retry_delays: Vec<SignedDuration>,
    /// The deadline of an attempt, from its start (D2).
    pub timeout: SignedDuration,
    /// Webhooks of one type that a user may have, per app for those of apps (W3).
    pub webhook_limit: u32,
    /// How long an idempotency key is remembered (E1).
    pub idempotency: SignedDuration,
    /// How long the secret before the last rotation still signs (E7).
    pub secret_overlap: SignedDuration,
    /// How long a removed webhook stays readable (W12).
    pub removed_retention: SignedDuration,
    /// How long before the end of an attempt no name server may have answered for it to count as silence (D13).
    pub dns_silence: SignedDuration,
    /// The length of a silence after which attempts are judged all the same (D13).
    pub dns_give_up: SignedDuration,
    /// How long a delivery waits that is put back, the first time and from the second on (D13).
    pub put_back: [SignedDuration; 2],
}

impl Default for Numbers {
    fn default() -> Self {
        Self {
            ban_threshold: 10,
            ban: SignedDuration::from_mins(30),
            window: SignedDuration::from_hours(72),
            warnings: [24, 48, 71].map(SignedDuration::from_hours),
            retry_delays: [3, 30, 150].map(SignedDuration::from_secs).to_vec(),
            timeout: SignedDuration::from_secs(10),
            webhook_limit: 40,
            idempotency: SignedDuration::from_hours(24),
            secret_overlap: SignedDuration::from_hours(24),
            removed_retention: SignedDuration::from_hours(30 * 24),
            dns_silence: SignedDuration::from_secs(10),
            dns_give_up: SignedDuration::from_mins(15),
            put_back: [5, 30].map(SignedDuration::from_secs),
        }
    }
}

/// What the API calls a webhook's state (W13 says which goes first).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the words of API.md")]
pub enum State {
    Active,
    Banned,
    Paused,
    Removed,
}

impl State {
    /// The word of API.md.
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
#[expect(missing_docs, reason = "the words of API.md")]
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
    /// The word of API.md.
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

/// Whether a webhook is there, and whether its user wants it to be called. A ban is beside this: it runs on in a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It is called.
    Live,
    /// Its user has paused it (W13).
    Paused,
    /// It is gone.
    Removed {
        /// Since when.
        at: Timestamp,
        /// Why.
        reason: RemoveReason,
    },
}

/// A ban, from its first moment to the first moment after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ban {
    /// The end of the failed first try that made it.
    pub start: Timestamp,
    /// When it is over (T2).
    pub until: Timestamp,
}

/// One webhook as the policy sees it, at the last moment that was told of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Webhook {
    /// Failed first tries since the last ban ended (B1, B3).
    pub counter: u32,
    /// The ban that runs.
    pub ban: Option<Ban>,
    /// The end of the first failed attempt since the last success (R1): the window that is open.
    pub failing_since: Option<Timestamp>,
    /// How many warnings this window has had.
    pub warned: usize,
    /// Whether it is there.
    pub standing: Standing,
}

/// A change of a webhook, dated when it was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "`at` is the moment of the step in each")]
pub enum Step {
    /// The counter reached the threshold (B2).
    BanStarted { at: Timestamp, until: Timestamp },
    /// Active again, counter zero (B3).
    BanEnded { at: Timestamp },
    /// The first failed attempt since the last success (R1).
    WindowOpened { at: Timestamp },
    /// People are told how long it has been failing, in hours (R4).
    Warned { at: Timestamp, hours: i64 },
    /// A success ended the window; people are told if they had been warned of it (R4).
    Recovered { at: Timestamp, warned: bool },
    /// Removed for want of a success (R1).
    Removed { at: Timestamp },
}

impl Step {
    /// When it was due.
    pub fn at(self) -> Timestamp {
        match self {
            Self::BanStarted { at, .. }
            | Self::BanEnded { at }
            | Self::WindowOpened { at }
            | Self::Warned { at, .. }
            | Self::Recovered { at, .. }
            | Self::Removed { at } => at,
        }
    }
}

impl Webhook {
    /// A webhook that was just created.
    pub fn new() -> Self {
        Self {
            counter: 0,
            ban: None,
            failing_since: None,
            warned: 0,
            standing: Standing::Live,
        }
    }

    /// An attempt ended at `at`; `number` is 1 for a first try, 2 to 4 for retries. Test deliveries don't come here (B1).
    /// Answers every step up to then, those that time had brought first.
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
                let warned = self.warned > 0;
                self.close_window();
                steps.push(Step::Recovered { at, warned });
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

    /// Takes the steps that time alone has brought by `now` (B7, R3, R4), in order of time.
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

    /// What time alone will bring next, if anything.
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
        // Of those due in one instant the first listed goes first: a webhook is removed after all else was said of it.
        [ban_end, warning, removal]
            .into_iter()
            .flatten()
            .min_by_key(|step| step.at())
    }

    /// When it is removed unless a delivery succeeds before (R1).
    pub fn removal_due(&self, numbers: &Numbers) -> Option<Timestamp> {
        self.failing_since.map(|since| since + numbers.window)
    }

    /// What it is at `now`, whether or not [`advance`](Self::advance) was called (T3).
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

    /// Its user pauses it at `at`: an open window closes, counter and ban run on (W13). No window opens until it is
    /// resumed: attempts still on the wire say nothing about a webhook that is not called.
    pub fn pause(&mut self, at: Timestamp, numbers: &Numbers) -> Vec<Step> {
        let steps = self.advance(at, numbers);
        if self.standing == Standing::Live {
            self.standing = Standing::Paused;
            self.close_window();
        }
        steps
    }

    /// Its user resumes it at `at`.
    pub fn resume(&mut self, at: Timestamp, numbers: &Numbers) -> Vec<Step> {
        let steps = self.advance(at, numbers);
        if self.standing == Standing::Paused {
            self.standing = Standing::Live;
        }
        steps
    }

    /// Somebody removes it at `at`. What it was last stays readable; nothing moves any more.
    pub fn remove(&mut self, at: Timestamp, reason: RemoveReason, numbers: &Numbers) -> Vec<Step> {
        let steps = self.advance(at, numbers);
        if !matches!(self.standing, Standing::Removed { .. }) {
            self.standing = Standing::Removed { at, reason };
        }
        steps
    }

    /// It is restored at `at` with counter 0 and no window, if it was removed for want of a success and is still kept
    /// (W12). Answers whether it was.
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

/// When the attempt after the failed attempt `number`, which ended at `ended`, is due; `None` when it was the last (D4).
pub fn retry_at(number: u8, ended: Timestamp, numbers: &Numbers) -> Option<Timestamp> {
    let delay = numbers.retry_delays.get(usize::from(number).checked_sub(1)?)?;
    Some(ended + *delay)
}

/// What a process has asked of name servers, whichever they are and whatever the name (D13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Names {
    /// When it last asked.
    asked: Option<Timestamp>,
    /// When it was last answered.
    answered: Option<Timestamp>,
    /// When it first asked without having been answered since.
    silent_since: Option<Timestamp>,
}

impl Names {
    /// A lookup is sent at `at`.
    pub fn asked(&mut self, at: Timestamp) {
        self.asked = Some(at);
        self.silent_since.get_or_insert(at);
    }

    /// An answer comes at `at`, whatever it says.
    pub fn answered(&mut self, at: Timestamp) {
        self.answered = Some(at);
        self.silent_since = None;
    }

    /// Whether an attempt that ends at `ended` without an address is none: a lookup was sent in the time before and none
    /// was answered, and that has not gone on for too long.
    pub fn are_silent(&self, ended: Timestamp, numbers: &Numbers) -> bool {
        let since = ended - numbers.dns_silence;
        // An answer at its very beginning lies before it (T2).
        let asked = self.asked.is_some_and(|at| since <= at && at <= ended);
        let answered = self.answered.is_some_and(|at| since < at && at <= ended);
        let given_up = self
            .silent_since
            .is_some_and(|since| since + numbers.dns_give_up <= ended);
        asked && !answered && !given_up
    }
}

/// When a delivery is due that was put back at `ended`, having been put back `before` times already (D13).
pub fn put_back_until(before: usize, ended: Timestamp, numbers: &Numbers) -> Timestamp {
    let [first, rest] = numbers.put_back;
    ended + if before == 0 { first } else { rest }
}
