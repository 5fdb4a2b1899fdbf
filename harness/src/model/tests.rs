use jiff::SignedDuration;

use super::*;

const DAY: i64 = 24 * 3600;

/// A fixed moment plus `seconds`.
fn t(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

fn millisecond() -> SignedDuration {
    SignedDuration::from_millis(1)
}

fn numbers() -> Numbers {
    Numbers::default()
}

/// A webhook whose first tries failed at these seconds.
fn failed(at: impl IntoIterator<Item = i64>) -> Webhook {
    let mut webhook = Webhook::new();
    for second in at {
        webhook.attempt_ended(t(second), 1, false, &numbers());
    }
    webhook
}

#[test]
fn the_tenth_failed_first_try_bans_for_thirty_minutes_and_the_ninth_does_not() {
    let mut webhook = failed(0..9);
    assert_eq!((webhook.counter, webhook.ban), (9, None));
    let (start, until) = (t(100), t(100 + 1800));
    assert_eq!(
        webhook.attempt_ended(start, 1, false, &numbers()),
        [Step::BanStarted { at: start, until }]
    );
    assert_eq!((webhook.counter, webhook.ban), (10, Some(Ban { start, until })));
    assert_eq!(webhook.state(start, &numbers()), State::Banned);
}

#[test]
fn retries_never_count() {
    let mut webhook = failed(0..9);
    for number in 2..=4 {
        webhook.attempt_ended(t(20), number, false, &numbers());
    }
    assert_eq!((webhook.counter, webhook.ban), (9, None));
}

#[test]
fn a_success_leaves_the_counter_where_it_is() {
    let mut webhook = failed(0..9);
    webhook.attempt_ended(t(20), 1, true, &numbers());
    assert_eq!(webhook.counter, 9);
    webhook.attempt_ended(t(21), 1, false, &numbers());
    assert!(webhook.ban.is_some());
}

#[test]
fn a_ban_is_over_at_its_end_and_not_a_millisecond_before() {
    let webhook = failed(0..10);
    let until = t(9 + 1800);
    assert_eq!(webhook.state(until - millisecond(), &numbers()), State::Banned);
    assert_eq!(webhook.state(until, &numbers()), State::Active);
    let mut webhook = webhook;
    assert_eq!(webhook.advance(until - millisecond(), &numbers()), []);
    assert_eq!(webhook.advance(until, &numbers()), [Step::BanEnded { at: until }]);
    assert_eq!((webhook.counter, webhook.ban), (0, None));
}

#[test]
fn a_failure_in_a_ban_neither_counts_nor_prolongs_it() {
    let mut webhook = failed(0..10);
    let until = t(9 + 1800);
    for at in [t(9), t(15), until - millisecond()] {
        assert_eq!(webhook.attempt_ended(at, 1, false, &numbers()), []);
    }
    assert_eq!(
        (webhook.counter, webhook.ban.map(|ban| ban.until)),
        (10, Some(until))
    );
}

#[test]
fn a_failure_at_the_end_of_a_ban_counts_as_the_first_after_it() {
    let mut webhook = failed(0..10);
    let until = t(9 + 1800);
    assert_eq!(
        webhook.attempt_ended(until, 1, false, &numbers()),
        [Step::BanEnded { at: until }]
    );
    assert_eq!((webhook.counter, webhook.ban), (1, None));
}

#[test]
fn a_success_in_a_ban_ends_the_window_and_not_the_ban() {
    let mut webhook = failed(0..10);
    assert_eq!(
        webhook.attempt_ended(t(15), 1, true, &numbers()),
        [Step::Recovered { at: t(15) }]
    );
    assert_eq!((webhook.failing_since, webhook.counter), (None, 10));
    assert_eq!(webhook.state(t(16), &numbers()), State::Banned);
}

#[test]
fn eleven_failures_in_one_instant_make_one_ban() {
    let webhook = failed([5; 11]);
    assert_eq!(
        (webhook.counter, webhook.ban.map(|ban| ban.start)),
        (10, Some(t(5)))
    );
}

#[test]
fn only_the_first_failure_opens_the_window_even_if_a_retry() {
    let mut webhook = Webhook::new();
    assert_eq!(
        webhook.attempt_ended(t(7), 3, false, &numbers()),
        [Step::WindowOpened { at: t(7) }]
    );
    assert_eq!(webhook.attempt_ended(t(8), 1, false, &numbers()), []);
    assert_eq!(webhook.failing_since, Some(t(7)));
}

#[test]
fn idle_time_opens_no_window() {
    let mut webhook = Webhook::new();
    assert_eq!(webhook.advance(t(30 * DAY), &numbers()), []);
    assert_eq!(webhook.next_step(&numbers()), None);
}

#[test]
fn a_window_warns_three_times_and_removes_at_seventy_two_hours() {
    let mut webhook = failed([0]);
    let end = t(3 * DAY);
    assert_eq!(webhook.removal_due(&numbers()), Some(end));
    assert_eq!(
        webhook.advance(end - millisecond(), &numbers()),
        [24, 48, 71].map(|hours| Step::Warned {
            at: t(hours * 3600),
            hours
        })
    );
    assert_eq!(webhook.state(end - millisecond(), &numbers()), State::Active);
    assert_eq!(webhook.state(end, &numbers()), State::Removed);
    assert_eq!(
        webhook.advance(t(4 * DAY), &numbers()),
        [Step::Removed { at: end }]
    );
    assert_eq!(webhook.next_step(&numbers()), None);
}

#[test]
fn only_a_success_before_the_end_prevents_the_removal() {
    let end = t(3 * DAY);
    let mut saved = failed([0]);
    let steps = saved.attempt_ended(end - millisecond(), 4, true, &numbers());
    assert_eq!(
        steps.last(),
        Some(&Step::Recovered {
            at: end - millisecond()
        })
    );
    assert_eq!((saved.failing_since, saved.warned), (None, 0));
    assert_eq!(saved.state(end, &numbers()), State::Active);

    let mut late = failed([0]);
    let steps = late.attempt_ended(end, 4, true, &numbers());
    assert_eq!(steps.last(), Some(&Step::Removed { at: end }));
    assert_eq!(late.state(end, &numbers()), State::Removed);
}

#[test]
fn a_failure_after_the_removal_changes_nothing() {
    let mut webhook = failed([0]);
    webhook.advance(t(3 * DAY), &numbers());
    let before = webhook.clone();
    assert_eq!(webhook.attempt_ended(t(3 * DAY + 1), 1, false, &numbers()), []);
    assert_eq!(webhook, before);
}

#[test]
fn a_ban_and_its_end_leave_the_window_as_it_is() {
    let mut webhook = failed(0..10);
    webhook.advance(t(2000), &numbers());
    webhook.attempt_ended(t(2001), 1, false, &numbers());
    assert_eq!((webhook.counter, webhook.failing_since), (1, Some(t(0))));
}

#[test]
fn a_pause_closes_the_window_and_keeps_counter_and_ban() {
    let mut webhook = failed(0..10);
    webhook.pause(t(20), &numbers());
    assert_eq!((webhook.failing_since, webhook.counter), (None, 10));
    assert_eq!(webhook.state(t(21), &numbers()), State::Paused);
    assert_eq!(
        webhook.resume(t(9 + 1800), &numbers()),
        [Step::BanEnded { at: t(9 + 1800) }]
    );
    assert_eq!(webhook.state(t(9 + 1800), &numbers()), State::Active);
}

#[test]
fn a_pause_loses_exactly_the_deliveries_that_become_due_in_it() {
    let mut webhook = Webhook::new();
    assert!(!webhook.was_due_in_pause(t(5)));
    webhook.pause(t(10), &numbers());
    assert!(webhook.was_due_in_pause(t(10)) && webhook.was_due_in_pause(t(1_000)));
    webhook.resume(t(20), &numbers());
    let due = [9, 10, 19, 20].map(|second| webhook.was_due_in_pause(t(second)));
    assert_eq!(due, [false, true, true, false]);
}

#[test]
fn a_failure_during_a_pause_counts_but_opens_no_window() {
    let mut webhook = failed([0]);
    webhook.pause(t(1), &numbers());
    assert_eq!(webhook.attempt_ended(t(2), 1, false, &numbers()), []);
    webhook.resume(t(3), &numbers());
    assert_eq!((webhook.counter, webhook.failing_since), (2, None));
}

#[test]
fn a_webhook_removed_for_failing_can_be_restored_for_30_days() {
    let mut removed = failed([0]);
    removed.advance(t(3 * DAY), &numbers());
    let mut late = removed.clone();
    assert!(removed.restore(t(33 * DAY) - millisecond(), &numbers()));
    assert_eq!(removed, Webhook::new());
    assert!(!late.restore(t(33 * DAY), &numbers()));
}

#[test]
fn a_deleted_webhook_cannot_be_restored() {
    let mut webhook = Webhook::new();
    webhook.remove(t(0), RemoveReason::DeletedByUser, &numbers());
    assert!(!webhook.restore(t(1), &numbers()));
    assert_eq!(webhook.state(t(1), &numbers()), State::Removed);
}

#[test]
fn after_the_window_ended_pause_and_deletion_have_no_effect() {
    let mut webhook = failed([0]);
    webhook.pause(t(3 * DAY), &numbers());
    webhook.remove(t(3 * DAY), RemoveReason::DeletedByUser, &numbers());
    let reason = RemoveReason::NoSuccessfulDelivery;
    assert_eq!(
        webhook.standing,
        Standing::Removed {
            at: t(3 * DAY),
            reason
        }
    );
}

#[test]
fn three_retries_follow_at_three_thirty_and_a_hundred_and_fifty_seconds() {
    let due = |number| retry_at(number, t(0), &numbers());
    assert_eq!([1, 2, 3].map(due), [3, 30, 150].map(|wait| Some(t(wait))));
    assert_eq!([0, 4].map(due), [None, None]);
}

#[test]
fn silence_is_10_seconds_with_lookups_but_no_response() {
    let numbers = Numbers::default();
    let at = |millis: i64| Timestamp::from_millisecond(1_000_000_000 + millis).unwrap();
    let silent = |asked: &[i64], answered: &[i64], ended: i64| {
        let mut names = Names::default();
        let mut all: Vec<(i64, bool)> = asked.iter().map(|at| (*at, false)).collect();
        all.extend(answered.iter().map(|at| (*at, true)));
        all.sort_unstable();
        for (moment, is_answer) in all {
            match is_answer {
                true => names.answered(at(moment)),
                false => names.asked(at(moment)),
            }
        }
        names.are_silent(at(ended), &numbers)
    };
    assert!(silent(&[0], &[], 10_000));
    assert!(!silent(&[0], &[], 10_001), "nothing was asked in that time");
    assert!(!silent(&[], &[], 10_000));
    assert!(!silent(&[0, 1], &[5_000], 10_000), "another name's answer");
    assert!(silent(&[0, 10_001], &[2], 10_002), "an answer before that time");
    assert!(!silent(&[0, 10_001], &[3], 10_002));
    // The limit is 15 minutes from the first lookup without a response.
    assert!(silent(&[0, 899_000], &[], 899_999));
    assert!(!silent(&[0, 899_000], &[], 900_000));
    assert!(silent(&[0, 1_000, 899_000], &[1], 900_999));
}

#[test]
fn a_postponed_delivery_waits_5_seconds_then_30() {
    let numbers = Numbers::default();
    let now = Timestamp::UNIX_EPOCH;
    let waits = [0, 1, 2, 20].map(|before| {
        postponed_until(before, now, &numbers)
            .duration_since(now)
            .as_secs()
    });
    assert_eq!(waits, [5, 30, 30, 30]);
}
