//! Which failures may be attributed to receivers while name servers are silent (D13).
//!
//! By D13 an attempt without an address does not count if a lookup was sent, and no name server responded, in the
//! [`DNS_SILENCE`] before its end. Take a silence from S to E, where every lookup before and after it gets a response
//! at once:
//!
//! - Attempts that end before S + [`DNS_SILENCE`]: the time before their end includes responses, so D13 would have them
//!   judged. But an attempt without a response to its lookup ends with its time-out, which is longer. So it sent the
//!   lookup before S and got a response. No such failure is expected.
//! - Attempts that end later and before E: no name server responded in the relevant time. They do not count and are not
//!   recorded.
//! - Attempts in flight at E: they sent their lookup in the silence, and when they end, another lookup may have got a
//!   response since E. Then D13 has them judged. A server has at most [`IN_FLIGHT_PER_WEBHOOK`] attempts of a webhook
//!   in flight, and each ends once.
//! - Attempts that start after E: their lookup gets a response.
//!
//! So attempts in flight at E may time out, up to the largest possible number of them. All others in the whole round
//! may time out as often as a busy machine explains ([`SPURIOUS`]). None of them may fail with `DNS`: the checker of
//! histories verifies that.

use std::ops::Range;

use jiff::Timestamp;

use tenterhook_harness::client::Attempt;

use super::checker::Told;
use super::fleet::{DNS_SILENCE, IN_FLIGHT_PER_WEBHOOK};
use super::receivers::Part;
use super::violation::{Violation, Wrong};

/// Attempts that may time out in a round because the machine is busy: far fewer than are in flight at once.
const SPURIOUS: usize = 8;

/// Receivers with host names to which a silence was attributed. The times are those of the servers' clock.
pub(super) fn blamed(silence: &Range<Timestamp>, servers: usize, told: &[Told]) -> Vec<Violation> {
    let named = told
        .iter()
        .filter(|webhook| webhook.well && matches!(webhook.part, Part::Named | Part::Twofold));
    named
        .filter_map(|webhook| {
            let failures = Failures::of(webhook, silence);
            failures.are_too_many(servers).then(|| Violation {
                what: Wrong::Blamed,
                part: Some(webhook.part),
                evidence: format!(
                    "name servers were silent from {} to {}, with too many failures: {failures:?}",
                    silence.start, silence.end
                ),
            })
        })
        .collect()
}

/// Failed attempts, by their position in time relative to the silence.
#[derive(Debug, Default, PartialEq, Eq)]
struct Failures {
    /// Failed with `DNS`, although by D13 they do not count.
    dns_in_silence: usize,
    /// Timed out, and were in flight when the silence ended.
    timed_out_at_its_end: usize,
    /// All other failures of the round.
    others: usize,
}

impl Failures {
    fn of(webhook: &Told, silence: &Range<Timestamp>) -> Self {
        let ours = silence.start.saturating_add(DNS_SILENCE).unwrap_or(silence.end)..silence.end;
        let on_the_wire =
            |attempt: &Attempt| attempt.started_at < silence.end && silence.end <= attempt.ended_at;
        let mut failures = Self::default();
        for attempt in webhook.deliveries.iter().flat_map(|delivery| &delivery.attempts) {
            match attempt.error_class.as_deref() {
                None => {}
                Some("DNS") if ours.contains(&attempt.ended_at) => failures.dns_in_silence += 1,
                Some("TIMEOUT") if on_the_wire(attempt) => failures.timed_out_at_its_end += 1,
                Some(_) => failures.others += 1,
            }
        }
        failures
    }

    fn are_too_many(&self, servers: usize) -> bool {
        self.dns_in_silence > 0
            || self.timed_out_at_its_end > IN_FLIGHT_PER_WEBHOOK * servers
            || self.others > SPURIOUS
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::super::fleet::SETTINGS;
    use super::*;
    use tenterhook_harness::client::{DeliveredEvent, Delivery};

    const SERVERS: usize = 2;
    const MOST_AT_THE_END: usize = 64;

    /// A moment of the round. The silence is from 10 s to 12 s.
    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(1_000_000_000 + millis).unwrap()
    }

    fn attempts(count: usize, class: &str, started: i64, ended: i64) -> Vec<Attempt> {
        let attempt = Attempt {
            number: 1,
            started_at: at(started),
            ended_at: at(ended),
            http_status: None,
            error_class: Some(class.to_owned()),
            error_message: None,
            response_body: None,
            response_truncated: false,
            request_headers: Vec::new(),
        };
        vec![attempt; count]
    }

