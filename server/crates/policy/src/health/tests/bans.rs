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
fn b2_a_ban_begins_with_the_last_end_of_its_ten_whichever_is_settled_last() {
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
fn b2_what_a_reset_counter_no_longer_holds_dates_no_ban() {
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
fn b3_an_operator_may_let_a_success_reset_the_counter_but_not_lift_a_ban() {
    let mut row = Row::default();
    row.settings.success_resets_counter = true;
    row.fail_firsts(9, 0).record(succeeded(SECOND));
    assert_eq!(row.view(SECOND).ban_counter, 0);
    row.fail_firsts(10, 2 * SECOND).record(succeeded(3 * SECOND));
    let view = row.view(3 * SECOND);
    assert_eq!((view.state, view.ban_counter), (WebhookState::Banned, 10));
}

#[test]
fn b3_b7_t2_the_ban_is_over_at_its_very_end_by_time_alone() {
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
fn b3_b7_a_result_after_the_ban_counts_from_zero_even_before_the_sweeper_comes() {
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
fn b4_what_was_due_before_the_end_of_the_ban_is_lost_whenever_a_worker_gets_to_it() {
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
fn b4_what_a_ban_takes_is_lost_within_it_by_a_clock_that_is_behind_too() {
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
fn b5_a_straggler_of_the_ban_that_is_settled_after_it_does_not_count() {
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
fn b2_bans_follow_one_another_and_are_told_apart() {
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
