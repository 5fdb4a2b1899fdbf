//! Messages to live subscribers: changed webhooks, new notices and recorded attempts, of all processes.
//!
//! Guarantees:
//!
//! - Every process informs its subscribers within a second. Nothing waits for a slow subscriber.
//! - A subscriber that falls more than [`MAX_UNREAD`] behind gets [`Missed`] instead of a silent gap. So does one for
//!   which something could not be read.
//! - Without subscribers there is no cost: notices are read and attempts looked for only while someone listens.
//! - A process sends each message once.
//!
//! The changes feed names webhooks. Each one's new notices are read with it, because they are written in the announcing
//! transaction. Attempts are not announced, because that would lower the queue's rate: [`AttemptWatch`] polls for them.
//!
//! Not guaranteed:
//!
//! - Anything from before the subscription. A subscriber gets only transitions and ends of attempts that come after its
//!   own start.
//! - Late rows. An attempt recorded more than [`OVERLAP`] after its end, or a notice written more than
//!   [`NOTICE_OVERLAP`] after its transition, with a read in between, is in the log but not sent.
//! - Access control. A message says whose webhook it is about; the subscriber reads the store with its caller's rights.

mod announcements;
mod attempts;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, broadcast};

pub(crate) use self::announcements::Announcer;
pub(crate) use self::attempts::AttemptWatch;
use crate::cluster::webhook_cache::WebhookCache;
use tenterhook_clock::Clock;
use tenterhook_model::access::WebhookScope;
use tenterhook_model::ids::{CompanyId, Lane, NoticeId, WebhookId};
use tenterhook_model::notice::Notice;
use tenterhook_model::webhook::WebhookOwner;
use tenterhook_policy::access;
use tenterhook_store::live::AttemptPlace;
use tenterhook_store::webhook_row::Unread;

/// How far a listener may fall behind. It is a power of two, because the channel would round any other number up.
pub const MAX_UNREAD: usize = 4_096;
/// Bound on the messages that a listener takes at once, so that one read serves all of them.
pub const MAX_MESSAGES: usize = 64;
/// How long after its end an attempt may be recorded and still be sent: allows for a settlement and a busy database.
pub const OVERLAP: SignedDuration = SignedDuration::from_secs(5);
/// How long after its transition a notice may be written and still be sent, if the feed was read in between.
pub const NOTICE_OVERLAP: SignedDuration = SignedDuration::from_hours(1);
/// Bound on notices of one webhook per read. If simulated time advances by weeks, there can be more.
const MAX_NOTICES: usize = 100;

/// A listener has missed something: it must read again by itself, and may listen again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Missed {
    /// It did not take messages fast enough.
    #[error("the subscriber is too slow")]
    Behind,
    /// This process could not read the changes.
    #[error("the server could not read the changes")]
    Lost,
    /// There are more webhooks than are watched for one listener.
    #[error("there are more than {} webhooks to watch", attempts::MAX_WATCHED)]
    TooMany,
}

/// A message: whose webhook it is about, and the content.
pub type Message<T> = (WebhookOwner, T);

#[derive(Debug, Clone)]
enum Signal<T> {
    /// For all listeners.
    Message(Message<T>),
    /// For the listeners that may have missed something.
    Gap(Audience),
    /// For one listener, by number.
    ToOne(u64, Missed),
}

/// The listeners that a gap concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Audience {
    /// Every listener.
    All,
    /// Those who may see the webhook.
    Webhook(WebhookOwner),
    /// Those who may see any webhook of the company: no more is known of this one.
    Company(CompanyId),
    /// Those who may see any webhook of a company in the lane.
    Lane(Lane),
}

impl Audience {
    /// For a webhook that cannot be read.
    fn unread(webhook: Unread) -> Self {
        webhook.company.map_or(Self::Lane(webhook.lane), Self::Company)
    }

