//! What live subscribers are told: webhooks that changed, notices that were posted, attempts that were recorded, by
//! whichever process.
//!
//! Promises that every process tells its subscribers within a second, that nothing waits for a slow one, and that one
//! that falls more than [`MOST_UNHEARD`] behind, or for whom something could not be followed, is told so
//! ([`Missed`]) rather than left with a gap. That costs nothing while nobody listens: notices are read and attempts
//! looked for only then. Each is told once while the process lives.
//!
//! Webhooks come from the changes feed, and with each its new notices, which are written in the announcing
//! transaction. Attempts are not announced, for that would cost the queue its rate: [`watch`] polls for them.
//!
//! Does not promise what happened before a subscriber came: it hears of transitions and attempts' ends from its own
//! beginning on. Nor what is written down late: an attempt recorded more than [`OVERLAP`] after its end, or a notice
//! more than [`NOTICE_OVERLAP`] after its transition, with a read in between, is in the log and not told. Nor whose
//! eyes something is for: a subscriber is given whose the webhook is, and asks the store as its caller may.

mod announcements;
mod attempts;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, broadcast};

pub(super) use self::announcements::tell;
pub(super) use self::attempts::watch;
use super::shared::Shared;
use tenterhook_model::access::WebhookScope;
use tenterhook_model::ids::{CompanyId, Lane, NoticeId, WebhookId};
use tenterhook_model::notice::Notice;
use tenterhook_model::webhook::Belonging;
use tenterhook_policy::access;
use tenterhook_store::health::Unread;
use tenterhook_store::live::AttemptPlace;

/// How far a listener may be behind what its process is told. A power of two, or the channel would allow more.
pub const MOST_UNHEARD: usize = 4_096;
/// How much one listener takes at once, so that one read serves for all of it.
pub const MOST_AT_ONCE: usize = 64;
/// How long after its end an attempt may be recorded and still be told: a settlement and a busy database.
pub const OVERLAP: SignedDuration = SignedDuration::from_secs(5);
/// How long after its transition a notice may be written and still be told, if the feed was read meanwhile.
pub const NOTICE_OVERLAP: SignedDuration = SignedDuration::from_hours(1);
/// Notices of one webhook that one look brings: a leap of simulated time over weeks can make more.
const MOST_NOTICES: usize = 100;

/// A listener did not hear of everything: it must look for itself, and may listen again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Missed {
    /// More happened than it took in time.
    #[error("more happened than was taken in time")]
    Behind,
    /// This process could not follow.
    #[error("the server could not follow what happened")]
    Lost,
    /// There are more webhooks than one listener is watched for.
    #[error("there are more than {} webhooks to watch", attempts::MOST_WATCHED)]
    TooMany,
}

/// What a listener is told: about whose webhook, and what.
pub type Told<T> = (Belonging, T);

#[derive(Debug, Clone)]
enum Word<T> {
    /// To everybody.
    Told(Told<T>),
    /// To whoever may have missed something.
    Lost(Whose),
    /// To one listener, by number.
    Alone(u64, Missed),
}

/// Whose listeners something is for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Whose {
    /// Everybody's.
    All,
    /// Who may see the webhook.
    Webhook(Belonging),
    /// Who may see some webhook of the company: no more is known of the one that this is about.
    Company(CompanyId),
    /// The same, of all companies of a lane.
    Lane(Lane),
}

impl Whose {
    /// Of a webhook that cannot be read.
    fn unread(webhook: Unread) -> Self {
        webhook.company.map_or(Self::Lane(webhook.lane), Self::Company)
    }

    /// Of a webhook that the feed names; `None` if there is no such webhook any more, so that nobody sees it.
    fn of(shared: &Shared, webhook: WebhookId) -> Option<Self> {
        let registry = &shared.registry;
        match registry.get(webhook) {
            Some(target) => Some(Self::Webhook(target.webhook.belonging())),
            None => registry.unread(webhook).map(Self::unread),
        }
    }
}

