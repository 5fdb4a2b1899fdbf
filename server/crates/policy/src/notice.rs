//! Notices to the platform's own endpoint (R4): the body, the time of the next attempt, and the end of the attempts.
//!
//! Guarantees: the same notice and webhook give the same body. A notice whose delivery failed is retried until
//! [`KEEP_TRYING`] after its transition. Not guaranteed: that the notice arrives by then, or that people learn of the
//! transition from it first. The API shows the transition as soon as it is written.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::after;
use super::payload::{Object, embedded};
use tenterhook_model::notice::{Notice, NoticeKind};
use tenterhook_model::webhook::{Webhook, WebhookType};

/// The version of the body. A new key keeps the version; a key with another meaning needs a new version.
pub(crate) const VERSION: &str = "1";
/// The delay from the end of the first failed attempt to the next attempt. Each later delay is twice as long.
pub(crate) const FIRST_WAIT: Duration = Duration::from_secs(5);
/// The longest delay, and so the longest time that a notice is late once the endpoint works again. There is no jitter: a
/// process has only a few notices in flight, however many are due.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);
/// A notice is given up if its next attempt would be due this long after the transition or later. Longer than an outage over
/// holidays, but short enough that one notice which always fails does not delay those behind it for ever.
pub const KEEP_TRYING: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The time of the next attempt, after attempt `number` (1 is the first) failed at `ended_at`. `at` is the time of the
/// transition. `None`: the notice is given up.
pub fn next_attempt(number: u32, at: Timestamp, ended_at: Timestamp) -> Option<Timestamp> {
    let doublings = number.saturating_sub(1);
    let wait = 2_u32
        .checked_pow(doublings)
        .and_then(|times| FIRST_WAIT.checked_mul(times))
        .map_or(LONGEST_WAIT, |wait| wait.min(LONGEST_WAIT));
    let due = after(ended_at, wait);
    (due < after(at, KEEP_TRYING)).then_some(due)
}

/// The kind's name in the API and in the body.
pub fn name(kind: NoticeKind) -> &'static str {
    match kind {
        NoticeKind::Banned => "BANNED",
        NoticeKind::BanEnded => "BAN_ENDED",
        NoticeKind::Failing24h => "FAILING_24H",
        NoticeKind::Failing48h => "FAILING_48H",
        NoticeKind::Failing71h => "FAILING_71H",
        NoticeKind::Removed => "REMOVED",
        NoticeKind::Recovered => "RECOVERED",
    }
}

/// A sentence that says what happened, for people.
pub fn message(kind: NoticeKind) -> &'static str {
    match kind {
        NoticeKind::Banned => {
            "Too many first tries failed: the webhook is banned, and deliveries that are due during the ban are lost."
        }
        NoticeKind::BanEnded => "The ban is over: events are delivered again.",
        NoticeKind::Failing24h => {
            "First warning: no delivery has succeeded. The webhook will be removed if this continues."
        }
        NoticeKind::Failing48h => {
            "Second warning: no delivery has succeeded. The webhook will be removed if this continues."
        }
        NoticeKind::Failing71h => {
            "Last warning: no delivery has succeeded. The webhook is about to be removed."
        }
        NoticeKind::Removed => {
            "The webhook was removed because no delivery succeeded. It can be restored for a limited time."
        }
        NoticeKind::Recovered => "A delivery has succeeded: the webhook will not be removed.",
    }
}

/// What the body says about the webhook. It omits the subscription URL, which may carry a secret of the user's. The API
/// shows the URL to those who may see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct About<'a> {
    number: String,
    #[serde(rename = "type")]
    kind: &'static str,
    name: Option<&'a str>,
    company_id: String,
    user_id: String,
    owner_id: String,
    app_id: Option<&'a str>,
}

