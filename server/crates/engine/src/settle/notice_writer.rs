//! Notices about transitions (R4).

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::Notify;

use tenterhook_clock::Clock;
use tenterhook_model::ids::{CompanyId, Lane, NoticeId, WebhookId};
use tenterhook_model::notice::{Notice, NoticeKind};
use tenterhook_policy::health::Transition;
use tenterhook_settings::policy::PolicySettings;
use tenterhook_store::{Conn, StoreError, health};

/// Writes notices, and wakes the notifier for those that the platform's endpoint gets.
pub(crate) struct NoticeWriter {
    clock: Clock,
    policy: Arc<PolicySettings>,
    has_endpoint: bool,
    queued: Notify,
}

impl NoticeWriter {
    /// Writes notices for people, and for the platform's endpoint if it has one.
    pub fn new(clock: Clock, policy: Arc<PolicySettings>, has_endpoint: bool) -> Self {
        Self {
            clock,
            policy,
            has_endpoint,
            queued: Notify::new(),
        }
    }

    /// Writes the notices of these transitions, also for the platform's endpoint if there is one. Returns whether there
    /// are any for it. After the commit, the caller [wakes the notifier](Self::wake_notifier).
    pub async fn write_in_tx(
        &self,
        conn: &mut Conn,
        taken: &[(Lane, WebhookId, CompanyId, Transition)],
    ) -> Result<bool, StoreError> {
        let owed_from = self.has_endpoint.then(|| self.clock.now());
        health::notify_in_tx(conn, &notices(taken, &self.policy), owed_from).await
    }

    /// Tells the notifier that there may be a notice for the platform's endpoint.
    pub fn wake_notifier(&self) {
        self.queued.notify_one();
    }

    /// Waits until there may be a notice for the platform's endpoint.
    pub async fn queued(&self) {
        self.queued.notified().await;
    }
}

/// The notices of these transitions. Some transitions have none.
fn notices(taken: &[(Lane, WebhookId, CompanyId, Transition)], settings: &PolicySettings) -> Vec<Notice> {
    let notice = |(lane, webhook, company, step): &(Lane, WebhookId, CompanyId, Transition)| {
        let kind = step.notice()?;
        Some(Notice {
            lane: *lane,
            id: NoticeId::ranked(step.at(), rank(kind)),
            company: *company,
            webhook: *webhook,
            kind,
            episode: step.episode(),
            at: step.at(),
            data: figures(step, settings).to_string(),
        })
    };
    taken.iter().filter_map(notice).collect()
}

/// The order of one webhook's notices at one instant: first transitions by time, with a ban's end before a warning and a
/// warning before the removal, then transitions by results.
fn rank(kind: NoticeKind) -> u16 {
    match kind {
        NoticeKind::BanEnded => 0,
        NoticeKind::Failing24h => 1,
        NoticeKind::Failing48h => 2,
        NoticeKind::Failing71h => 3,
        NoticeKind::Removed => 4,
        NoticeKind::Recovered => 5,
        NoticeKind::Banned => 6,
    }
}

/// The figures for the notice's reader.
fn figures(step: &Transition, settings: &PolicySettings) -> serde_json::Value {
    // In the API's time format.
    let iso = |at: &Timestamp| format!("{at:.3}");
    match step {
        Transition::BanStarted { until, .. } => {
            serde_json::json!({ "failedFirstTries": settings.ban_threshold, "bannedUntil": iso(until) })
        }
        Transition::Recovered { failing_since, .. } | Transition::Removed { failing_since, .. } => {
            serde_json::json!({ "failingSince": iso(failing_since) })
        }
        Transition::Warned { at, .. }
        | Transition::WindowOpened { at, .. }
        | Transition::BanEnded { at, .. } => {
            serde_json::json!({ "at": iso(at) })
        }
    }
}
