//! The checks after every step of a history, and at its end.
//!
//! Each check compares what receivers got and what the server shows with every state that the policy allows, and names
//! what disagrees. The checks change nothing in the world.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::Run;
use crate::client::{Client, Delivery, Refusal, WebhookList};
use crate::coverage::life;
use crate::explore::answered::Answered;
use crate::explore::plan::{APPS, USERS, Who};
use crate::explore::shadow::{Shadow, agrees};
use crate::model::{self, Standing, retry_at};
use crate::scenario::{Play, holds, same};
use crate::world::AppSees;

const MICROSECOND: SignedDuration = SignedDuration::from_micros(1);

impl Run<'_> {
    /// Reads the requests that receivers got since the last call. Checks each against the state that its webhook had
    /// then.
    pub(super) fn listen(&mut self) -> Play {
        let new: Vec<Answered> = {
            let receiver_state = self.receiver_state.lock().unwrap_or_else(PoisonError::into_inner);
            receiver_state.answered[self.heard..].to_vec()
        };
        self.heard += new.len();
        for answered in new {
            let known = self
                .shadows
                .iter_mut()
                .find(|shadow| shadow.made.number == answered.webhook);
            let Some(shadow) = known else {
                return holds("a request", "sent to a webhook that exists", false, &answered);
            };
            shadow.advance(answered.at - MICROSECOND, &self.numbers, &mut self.coverage);
            self.coverage.rule("B4");
            holds(
                "a request, by the state of its webhook",
                "nothing is sent in a ban, in a pause or after removal (B4, W13, R3, W8)",
                shadow.may_be_called(answered.at, &self.numbers),
                &(&answered, &shadow.states),
            )?;
            self.coverage.rule("E3");
            holds(
                "a request's event",
                "published for this webhook (E2)",
                shadow.owed.contains_key(&answered.event),
                &answered,
            )?;
            let due = match shadow.ended.get(&answered.event) {
                None => (1, shadow.owed.get(&answered.event).copied()),
                Some((number, end, false)) => (number + 1, retry_at(*number, *end, &self.numbers)),
                Some((number, _, true)) => (*number, None),
            };
            self.coverage.rule("D5");
            holds(
                "a request's attempt number and moment",
                &format!("attempt {}, not before {:?} (D4)", due.0, due.1),
                answered.number == due.0 && due.1.is_some_and(|due| due <= answered.at),
                &answered,
            )?;
            let in_pause = |due| shadow.states.iter().all(|state| state.was_due_in_pause(due));
            holds(
                "a request's due time",
                "not in the webhook's last pause, in which the delivery was lost (W13)",
                !due.1.is_some_and(in_pause),
                &(&answered, due, &shadow.states),
            )?;
            shadow
                .on_the_wire
                .insert((answered.event.clone(), answered.number), answered);
        }
        Ok(())
    }

    /// Compares what the server shows with what the policy allows.
    pub(super) async fn look(&mut self, lists: bool) -> Play {
        self.world.settle().await;
        self.listen()?;
        let now = self.world.now();
        let company = self.world.company(1).id().to_string();
        let all = WebhookList {
            filter: Some(json!({"companyId": company, "includeRemoved": true})),
            ..WebhookList::default()
        };
        let shown = self.world.operator().glances(all).await?;
        for shadow in &mut self.shadows {
            shadow.advance(now, &self.numbers, &mut self.coverage);
            let Some(shown) = shown.iter().find(|webhook| webhook.id == shadow.made.id) else {
                let kept = |state: &model::Webhook| match state.standing {
                    Standing::Removed { at, .. } => now < at + self.numbers.removed_retention,
                    Standing::Live | Standing::Paused => true,
                };
                holds(
                    "a webhook that is not shown",
                    "removed thirty days ago (W12)",
                    !shadow.states.iter().any(kept),
                    &shadow.states,
                )?;
                continue;
            };
            self.coverage.rule("R5");
            self.coverage.rule("R2");
            let fits = shadow.narrow(|state| agrees(state, shown, now, &self.numbers));
            holds(
                format!("webhook {} at {now}", shadow.made.number),
                &format!("one of {:#?}", shadow.states),
                fits,
                &(&shown.health, shown.removed_at, &shown.remove_reason),
            )?;
            let overdue = shadow.overdue(now, &self.numbers);
            same(
                format!("retries to webhook {} that are overdue", shadow.made.number),
                overdue,
                None,
            )?;
            shadow.note_calm(now, &self.numbers);
        }
        if lists { self.look_at_lists().await } else { Ok(()) }
    }

    /// Checks limits and visibility (W3, W4), and the identity of D7.
    async fn look_at_lists(&mut self) -> Play {
        let tally = self.world.tally().await;
        self.coverage.rule("D7");
        holds(
            "the sums of D7",
            "accepted = succeeded + failed + lost + cancelled + open",
            tally.is_conserved(),
            &tally,
        )?;
        for user in USERS {
            let general = |shadow: &&Shadow| shadow.is_live() && shadow.who == Who::User(user);
            let mine: BTreeSet<String> = self
                .shadows
                .iter()
                .filter(general)
                .map(|m| m.made.id.clone())
                .collect();
            let caller = self.world.company(1).user(user);
            let quota = caller.quota("GENERAL", None).await?;
            self.coverage.rule("W3");
            same(
                format!("places that user {user} uses"),
                quota.used as usize,
                mine.len(),
            )?;
            self.sees(&format!("user {user}"), &caller, &mine).await?;
            for (app, name) in APPS.iter().enumerate() {
                if !self.installed.contains(&(user, app)) {
                    continue;
                }
                let own = |shadow: &&Shadow| shadow.is_live() && shadow.who == Who::App(user, app);
                let mut visible = match self.app_sees {
                    AppSees::Application => BTreeSet::new(),
                    AppSees::OwnGeneral => mine.clone(),
                };
                visible.extend(
                    self.shadows
                        .iter()
                        .filter(own)
                        .map(|shadow| shadow.made.id.clone()),
                );
                let caller = self.world.company(1).app(name).acting_for(user);
                let who = format!("{name} for user {user}, which sees {:?}", self.app_sees);
                self.sees(&who, &caller, &visible).await?;
            }
        }
        Ok(())
    }

    async fn sees(&mut self, who: &str, caller: &Client, expected: &BTreeSet<String>) -> Play {
        let list = caller.glances(WebhookList::default()).await?;
        let seen: BTreeSet<String> = list.into_iter().map(|webhook| webhook.id).collect();
        self.coverage.rule("W4");
        same(format!("what {who} sees"), &seen, expected)
    }

    /// Checks at the end that every accepted event is accounted for, with the attempts that receivers saw.
    pub(super) async fn account(&mut self) -> Play {
        self.look(true).await?;
        let operator = self.world.operator();
        let mut lives = Vec::new();
        for shadow in &self.shadows {
            let deliveries = match operator.deliveries(&shadow.made.id).await {
                Err(refusal @ Refusal::Transport(_)) => return Err(refusal.into()),
                answer => answer?,
            };
            if deliveries.is_empty() {
                // The webhook was deleted 30 days after its removal. The check of D7 still counts its deliveries.
                continue;
            }
            lives.push(life(self.world, &shadow.made, &deliveries).await?);
            let now = self.world.now();
            // Deliveries are deleted 30 days after their event, by day. Younger ones must still exist.
            let young = |at: &Timestamp| {
                now.duration_since(*at) < self.numbers.removed_retention - SignedDuration::from_hours(48)
            };
            for (event, at) in shadow.owed.iter().filter(|(_, at)| young(at)) {
                let of: Vec<&Delivery> = deliveries
                    .iter()
                    .filter(|delivery| delivery.event.event_id == *event)
                    .collect();
                self.coverage.rule("D7");
                holds(
                    format!("deliveries of the event published at {at}"),
                    "one, which agrees with what its receiver saw",
                    of.len() == 1 && of.iter().all(|delivery| is_accounted_for(delivery, shadow)),
                    &(of, shadow.ended.get(event), shadow.counted.get(event)),
                )?;
            }
        }
        let complaints = self.world.complaints().await;
        self.coverage.rule("E7");
        same("what is wrong with any request or count", complaints, Vec::new())?;
        self.coverage.webhooks(&lives);
        Ok(())
    }
}

