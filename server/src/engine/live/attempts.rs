//! The watch for attempts: one poll for all listeners of a process.
//!
//! Promises no statement while nobody listens, and that simulated time waits for a poll that is under way but never for
//! the next one. A poll looks at what ended since the one before, less [`OVERLAP`], however far simulated time has
//! leapt between them, and tells each attempt once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{Channel, Interest, OVERLAP, Word, before, crowded, past};
use crate::engine::shared::Shared;
use crate::model::ids::{Lane, WebhookId};
use crate::model::webhook::Belonging;
use crate::store::StoreError;
use crate::store::live::{self, AttemptPlace};
use crate::store::sql::Rows;

/// How often to look, in real time: well within the second in which a subscriber hears of it.
const POLL_EVERY: Duration = Duration::from_millis(250);
/// Webhooks that one listener is watched for; one who may see more names one.
pub const MOST_WATCHED: usize = 1_000;
/// Attempts of one webhook that one poll brings: about two hundred a second.
pub const MOST_OF_WEBHOOK: usize = 1_000;
/// Attempts that one poll brings in all.
pub const MOST_IN_ALL: usize = 20_000;

/// What the polls so far have come to.
#[derive(Default)]
pub(super) struct Progress {
    /// The moment of the last poll.
    last: Option<Timestamp>,
    told: HashSet<AttemptPlace>,
}

/// Looks for attempts as long as the process lives.
pub(in crate::engine) async fn watch(shared: Arc<Shared>) {
    let mut progress = Progress::default();
    loop {
        if shared.live.interests().all.is_empty() {
            progress = Progress::default();
            shared.clock.park(shared.live.wanted.notified()).await;
            continue;
        }
        // What was not read now is read by the next poll: the window grows meanwhile.
        if let Err(error) = poll(&shared, &mut progress).await {
            tracing::warn!(%error, "attempts could not be looked for");
        }
        shared.clock.real_sleep(POLL_EVERY).await;
    }
}

async fn poll(shared: &Shared, progress: &mut Progress) -> Result<(), StoreError> {
    let interests: Vec<(u64, Interest, Timestamp)> = {
        let interests = shared.live.interests();
        let all = interests.all.iter();
        all.map(|(number, (interest, began))| (*number, interest.clone(), *began))
            .collect()
    };
    let now = shared.clock.now();
    let earliest = interests.iter().map(|(_, _, began)| *began).min().unwrap_or(now);
    let since = progress.last.map_or(earliest, |last| before(last, OVERLAP));
    let watched = watched(shared, &interests, since).await?;
    let keys: Vec<(Lane, WebhookId)> = watched.keys().copied().collect();
    let ended = if keys.is_empty() {
        Vec::new()
    } else {
        let mut conn = shared.store.conn().await?;
        live::ended_since(&mut conn, &keys, since, past(MOST_OF_WEBHOOK), past(MOST_IN_ALL)).await?
    };
    progress.tell(&shared.live.attempts, &watched, ended);
    progress.reach(now);
    Ok(())
}

/// The webhooks that anybody is interested in. A scope that others share is read once.
async fn watched(
    shared: &Shared,
    interests: &[(u64, Interest, Timestamp)],
    since: Timestamp,
) -> Result<HashMap<(Lane, WebhookId), Belonging>, StoreError> {
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
    let mut conn = shared.store.conn().await?;
    if !scopes.is_empty() {
        found.extend(readable(
            live::of_scopes(&mut conn, &scopes, since, past(MOST_WATCHED)).await?,
        ));
    }
    if !named.is_empty() {
        found.extend(readable(live::named(&mut conn, &named).await?));
    }
    for (at, scope) in scopes {
        if !is_watchable(found.iter().filter(|(of, _)| *of == at).count()) {
            let sharing = interests
                .iter()
                .filter(|(_, other, _)| other.webhook.is_none() && other.scope == *scope);
            for (number, _, _) in sharing {
                shared.live.attempts.say(Word::TooMany(*number));
            }
        }
    }
    Ok(found
        .into_iter()
        .map(|(_, belonging)| ((belonging.lane, belonging.webhook), belonging))
        .collect())
}

/// The rows that can be read. Attempts of the other webhooks are not announced: it is not known who may see them.
fn readable<T>(rows: Rows<T, WebhookId>) -> Vec<T> {
    if let Some((webhook, error)) = rows.bad.first() {
        tracing::warn!(%error, %webhook, webhooks = rows.bad.len(), "webhooks cannot be read to be watched");
    }
    rows.good
}

/// Whether a listener can be watched so many webhooks for.
pub(super) fn is_watchable(webhooks: usize) -> bool {
    webhooks <= MOST_WATCHED
}

impl Progress {
    /// Notes that a poll at `now` has told what there was, and forgets what no later one can meet again.
    pub(super) fn reach(&mut self, now: Timestamp) {
        self.last = Some(now);
        let next = before(now, OVERLAP);
        self.told.retain(|attempt| attempt.ended_at >= next);
    }

    /// Tells what is new of `ended`, and where it is not all.
    pub(super) fn tell(
        &mut self,
        channel: &Channel<AttemptPlace>,
        watched: &HashMap<(Lane, WebhookId), Belonging>,
        ended: Vec<AttemptPlace>,
    ) {
        let is_all = ended.len() <= MOST_IN_ALL;
        let of = |attempt: &AttemptPlace| attempt.delivery.key.webhook;
        let crowded = crowded(ended.iter().map(of), MOST_OF_WEBHOOK);
        for attempt in ended {
            let key = attempt.delivery.key;
            if let Some(belonging) = watched.get(&(key.lane, key.webhook))
                && self.told.insert(attempt)
            {
                channel.say(Word::Told((belonging.clone(), attempt)));
            }
        }
        for belonging in watched.values().filter(|one| crowded.contains(&one.webhook)) {
            channel.say(Word::Lost(Some(belonging.clone())));
        }
        if !is_all {
            channel.say(Word::Lost(None));
        }
    }
}