/// One channel, and how its listeners join it.
#[derive(Debug)]
struct Channel<T>(broadcast::Sender<Word<T>>);

impl<T: Clone> Default for Channel<T> {
    fn default() -> Self {
        Self(broadcast::Sender::new(MOST_UNHEARD))
    }
}

impl<T: Clone> Channel<T> {
    fn say(&self, word: Word<T>) {
        // Nobody may be listening.
        let _ = self.0.send(word);
    }

    /// Tells those of whom something could not be followed, if there are any.
    fn lost(&self, whose: Option<Whose>) {
        if let Some(whose) = whose {
            self.say(Word::Lost(whose));
        }
    }

    fn has_listeners(&self) -> bool {
        self.0.receiver_count() > 0
    }
}

/// Where a process tells its listeners.
#[derive(Debug, Default)]
pub(super) struct Hub {
    changes: Channel<()>,
    notices: Channel<Arc<Notice>>,
    attempts: Channel<AttemptPlace>,
    /// What has been told of notices; `None` while nobody listens.
    posted: Mutex<Option<Posted>>,
    interests: Mutex<Interests>,
    /// Wakes the watch: somebody listens for attempts.
    wanted: Notify,
}

#[derive(Debug)]
struct Posted {
    /// From where the next look starts.
    since: Timestamp,
    told: HashMap<NoticeId, Timestamp>,
}

/// What a listener wants to hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interest {
    /// All that the listener might see.
    pub scope: WebhookScope,
    /// Only of this webhook. For attempts needed by whoever sees every company's.
    pub webhook: Option<(Lane, WebhookId)>,
}

#[derive(Debug, Default)]
struct Interests {
    last: u64,
    all: HashMap<u64, (Interest, Timestamp)>,
}

impl Hub {
    /// Tells everybody that something was not followed.
    pub(super) fn missed_everything(&self) {
        self.changes.say(Word::Lost(Whose::All));
        self.notices.say(Word::Lost(Whose::All));
        self.attempts.say(Word::Lost(Whose::All));
    }

    /// Whether anybody listens for notices; forgets what was told if not. Under the lock under which a listener begins.
    fn is_posting(&self) -> bool {
        let mut posted = self.posted();
        if !self.notices.has_listeners() {
            *posted = None;
        }
        posted.is_some()
    }

    fn posted(&self) -> MutexGuard<'_, Option<Posted>> {
        self.posted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn interests(&self) -> MutexGuard<'_, Interests> {
        self.interests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One more than a limit, by which a read shows that there is more.
fn past(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1)
}

/// The webhooks that stand there more than `most` times.
fn crowded(webhooks: impl Iterator<Item = WebhookId>, most: usize) -> HashSet<WebhookId> {
    let mut counts: HashMap<WebhookId, usize> = HashMap::new();
    for webhook in webhooks {
        *counts.entry(webhook).or_default() += 1;
    }
    let crowded = counts.into_iter().filter(|(_, count)| *count > most);
    crowded.map(|(webhook, _)| webhook).collect()
}

fn before(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_sub(by).unwrap_or(Timestamp::MIN)
}

/// Lets the API listen. Cheap to clone.
#[derive(Clone)]
pub struct Live(pub(super) Arc<Shared>);

/// Whoever listens, from its making until it is dropped.
pub struct Listener<T: Clone> {
    heard: broadcast::Receiver<Word<T>>,
    /// All that its caller might ever see: the rest is passed over without asking the store.
    scope: WebhookScope,
    only: Option<(Lane, WebhookId)>,
    began: Timestamp,
    interest: Option<Held>,
}

/// An interest that is watched for as long as this is held.
struct Held {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shared.live.interests().all.remove(&self.number);
    }
}

