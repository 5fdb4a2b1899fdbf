//! This process's knowledge of webhooks: settings, opened secrets and health, in memory.
//!
//! Guarantees:
//!
//! - A webhook whose row cannot be read is marked as unreadable and does not prevent others from being read. It does not
//!   count as removed, because that would cancel its deliveries. Its earlier content is no longer used either.
//! - Older content never replaces newer content: reading and remembering happen under one lock.
//!
//! Not guaranteed: that the content is current. The changes feed refreshes it, and a process that has not read the feed
//! recently starts no attempt (see [`crate::cluster::change_feed`]).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use url::Url;

use crate::bisection::Bisection;
use crate::deliver::scheduler::Host;
use tenterhook_model::health::Health;
use tenterhook_model::ids::{Lane, WebhookId};
use tenterhook_model::webhook::Webhook;
use tenterhook_policy::health::{Verdict, verdict};
use tenterhook_policy::payload::Recipient;
use tenterhook_policy::sealing::{BasicAuth, Keyring, OpenError};
use tenterhook_policy::signing::SigningSecret;
use tenterhook_settings::policy::PolicySettings;
use tenterhook_store::health;
use tenterhook_store::webhook_row::Unread;
use tenterhook_store::{Conn, StoreError};

/// Bound on remembered webhooks. Above it, all are forgotten except those just read.
const MAX_KNOWN: usize = 50_000;

/// A webhook as an attempt needs it (D9).
#[derive(Debug)]
pub struct CachedWebhook {
    /// Its row.
    pub webhook: Webhook,
    /// Its health as last read.
    pub health: Health,
    /// The decrypted and parsed parts of its row. If one part fails, no attempt is made.
    pub opened: Result<Opened, Unusable>,
}

/// The sealed and encoded parts of the row, ready for use.
#[derive(Debug)]
pub struct Opened {
    /// The parsed URL.
    pub url: Url,
    /// The URL's host and port.
    pub host: Host,
    /// Basic credentials.
    pub auth: Option<BasicAuth>,
    /// The current signing secret.
    pub secret: SigningSecret,
    /// The previous signing secret, and until when it signs as well (E7).
    pub previous: Option<(SigningSecret, Timestamp)>,
}

