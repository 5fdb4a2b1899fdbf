//! Announces changes from the changes feed to subscribers: changed webhooks and their new notices.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Audience, Hub, MAX_NOTICES, NOTICE_OVERLAP, Signal, before, past, with_more_than};
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
    /// Announces these webhooks, which the feed names and the cache has just read, and their new notices. If a notice
    /// cannot be read, only listeners who may see its webhook get a [`super::Missed`].
    ///
    /// # Errors
    ///
    /// Only if the database is unavailable: no webhook's content may stop the feed.
    pub async fn announce(&self, webhooks: &[(Lane, WebhookId)]) -> Result<(), StoreError> {
        let hub = &self.hub;
        let now = self.clock.now();
        let belonging = |id: WebhookId| self.webhooks.get(id).map(|target| target.webhook.webhook_owner());
        let mut sent_notices = Vec::new();
        if hub.wants_notices() {
            let read = self.new_notices(webhooks, now).await?;
            for (webhook, error) in read.bad {
                tracing::error!(%error, %webhook, "a notice cannot be read for live subscribers");
                hub.notices.report_gap(Audience::of(&self.webhooks, webhook));
            }
            sent_notices = read.good;
        }
        if hub.changes.has_listeners() {
            for (_, id) in webhooks {
                if let Some(belonging) = belonging(*id) {
                    hub.changes.send(Signal::Message((belonging, ())));
                }
            }
        }
        for id in with_more_than(sent_notices.iter().map(|notice| notice.webhook), MAX_NOTICES) {
            hub.notices.report_gap(Audience::of(&self.webhooks, id));
        }
        for notice in sent_notices {
            match belonging(notice.webhook) {
                Some(belonging) => hub.notices.send(Signal::Message((belonging, Arc::new(notice)))),
                // The notice can be read but its webhook cannot, so it is not known who may see it.
                None => hub
                    .notices
                    .report_gap(Audience::of(&self.webhooks, notice.webhook)),
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
        let since = self
            .hub
            .sent_notices()
            .as_ref()
            .map_or(now, |sent_notices| sent_notices.since);
        let (mut good, mut bad, mut unread) = (Vec::new(), Vec::new(), Vec::new());
        if !webhooks.is_empty() {
            let mut conn = self.store.conn().await?;
            let mut parts = Bisection::of(webhooks.len()).split_when_late(FIRST_TIME_OUT, &self.store);
            while let Some((part, _)) = parts.next() {
                let most = past(MAX_NOTICES);
                let read = notices::last_of_each(&mut conn, &webhooks[part], since, most).await;
                if let Some(read) = parts.done(read)? {
                    good.extend(read.good);
                    unread.extend(read.bad);
                }
            }
            let refused = parts.refused.into_iter();
            bad.extend(refused.map(|(items, error)| (webhooks[items.start].1, error)));
        }
        let mut sent_notices = self.hub.sent_notices();
        if let Some(sent_notices) = sent_notices.as_mut() {
            let mut is_new = |id, at| sent_notices.sent.insert(id, at).is_none();
            good.retain(|notice: &Notice| is_new(notice.id, notice.at));
            unread.retain(|((_, id, at), _)| is_new(*id, *at));
            // Simulated time may have advanced far since the last read. The next read starts from this one's time, less
            // the overlap.
            sent_notices.since = sent_notices.since.max(before(now, NOTICE_OVERLAP));
            let since = sent_notices.since;
            sent_notices.sent.retain(|_, at| *at >= since);
        }
        let unread = unread.into_iter();
        bad.extend(unread.map(|(((_, webhook), _, _), error)| (webhook, error)));
        Ok(Rows { good, bad })
    }
}