    fn told(part: Part, attempts: Vec<Attempt>) -> Told {
        let delivery = Delivery {
            id: "1".to_owned(),
            status: "SUCCEEDED".to_owned(),
            reason: None,
            created_at: at(0),
            next_attempt_at: None,
            finished_at: None,
            event: DeliveredEvent {
                event_id: "2".to_owned(),
            },
            attempts,
        };
        Told {
            part,
            well: true,
            deliveries: vec![delivery],
            bans: Vec::new(),
            counter: 0,
            banned: false,
            came: Vec::new(),
            deleted: None,
        }
    }

    fn is_blamed(attempts: Vec<Attempt>) -> bool {
        let silence = at(10_000)..at(12_000);
        !blamed(&silence, SERVERS, &[told(Part::Named, attempts)]).is_empty()
    }

    #[test]
    fn the_constants_match_the_servers_settings() {
        let (_, per_webhook) = SETTINGS
            .iter()
            .find(|(name, _)| *name == "TENTERHOOK_IN_FLIGHT_PER_WEBHOOK")
            .unwrap();
        assert_eq!(*per_webhook, IN_FLIGHT_PER_WEBHOOK.to_string());
        assert_eq!(MOST_AT_THE_END, SERVERS * IN_FLIGHT_PER_WEBHOOK);
        // Otherwise attempts without a response to their lookup could end before D13 applies to them.
        assert!(DNS_SILENCE < SignedDuration::from_secs(1));
    }

    #[test]
    fn d13_no_attempt_fails_with_dns_in_a_long_silence() {
        for (ended, blamed) in [(10_799, false), (10_800, true), (11_999, true), (12_000, false)] {
            assert_eq!(
                is_blamed(attempts(1, "DNS", 10_500, ended)),
                blamed,
                "at {ended} ms"
            );
        }
    }

    #[test]
    fn d13_attempts_in_flight_when_a_silence_ends_may_time_out() {
        for (started, ended) in [(11_001, 12_000), (11_999, 12_999)] {
            let some = |count| attempts(count, "TIMEOUT", started, ended);
            assert!(!is_blamed(some(MOST_AT_THE_END)), "from {started} to {ended} ms");
            assert!(
                is_blamed(some(MOST_AT_THE_END + 1)),
                "from {started} to {ended} ms"
            );
        }
        // An attempt without an address has the error class of the time-out.
        assert!(is_blamed(attempts(SPURIOUS + 1, "CONNECT", 11_500, 12_500)));
    }

    #[test]
    fn d13_other_failures_are_limited_to_those_of_a_busy_machine() {
        for (started, ended) in [
            (8_000, 9_000),
            (9_500, 10_500),
            (10_000, 10_799),
            (10_100, 11_100),
            (10_999, 11_999),
            (12_000, 13_000),
            (12_500, 13_500),
        ] {
            let some = |count| attempts(count, "TIMEOUT", started, ended);
            assert!(!is_blamed(some(SPURIOUS)), "from {started} to {ended} ms");
            assert!(is_blamed(some(SPURIOUS + 1)), "from {started} to {ended} ms");
        }
        // The limit is for all of them together, wherever they are.
        let mut some = attempts(SPURIOUS, "TIMEOUT", 9_500, 10_500);
        some.extend(attempts(1, "TIMEOUT", 12_000, 13_000));
        assert!(is_blamed(some));
        // The allowance at the end of the silence does not apply elsewhere.
        let mut some = attempts(MOST_AT_THE_END, "TIMEOUT", 11_500, 12_500);
        some.extend(attempts(SPURIOUS, "TIMEOUT", 9_500, 10_500));
        assert!(!is_blamed(some.clone()));
        some.extend(attempts(1, "TIMEOUT", 12_000, 13_000));
        assert!(is_blamed(some));
    }

    #[test]
    fn only_healthy_receivers_with_a_name_are_judged() {
        let silence = at(10_000)..at(12_000);
        let failed = attempts(SPURIOUS + 1, "TIMEOUT", 10_100, 11_100);
        for (part, well, blames) in [
            (Part::Named, true, true),
            (Part::Twofold, true, true),
            (Part::Named, false, false),
            (Part::Hostile, true, false),
        ] {
            let told = Told {
                well,
                ..told(part, failed.clone())
            };
            assert_eq!(!blamed(&silence, SERVERS, &[told]).is_empty(), blames, "{part:?}");
        }
    }
}