    /// For a webhook that the feed names. `None` if the webhook no longer exists, so that no one sees it.
    fn of(webhooks: &WebhookCache, webhook: WebhookId) -> Option<Self> {
        match webhooks.get(webhook) {
            Some(cached) => Some(Self::Webhook(cached.webhook.webhook_owner())),
            None => webhooks.unread(webhook).map(Self::unread),
        }
    }
}

/// One channel, and how its listeners join it.
#[derive(Debug)]
struct Channel<T>(broadcast::Sender<Signal<T>>);

impl<T: Clone> Default for Channel<T> {
    fn default() -> Self {
        Self(broadcast::Sender::new(MAX_UNREAD))
    }
}

impl<T: Clone> Channel<T> {
    fn send(&self, signal: Signal<T>) {
        // There may be no listener.
        let _ = self.0.send(signal);
    }

    /// Sends the gap to the listeners that it concerns, if there are any.
    fn report_gap(&self, audience: Option<Audience>) {
        if let Some(audience) = audience {
            self.send(Signal::Gap(audience));
        }
    }

    fn has_listeners(&self) -> bool {
        self.0.receiver_count() > 0
    }
}

/// The channels from a process to its listeners.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    changes: Channel<()>,
    notices: Channel<Arc<Notice>>,
    attempts: Channel<AttemptPlace>,
    /// Notices already sent; `None` while no one listens.
    sent_notices: Mutex<Option<SentNotices>>,
    interests: Mutex<Interests>,
    /// Wakes the watch: someone listens for attempts.
    wanted: Notify,
}

#[derive(Debug)]
struct SentNotices {
    /// Where the next read starts.
    since: Timestamp,
    sent: HashMap<NoticeId, Timestamp>,
}

/// What a listener wants to hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interest {
    /// All that the listener may see.
    pub scope: WebhookScope,
    /// If set, only this webhook. For attempts this is required if the listener sees every company.
    pub webhook: Option<(Lane, WebhookId)>,
}

#[derive(Debug, Default)]
struct Interests {
    last: u64,
    all: HashMap<u64, (Interest, Timestamp)>,
}

impl Hub {
    /// Tells all listeners that something was missed.
    pub(crate) fn report_gap_to_all(&self) {
        self.changes.send(Signal::Gap(Audience::All));
        self.notices.send(Signal::Gap(Audience::All));
        self.attempts.send(Signal::Gap(Audience::All));
    }

    /// Whether anyone listens for notices. Forgets the sent ones if not, under the same lock under which a listener
    /// starts.
    fn wants_notices(&self) -> bool {
        let mut sent_notices = self.sent_notices();
        if !self.notices.has_listeners() {
            *sent_notices = None;
        }
        sent_notices.is_some()
    }

    fn sent_notices(&self) -> MutexGuard<'_, Option<SentNotices>> {
        self.sent_notices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn interests(&self) -> MutexGuard<'_, Interests> {
        self.interests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One more than a limit, so that a read shows whether there is more.
fn past(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1)
}

/// The webhooks that occur more than `most` times.
fn with_more_than(webhooks: impl Iterator<Item = WebhookId>, most: usize) -> HashSet<WebhookId> {
    let mut counts: HashMap<WebhookId, usize> = HashMap::new();
    for webhook in webhooks {
        *counts.entry(webhook).or_default() += 1;
    }
    let with_more_than = counts.into_iter().filter(|(_, count)| *count > most);
    with_more_than.map(|(webhook, _)| webhook).collect()
}

fn before(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_sub(by).unwrap_or(Timestamp::MIN)
}

/// Creates listeners for the API. Cheap to clone.
#[derive(Clone)]
pub struct Live {
    pub(crate) hub: Arc<Hub>,
    pub(crate) clock: Clock,
}

/// A listener, from its creation until it is dropped.
pub struct Listener<T: Clone> {
    receiver: broadcast::Receiver<Signal<T>>,
    /// All that its caller might see. Other messages are skipped without asking the store.
    scope: WebhookScope,
    only: Option<(Lane, WebhookId)>,
    began: Timestamp,
    interest: Option<Registration>,
}

