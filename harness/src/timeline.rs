//! The life of each webhook of a world, read from the server and completed by the reference model.
//!
//! A timeline shows attempts and endings as the server recorded them. Next to them it shows counter, bans and windows
//! that the model computes from those attempts, so that a disagreement is visible. Only the first few webhooks of a
//! world are read. This module does not judge.

use jiff::Timestamp;

use crate::client::{Client, Delivery, Health, Refusal, Webhook};
use crate::model::{self, Numbers, Step};
use crate::run::{Ended, Interval, Timeline, Tried};
use crate::world::World;

/// Most webhooks per world: more would not make the report clearer.
const WEBHOOKS: usize = 8;

/// The timelines of the webhooks that the world's callers created. Webhooks that cannot be read any more are left out.
pub async fn of(world: &World) -> Vec<Timeline> {
    let operator = world.operator();
    let mut timelines = Vec::new();
    for made in world.log().made().iter().take(WEBHOOKS) {
        if let Ok(Some(timeline)) = gather(world, &operator, made).await {
            timelines.push(timeline);
        }
    }
    timelines
}

async fn gather(world: &World, operator: &Client, made: &Webhook) -> Result<Option<Timeline>, Refusal> {
    let Some(webhook) = operator.webhook(&made.id).await? else {
        return Ok(None);
    };
    let deliveries = operator.deliveries(&made.id).await?;
    let mut timeline = Timeline {
        webhook: webhook.number,
        url: webhook.subscription_url,
        from: made.created_at,
        to: world.now(),
        attempts: tried(&deliveries),
        ended: ended(&deliveries),
        counter: Vec::new(),
        bans: Vec::new(),
        windows: Vec::new(),
        removed: webhook.removed_at.zip(webhook.remove_reason),
        looks: Vec::new(),
    };
    for look in world.log().looks() {
        if look.webhook == made.id {
            timeline.looks.push((look.at, said(&look.health)));
        }
    }
    complete(&mut timeline);
    Ok(Some(timeline))
}

fn tried(deliveries: &[Delivery]) -> Vec<Tried> {
    let attempt = |delivery: &Delivery| {
        let event = delivery.event.event_id.clone();
        let of = delivery.attempts.clone().into_iter();
        of.map(move |attempt| Tried {
            event: event.clone(),
            number: attempt.number,
            started: attempt.started_at,
            ended: attempt.ended_at,
            status: attempt.http_status,
            error_class: attempt.error_class,
        })
    };
    let mut attempts: Vec<Tried> = deliveries.iter().flat_map(attempt).collect();
    attempts.sort_by_key(|attempt| attempt.started);
    attempts
}

fn ended(deliveries: &[Delivery]) -> Vec<Ended> {
    let ending = |delivery: &Delivery| {
        matches!(delivery.status.as_str(), "LOST" | "CANCELLED").then(|| Ended {
            event: delivery.event.event_id.clone(),
            at: delivery.finished_at.unwrap_or(delivery.created_at),
            status: delivery.status.clone(),
            reason: delivery.reason.clone().unwrap_or_default(),
        })
    };
    let mut endings: Vec<Ended> = deliveries.iter().filter_map(ending).collect();
    endings.sort_by_key(|ending| ending.at);
    endings
}

/// Applies the recorded attempts to the model, in the order of their ends.
fn complete(timeline: &mut Timeline) {
    let numbers = Numbers::default();
    let mut webhook = model::Webhook::new();
    let mut results: Vec<(Timestamp, u8, bool)> = timeline
        .attempts
        .iter()
        .map(|attempt| (attempt.ended, attempt.number, attempt.error_class.is_none()))
        .collect();
    results.sort_by_key(|(ended, ..)| *ended);
    for (ended, number, succeeded) in results {
        let steps = webhook.attempt_ended(ended, number, succeeded, &numbers);
        note(timeline, &steps);
        let counted = timeline.counter.last().map_or(0, |(_, count)| *count);
        if webhook.counter != counted {
            timeline.counter.push((ended, webhook.counter));
        }
    }
    let steps = webhook.advance(timeline.to, &numbers);
    note(timeline, &steps);
}

fn note(timeline: &mut Timeline, steps: &[Step]) {
    let close = |intervals: &mut Vec<Interval>, at: Timestamp| {
        if let Some(open) = intervals.last_mut().filter(|open| open.to.is_none()) {
            open.to = Some(at);
        }
    };
    for step in steps {
        match *step {
            Step::BanStarted { at, .. } => timeline.bans.push(Interval { from: at, to: None }),
            Step::BanEnded { at } => {
                close(&mut timeline.bans, at);
                timeline.counter.push((at, 0));
            }
            Step::WindowOpened { at } => timeline.windows.push(Interval { from: at, to: None }),
            Step::Recovered { at, .. } => close(&mut timeline.windows, at),
            Step::Removed { at } => {
                close(&mut timeline.windows, at);
                close(&mut timeline.bans, at);
            }
            Step::Warned { .. } => {}
        }
    }
}

fn said(health: &Health) -> String {
    let mut text = format!("{}, counter {}", health.state, health.ban_counter);
    if let Some(until) = health.banned_until {
        text.push_str(&format!(", banned until {until:.3}"));
    }
    if let Some(since) = health.failing_since {
        text.push_str(&format!(", failing since {since:.3}"));
    }
    text
}