/// Why a row cannot be used. The operator must act, not the receiver.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The sealing key is not the one that sealed the row, or the row is damaged.
    #[error("the webhook's secrets cannot be decrypted: {0}")]
    Sealed(#[from] OpenError),
    /// The stored URL is not valid.
    #[error("the webhook's URL cannot be parsed: {0}")]
    Url(#[from] url::ParseError),
}

impl CachedWebhook {
    fn open((webhook, health): (Webhook, Health), sealing: &Keyring) -> Self {
        let opened = Opened::of(&webhook, sealing);
        Self {
            webhook,
            health,
            opened,
        }
    }

    /// What to do with a delivery that was due at `due_at`.
    pub fn verdict(&self, due_at: Timestamp, now: Timestamp, settings: &PolicySettings) -> Verdict {
        verdict(
            &self.health,
            self.webhook.paused_at,
            self.webhook.removed,
            due_at,
            now,
            settings,
        )
    }

    /// The webhook's fields that payloads contain.
    pub fn recipient(&self) -> Recipient {
        Recipient {
            number: self.webhook.number,
            owner: self.webhook.owner,
            kind: self.webhook.kind(),
            version: self.webhook.version,
        }
    }
}

impl Opened {
    fn of(webhook: &Webhook, sealing: &Keyring) -> Result<Self, Unusable> {
        let auth = webhook
            .auth
            .as_ref()
            .map(|auth| sealing.open_auth(webhook.id, auth))
            .transpose()?;
        let secret = sealing.open_secret(webhook.id, &webhook.secrets.current)?;
        let previous = match &webhook.secrets.previous {
            Some((sealed, until)) => Some((sealing.open_secret(webhook.id, sealed)?, *until)),
            None => None,
        };
        let url = Url::parse(&webhook.url)?;
        let port = url.port_or_known_default().unwrap_or_default();
        Ok(Self {
            host: format!("{}:{port}", url.host_str().unwrap_or_default()).into(),
            url,
            auth,
            secret,
            previous,
        })
    }

    /// The secrets in force at `now`, the current one first.
    pub fn secrets(&self, now: Timestamp) -> Vec<SigningSecret> {
        let previous = self
            .previous
            .iter()
            .filter(|(_, until)| now < *until)
            .map(|(secret, _)| secret.clone());
        std::iter::once(self.secret.clone()).chain(previous).collect()
    }
}

/// What is known of one webhook.
enum Known {
    CachedWebhook(Arc<CachedWebhook>),
    Unreadable(Unread),
}

impl Known {
    fn target(&self) -> Option<&Arc<CachedWebhook>> {
        match self {
            Self::CachedWebhook(target) => Some(target),
            Self::Unreadable(_) => None,
        }
    }
}

/// The webhooks this process knows.
pub struct WebhookCache {
    known: Mutex<HashMap<WebhookId, Known>>,
    reading: tokio::sync::Mutex<()>,
    sealing: Arc<Keyring>,
}

impl WebhookCache {
    /// Creates an empty cache.
    pub fn new(sealing: Arc<Keyring>) -> Self {
        Self {
            known: Mutex::default(),
            reading: tokio::sync::Mutex::default(),
            sealing,
        }
    }

    /// The webhook, if it is known and readable.
    pub fn get(&self, webhook: WebhookId) -> Option<Arc<CachedWebhook>> {
        self.known().get(&webhook).and_then(Known::target).cloned()
    }

    /// Whether the webhook exists but cannot be read.
    pub fn is_unreadable(&self, webhook: WebhookId) -> bool {
        self.unread(webhook).is_some()
    }

    /// What is still known of a webhook that exists but cannot be read.
    pub fn unread(&self, webhook: WebhookId) -> Option<Unread> {
        match self.known().get(&webhook)? {
            Known::CachedWebhook(_) => None,
            Known::Unreadable(unread) => Some(*unread),
        }
    }

    /// Whether a success would change nothing: the webhook is in the cache and has no failure window and, if successes
    /// reset the ban counter (`counts`), a counter of zero.
    pub fn is_well(&self, webhook: WebhookId, counts: bool) -> bool {
        let known = self.known();
        let target = known.get(&webhook).and_then(Known::target);
        let health = target.map(|target| &target.health);
        health.is_some_and(|health| health.failing_since.is_none() && (!counts || health.ban_counter == 0))
    }

    /// The webhook's host, if it is known and its row can be used.
    pub fn host(&self, webhook: WebhookId) -> Option<Host> {
        let target = self.get(webhook)?;
        target.opened.as_ref().ok().map(|opened| opened.host.clone())
    }

    /// Reads the webhooks that are not known yet, and those that could not be read.
    pub async fn ensure(&self, conn: &mut Conn, webhooks: &[(Lane, WebhookId)]) -> Result<(), StoreError> {
        let missing: Vec<(Lane, WebhookId)> = {
            let known = self.known();
            webhooks
                .iter()
                .filter(|(_, id)| known.get(id).and_then(Known::target).is_none())
                .copied()
                .collect()
        };
        if !missing.is_empty() {
            self.refresh(conn, &missing).await?;
        }
        Ok(())
    }

    /// Reads the webhooks again, known or not, and returns the readable ones.
    ///
    /// # Errors
    ///
    /// Only if the database is unavailable.
    pub async fn refresh(
        &self,
        conn: &mut Conn,
        webhooks: &[(Lane, WebhookId)],
    ) -> Result<Vec<Arc<CachedWebhook>>, StoreError> {
        let _one_at_a_time = self.reading.lock().await;
        let (mut targets, mut unreadable) = (Vec::new(), Vec::new());
        // The statement reads single rows by their keys, so if it takes too long, no single row is the cause.
        let mut parts = Bisection::of(webhooks.len());
        while let Some((part, _)) = parts.next() {
            let Some(rows) = parts.done(health::read_each(conn, &webhooks[part]).await)? else {
                continue;
            };
            let good = rows.good.into_iter();
            targets.extend(good.map(|state| Arc::new(CachedWebhook::open(state, &self.sealing))));
            unreadable.extend(rows.bad);
        }
        let damaged = parts.refused.into_iter();
        unreadable.extend(damaged.map(|(items, error)| (Unread::of(webhooks[items.start]), error)));
        let mut known = self.known();
        for (Unread { webhook, .. }, error) in &unreadable {
            // Each claim and attempt reads the webhook again, but the error is logged once.
            if !matches!(known.get(webhook), Some(Known::Unreadable(_))) {
                tracing::error!(%error, %webhook, "a webhook cannot be read; nothing is sent to it");
            }
        }
        if known.len() + webhooks.len() > MAX_KNOWN {
            known.clear();
        }
        let readable = targets.iter();
        known.extend(readable.map(|target| (target.webhook.id, Known::CachedWebhook(target.clone()))));
        let unreadable = unreadable.into_iter();
        known.extend(unreadable.map(|(unread, _)| (unread.webhook, Known::Unreadable(unread))));
        Ok(targets)
    }

    /// Forgets everything, after a gap in the feed.
    pub fn forget(&self) {
        self.known().clear();
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<WebhookId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
