//! When to look for due deliveries, per webhook. These are hints.
//!
//! A superfluous hint costs an empty claim. If a hint is missing, the next search finds the deliveries. So nothing
//! depends on a complete schedule.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::Notify;

use tenterhook_model::ids::{Lane, WebhookId};

/// Bound on the webhooks with a hint. Above it, the hint with the latest time is dropped, and the next search finds that
/// webhook.
pub const MAX_SCHEDULED: usize = 100_000;

/// The schedule, as tasks share it, and the claimer's wake-up.
#[derive(Debug, Default)]
pub(crate) struct WakeSchedule {
    times: Mutex<DueTimes>,
    /// There is a new hint, or room.
    changed: Notify,
}

impl WakeSchedule {
    /// Notes when deliveries of webhooks become visible, and wakes the claimer.
    pub fn schedule(&self, hints: impl IntoIterator<Item = (Lane, WebhookId, Timestamp)>) {
        let mut noted = false;
        {
            let mut times = self.times();
            for (lane, webhook, at) in hints {
                times.schedule(lane, webhook, at);
                noted = true;
            }
        }
        if noted {
            self.changed.notify_one();
        }
    }

    /// Takes up to `limit` webhooks that are due at `now` and have room by `room`.
    pub fn take_due(
        &self,
        now: Timestamp,
        limit: usize,
        room: impl Fn(WebhookId) -> usize,
    ) -> Vec<(Lane, WebhookId, usize)> {
        self.times().take_due(now, limit, room)
    }

    /// When to look next. Webhooks without room do not count.
    pub fn next(&self) -> Option<Timestamp> {
        self.times().next()
    }

    /// Notes that there may be more room for deliveries. Wakes the claimer if a webhook waits for it.
    pub fn note_room(&self) {
        if self.times().waits_for_room() {
            self.changed.notify_one();
        }
    }

    /// Wakes the claimer without a hint: it notices that the process stops.
    pub fn wake_claimer(&self) {
        self.changed.notify_one();
    }

    /// Waits until there is a new hint or room, or the process stops.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    fn times(&self) -> MutexGuard<'_, DueTimes> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The earliest known due time of each webhook that has one.
#[derive(Debug, Default)]
struct DueTimes {
    by_time: BTreeSet<(Timestamp, WebhookId)>,
    by_webhook: HashMap<WebhookId, (Lane, Timestamp)>,
    /// Webhooks with due deliveries but without room. They are looked at again when there is room, not when time passes.
    full: HashSet<WebhookId>,
}

impl DueTimes {
    /// Notes that the webhook has a delivery due at `at`. An earlier hint stays.
    fn schedule(&mut self, lane: Lane, webhook: WebhookId, at: Timestamp) {
        if let Some((_, known)) = self.by_webhook.get(&webhook) {
            if *known <= at {
                return;
            }
            self.by_time.remove(&(*known, webhook));
        }
        self.by_webhook.insert(webhook, (lane, at));
        if !self.full.contains(&webhook) {
            self.by_time.insert((at, webhook));
        }
        if self.by_webhook.len() > MAX_SCHEDULED
            && let Some((_, last)) = self.by_time.pop_last()
        {
            self.by_webhook.remove(&last);
        }
    }

    /// Takes up to `limit` webhooks that are due at `now` and have room by `room`.
    fn take_due(
        &mut self,
        now: Timestamp,
        limit: usize,
        room: impl Fn(WebhookId) -> usize,
    ) -> Vec<(Lane, WebhookId, usize)> {
        let freed: Vec<WebhookId> = self
            .full
            .iter()
            .copied()
            .filter(|webhook| room(*webhook) > 0)
            .collect();
        for webhook in freed {
            self.full.remove(&webhook);
            if let Some((_, at)) = self.by_webhook.get(&webhook) {
                self.by_time.insert((*at, webhook));
            }
        }
        let mut taken = Vec::new();
        while taken.len() < limit {
            let Some((at, webhook)) = self.by_time.first().copied().filter(|(at, _)| *at <= now) else {
                break;
            };
            self.by_time.remove(&(at, webhook));
            let space = room(webhook);
            if space == 0 {
                self.full.insert(webhook);
            } else if let Some((lane, _)) = self.by_webhook.remove(&webhook) {
                taken.push((lane, webhook, space));
            }
        }
        taken
    }

    /// When to look next. Webhooks without room do not count.
    fn next(&self) -> Option<Timestamp> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Whether any webhook waits for room.
    fn waits_for_room(&self) -> bool {
        !self.full.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn the_earlier_hint_stays() {
        let mut schedule = DueTimes::default();
        let webhook = WebhookId::new(at(0));
        schedule.schedule(Lane(3), webhook, at(5));
        schedule.schedule(Lane(3), webhook, at(9));
        assert_eq!(schedule.next(), Some(at(5)));
        schedule.schedule(Lane(3), webhook, at(2));
        assert_eq!(schedule.next(), Some(at(2)));
        assert!(schedule.take_due(at(1), 10, |_| 7).is_empty());
        assert_eq!(schedule.take_due(at(2), 10, |_| 7), [(Lane(3), webhook, 7)]);
        assert_eq!(schedule.next(), None);
    }

    #[test]
    fn scheduled_webhooks_are_bounded_and_the_latest_is_dropped() {
        let mut schedule = DueTimes::default();
        for second in 0..=MAX_SCHEDULED as i64 {
            schedule.schedule(Lane(1), WebhookId::new(at(second)), at(second));
        }
        let all = schedule.take_due(at(MAX_SCHEDULED as i64), MAX_SCHEDULED + 1, |_| 1);
        assert_eq!(all.len(), MAX_SCHEDULED);
        let last = all.last().map(|(_, webhook, _)| webhook.0.get_timestamp());
        let second = |at: Timestamp| at.as_second() as u64;
        assert_eq!(
            last.flatten().map(|at| at.to_unix().0),
            Some(second(at(MAX_SCHEDULED as i64 - 1)))
        );
    }

    #[test]
    fn a_webhook_without_room_waits_for_room_and_not_for_time() {
        let mut schedule = DueTimes::default();
        let (full, free) = (WebhookId::new(at(0)), WebhookId::new(at(0)));
        schedule.schedule(Lane(1), full, at(1));
        schedule.schedule(Lane(1), free, at(2));
        let room = |webhook| usize::from(webhook == free);
        assert_eq!(schedule.take_due(at(3), 10, room), [(Lane(1), free, 1)]);
        assert_eq!(schedule.next(), None);
        assert!(schedule.waits_for_room());
        schedule.schedule(Lane(1), full, at(0));
        assert_eq!(schedule.next(), None);
        assert_eq!(schedule.take_due(at(3), 10, |_| 2), [(Lane(1), full, 2)]);
        assert!(!schedule.waits_for_room());
    }
}
