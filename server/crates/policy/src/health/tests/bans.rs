//! Bans, one test per rule and boundary (B1–B7).

use super::*;
use tenterhook_model::delivery::DeliveryReason;
use tenterhook_model::webhook::WebhookState;

#[test]
fn b1_a_failed_first_try_adds_one_and_retries_never_do() {
    let mut row = Row::default();
    row.record(failed(1, 0));
    for retry in 2..=4 {
        row.record(failed(retry, SECOND));
    }
    assert_eq!(row.view(SECOND).ban_counter, 1);
}

#[test]
fn b2_the_tenth_failed_first_try_bans_for_30_minutes_from_its_end() {
    let mut row = Row::default();
    row.fail_firsts(9, 0);
    assert_eq!(row.view(0).state, WebhookState::Active);
    row.record(failed(1, 7 * SECOND));
    let until = 7 * SECOND + 30 * MINUTE;
    let started = Transition::BanStarted {
        at: at(7 * SECOND),
        until: at(until),
        episode: 1,
    };
    assert_eq!(row.steps.last(), Some(&started));
    let view = row.view(7 * SECOND);
    assert_eq!(
        (view.state, view.ban_counter, view.ban_threshold),
        (WebhookState::Banned, 10, 10)
    );
    assert_eq!(view.banned_until, Some(at(until)));
}

#[test]
fn b2_a_ban_begins_at_the_latest_end_of_its_ten_attempts() {
    let mut row = Row::default();
    row.fail_firsts(9, 7 * SECOND).record(failed(1, 3 * SECOND));
    let started = Transition::BanStarted {
        at: at(7 * SECOND),
        until: at(7 * SECOND + 30 * MINUTE),
        episode: 1,
    };
    assert_eq!(row.steps.last(), Some(&started));
}

#[test]
fn b2_failures_before_a_reset_do_not_date_a_ban() {
    let mut row = Row::default();
    row.settings.success_resets_counter = true;
    row.fail_firsts(9, 7 * SECOND).record(succeeded(8 * SECOND));
    row.fail_firsts(10, 3 * SECOND);
    assert_eq!(row.health.ban_started_at, Some(at(3 * SECOND)));
}

#[test]
fn b3_a_success_does_not_reset_the_counter() {
    let mut row = Row::default();
    row.fail_firsts(9, 0).record(succeeded(SECOND));
    assert_eq!(row.view(SECOND).ban_counter, 9);
}

#[test]
fn b3_a_setting_lets_a_success_reset_the_counter_but_not_a_ban() {
    let mut row = Row::default();
    row.settings.success_resets_counter = true;
    row.fail_firsts(9, 0).record(succeeded(SECOND));
    assert_eq!(row.view(SECOND).ban_counter, 0);
    row.fail_firsts(10, 2 * SECOND).record(succeeded(3 * SECOND));
    let view = row.view(3 * SECOND);
    assert_eq!((view.state, view.ban_counter), (WebhookState::Banned, 10));
}

#[test]
fn b3_b7_t2_a_ban_ends_exactly_at_its_end_without_a_sweep() {
    let mut row = Row::default();
    row.fail_firsts(10, 0);
    let last = row.view(30 * MINUTE - 1);
    assert_eq!((last.state, last.ban_counter), (WebhookState::Banned, 10));
    let over = row.view(30 * MINUTE);
    assert_eq!(
        (over.state, over.ban_counter, over.banned_until),
        (WebhookState::Active, 0, None)
    );
    assert_eq!(row.verdict(30 * MINUTE, 30 * MINUTE), Verdict::Attempt);
    assert_eq!(row.due(), Some(at(30 * MINUTE)));
    row.advance(40 * MINUTE);
    assert_eq!(
        row.steps.last(),
        Some(&Transition::BanEnded {
            at: at(30 * MINUTE),
            episode: 1
        })
    );
    assert_eq!(row.health.ban_counter, 0);
}

