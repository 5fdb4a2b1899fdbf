//! False histories, and what the checker says about them.

use tenterhook_harness::client::{Attempt, DeliveredEvent};

use super::*;

const NUMBERS: Numbers = Numbers {
    attempts: 4,
    threshold: 3,
    ban: SignedDuration::from_secs(3),
    timeout: SignedDuration::from_secs(1),
    ahead: SignedDuration::ZERO,
    apart: SignedDuration::from_secs(1),
};

fn second(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

fn attempt(number: u8, at: i64, status: u16) -> Attempt {
    Attempt {
        number,
        started_at: second(at),
        ended_at: second(at),
        http_status: Some(status),
        error_class: (status >= 300).then(|| "STATUS".to_owned()),
        error_message: None,
        response_body: None,
        response_truncated: false,
        request_headers: Vec::new(),
    }
}

fn delivery(event: &str, status: &str, reason: Option<&str>, attempts: Vec<Attempt>) -> Delivery {
    Delivery {
        id: format!("delivery of {event}"),
        status: status.to_owned(),
        reason: reason.map(str::to_owned),
        created_at: second(0),
        next_attempt_at: None,
        finished_at: Some(second(9)),
        event: DeliveredEvent {
            event_id: event.to_owned(),
        },
        attempts,
    }
}

fn accepted(event: &str) -> Accepted {
    Accepted {
        key: format!("key of {event}"),
        event: event.to_owned(),
        deliveries: 1,
        before: false,
    }
}

/// A webhook whose receiver got exactly the attempts of these deliveries.
fn told(part: Part, deliveries: Vec<Delivery>) -> Told {
    let came = deliveries.iter().flat_map(|delivery| {
        delivery.attempts.iter().map(|attempt| Came {
            at: attempt.ended_at,
            event: delivery.event.event_id.clone(),
            attempt: attempt.number,
            complaints: Vec::new(),
        })
    });
    Told {
        part,
        well: true,
        came: came.collect(),
        deliveries,
        bans: Vec::new(),
        counter: 0,
        banned: false,
        deleted: None,
    }
}

fn succeeded(event: &str) -> Delivery {
    delivery(event, "SUCCEEDED", None, vec![attempt(1, 1, 200)])
}

/// First tries that failed at these seconds, each followed by a success.
fn failing(at: &[i64]) -> (Vec<Accepted>, Told) {
    let names: Vec<String> = (0..at.len()).map(|number| format!("e{number}")).collect();
    let deliveries = names.iter().zip(at).map(|(name, at)| {
        delivery(
            name,
            "SUCCEEDED",
            None,
            vec![attempt(1, *at, 500), attempt(2, at + 1, 200)],
        )
    });
    let told = told(Part::Flaky, deliveries.collect());
    (names.iter().map(|name| accepted(name)).collect(), told)
}

fn wrong(accepted: &[Accepted], told: &[Told]) -> Vec<Wrong> {
    let mut found: Vec<Wrong> = breaches(accepted, told, &NUMBERS)
        .iter()
        .map(|violation| violation.what)
        .collect();
    found.dedup();
    found
}

#[test]
fn a_correct_history_has_no_breach() {
    let exhausted = (1..=4)
        .map(|number| attempt(number, i64::from(number), 503))
        .collect();
    let deliveries = vec![
        succeeded("a"),
        delivery("b", "FAILED", Some("EXHAUSTED"), exhausted),
    ];
    let webhook = Told {
        counter: 1,
        ..told(Part::Flaky, deliveries)
    };
    assert_eq!(wrong(&[accepted("a"), accepted("b")], &[webhook]), []);
}

#[test]
fn an_accepted_event_without_delivery_is_lost() {
    let webhook = told(Part::Steady, vec![succeeded("a")]);
    assert_eq!(wrong(&[accepted("a"), accepted("b")], &[webhook]), [Wrong::Lost]);
}

#[test]
fn a_deleted_webhook_can_lose_only_counted_deliveries() {
    let webhook = || told(Part::Doomed, vec![succeeded("a")]);
    let unmatched = Accepted {
        deliveries: 0,
        ..accepted("b")
    };
    assert_eq!(wrong(&[accepted("a"), unmatched], &[webhook()]), []);
    assert_eq!(
        wrong(&[accepted("a"), accepted("b")], &[webhook()]),
        [Wrong::Lost]
    );
}

#[test]
fn an_event_that_no_response_named_was_published_twice() {
    let webhook = told(Part::Steady, vec![succeeded("a"), succeeded("ghost")]);
    assert_eq!(wrong(&[accepted("a")], &[webhook]), [Wrong::PublishedTwice]);
}

#[test]
fn a_second_delivery_of_an_event_is_a_breach() {
    let webhook = told(Part::Steady, vec![succeeded("a"), succeeded("a")]);
    assert_eq!(wrong(&[accepted("a")], &[webhook]), [Wrong::Doubled]);
}

#[test]
fn a_pending_delivery_is_unfinished() {
    let webhook = told(Part::Steady, vec![delivery("a", "PENDING", None, Vec::new())]);
    assert_eq!(wrong(&[accepted("a")], &[webhook]), [Wrong::Unfinished]);
}

#[test]
fn attempts_are_numbered_without_gap_or_repetition() {
    for numbers in [[2, 3], [1, 1], [1, 3]] {
        let attempts = vec![attempt(numbers[0], 1, 500), attempt(numbers[1], 2, 200)];
        let webhook = Told {
            counter: u32::from(numbers[0] == 1),
            ..told(Part::Steady, vec![delivery("a", "SUCCEEDED", None, attempts)])
        };
        let found = wrong(&[accepted("a")], &[webhook]);
        assert!(found.contains(&Wrong::Numbering), "{numbers:?}: {found:?}");
    }
}

#[test]
fn the_status_of_a_delivery_must_agree_with_its_attempts() {
    let failed = || vec![attempt(1, 1, 500)];
    for (status, reason, attempts) in [
        ("SUCCEEDED", None, failed()),
        ("SUCCEEDED", None, Vec::new()),
        ("SUCCEEDED", None, vec![attempt(1, 1, 200), attempt(2, 2, 200)]),
        ("FAILED", Some("EXHAUSTED"), failed()),
        ("LOST", Some("BANNED"), failed()),
        ("LOST", Some("PAUSED"), failed()),
        ("CANCELLED", Some("WEBHOOK_REMOVED"), failed()),
    ] {
        let shown = format!("{status} {attempts:?}");
        let failures = attempts.iter().any(|attempt| attempt.error_class.is_some());
        let webhook = Told {
            counter: u32::from(failures),
            ..told(Part::Flaky, vec![delivery("a", status, reason, attempts)])
        };
        assert_eq!(wrong(&[accepted("a")], &[webhook]), [Wrong::Ending], "{shown}");
    }
}

#[test]
fn attempts_on_record_and_requests_received_must_agree() {
    let mut silent = told(Part::Steady, vec![succeeded("a")]);
    silent.came.clear();
    assert_eq!(wrong(&[accepted("a")], &[silent]), [Wrong::Wire]);
    let mut early = told(Part::Steady, vec![succeeded("a")]);
    let mut third = early.came[0].clone();
    third.attempt = 3;
    early.came.push(third);
    assert_eq!(wrong(&[accepted("a")], &[early]), [Wrong::Wire]);
}

#[test]
fn a_repeated_request_is_counted_and_no_breach() {
    let mut webhook = told(Part::Steady, vec![succeeded("a")]);
    webhook.came.push(webhook.came[0].clone());
    assert_eq!(wrong(&[accepted("a")], std::slice::from_ref(&webhook)), []);
    assert_eq!(repeated(&[webhook]), 1);
}

#[test]
fn a_request_with_a_bad_signature_is_a_breach() {
    let mut webhook = told(Part::Steady, vec![succeeded("a")]);
    webhook.came[0]
        .complaints
        .push("the signature is INVALID".to_owned());
    assert_eq!(wrong(&[accepted("a")], &[webhook]), [Wrong::Request]);
}

#[test]
fn a_healthy_receiver_is_not_blamed_for_a_connection() {
    let refused = |class: &str| Attempt {
        http_status: None,
        error_class: Some(class.to_owned()),
        ..attempt(1, 1, 500)
    };
    let webhook = |well, class| Told {
        counter: 1,
        well,
        ..told(
            Part::Named,
            vec![delivery(
                "a",
                "SUCCEEDED",
                None,
                vec![refused(class), attempt(2, 2, 200)],
            )],
        )
    };
    let found = |well, class| wrong(&[accepted("a")], &[webhook(well, class)]);
    assert_eq!(found(true, "DNS"), [Wrong::Blamed]);
    assert_eq!(found(true, "TIMEOUT"), []);
    assert_eq!(found(false, "DNS"), []);
}

#[test]
fn a_receiver_that_never_failed_is_neither_banned_nor_given_up() {
    let timed_out = |number| Attempt {
        http_status: None,
        error_class: Some("TIMEOUT".to_owned()),
        ..attempt(number, i64::from(number), 500)
    };
    let given_up = |part| {
        let attempts = (1..=4).map(timed_out).collect();
        let delivery = delivery("a", "FAILED", Some("EXHAUSTED"), attempts);
        let webhook = Told {
            counter: 1,
            came: Vec::new(),
            ..told(part, vec![delivery])
        };
        wrong(&[accepted("a")], &[webhook])
    };
    assert_eq!(given_up(Part::Twofold), [Wrong::Blamed]);
    assert_eq!(given_up(Part::Flaky), []);
    let banned = |part, well| {
        let (accepted, told) = failing(&[1, 2, 3]);
        let told = Told {
            part,
            well,
            bans: vec![second(3)],
            ..told
        };
        wrong(&accepted, &[told])
    };
    assert_eq!(banned(Part::Named, true), [Wrong::Blamed]);
    assert_eq!(banned(Part::Named, false), []);
    assert_eq!(banned(Part::Failing, true), []);
}

#[test]
fn only_bodies_that_postgres_refuses_are_missing_from_the_log() {
    let names: Vec<String> = (0..64).map(|number| format!("e{number}")).collect();
    let marked = names.iter().find(|name| refusal::of(name, 1).is_some()).unwrap();
    let plain = names.iter().find(|name| refusal::of(name, 1).is_none()).unwrap();
    let found = |event: &str, body: Option<&str>| {
        let attempt = Attempt {
            response_body: body.map(str::to_owned),
            ..attempt(1, 1, 200)
        };
        let delivery = delivery(event, "SUCCEEDED", None, vec![attempt]);
        wrong(&[accepted(event)], &[told(Part::Poisonous, vec![delivery])])
    };
    assert_eq!(found(marked, None), []);
    assert_eq!(found(marked, Some(&format!("{MARK}22021"))), [Wrong::Log]);
    assert_eq!(found(plain, Some(PLAIN)), []);
    assert_eq!(found(plain, None), [Wrong::Log]);
}

#[test]
fn without_a_ban_the_counter_is_the_failed_first_tries() {
    for (counter, expected) in [(2, vec![]), (1, vec![Wrong::Counter]), (3, vec![Wrong::Counter])] {
        let (accepted, told) = failing(&[1, 2]);
        assert_eq!(
            wrong(&accepted, &[Told { counter, ..told }]),
            expected,
            "{counter}"
        );
    }
}

#[test]
fn a_ban_needs_its_failures_and_resets_the_counter() {
    let banned = |at: &[i64], counter, bans: &[i64], banned| {
        let (accepted, told) = failing(at);
        let told = Told {
            counter,
            banned,
            bans: bans.iter().map(|at| second(*at)).collect(),
            ..told
        };
        wrong(&accepted, &[told])
    };
    assert_eq!(banned(&[1, 2, 3], 3, &[3], true), []);
    assert_eq!(banned(&[1, 2, 3], 0, &[3], false), []);
    assert_eq!(banned(&[1, 2, 3, 7], 1, &[3], false), []);
    assert_eq!(banned(&[1, 2, 3, 7], 2, &[3], false), [Wrong::Counter]);
    assert_eq!(banned(&[1, 2, 3], 2, &[3], true), [Wrong::Counter]);
    assert_eq!(banned(&[1, 3], 0, &[3], false), [Wrong::Ban]);
    assert_eq!(banned(&[1, 2, 3], 0, &[2], false), [Wrong::Ban]);
    assert_eq!(banned(&[1, 2, 2, 4], 0, &[3], false), [Wrong::Ban]);
    assert_eq!(banned(&[3, 6, 6], 0, &[3], false), [Wrong::Ban]);
    assert_eq!(banned(&[1, 2, 3, 4, 5, 5], 0, &[3, 5], false), [Wrong::Ban]);
}

#[test]
fn a_delivery_is_lost_only_during_a_ban() {
    let (mut accepted_events, mut webhook) = failing(&[1, 2, 3]);
    webhook
        .deliveries
        .push(delivery("late", "LOST", Some("BANNED"), Vec::new()));
    accepted_events.push(accepted("late"));
    webhook.bans = vec![second(3)];
    assert_eq!(wrong(&accepted_events, std::slice::from_ref(&webhook)), []);
    let lost = webhook.deliveries.last_mut().unwrap();
    lost.created_at = second(8);
    assert_eq!(
        wrong(&accepted_events, std::slice::from_ref(&webhook)),
        [Wrong::Ending]
    );
    let lost = webhook.deliveries.last_mut().unwrap();
    (lost.created_at, lost.finished_at) = (second(2), Some(second(2)));
    assert_eq!(
        wrong(&accepted_events, &[webhook]),
        [Wrong::Ending],
        "before the ban"
    );
}

#[test]
fn no_request_follows_the_response_to_a_deletion() {
    let deleted = |at| Told {
        deleted: Some(at),
        ..told(Part::Doomed, vec![succeeded("a")])
    };
    assert_eq!(wrong(&[accepted("a")], &[deleted(second(0))]), []);
    assert_eq!(
        wrong(&[accepted("a")], &[deleted(second(-1))]),
        [Wrong::AfterDeletion]
    );
}
