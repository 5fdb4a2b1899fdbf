//! Deliveries over time: attempts that are due are sent, lost or cancelled, and results of attempts update the model.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::{SignedDuration, Timestamp};
use tenterhook_harness::model::{RemoveReason, State as Health, Step, postponed_until, retry_at};
use tenterhook_harness::realtime;

use super::state::{Ending, State, Tried};
use super::view::removed;
use super::{Bend, Fake};

/// Most concurrent attempts of one webhook.
const AT_ONCE: usize = 8;

impl Fake {
    /// Sends, loses or cancels every attempt that is due.
    pub fn pump(self: &Arc<Self>, state: &mut State) {
        for place in 0..state.deliveries.len() {
            let delivery = &state.deliveries[place];
            if delivery.status != "PENDING" || delivery.due > state.now || state.flights.contains_key(&place)
            {
                continue;
            }
            let (hook, due, number) = (delivery.hook, delivery.due, delivery.number);
            match state.health(hook) {
                Health::Removed => {}
                Health::Paused => state.finish(place, "LOST", Some("PAUSED")),
                _ if state.hooks[hook].model.was_due_in_pause(due) => {
                    state.finish(place, "LOST", Some("PAUSED"))
                }
                Health::Banned if state.is_lost(hook, due, number) => state.lose(place),
                _ => {
                    let busy = state
                        .flights
                        .keys()
                        .filter(|flight| state.deliveries[**flight].hook == hook);
                    if busy.count() < AT_ONCE {
                        self.send(state, place);
                    }
                }
            }
        }
    }

    /// Waits until all attempts in flight are stalled. Returns whether that happened.
    pub async fn settle(self: &Arc<Self>) -> bool {
        loop {
            let changed = self.changed.notified();
            {
                let mut state = self.lock();
                self.pump(&mut state);
                if state.is_quiet() {
                    return true;
                }
            }
            if realtime::within(realtime::PATIENCE, changed).await.is_none() {
                return false;
            }
        }
    }

    /// Moves time from one due moment to the next. Returns whether everything that became due has settled.
    pub async fn advance(self: &Arc<Self>, by: SignedDuration) -> bool {
        let _turn = self.moving.lock().await;
        let target = self.lock().now + by;
        loop {
            if !self.settle().await {
                return false;
            }
            let mut state = self.lock();
            if state.now == target {
                return true;
            }
            let next = state.next_due().unwrap_or(target).min(target);
            state.move_to(next);
        }
    }

    /// Handles the end of an attempt that ended by itself.
    pub fn landed(self: &Arc<Self>, place: usize, number: u8, ending: &Ending) {
        let mut state = self.lock();
        let expected = state.deliveries[place].number == number;
        if expected && let Some(flight) = state.flights.remove(&place) {
            state.ended(place, flight.started, ending);
        }
        self.pump(&mut state);
        drop(state);
        self.changed.notify_waiters();
    }
}

impl State {
    /// Sets the time. Applies the policy's steps first, because a boundary belongs to the later state (T2).
    fn move_to(&mut self, now: Timestamp) {
        self.now = now;
        for hook in 0..self.hooks.len() {
            if self.hooks[hook]
                .model
                .next_step(&self.numbers)
                .is_some_and(|step| step.at() <= now)
            {
                self.advance_hook(hook);
            }
        }
        let late: Vec<usize> = self
            .flights
            .iter()
            .filter(|(_, flight)| flight.deadline <= now)
            .map(|(place, _)| *place)
            .collect();
        for place in late {
            if let Some(flight) = self.flights.remove(&place) {
                flight.work.abort();
                let unheard =
                    flight.looking_up.load(Ordering::SeqCst) && self.names.are_silent(now, &self.numbers);
                if unheard && !self.bends(Bend::SilentNameServersAreAFailure) {
                    self.postpone(place);
                } else {
                    self.ended(place, flight.started, &Ending::failed("TIMEOUT"));
                }
            }
        }
    }

    /// Postpones a delivery whose attempt failed because no name server responds (D13).
    fn postpone(&mut self, place: usize) {
        let delivery = &mut self.deliveries[place];
        delivery.due = postponed_until(delivery.times_postponed, self.now, &self.numbers);
        delivery.times_postponed += 1;
    }

    fn advance_hook(&mut self, hook: usize) {
        let in_ban = self.hooks[hook].model.ban.is_some();
        let due = self.hooks[hook].model.next_step(&self.numbers);
        if let Some(Step::Removed { .. }) = due
            && (self.bends(Bend::NoRemovalInABan) && in_ban
                || self.bends(Bend::RemovalIsAtTheNextRequest)
                || self.bends(Bend::OnlyGeneralWebhooksAreRemoved) && self.hooks[hook].app.is_some())
        {
            self.hooks[hook].model.failing_since = Some(self.now);
            return;
        }
        let counter = self.hooks[hook].model.counter;
        let steps = self.hooks[hook].model.advance(self.now, &self.numbers);
        self.follow(hook, &steps, counter);
    }