/// The body of a notice about a webhook. Ids are strings; times are written as in the API.
pub fn render(notice: &Notice, webhook: &Webhook) -> Vec<u8> {
    let about = About {
        number: webhook.number.to_string(),
        kind: match webhook.kind() {
            WebhookType::General => "GENERAL",
            WebhookType::Application => "APPLICATION",
        },
        name: webhook.name.as_deref(),
        company_id: webhook.company.to_string(),
        user_id: webhook.user.to_string(),
        owner_id: webhook.owner.to_string(),
        app_id: webhook.app.as_ref().map(|app| app.as_str()),
    };
    Object::new()
        .value("version", VERSION)
        .value("noticeId", &notice.id.to_string())
        .value("kind", name(notice.kind))
        .value("at", &format!("{:.3}", notice.at))
        .value("message", message(notice.kind))
        .json("data", embedded(Some(&notice.data)).as_bytes())
        .value("webhook", &about)
        .end()
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::samples;
    use tenterhook_model::ids::NoticeId;

    fn at() -> Timestamp {
        "2026-11-23T10:11:12.345678Z".parse().unwrap()
    }

    fn waits() -> Vec<SignedDuration> {
        let mut waits = Vec::new();
        let mut now = at();
        while let Some(next) = next_attempt(u32::try_from(waits.len()).unwrap() + 1, at(), now) {
            waits.push(next.duration_since(now));
            now = next;
        }
        waits
    }

    #[test]
    fn r4_waits_double_from_five_seconds_to_an_hour() {
        let seconds: Vec<i64> = waits().iter().take(12).map(|wait| wait.as_secs()).collect();
        assert_eq!(
            seconds,
            [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]
        );
        for number in [32, 33, 34, u32::MAX] {
            assert_eq!(
                next_attempt(number, at(), at()),
                Some(after(at(), LONGEST_WAIT)),
                "{number}"
            );
        }
        assert_eq!(next_attempt(0, at(), at()), Some(after(at(), FIRST_WAIT)));
    }

    #[test]
    fn r4_a_notice_is_given_up_seven_days_after_the_transition() {
        let end = after(at(), KEEP_TRYING);
        let failed_at = end - SignedDuration::from_secs(5);
        let millisecond = SignedDuration::from_millis(1);
        assert_eq!(next_attempt(1, at(), failed_at), None);
        assert_eq!(
            next_attempt(1, at(), failed_at - millisecond),
            Some(end - millisecond)
        );
        // The number of attempts must fit into one byte of the header that counts them.
        assert!(waits().len() < usize::from(u8::MAX), "{}", waits().len());
        assert_eq!(next_attempt(1, Timestamp::MAX, Timestamp::MAX), None);
    }

    #[test]
    fn r4_the_body_has_the_notice_and_its_webhook_without_the_url() {
        let mut webhook = samples::webhook();
        let notice = Notice {
            lane: webhook.lane,
            id: NoticeId("019ab0b4-6d80-7abc-8def-0123456789ab".parse().unwrap()),
            company: webhook.company,
            webhook: webhook.id,
            kind: NoticeKind::BanEnded,
            episode: 1,
            at: at(),
            data: r#"{"at":"2026-11-23T10:11:12.345Z"}"#.to_owned(),
        };
        let body = |webhook: &Webhook| String::from_utf8(render(&notice, webhook)).unwrap();
        assert_eq!(
            body(&webhook),
            concat!(
                r#"{"version":"1","noticeId":"019ab0b4-6d80-7abc-8def-0123456789ab","kind":"BAN_ENDED","#,
                r#""at":"2026-11-23T10:11:12.345Z","message":"The ban is over: events are delivered again.","#,
                r#""data":{"at":"2026-11-23T10:11:12.345Z"},"webhook":{"number":"501","type":"GENERAL","#,
                r#""name":null,"companyId":"1","userId":"11","ownerId":"11","appId":null}}"#
            )
        );
        webhook.app = Some("crm".parse().unwrap());
        webhook.name = Some("Deals".to_owned());
        let seen = body(&webhook);
        assert!(
            seen.contains(r#""type":"APPLICATION","name":"Deals""#) && seen.ends_with(r#""appId":"crm"}}"#),
            "{seen}"
        );
        assert!(!seen.contains("receiver.example"), "{seen}");
    }
}