/// Whether the delivery's status and attempts agree with what the receiver saw and with the possible states of the
/// webhook.
fn is_accounted_for(delivery: &Delivery, shadow: &Shadow) -> bool {
    let event = &delivery.event.event_id;
    let counted = shadow.counted.get(event).copied().unwrap_or(0);
    let last = shadow.ended.get(event).map(|(_, _, succeeded)| *succeeded);
    let removed = shadow
        .states
        .iter()
        .any(|state| matches!(state.standing, Standing::Removed { .. }));
    let recorded = delivery.attempts.len() == usize::from(counted)
        // The attempt had its response when all servers crashed, and failures of other attempts began a ban. It is not
        // repeated (D6, B4).
        || (shadow.cut_off.contains(&(event.clone(), counted))
            && delivery.attempts.len() + 1 == usize::from(counted)
            && delivery.reason.as_deref() == Some("BANNED")
            && delivery.finished_at == shadow.ended.get(event).map(|(_, at, _)| *at));
    let ended = match delivery.status.as_str() {
        "SUCCEEDED" => last == Some(true),
        "FAILED" => counted == 4 && last == Some(false),
        "LOST" => last != Some(true) && matches!(delivery.reason.as_deref(), Some("BANNED" | "PAUSED")),
        // Restoring a webhook cancels the deliveries that were pending before.
        "CANCELLED" => last != Some(true) && (removed || shadow.calm_since > shadow.made.created_at),
        "PENDING" => last != Some(true) && !removed,
        _ => false,
    };
    recorded && ended
}
