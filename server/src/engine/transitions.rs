//! Transitions as people are told of them: the notices of R4.

use jiff::Timestamp;

use crate::config::policy::PolicySettings;
use crate::model::ids::{CompanyId, Lane, NoticeId, WebhookId};
use crate::model::notice::Notice;
use crate::policy::health::Transition;

/// The notices of these transitions; some transitions have none.
pub(super) fn notices(
    taken: &[(Lane, WebhookId, CompanyId, Transition)],
    settings: &PolicySettings,
) -> Vec<Notice> {
    let notice = |(lane, webhook, company, step): &(Lane, WebhookId, CompanyId, Transition)| {
        Some(Notice {
            lane: *lane,
            id: NoticeId::new(step.at()),
            company: *company,
            webhook: *webhook,
            kind: step.notice()?,
            episode: step.episode(),
            at: step.at(),
            data: figures(step, settings).to_string(),
        })
    };
    taken.iter().filter_map(notice).collect()
}

/// What the notice's reader wants to know in figures.
fn figures(step: &Transition, settings: &PolicySettings) -> serde_json::Value {
    // As the API writes moments.
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
