//! The watch for attempts: one poll for all listeners of a process.
//!
//! Guarantees: no statement is sent while no one listens. Simulated time waits for a running poll, but never for the
//! next one. A poll reads the attempts that ended since [`OVERLAP`] before the previous poll, however far simulated
//! time has advanced in between. It sends each attempt once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{Audience, Channel, Hub, Interest, Missed, OVERLAP, Signal, before, past, with_more_than};
use crate::bisection::{Bisection, FIRST_TIME_OUT};
use tenterhook_clock::Clock;
use tenterhook_model::access::WebhookScope;
use tenterhook_model::ids::{Lane, WebhookId};
use tenterhook_model::webhook::WebhookOwner;
use tenterhook_store::live::{self, AttemptPlace};
use tenterhook_store::sql::Rows;
use tenterhook_store::{Store, StoreError};

/// How often to poll, in real time: well within the second in which a subscriber must be informed about an attempt.
const POLL_EVERY: Duration = Duration::from_millis(250);
/// Maximum number of webhooks watched for one listener. A listener who may see more must name one webhook.
pub const MAX_WATCHED: usize = 1_000;
/// Maximum number of attempts of one webhook per poll. A poll covers five seconds, so this is about two hundred a
/// second.
pub const MAX_OF_WEBHOOK: usize = 1_000;
/// Attempts per poll in all.
pub const MAX_IN_ALL: usize = 20_000;

/// State of the polls.
#[derive(Default)]
pub(super) struct PollProgress {
    /// The time of the last poll.
    last: Option<Timestamp>,
    sent: HashSet<AttemptPlace>,
}

/// A listener's number, its interest, and when it started to listen.
type Listening = (u64, Interest, Timestamp);

/// Polls for attempts that have ended.
pub(crate) struct AttemptWatch {
    pub hub: Arc<Hub>,
    pub store: Store,
    pub clock: Clock,
}

impl AttemptWatch {
    /// Polls for attempts until the process ends.
    pub async fn run(self) {
        let mut progress = PollProgress::default();
        loop {
            if self.hub.interests().all.is_empty() {
                progress = PollProgress::default();
                self.clock.park(self.hub.wanted.notified()).await;
                continue;
            }
            // If a poll fails, the next one reads its attempts too: its window is longer.
            if let Err(error) = self.poll(&mut progress).await {
                tracing::warn!(%error, "attempts for live subscribers could not be read; trying again");
            }
            self.clock.real_sleep(POLL_EVERY).await;
        }
    }

    async fn poll(&self, progress: &mut PollProgress) -> Result<(), StoreError> {
        let interests: Vec<Listening> = {
            let interests = self.hub.interests();
            let all = interests.all.iter();
            all.map(|(number, (interest, began))| (*number, interest.clone(), *began))
                .collect()
        };
        let now = self.clock.now();
        let earliest = interests.iter().map(|(_, _, began)| *began).min().unwrap_or(now);
        let since = progress.last.map_or(earliest, |last| before(last, OVERLAP));
        let watched = self.watched(&interests, since).await?;
        let ended = self.ended(&watched, since).await?;
        progress.announce(&self.hub.attempts, &watched, ended);
        progress.reach(now);
        Ok(())
    }

    /// The ended attempts of these webhooks. If a webhook's attempts cannot be read, the listeners who may see that
    /// webhook get a [`Missed`].
    async fn ended(
        &self,
        watched: &HashMap<(Lane, WebhookId), WebhookOwner>,
        since: Timestamp,
    ) -> Result<Vec<AttemptPlace>, StoreError> {
        let keys: Vec<(Lane, WebhookId)> = watched.keys().copied().collect();
        let (mut ended, mut lost) = (Vec::new(), Vec::new());
        if keys.is_empty() {
            return Ok(ended);
        }
        let mut conn = self.store.conn().await?;
        let mut parts = Bisection::of(keys.len()).split_when_late(FIRST_TIME_OUT, &self.store);
        while let Some((part, _)) = parts.next() {
            let (of_each, in_all) = (past(MAX_OF_WEBHOOK), past(MAX_IN_ALL));
            let read = live::ended_since(&mut conn, &keys[part], since, of_each, in_all).await;
            if let Some(read) = parts.done(read)? {
                ended.extend(read.good);
                lost.extend(read.bad);
            }
        }
        let refused = parts.refused.into_iter();
        lost.extend(refused.map(|(items, error)| (keys[items.start], error)));
        for (key, error) in lost {
            tracing::error!(%error, webhook = %key.1, "attempts of a webhook cannot be read for its live subscribers");
            let belonging = watched.get(&key).cloned();
            self.hub.attempts.report_gap(belonging.map(Audience::Webhook));
        }
        Ok(ended)
    }

