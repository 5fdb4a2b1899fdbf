//! The calls that wait to be stored, and the order in which companies get a turn.
//!
//! Guarantees:
//!
//! - Waiting calls and events are bounded, in total and per company. A call beyond a bound is refused at once, so memory
//!   does not grow with the callers' demand.
//! - Companies take turns, call by call.
//! - A company is in at most [`GROUPS_OF_COMPANY`] groups at a time, one fewer than there are committers. So one
//!   committer is always free for other companies.
//! - A company that publishes in bulk while others publish has groups of its own, with pauses between them
//!   ([`bulk_throttle`](super::bulk_throttle)).
//! - Calls gather for a moment while another group is being stored ([`batch_window`](super::batch_window)).
//!
//! A call counts for the company of its first event. The order of storage is not guaranteed.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::COMMITTERS;
use super::batch_window::BatchWindow;
use super::bulk_throttle::{BULK, BulkThrottle};
use crate::publish::call::{Call, PublishError};
use tenterhook_clock::Clock;
use tenterhook_model::ids::CompanyId;

/// Bound on waiting calls of all companies.
pub(crate) const WAITING_CALLS: usize = 1024;
/// At most this number of calls in one group.
const CALLS: usize = 64;
/// At most this number of events in one group. A larger call is a group of its own.
const EVENTS: usize = 256;
/// At most this number of groups at a time may contain calls of one company.
const GROUPS_OF_COMPANY: usize = COMMITTERS - 1;

/// How much of one company may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Events; not less than one call may have.
    pub events: usize,
    /// Calls; fewer than the total bound, so that there is room for other companies.
    pub calls: usize,
}

/// The waiting calls.
pub(crate) struct IntakeQueue {
    share: Share,
    clock: Clock,
    state: Mutex<State>,
    /// Notified when a call is accepted or a group is done.
    moved: Notify,
    closed: CancellationToken,
}

#[derive(Default)]
struct State {
    calls: usize,
    waiting: HashMap<CompanyId, Waiting>,
    /// The companies of `waiting`, in the order of their turns.
    turns: VecDeque<CompanyId>,
    storing: HashMap<CompanyId, usize>,
    window: BatchWindow,
    throttle: BulkThrottle,
}

#[derive(Default)]
struct Waiting {
    calls: VecDeque<Call>,
    events: usize,
}

/// Calls to be stored together. When it is dropped, its companies may be in another group.
pub(crate) struct Group {
    pub calls: Vec<Call>,
    companies: BTreeSet<CompanyId>,
    /// The company that has this group alone, and when the group was taken.
    separate: Option<(CompanyId, Instant)>,
    intake: Arc<IntakeQueue>,
}

impl Group {
    /// Whether the group is the separate one of a bulk publisher.
    pub fn is_separate(&self) -> bool {
        self.separate.is_some()
    }
}

impl IntakeQueue {
    /// Accepts calls; none waits yet.
    pub fn new(share: Share, clock: Clock) -> Self {
        Self {
            share,
            clock,
            state: Mutex::default(),
            moved: Notify::new(),
            closed: CancellationToken::new(),
        }
    }

    /// Refuses all calls from now on. Calls that already wait are still stored.
    pub fn close(&self) {
        self.closed.cancel();
    }

    /// Accepts a call, or returns why not.
    pub fn enqueue(&self, company: CompanyId, call: Call) -> Result<(), PublishError> {
        let mut state = self.state();
        // Checked under the lock: a committer that sees `closed` and no waiting call stops.
        if self.closed.is_cancelled() {
            return Err(PublishError::Stopping);
        }
        state.check(company, call.drafts.len(), self.share)?;
        let state = &mut *state;
        let waiting = state.waiting.entry(company).or_default();
        if waiting.calls.is_empty() {
            state.turns.push_back(company);
        }
        waiting.events += call.drafts.len();
        waiting.calls.push_back(call);
        let now = self.clock.monotonic();
        state.window.call_arrived(now);
        state.throttle.call_arrived(company, waiting.events, now);
        state.calls += 1;
        self.moved.notify_waiters();
        Ok(())
    }

    /// Whether a call with this number of events would be accepted now, or why not.
    pub fn room_for(&self, company: CompanyId, events: usize) -> Result<(), PublishError> {
        self.state().check(company, events, self.share)
    }

