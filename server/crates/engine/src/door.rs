//! Where calls wait to be stored, and whose turn it is.
//!
//! Promises that what waits is bounded, in all and of one company, and that what comes past a bound is refused at once:
//! memory does not grow with what callers want. That companies take turns, call by call. And that a company is in at
//! most [`GROUPS_OF_COMPANY`] groups at a time, one fewer than there are committers: whatever it floods the server with,
//! another company's call finds a committer that is free of it. That a company which publishes in bulk beside others
//! has groups of its own and rests between them ([`pace`]). And that calls gather for a moment beside a group that is
//! being stored ([`gate`]).
//!
//! A call counts for the company of its first event. Does not promise that calls are stored in the order they came.

mod gate;
mod pace;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::gate::Gate;
use self::pace::{BULK, Pace};
use super::COMMITTERS;
use super::publisher::{Call, PublishError};
use tenterhook_clock::Clock;
use tenterhook_model::ids::CompanyId;

/// Calls that wait in all.
pub(super) const WAITING_CALLS: usize = 1024;
/// Calls in one group at the most.
const CALLS: usize = 64;
/// Events in one group at the most; a larger call is a group by itself.
const EVENTS: usize = 256;
/// Groups at work at once that a company is in.
const GROUPS_OF_COMPANY: usize = COMMITTERS - 1;

/// What may wait of one company.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Events: at least as many as a call has.
    pub events: usize,
    /// Calls: fewer than are admitted in all, so that there is room for other companies'.
    pub calls: usize,
}

/// The calls that wait.
pub(super) struct Door {
    share: Share,
    clock: Clock,
    inside: Mutex<Inside>,
    /// Told when a call has come, or a group is done.
    moved: Notify,
    closed: CancellationToken,
}

#[derive(Default)]
struct Inside {
    calls: usize,
    waiting: HashMap<CompanyId, Waiting>,
    /// The companies of `waiting`, in the order of their turns.
    turns: VecDeque<CompanyId>,
    at_work: HashMap<CompanyId, usize>,
    gate: Gate,
    pace: Pace,
}

#[derive(Default)]
struct Waiting {
    calls: VecDeque<Call>,
    events: usize,
}

/// Calls to be stored together. Its companies may be in another group once it is dropped.
pub(super) struct Group {
    pub calls: Vec<Call>,
    companies: BTreeSet<CompanyId>,
    /// Whose own group it is, and since when.
    apart: Option<(CompanyId, Instant)>,
    door: Arc<Door>,
}

impl Group {
    /// Whether it is of a company that publishes in bulk beside others.
    pub fn is_apart(&self) -> bool {
        self.apart.is_some()
    }
}

impl Door {
    /// Open, with nobody waiting.
    pub fn new(share: Share, clock: Clock) -> Self {
        Self {
            share,
            clock,
            inside: Mutex::default(),
            moved: Notify::new(),
            closed: CancellationToken::new(),
        }
    }

    /// Lets nobody in from now on. Who waits is stored.
    pub fn close(&self) {
        self.closed.cancel();
    }

    /// Takes a call in, or says why not.
    pub fn enter(&self, company: CompanyId, call: Call) -> Result<(), PublishError> {
        let mut inside = self.inside();
        // Under the lock: a committer that sees the door closed and nobody waiting goes home.
        if self.closed.is_cancelled() {
            return Err(PublishError::Stopping);
        }
        inside.check(company, call.drafts.len(), self.share)?;
        let inside = &mut *inside;
        let waiting = inside.waiting.entry(company).or_default();
        if waiting.calls.is_empty() {
            inside.turns.push_back(company);
        }
        waiting.events += call.drafts.len();
        waiting.calls.push_back(call);
        let now = self.clock.monotonic();
        inside.gate.came(now);
        inside.pace.came(company, waiting.events, now);
        inside.calls += 1;
        self.moved.notify_waiters();
        Ok(())
    }

    /// Whether a call with so many events of a company would be taken in now, or why not.
    pub fn room_for(&self, company: CompanyId, events: usize) -> Result<(), PublishError> {
        self.inside().check(company, events, self.share)
    }

