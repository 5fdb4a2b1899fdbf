//! The expected state of every webhook in a history, computed with the reference model from what receivers responded.
//!
//! A webhook's expected health depends on two things only: when its receiver responded with what, and what its user
//! did. If the order of responses within one instant is not defined, the shadow keeps every state that the policy
//! allows. It never asks a server.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::answered::Answered;
use super::coverage::Coverage;
use super::plan::Who;
use crate::client;
use crate::model::{Numbers, Standing, State, Webhook, retry_at};

/// A webhook with all states that it may have.
pub struct Shadow {
    /// The webhook as it was when created.
    pub made: client::Webhook,
    /// Its creator.
    pub who: Who,
    /// Every state that the policy allows now.
    pub states: Vec<Webhook>,
    /// Attempts that arrived and have not ended, by event and attempt number.
    pub on_the_wire: BTreeMap<(String, u8), Answered>,
    /// The last ended attempt of each event: its number, its end, and whether it succeeded.
    pub ended: BTreeMap<String, (u8, Timestamp, bool)>,
    /// Number of ended attempts of each event.
    pub counted: BTreeMap<String, u8>,
    /// Attempts with a response in the instant in which all servers crashed. The result may never have been stored
    /// (D6).
    pub cut_off: BTreeSet<(String, u8)>,
    /// Events that the webhook must get, and when they were published.
    pub owed: BTreeMap<String, Timestamp>,
    /// A caller did something after which the server may send nothing.
    pub silent: bool,
    /// Every ban that was possible, with start and end.
    bans: BTreeSet<(Timestamp, Timestamp)>,
    /// Since when the webhook has been active in every possible state.
    pub calm_since: Timestamp,
    /// When it was last restored. That cancelled the deliveries that were pending before.
    pub restored_at: Option<Timestamp>,
    /// The latest instant in which attempts ended. More may end in it, in any order.
    instant: Option<Instant>,
}

struct Instant {
    at: Timestamp,
    before: Vec<Webhook>,
    attempts: Vec<Answered>,
}

impl Shadow {
    /// A webhook that was just created.
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

    /// The user for whom it was created.
    pub fn user(&self) -> u64 {
        match self.who {
            Who::User(user) | Who::App(user, _) => user,
        }
    }

    /// Whether the webhook exists in every possible state.
    pub fn is_live(&self) -> bool {
        !self
            .states
            .iter()
            .any(|state| matches!(state.standing, Standing::Removed { .. }))
    }

    /// Whether an attempt may start at `at` in one of the states that are possible just before (B4, R1, T2).
    pub fn may_be_called(&self, at: Timestamp, numbers: &Numbers) -> bool {
        let callable = |state: &Webhook| {
            state.ban.is_none_or(|ban| at <= ban.start || ban.until <= at)
                && state.removal_due(numbers).is_none_or(|due| at < due)
                && state.standing == Standing::Live
        };
        !self.silent && self.states.iter().any(callable)
    }

    /// Applies the attempts that have ended by `now`, in the order of their ends, and the steps that time has caused.
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

    /// Applies further attempts that ended at the instant `at`.
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
            // The order within one instant is not defined: the policy allows both.
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

    /// Applies an action of a caller to every possible state.
    pub fn act(&mut self, act: impl Fn(&mut Webhook)) {
        // Attempts that ended earlier come before the action, and those that end later after it.
        self.instant = None;
        self.states.iter_mut().for_each(act);
        self.dedup();
    }

    /// Keeps the states that satisfy `looks`, if there are any. Returns whether there are.
    pub fn narrow(&mut self, looks: impl Fn(&Webhook) -> bool) -> bool {
        let fitting: Vec<Webhook> = self.states.iter().filter(|state| looks(state)).cloned().collect();
        let any = !fitting.is_empty();
        if any {
            self.states = fitting;
        }
        any
    }

    /// A retry that should have been sent by now and was not: it was due, nothing forbade it, and no attempt was in
    /// flight.
    pub fn overdue(&self, now: Timestamp, numbers: &Numbers) -> Option<(String, u8, Timestamp)> {
        if self.silent || !self.is_live() || !self.on_the_wire.is_empty() {
            return None;
        }
        self.ended.iter().find_map(|(event, (number, end, succeeded))| {
            let due = retry_at(*number, *end, numbers).filter(|due| !succeeded && *due <= now)?;
            // A retry that was due before a ban is lost as well if the server had no capacity to start it before (B4).
            let lost = self.bans.iter().any(|(_, until)| due < *until);
            let cancelled = self.restored_at.is_some_and(|at| *end <= at);
            (self.calm_since < due && !lost && !cancelled).then(|| (event.clone(), number + 1, due))
        })
    }

    /// Records at `now` whether the webhook is active in every possible state.
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

/// Whether the health that the server shows agrees with this state at `now`.
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
