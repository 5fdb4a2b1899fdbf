//! What should be true of every webhook of a history, by the reference model and by what receivers answered.
//!
//! Promises to know a webhook's health from two things only: what its receiver answered when, and what its user did.
//! Where answers of one instant have no order, it keeps every state that the policy allows. Asks no server.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::coverage::Coverage;
use super::plan::Who;
use crate::client;
use crate::model::{Numbers, Standing, State, Webhook, retry_at};

/// One answered request, or one that never will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// When the request came, on the world's clock.
    pub at: Timestamp,
    /// The webhook's number.
    pub webhook: String,
    /// The event.
    pub event: String,
    /// 1 to 4.
    pub number: u8,
    /// `None`: no answer, the attempt ends by time-out.
    pub status: Option<u16>,
}

impl Answered {
    /// Whether it succeeded (D1).
    pub fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }

    /// When the attempt ends (D2).
    pub fn ends(&self, numbers: &Numbers) -> Timestamp {
        match self.status {
            Some(_) => self.at,
            None => self.at + numbers.timeout,
        }
    }
}

/// One webhook.
pub struct Mirror {
    /// As it was created.
    pub made: client::Webhook,
    /// By whom.
    pub who: Who,
    /// Every state that the policy allows.
    pub states: Vec<Webhook>,
    /// Attempts that have come and not ended, by event and number.
    pub on_the_wire: BTreeMap<(String, u8), Answered>,
    /// The last ended attempt of each event: its number, its end and whether it succeeded.
    pub ended: BTreeMap<String, (u8, Timestamp, bool)>,
    /// How many attempts of each event have ended.
    pub counted: BTreeMap<String, u8>,
    /// Attempts that were answered in the instant in which all servers crashed, and may never have been recorded (D6).
    pub cut_off: BTreeSet<(String, u8)>,
    /// Events owed to it, and when they were published.
    pub owed: BTreeMap<String, Timestamp>,
    /// Its user or somebody else has made it so that nothing may be sent.
    pub silent: bool,
    /// Every ban that was possible.
    bans: BTreeSet<(Timestamp, Timestamp)>,
    /// Since when it has been active in every state that is possible.
    pub calm_since: Timestamp,
    /// When it was last restored: what was pending before has been cancelled.
    pub restored_at: Option<Timestamp>,
    /// The latest instant in which attempts ended: more may end in it, and their order is open.
    instant: Option<Instant>,
}

struct Instant {
    at: Timestamp,
    before: Vec<Webhook>,
    attempts: Vec<Answered>,
}

impl Mirror {
    /// A webhook that was just made.
    pub fn new(made: client::Webhook, who: Who) -> Self {
        let calm_since = made.created_at;
        Self {
            made,
            who,
            states: vec![Webhook::new()],
            on_the_wire: BTreeMap::new(),
            ended: BTreeMap::new(),
            counted: BTreeMap::new(),
            cut_off: BTreeSet::new(),
            owed: BTreeMap::new(),
            silent: false,
            bans: BTreeSet::new(),
            calm_since,
            restored_at: None,
            instant: None,
        }
    }

    /// The user it is for.
    pub fn user(&self) -> u64 {
        match self.who {
            Who::User(user) | Who::App(user, _) => user,
        }
    }

    /// Whether it is there in every state that is possible.
    pub fn is_live(&self) -> bool {
        !self
            .states
            .iter()
            .any(|state| matches!(state.standing, Standing::Removed { .. }))
    }

    /// Whether something may start for it at `at` in one of the states that are possible just before (B4, R1, T2).
    pub fn may_be_called(&self, at: Timestamp, numbers: &Numbers) -> bool {
        let callable = |state: &Webhook| {
            state.ban.is_none_or(|ban| at <= ban.start || ban.until <= at)
                && state.removal_due(numbers).is_none_or(|due| at < due)
                && state.standing == Standing::Live
        };
        !self.silent && self.states.iter().any(callable)
    }

    /// Takes what has ended by `now`, in the order of the ends, and the steps that time has brought.
    pub fn advance(&mut self, now: Timestamp, numbers: &Numbers, coverage: &mut Coverage) {
        let mut ends: BTreeMap<Timestamp, Vec<Answered>> = BTreeMap::new();
        let (done, open) = std::mem::take(&mut self.on_the_wire)
            .into_iter()
            .partition(|(_, attempt)| attempt.ends(numbers) <= now);
        self.on_the_wire = open;
        let done: BTreeMap<(String, u8), Answered> = done;
        for attempt in done.into_values() {
            ends.entry(attempt.ends(numbers)).or_default().push(attempt);
        }
        for (end, attempts) in ends {
            self.end(end, &attempts, numbers, coverage);
        }
        for state in &mut self.states {
            coverage.steps(&state.advance(now, numbers));
        }
        self.dedup();
    }