    /// The next group; `None` once the door is closed and nobody waits.
    pub async fn next(self: &Arc<Self>) -> Option<Group> {
        loop {
            let moved = self.moved.notified();
            let closed = self.closed.is_cancelled();
            let since = self.clock.monotonic();
            // Simulated time does not know of rests; a door that closes has no time for them.
            let paced = !closed && self.clock.simulation().is_none();
            let again_at = {
                let mut inside = self.inside();
                let taken = inside.take(paced.then_some(since));
                if !taken.calls.is_empty() {
                    return Some(Group {
                        calls: taken.calls,
                        companies: taken.companies,
                        apart: taken.apart.map(|company| (company, since)),
                        door: self.clone(),
                    });
                }
                if closed && inside.calls == 0 {
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

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    /// A company with nothing waiting may always come, however large its call.
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

    /// A call of each company in turn, as long as they fit: what publishes in bulk `now` by itself, and nothing of who rests.
    /// Who is passed over comes first in the next group.
    fn take(&mut self, now: Option<Instant>) -> Taken {
        let (mut taken, mut events) = (Taken::default(), 0);
        let gathers_until = now.and_then(|now| self.gate.gathers_until(self.calls, now));
        taken.again_at = gathers_until;
        let mut passed_over = Vec::new();
        while taken.calls.len() < CALLS
            && let Some(company) = self.turns.pop_front()
        {
            let turn = self.turn(company, now);
            let joins = match turn {
                Turn::Together => taken.apart.is_none() && gathers_until.is_none(),
                Turn::Apart => taken.calls.is_empty() || taken.apart == Some(company),
                Turn::Rests(until) => {
                    taken.again_at = Some(taken.again_at.map_or(until, |first| first.min(until)));
                    false
                }
                Turn::Busy => false,
            };
            let most = if turn == Turn::Apart { BULK } else { EVENTS };
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
            taken.apart = (turn == Turn::Apart).then_some(company);
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
        if taken.apart.is_none() && !taken.calls.is_empty() {
            self.gate.took(self.calls, now);
        }
        for company in &taken.companies {
            *self.at_work.entry(*company).or_default() += 1;
        }
        taken
    }

    fn turn(&mut self, company: CompanyId, now: Option<Instant>) -> Turn {
        let groups = self.at_work.get(&company).copied();
        if groups.is_some_and(|groups| groups >= GROUPS_OF_COMPANY) {
            return Turn::Busy;
        }
        let Some(now) = now else {
            return Turn::Together;
        };
        if let Some(until) = self.pace.rests(company, now) {
            return Turn::Rests(until);
        }
        let waiting = self.waiting.get(&company).map_or(0, |waiting| waiting.events);
        match self.pace.is_apart(company, waiting, now) {
            true if groups.is_some() => Turn::Busy,
            true => Turn::Apart,
            false => Turn::Together,
        }
    }
}

/// What a company whose turn it is may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Be in a group with others.
    Together,
    /// Have a group of its own.
    Apart,
    /// Nothing until then.
    Rests(Instant),
    /// Nothing until one of its groups is done.
    Busy,
}

/// What is taken at once, and when to look again if somebody was left who rests, or gathers.
#[derive(Default)]
struct Taken {
    calls: Vec<Call>,
    companies: BTreeSet<CompanyId>,
    /// Whose group it is, if it has one of its own.
    apart: Option<CompanyId>,
    again_at: Option<Instant>,
}

impl Drop for Group {
    fn drop(&mut self) {
        let now = self.door.clock.monotonic();
        let mut guard = self.door.inside();
        let inside = &mut *guard;
        if let Some((company, since)) = self.apart {
            inside
                .pace
                .worked(company, now.saturating_duration_since(since), now);
        } else {
            inside.gate.done();
        }
        for company in &self.companies {
            if let Some(groups) = inside.at_work.get_mut(company) {
                *groups -= 1;
                if *groups == 0 {
                    inside.at_work.remove(company);
                }
            }
        }
        drop(guard);
        self.door.moved.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