/// An interest that is watched while this value exists.
struct Registration {
    hub: Arc<Hub>,
    number: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.hub.interests().all.remove(&self.number);
    }
}

impl Live {
    /// Listens for webhooks within the scope that change from now on.
    pub fn changes(&self, interest: Interest) -> Listener<()> {
        let Interest { scope, webhook } = interest;
        Listener::new(&self.hub.changes, scope, webhook, self.clock.now())
    }

    /// Listens for notices about webhooks within the scope, of transitions from now on.
    pub fn notices(&self, scope: WebhookScope) -> Listener<Arc<Notice>> {
        let now = self.clock.now();
        let mut sent_notices = self.hub.sent_notices();
        sent_notices.get_or_insert_with(|| SentNotices {
            since: now,
            sent: HashMap::new(),
        });
        Listener::new(&self.hub.notices, scope, None, now)
    }

    /// Listens for attempts that end from now on.
    pub fn attempts(&self, interest: Interest) -> Listener<AttemptPlace> {
        let now = self.clock.now();
        let mut listener = Listener::new(&self.hub.attempts, interest.scope.clone(), interest.webhook, now);
        let number = {
            let mut interests = self.hub.interests();
            interests.last += 1;
            let number = interests.last;
            interests.all.insert(number, (interest, now));
            number
        };
        listener.interest = Some(Registration {
            hub: self.hub.clone(),
            number,
        });
        self.hub.wanted.notify_one();
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
            receiver: channel.0.subscribe(),
            scope,
            only,
            began,
            interest: None,
        }
    }

    /// When it started to listen.
    pub fn began(&self) -> Timestamp {
        self.began
    }

    fn concerns(&self, webhook: &WebhookOwner) -> bool {
        self.only
            .is_none_or(|only| only == (webhook.lane, webhook.webhook))
            && access::reaches(&self.scope, webhook)
    }

    fn may_miss(&self, audience: &Audience) -> bool {
        let sees_some_of = |holds: &dyn Fn(CompanyId) -> bool| match &self.scope {
            WebhookScope::Everything => true,
            WebhookScope::Company { company, .. } => holds(*company),
            WebhookScope::Nothing => false,
        };
        match audience {
            Audience::All => true,
            Audience::Webhook(webhook) => self.concerns(webhook),
            Audience::Company(company) => sees_some_of(&|of| of == *company),
            Audience::Lane(lane) => sees_some_of(&|of| Lane::of(of) == *lane),
        }
    }

    /// Waits for messages and takes up to [`MAX_MESSAGES`]; never an empty list.
    ///
    /// # Errors
    ///
    /// [`Missed`]: there is a gap. It is final.
    pub async fn next(&mut self) -> Result<Vec<Message<T>>, Missed> {
        let mut all = Vec::new();
        loop {
            let signal = if all.is_empty() {
                match self.receiver.recv().await {
                    Ok(signal) => signal,
                    Err(broadcast::error::RecvError::Lagged(_)) => return Err(Missed::Behind),
                    Err(broadcast::error::RecvError::Closed) => return Err(Missed::Lost),
                }
            } else {
                // If there is a gap behind the messages taken, the channel remembers it and reports it at the next call.
                match self.receiver.try_recv() {
                    Ok(signal) => signal,
                    Err(broadcast::error::TryRecvError::Lagged(_)) => return Err(Missed::Behind),
                    Err(_) => return Ok(all),
                }
            };
            match signal {
                Signal::Message(sent) if self.concerns(&sent.0) => all.push(sent),
                Signal::Message(_) => {}
                Signal::Gap(audience) => {
                    if self.may_miss(&audience) {
                        return Err(Missed::Lost);
                    }
                }
                Signal::ToOne(number, missed) => {
                    if self.interest.as_ref().is_some_and(|held| held.number == number) {
                        return Err(missed);
                    }
                }
            }
            if all.len() == MAX_MESSAGES {
                return Ok(all);
            }
        }
    }
}