#[test]
fn b3_b7_a_result_after_the_ban_counts_from_zero_without_a_sweep() {
    let mut row = Row::default();
    row.fail_firsts(10, 0).record(failed(1, 30 * MINUTE));
    assert_eq!(
        row.steps.last(),
        Some(&Transition::BanEnded {
            at: at(30 * MINUTE),
            episode: 1
        })
    );
    assert_eq!(row.view(30 * MINUTE).ban_counter, 1);
}

#[test]
fn b4_deliveries_due_in_a_ban_are_lost_even_if_judged_later() {
    let mut row = Row::default();
    row.fail_firsts(10, MINUTE);
    let end = 31 * MINUTE;
    let lost = |micros| Verdict::Lose {
        reason: DeliveryReason::Banned,
        ban_episode: Some(1),
        at: at(micros),
    };
    assert_eq!(
        row.verdict(0, MINUTE),
        lost(MINUTE),
        "due before the ban, not yet started"
    );
    assert_eq!(row.verdict(end - 1, end - 1), lost(end - 1), "due in the ban");
    assert_eq!(
        row.verdict(end - 1, end + HOUR),
        lost(end + HOUR),
        "got to after the ban"
    );
    row.advance(end + HOUR);
    assert_eq!(
        row.verdict(end - 1, end + HOUR),
        lost(end + HOUR),
        "got to after the sweeper"
    );
    assert_eq!(row.verdict(end, end), Verdict::Attempt, "T2: due at the end");
}

#[test]
fn b4_a_loss_is_dated_within_the_ban_even_by_a_slow_clock() {
    let mut row = Row::default();
    row.fail_firsts(10, MINUTE);
    let lost = Verdict::Lose {
        reason: DeliveryReason::Banned,
        ban_episode: Some(1),
        at: at(MINUTE),
    };
    assert_eq!(row.verdict(MINUTE - 1, MINUTE - 1), lost);
    assert_eq!(row.verdict(MINUTE - 1, MINUTE), lost);
}

#[test]
fn b5_a_failure_in_the_ban_does_not_raise_the_counter_nor_move_the_end() {
    let mut row = Row::default();
    row.fail_firsts(10, 0)
        .record(failed(1, 10 * SECOND))
        .record(failed(1, 30 * MINUTE - 1));
    let view = row.view(30 * MINUTE - 1);
    assert_eq!((view.ban_counter, view.banned_until), (10, Some(at(30 * MINUTE))));
}

#[test]
fn b5_a_success_in_the_ban_ends_the_window_but_not_the_ban() {
    let mut row = Row::default();
    row.fail_firsts(10, 0).record(succeeded(SECOND));
    let view = row.view(SECOND);
    assert_eq!((view.state, view.failing_since), (WebhookState::Banned, None));
}

#[test]
fn b5_a_failure_in_the_ban_settled_after_it_does_not_count() {
    let mut row = Row::default();
    row.fail_firsts(10, 0)
        .record(failed(1, 30 * MINUTE))
        .record(failed(1, 30 * MINUTE - 1));
    row.record(failed(1, 0));
    assert_eq!(row.view(30 * MINUTE).ban_counter, 1);
}

#[test]
fn b6_any_number_of_failures_in_one_instant_makes_one_ban() {
    let mut row = Row::default();
    row.fail_firsts(80, 0);
    assert_eq!(row.notices(), [NoticeKind::Banned]);
    assert_eq!(row.health.ban_episode, 1);
}

#[test]
fn b2_consecutive_bans_have_different_numbers() {
    let mut row = Row::default();
    row.fail_firsts(10, 0).fail_firsts(10, 30 * MINUTE);
    let until = at(60 * MINUTE);
    let again = Transition::BanStarted {
        at: at(30 * MINUTE),
        until,
        episode: 2,
    };
    assert_eq!(row.steps.last(), Some(&again));
    assert_eq!(
        row.notices(),
        [NoticeKind::Banned, NoticeKind::BanEnded, NoticeKind::Banned]
    );
}