    /// The webhooks that listeners are interested in. A scope that several share is read once. A listener whose interest
    /// cannot be read gets a [`Missed`].
    async fn watched(
        &self,
        interests: &[Listening],
        since: Timestamp,
    ) -> Result<HashMap<(Lane, WebhookId), WebhookOwner>, StoreError> {
        let mut scopes = Vec::new();
        let mut named = Vec::new();
        for (at, (_, interest, _)) in interests.iter().enumerate() {
            match interest.webhook {
                Some(key) => named.push((at, key)),
                None if !scopes.iter().any(|(_, scope)| *scope == &interest.scope) => {
                    scopes.push((at, &interest.scope));
                }
                None => {}
            }
        }
        let mut found = Vec::new();
        let mut conn = self.store.conn().await?;
        let mut parts = Bisection::of(scopes.len()).split_when_late(FIRST_TIME_OUT, &self.store);
        while let Some((part, _)) = parts.next() {
            let read = live::of_scopes(&mut conn, &scopes[part], since, past(MAX_WATCHED)).await;
            found.extend(parts.done(read)?.into_iter().flat_map(readable));
        }
        let mut missed = Vec::new();
        for (items, error) in parts.refused {
            tracing::error!(%error, "webhooks that a live subscriber may see cannot be read");
            missed.extend(sharing(interests, scopes[items.start].1).map(|number| (number, Missed::Lost)));
        }
        let mut parts = Bisection::of(named.len()).split_when_late(FIRST_TIME_OUT, &self.store);
        while let Some((part, _)) = parts.next() {
            let read = live::named(&mut conn, &named[part]).await;
            found.extend(parts.done(read)?.into_iter().flat_map(readable));
        }
        for (items, error) in parts.refused {
            let (at, (_, webhook)) = named[items.start];
            tracing::error!(%error, %webhook, "a webhook cannot be read for its live subscribers");
            missed.push((interests[at].0, Missed::Lost));
        }
        for (at, scope) in scopes {
            if !is_watchable(found.iter().filter(|(of, _)| *of == at).count()) {
                missed.extend(sharing(interests, scope).map(|number| (number, Missed::TooMany)));
            }
        }
        for (number, missed) in missed {
            self.hub.attempts.send(Signal::ToOne(number, missed));
        }
        Ok(found
            .into_iter()
            .map(|(_, belonging)| ((belonging.lane, belonging.webhook), belonging))
            .collect())
    }
}

/// The listeners with this scope that name no webhook.
fn sharing(interests: &[Listening], scope: &WebhookScope) -> impl Iterator<Item = u64> {
    let sharing = interests
        .iter()
        .filter(move |(_, other, _)| other.webhook.is_none() && other.scope == *scope);
    sharing.map(|(number, _, _)| *number)
}

/// The rows that can be read. Attempts of the other webhooks are not announced, because it is not known who may see
/// them.
fn readable<T>(rows: Rows<T, WebhookId>) -> Vec<T> {
    if let Some((webhook, error)) = rows.bad.first() {
        tracing::warn!(%error, %webhook, webhooks = rows.bad.len(), "webhooks cannot be read for live subscribers");
    }
    rows.good
}

/// Whether one listener can have this number of webhooks watched.
pub(super) fn is_watchable(webhooks: usize) -> bool {
    webhooks <= MAX_WATCHED
}

impl PollProgress {
    /// Notes that a poll at `now` has sent its attempts. Forgets those that no later poll can read again.
    pub(super) fn reach(&mut self, now: Timestamp) {
        self.last = Some(now);
        let next = before(now, OVERLAP);
        self.sent.retain(|attempt| attempt.ended_at >= next);
    }

    /// Sends the new attempts in `ended`, and reports gaps.
    pub(super) fn announce(
        &mut self,
        channel: &Channel<AttemptPlace>,
        watched: &HashMap<(Lane, WebhookId), WebhookOwner>,
        ended: Vec<AttemptPlace>,
    ) {
        let is_all = ended.len() <= MAX_IN_ALL;
        let of = |attempt: &AttemptPlace| attempt.delivery.key.webhook;
        let with_more_than = with_more_than(ended.iter().map(of), MAX_OF_WEBHOOK);
        for attempt in ended {
            let key = attempt.delivery.key;
            if let Some(belonging) = watched.get(&(key.lane, key.webhook))
                && self.sent.insert(attempt)
            {
                channel.send(Signal::Message((belonging.clone(), attempt)));
            }
        }
        for belonging in watched
            .values()
            .filter(|one| with_more_than.contains(&one.webhook))
        {
            channel.send(Signal::Gap(Audience::Webhook(belonging.clone())));
        }
        if !is_all {
            channel.send(Signal::Gap(Audience::All));
        }
    }
}
