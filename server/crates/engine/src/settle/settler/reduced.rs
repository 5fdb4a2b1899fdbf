//! The minimum that must be recorded of an attempt: its number, times, status and class.
//!
//! A receiver's response is information for people. If the database refuses an attempt because of it, the attempt is
//! recorded without headers and body. If that is refused too, it is also recorded without its error message.

use tenterhook_model::attempt::Outcome;
use tenterhook_store::settle::Settlement;

/// Replaces an error message that the database refuses.
const UNSAID: &str = "The error message cannot be shown: the database refused it.";

/// The settlement with less and less of its attempt. Empty if nothing can be left out.
pub(super) fn of(settlement: &Settlement) -> Vec<Settlement> {
    let mut less = settlement.clone();
    let mut all = Vec::new();
    for leave_out in [excerpt, words] {
        let Some(attempt) = less.attempt.as_deref_mut() else {
            break;
        };
        if leave_out(&mut attempt.outcome) {
            all.push(less.clone());
        }
    }
    all
}

/// Leaves out headers and body. Returns whether there were any.
fn excerpt(outcome: &mut Outcome) -> bool {
    let body = outcome.response_body.take();
    let had_headers = !std::mem::take(&mut outcome.response_headers).is_empty();
    // The stored body is now empty, so it is not the whole body.
    outcome.response_truncated |= body.is_some();
    body.is_some() || had_headers
}

/// Leaves out the error message. Returns whether there was one.
fn words(outcome: &mut Outcome) -> bool {
    match &mut outcome.error_message {
        None => false,
        Some(words) => {
            UNSAID.clone_into(words);
            true
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use jiff::Timestamp;

    use super::*;
    use tenterhook_model::attempt::{Attempt, AttemptErrorClass, Timings};
    use tenterhook_model::ids::{CompanyId, DeliveryKey, EventId, Lane, WebhookId};
    use tenterhook_store::settle::Action;

    pub fn settlement(words: Option<&str>, body: Option<&str>) -> Settlement {
        let at: Timestamp = "2026-11-23T00:00:00Z".parse().unwrap();
        let key = DeliveryKey {
            lane: Lane(0),
            webhook: WebhookId::new(at),
            event: EventId::new(at),
            generation: 0,
        };
        let attempt = Attempt {
            delivery: key,
            number: 2,
            started_at: at,
            ended_at: at,
            duration_us: 7,
            url: "https://example.com/".to_owned(),
            auth_sent: true,
            outcome: Outcome {
                status: None,
                error_class: Some(AttemptErrorClass::Reset),
                error_message: words.map(str::to_owned),
                timings: Timings::default(),
                response_headers: Vec::new(),
                response_body: body.map(str::to_owned),
                response_truncated: false,
            },
            ending: None,
        };
        Settlement {
            key,
            company: CompanyId::new(1).unwrap(),
            created_at: at,
            token: 3,
            attempt: Some(Box::new(attempt)),
            action: Action::Retry(at),
        }
    }

    #[test]
    fn the_response_is_left_out_first_then_the_error_message() {
        let whole = settlement(Some("reset"), Some("seen"));
        let less = of(&whole);
        assert_eq!(less.len(), 2);
        let mut expected = settlement(Some("reset"), None);
        expected.key = whole.key;
        let attempt = expected.attempt.as_deref_mut().unwrap();
        attempt.delivery = whole.key;
        attempt.outcome.response_truncated = true;
        assert_eq!(less[0], expected);
        expected.attempt.as_deref_mut().unwrap().outcome.error_message = Some(UNSAID.to_owned());
        assert_eq!(less[1], expected);
    }

    #[test]
    fn a_result_with_nothing_to_leave_out_is_not_retried() {
        assert!(of(&settlement(None, None)).is_empty());
        assert_eq!(of(&settlement(Some("reset"), None)).len(), 1);
        let without = Settlement {
            attempt: None,
            ..settlement(None, None)
        };
        assert!(of(&without).is_empty());
    }
}