impl Live {
    /// Webhooks within the scope that change from now on.
    pub fn changes(&self, interest: Interest) -> Listener<()> {
        let Interest { scope, webhook } = interest;
        Listener::new(&self.0.live.changes, scope, webhook, self.0.clock.now())
    }

    /// Notices about webhooks within the scope, of transitions from now on.
    pub fn notices(&self, scope: WebhookScope) -> Listener<Arc<Notice>> {
        let now = self.0.clock.now();
        let mut posted = self.0.live.posted();
        posted.get_or_insert_with(|| Posted {
            since: now,
            told: HashMap::new(),
        });
        Listener::new(&self.0.live.notices, scope, None, now)
    }

    /// Attempts that end from now on.
    pub fn attempts(&self, interest: Interest) -> Listener<AttemptPlace> {
        let now = self.0.clock.now();
        let mut listener = Listener::new(
            &self.0.live.attempts,
            interest.scope.clone(),
            interest.webhook,
            now,
        );
        let number = {
            let mut interests = self.0.live.interests();
            interests.last += 1;
            let number = interests.last;
            interests.all.insert(number, (interest, now));
            number
        };
        listener.interest = Some(Held {
            shared: self.0.clone(),
            number,
        });
        self.0.live.wanted.notify_one();
        listener
    }
}

impl<T: Clone> Listener<T> {
    fn new(
        channel: &Channel<T>,
        scope: WebhookScope,
        only: Option<(Lane, WebhookId)>,
        began: Timestamp,
    ) -> Self {
        Self {
            heard: channel.0.subscribe(),
            scope,
            only,
            began,
            interest: None,
        }
    }

    /// When it began.
    pub fn began(&self) -> Timestamp {
        self.began
    }

    fn concerns(&self, webhook: &Belonging) -> bool {
        self.only
            .is_none_or(|only| only == (webhook.lane, webhook.webhook))
            && access::reaches(&self.scope, webhook)
    }

    fn may_have_missed(&self, whose: &Whose) -> bool {
        let sees_some_of = |holds: &dyn Fn(CompanyId) -> bool| match &self.scope {
            WebhookScope::Everything => true,
            WebhookScope::Company { company, .. } => holds(*company),
            WebhookScope::Nothing => false,
        };
        match whose {
            Whose::All => true,
            Whose::Webhook(webhook) => self.concerns(webhook),
            Whose::Company(company) => sees_some_of(&|of| of == *company),
            Whose::Lane(lane) => sees_some_of(&|of| Lane::of(of) == *lane),
        }
    }

    /// Waits for what there is to hear, and takes up to [`MOST_AT_ONCE`] of it; never nothing.
    ///
    /// # Errors
    ///
    /// [`Missed`], once and for all: there is a gap.
    pub async fn next(&mut self) -> Result<Vec<Told<T>>, Missed> {
        let mut all = Vec::new();
        loop {
            let word = if all.is_empty() {
                match self.heard.recv().await {
                    Ok(word) => word,
                    Err(broadcast::error::RecvError::Lagged(_)) => return Err(Missed::Behind),
                    Err(broadcast::error::RecvError::Closed) => return Err(Missed::Lost),
                }
            } else {
                // A gap behind what has been taken shows at the next call: it is not forgotten by the channel.
                match self.heard.try_recv() {
                    Ok(word) => word,
                    Err(broadcast::error::TryRecvError::Lagged(_)) => return Err(Missed::Behind),
                    Err(_) => return Ok(all),
                }
            };
            match word {
                Word::Told(told) if self.concerns(&told.0) => all.push(told),
                Word::Told(_) => {}
                Word::Lost(whose) => {
                    if self.may_have_missed(&whose) {
                        return Err(Missed::Lost);
                    }
                }
                Word::Alone(number, missed) => {
                    if self.interest.as_ref().is_some_and(|held| held.number == number) {
                        return Err(missed);
                    }
                }
            }
            if all.len() == MOST_AT_ONCE {
                return Ok(all);
            }
        }
    }
}
