//! Announces changes from the changes feed to subscribers: changed webhooks and their new notices.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Hub, MOST_NOTICES, NOTICE_OVERLAP, Whose, Word, before, crowded, past};
use crate::bisection::{Bisection, FIRST_TIME_OUT};
use crate::cluster::webhook_cache::WebhookCache;
use tenterhook_clock::Clock;
use tenterhook_model::ids::{Lane, WebhookId};
use tenterhook_model::notice::Notice;
use tenterhook_store::sql::Rows;
use tenterhook_store::{Store, StoreError, notices};

/// Announces what the changes feed names.
pub(crate) struct Announcer {
    pub hub: Arc<Hub>,
    pub store: Store,
    pub clock: Clock,
    pub webhooks: Arc<WebhookCache>,
}

impl Announcer {
    /// Announces these webhooks, which the feed names and the registry has just read, and their new notices. If a notice
    /// cannot be read, only listeners who may see its webhook get a [`super::Missed`].
    ///
    /// # Errors
    ///
    /// Only if the database is away: no webhook's content may stop the feed.
    pub async fn announce(&self, webhooks: &[(Lane, WebhookId)]) -> Result<(), StoreError> {
        let hub = &self.hub;
        let now = self.clock.now();
        let belonging = |id: WebhookId| self.webhooks.get(id).map(|target| target.webhook.belonging());
        let mut posted = Vec::new();
        if hub.is_posting() {
            let read = self.new_notices(webhooks, now).await?;
            for (webhook, error) in read.bad {
                tracing::error!(%error, %webhook, "a notice cannot be read for live subscribers");
                hub.notices.lost(Whose::of(&self.webhooks, webhook));
            }
            posted = read.good;
        }
        if hub.changes.has_listeners() {
            for (_, id) in webhooks {
                if let Some(belonging) = belonging(*id) {
                    hub.changes.say(Word::Told((belonging, ())));
                }
            }
        }
        for id in crowded(posted.iter().map(|notice| notice.webhook), MOST_NOTICES) {
            hub.notices.lost(Whose::of(&self.webhooks, id));
        }
        for notice in posted {
            match belonging(notice.webhook) {
                Some(belonging) => hub.notices.say(Word::Told((belonging, Arc::new(notice)))),
                // The notice can be read but its webhook cannot, so it is not known who may see it.
                None => hub.notices.lost(Whose::of(&self.webhooks, notice.webhook)),
            }
        }
        Ok(())
    }

    /// The new notices of these webhooks, read together or in parts if the database refuses.
    async fn new_notices(
        &self,
        webhooks: &[(Lane, WebhookId)],
        now: Timestamp,
    ) -> Result<Rows<Notice, WebhookId>, StoreError> {
        let since = self.hub.posted().as_ref().map_or(now, |posted| posted.since);
        let (mut good, mut bad, mut unread) = (Vec::new(), Vec::new(), Vec::new());
        if !webhooks.is_empty() {
            let mut conn = self.store.conn().await?;
            let mut parts = Bisection::of(webhooks.len()).split_when_late(FIRST_TIME_OUT, &self.store);
            while let Some((part, _)) = parts.next() {
                let most = past(MOST_NOTICES);
                let read = notices::last_of_each(&mut conn, &webhooks[part], since, most).await;
                if let Some(read) = parts.done(read)? {
                    good.extend(read.good);
                    unread.extend(read.bad);
                }
            }
            let refused = parts.refused.into_iter();
            bad.extend(refused.map(|(items, error)| (webhooks[items.start].1, error)));
        }
        let mut posted = self.hub.posted();
        if let Some(posted) = posted.as_mut() {
            let mut is_new = |id, at| posted.told.insert(id, at).is_none();
            good.retain(|notice: &Notice| is_new(notice.id, notice.at));
            unread.retain(|((_, id, at), _)| is_new(*id, *at));
            // Simulated time may have advanced far since the last read. The next read starts from this one's time, less the
            // overlap.
            posted.since = posted.since.max(before(now, NOTICE_OVERLAP));
            let since = posted.since;
            posted.told.retain(|_, at| *at >= since);
        }
        let unread = unread.into_iter();
        bad.extend(unread.map(|(((_, webhook), _, _), error)| (webhook, error)));
        Ok(Rows { good, bad })
    }
}