    /// Further attempts that ended at one instant.
    fn end(&mut self, at: Timestamp, attempts: &[Answered], numbers: &Numbers, coverage: &mut Coverage) {
        for attempt in attempts {
            let end = (attempt.number, at, attempt.succeeded());
            self.ended.insert(attempt.event.clone(), end);
            *self.counted.entry(attempt.event.clone()).or_default() += 1;
        }
        let (before, mut together) = match self.instant.take() {
            Some(instant) if instant.at == at => (instant.before, instant.attempts),
            _ => (self.states.clone(), Vec::new()),
        };
        together.extend_from_slice(attempts);
        let (successes, failures): (Vec<&Answered>, Vec<&Answered>) =
            together.iter().partition(|attempt| attempt.succeeded());
        let orders = if successes.is_empty() || failures.is_empty() {
            vec![together.iter().collect()]
        } else {
            // One instant has no order: the policy allows either.
            vec![
                [successes.as_slice(), &failures].concat(),
                [failures.as_slice(), &successes].concat(),
            ]
        };
        self.states.clear();
        for state in &before {
            for order in &orders {
                let mut state = state.clone();
                for attempt in order {
                    coverage.attempt(attempt, state.ban.is_some_and(|ban| at < ban.until));
                    let steps = state.attempt_ended(at, attempt.number, attempt.succeeded(), numbers);
                    coverage.steps(&steps);
                    self.bans.extend(state.ban.map(|ban| (ban.start, ban.until)));
                }
                self.states.push(state);
            }
        }
        self.instant = Some(Instant {
            at,
            before,
            attempts: together,
        });
    }

    /// Its user, or somebody else, does something to it.
    pub fn act(&mut self, act: impl Fn(&mut Webhook)) {
        // What ended before it was done came before it.
        self.instant = None;
        self.states.iter_mut().for_each(act);
        self.dedup();
    }

    /// Keeps the states that look like this; answers whether there are any.
    pub fn narrow(&mut self, looks: impl Fn(&Webhook) -> bool) -> bool {
        let fitting: Vec<Webhook> = self.states.iter().filter(|state| looks(state)).cloned().collect();
        let any = !fitting.is_empty();
        if any {
            self.states = fitting;
        }
        any
    }

    /// A retry that must have been sent by now and was not: due while nothing forbade it and nothing was on the wire.
    pub fn overdue(&self, now: Timestamp, numbers: &Numbers) -> Option<(String, u8, Timestamp)> {
        if self.silent || !self.is_live() || !self.on_the_wire.is_empty() {
            return None;
        }
        self.ended.iter().find_map(|(event, (number, end, succeeded))| {
            let due = retry_at(*number, *end, numbers).filter(|due| !succeeded && *due <= now)?;
            // Due before a ban and not yet started, for want of room, it is lost as well (B4).
            let lost = self.bans.iter().any(|(_, until)| due < *until);
            let cancelled = self.restored_at.is_some_and(|at| *end <= at);
            (self.calm_since < due && !lost && !cancelled).then(|| (event.clone(), number + 1, due))
        })
    }

    /// Notes at `now` whether it is active.
    pub fn note_calm(&mut self, now: Timestamp, numbers: &Numbers) {
        if !self
            .states
            .iter()
            .all(|state| state.state(now, numbers) == State::Active)
        {
            self.calm_since = now;
        }
    }

    fn dedup(&mut self) {
        let mut kept: Vec<Webhook> = Vec::new();
        for state in std::mem::take(&mut self.states) {
            if !kept.contains(&state) {
                kept.push(state);
            }
        }
        self.states = kept;
    }
}

/// Whether the health that a server shows is what the state says at `now`.
pub fn agrees(state: &Webhook, shown: &client::Glance, now: Timestamp, numbers: &Numbers) -> bool {
    let expected = state.state(now, numbers);
    if shown.health.state != expected.word() {
        return false;
    }
    if let Standing::Removed { at, reason } = state.standing {
        return shown.removed_at == Some(at) && shown.remove_reason.as_deref() == Some(reason.word());
    }
    let health = &shown.health;
    health.ban_counter == state.counter
        && health.banned_until == state.ban.map(|ban| ban.until)
        && health.failing_since == state.failing_since
        && health.removal_due_at == state.removal_due(numbers)
        && shown.removed_at.is_none()
}