    /// The next group. `None` once no more calls are accepted and none waits.
    pub async fn next(self: &Arc<Self>) -> Option<Group> {
        loop {
            let moved = self.moved.notified();
            let closed = self.closed.is_cancelled();
            let since = self.clock.monotonic();
            // No pauses in simulated time, and none while the server stops.
            let paced = !closed && self.clock.simulation().is_none();
            let again_at = {
                let mut state = self.state();
                let taken = state.take(paced.then_some(since));
                if !taken.calls.is_empty() {
                    return Some(Group {
                        calls: taken.calls,
                        companies: taken.companies,
                        separate: taken.separate.map(|company| (company, since)),
                        intake: self.clone(),
                    });
                }
                if closed && state.calls == 0 {
                    return None;
                }
                taken.again_at
            };
            let rest = again_at.unwrap_or(since).saturating_duration_since(since);
            tokio::select! {
                () = moved => {}
                () = self.closed.cancelled(), if !closed => {}
                () = self.clock.real_sleep(rest), if again_at.is_some() => {}
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A company without waiting calls is always accepted within the total bound, even with a large call.
    fn check(&self, company: CompanyId, events: usize, share: Share) -> Result<(), PublishError> {
        if self.calls >= WAITING_CALLS {
            return Err(PublishError::Full);
        }
        let crowded =
            |waiting: &Waiting| waiting.events + events > share.events || waiting.calls.len() >= share.calls;
        match self.waiting.get(&company) {
            Some(waiting) if crowded(waiting) => Err(PublishError::Crowded),
            _ => Ok(()),
        }
    }

    /// Takes one call of each company in turn, as long as they fit. A bulk publisher gets a group of its own, or nothing
    /// while it pauses. Companies that are passed over come first in the next group. Without `now` there are no pauses
    /// and no separate groups.
    fn take(&mut self, now: Option<Instant>) -> Taken {
        let (mut taken, mut events) = (Taken::default(), 0);
        let gathers_until = now.and_then(|now| self.window.gathers_until(self.calls, now));
        taken.again_at = gathers_until;
        let mut passed_over = Vec::new();
        while taken.calls.len() < CALLS
            && let Some(company) = self.turns.pop_front()
        {
            let turn = self.turn(company, now);
            let joins = match turn {
                Admission::Shared => taken.separate.is_none() && gathers_until.is_none(),
                Admission::Separate => taken.calls.is_empty() || taken.separate == Some(company),
                Admission::PausedUntil(until) => {
                    taken.again_at = Some(taken.again_at.map_or(until, |first| first.min(until)));
                    false
                }
                Admission::Busy => false,
            };
            let most = if turn == Admission::Separate { BULK } else { EVENTS };
            let fits = |call: &Call| taken.calls.is_empty() || events + call.drafts.len() <= most;
            let call = self.waiting.get_mut(&company).and_then(|waiting| {
                let call = joins.then(|| waiting.calls.pop_front_if(|call| fits(call)))??;
                waiting.events -= call.drafts.len();
                Some(call)
            });
            let Some(call) = call else {
                passed_over.push(company);
                continue;
            };
            events += call.drafts.len();
            taken.companies.insert(company);
            taken.separate = (turn == Admission::Separate).then_some(company);
            taken.calls.push(call);
            if self
                .waiting
                .get(&company)
                .is_some_and(|rest| rest.calls.is_empty())
            {
                self.waiting.remove(&company);
            } else {
                self.turns.push_back(company);
            }
        }
        passed_over
            .into_iter()
            .rev()
            .for_each(|company| self.turns.push_front(company));
        self.calls -= taken.calls.len();
        if taken.separate.is_none() && !taken.calls.is_empty() {
            self.window.group_taken(self.calls, now);
        }
        for company in &taken.companies {
            *self.storing.entry(*company).or_default() += 1;
        }
        taken
    }

    fn turn(&mut self, company: CompanyId, now: Option<Instant>) -> Admission {
        let groups = self.storing.get(&company).copied();
        if groups.is_some_and(|groups| groups >= GROUPS_OF_COMPANY) {
            return Admission::Busy;
        }
        let Some(now) = now else {
            return Admission::Shared;
        };
        if let Some(until) = self.throttle.paused_until(company, now) {
            return Admission::PausedUntil(until);
        }
        let waiting = self.waiting.get(&company).map_or(0, |waiting| waiting.events);
        match self.throttle.is_separate(company, waiting, now) {
            true if groups.is_some() => Admission::Busy,
            true => Admission::Separate,
            false => Admission::Shared,
        }
    }
}

/// What a company may do in its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Admission {
    /// Join a group with others.
    Shared,
    /// Have a group of its own.
    Separate,
    /// Nothing until this time: it pauses.
    PausedUntil(Instant),
    /// Nothing until one of its groups is done.
    Busy,
}

/// The calls taken at once, and when to look again if calls were left because a company pauses or because calls gather.
#[derive(Default)]
struct Taken {
    calls: Vec<Call>,
    companies: BTreeSet<CompanyId>,
    /// The company that has this group alone, if any.
    separate: Option<CompanyId>,
    again_at: Option<Instant>,
}

impl Drop for Group {
    fn drop(&mut self) {
        let now = self.intake.clock.monotonic();
        let mut guard = self.intake.state();
        let state = &mut *guard;
        if let Some((company, since)) = self.separate {
            state
                .throttle
                .group_done(company, now.saturating_duration_since(since), now);
        } else {
            state.window.group_done();
        }
        for company in &self.companies {
            if let Some(groups) = state.storing.get_mut(company) {
                *groups -= 1;
                if *groups == 0 {
                    state.storing.remove(company);
                }
            }
        }
        drop(guard);
        self.intake.moved.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