    /// Applies the consequences of the model's steps in the fake itself.
    fn follow(&mut self, hook: usize, steps: &[Step], counter: u32) {
        for step in steps {
            match *step {
                Step::BanStarted { at, .. } => {
                    self.hooks[hook].lost = 0;
                    if self.bends(Bend::BanRestartsTheWindow) {
                        self.hooks[hook].model.failing_since = Some(at);
                    }
                }
                Step::BanEnded { .. } if self.bends(Bend::BanEndKeepsTheCounter) => {
                    self.hooks[hook].model.counter = counter;
                }
                Step::Removed { .. } if !self.bends(Bend::RemovalKeepsThePending) => self.cancel(hook),
                _ => {}
            }
        }
    }

    /// Removes a webhook, and cancels its pending deliveries.
    pub fn remove(&mut self, hook: usize, reason: RemoveReason) {
        if !removed(&self.hooks[hook].model.standing) {
            self.hooks[hook].model.remove(self.now, reason, &self.numbers);
            if reason != RemoveReason::AppUninstalled || !self.bends(Bend::UninstallingKeepsThePending) {
                self.cancel(hook);
            }
        }
    }

    fn cancel(&mut self, hook: usize) {
        for place in 0..self.deliveries.len() {
            let delivery = &self.deliveries[place];
            if delivery.hook == hook && delivery.status == "PENDING" && !self.flights.contains_key(&place) {
                self.finish(place, "CANCELLED", Some("WEBHOOK_REMOVED"));
            }
        }
    }

    fn finish(&mut self, place: usize, status: &'static str, reason: Option<&'static str>) {
        let delivery = &mut self.deliveries[place];
        (delivery.status, delivery.reason, delivery.finished) = (status, reason, Some(self.now));
    }

    /// Whether the attempt of a banned webhook is lost (B4).
    fn is_lost(&self, hook: usize, due: Timestamp, number: u8) -> bool {
        let sent_after_all = self.bends(Bend::SendsInABan) || self.bends(Bend::RetriesInABan) && number > 1;
        !sent_after_all && self.hooks[hook].model.ban.is_some_and(|ban| due < ban.until)
    }

    fn lose(&mut self, place: usize) {
        let hook = self.deliveries[place].hook;
        let model = &mut self.hooks[hook].model;
        match self.bend {
            Some(Bend::KeepsForAfterTheBan) => {
                if let Some(ban) = model.ban {
                    self.deliveries[place].due = ban.until;
                }
                return;
            }
            Some(Bend::LossesOpenAWindow) if model.failing_since.is_none() => {
                model.failing_since = Some(self.now)
            }
            _ => {}
        }
        self.finish(place, "LOST", Some("BANNED"));
        if !self.bends(Bend::CountsNoLosses) {
            self.hooks[hook].lost += 1;
        }
    }

    /// Records the end of an attempt that started at `started`.
    fn ended(&mut self, place: usize, started: Timestamp, ending: &Ending) {
        let delivery = &mut self.deliveries[place];
        let (hook, number) = (delivery.hook, delivery.number);
        let best = if self.bend == Some(Bend::BelowFourHundredIsSuccess) {
            400
        } else {
            300
        };
        let is_good = |status: u16| {
            (200..best).contains(&status)
                || status == 101 && self.bend == Some(Bend::SwitchingProtocolsIsASuccess)
        };
        let succeeded = ending.class.is_none() && ending.status.is_some_and(is_good);
        let class = if succeeded {
            None
        } else {
            ending.class.or(Some("STATUS"))
        };
        let (status, ended) = (ending.status, self.now);
        delivery.attempts.push(Tried {
            number,
            started,
            ended,
            status,
            class,
        });
        let owner = &mut self.hooks[hook];
        (owner.last_attempt, owner.last_status, owner.last_class) = (Some(ended), status, class);
        if succeeded {
            owner.last_success = Some(ended);
        }
        self.judge(hook, started, number, succeeded, class);
        let gone = removed(&self.hooks[hook].model.standing);
        let retry = self.retry(place, started, ending);
        match retry {
            _ if succeeded && !self.bends(Bend::RetriesASuccess) => self.finish(place, "SUCCEEDED", None),
            _ if gone && !self.bends(Bend::RetriesAfterUninstalling) => {
                self.finish(place, "CANCELLED", Some("WEBHOOK_REMOVED"))
            }
            Some(due) => {
                let delivery = &mut self.deliveries[place];
                (delivery.due, delivery.number) = (due, number + 1);
            }
            None => self.finish(place, "FAILED", Some("EXHAUSTED")),
        }
        if status == Some(410) && self.bends(Bend::GoneRemoves) {
            self.remove(hook, RemoveReason::NoSuccessfulDelivery);
        }
    }

    /// When the next attempt is due, if there is one.
    fn retry(&self, place: usize, started: Timestamp, ending: &Ending) -> Option<Timestamp> {
        let delivery = &self.deliveries[place];
        let final_answer = ending.status.is_some_and(|status| (400..500).contains(&status));
        if final_answer && self.bends(Bend::ClientErrorsAreFinal) {
            return None;
        }
        let from = match self.bend {
            Some(Bend::RetriesFromTheFirstEnd) => {
                delivery.attempts.first().map_or(started, |first| first.ended)
            }
            Some(Bend::RetriesFromTheStart) => started,
            _ => self.now,
        };
        let due = retry_at(delivery.number, from, &self.numbers)?;
        match ending.retry_after {
            Some(wait) if self.bends(Bend::HonoursRetryAfter) => Some(due.max(self.now + wait)),
            _ => Some(due.max(self.now)),
        }
    }

    /// Reports the attempt to the model, and changes the result according to the bend.
    fn judge(
        &mut self,
        hook: usize,
        started: Timestamp,
        number: u8,
        succeeded: bool,
        class: Option<&'static str>,
    ) {
        let counted = match (self.bend, class) {
            (Some(Bend::CountsRetries), _) => 1,
            (Some(Bend::TimeoutsDoNotCount), Some("TIMEOUT")) => 2,
            (Some(Bend::RefusedConnectionsDoNotCount), Some("CONNECT")) => 2,
            (Some(Bend::OnlyTheFirstWebhookIsBanned), _) => {
                let company = &self.hooks[hook].company;
                let first = self.hooks.iter().position(|other| other.company == *company);
                if first == Some(hook) { number } else { 2 }
            }
            (Some(Bend::OnlyGeneralWebhooksAreBanned), _) if self.hooks[hook].app.is_some() => 2,
            (Some(Bend::RetriesOfApplicationWebhooksCount), _) if self.hooks[hook].app.is_some() => 1,
            _ => number,
        };
        let before = self.hooks[hook].model.clone();
        let steps = self.hooks[hook]
            .model
            .attempt_ended(self.now, counted, succeeded, &self.numbers);
        self.follow(hook, &steps, before.counter);
        let now = self.now;
        let banned_by_now = |step: &Step| matches!(step, Step::BanStarted { .. });
        let model = &mut self.hooks[hook].model;
        let in_ban = before.ban.is_some() && model.ban.is_some();
        match self.bend {
            Some(Bend::SuccessResetsTheCounter) if succeeded && model.ban.is_none() => model.counter = 0,
            Some(Bend::LateSuccessLiftsTheBan) if succeeded && in_ban => {
                (model.ban, model.counter) = (None, 0)
            }
            Some(Bend::LateFailureProlongsTheBan) if !succeeded && in_ban => {
                model
                    .ban
                    .iter_mut()
                    .for_each(|ban| ban.until = now + self.numbers.ban);
            }
            Some(Bend::CountsOverTenInABan) if !succeeded && in_ban && number == 1 => model.counter += 1,
            Some(Bend::BanCountsFromTheStart) if steps.iter().any(banned_by_now) => {
                model
                    .ban
                    .iter_mut()
                    .for_each(|ban| ban.until = started + self.numbers.ban);
            }
            Some(Bend::WindowOutlivesSuccess) if succeeded => model.failing_since = before.failing_since,
            Some(Bend::OnlyFirstTriesOpenAWindow) if number > 1 => {
                model.failing_since = before.failing_since.filter(|_| !succeeded);
            }
            Some(Bend::OnlyFirstTriesEndAWindow) if number > 1 && succeeded => {
                model.failing_since = before.failing_since;
            }
            Some(Bend::EveryFailureRestartsTheWindow) if !succeeded => model.failing_since = Some(now),
            Some(Bend::OneCounterForAUser) if !succeeded && number == 1 => {
                let (counter, ban) = (model.counter, model.ban);
                let user = (self.hooks[hook].company.clone(), self.hooks[hook].user.clone());
                for other in self
                    .hooks
                    .iter_mut()
                    .filter(|other| (&other.company, &other.user) == (&user.0, &user.1))
                {
                    (other.model.counter, other.model.ban) = (counter, ban);
                }
            }
            _ => {}
        }
    }
}
