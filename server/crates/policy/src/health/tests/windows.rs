//! Windows, one test per rule and boundary (R1–R4, T2, T3).

use super::*;
use tenterhook_model::webhook::WebhookState;

#[test]
fn r1_any_failed_attempt_opens_the_window_and_only_the_first() {
    for number in 1..=4 {
        let mut row = Row::default();
        row.record(failed(number, SECOND)).record(failed(1, MINUTE));
        assert_eq!(
            row.steps,
            [Transition::WindowOpened {
                at: at(SECOND),
                episode: 1
            }]
        );
        assert_eq!(row.view(MINUTE).removal_due_at, Some(at(SECOND + 72 * HOUR)));
    }
}

#[test]
fn r1_a_failed_attempt_opens_the_window_in_a_ban_as_well() {
    let mut row = Row::default();
    row.fail_firsts(10, 0)
        .record(succeeded(SECOND))
        .record(failed(3, 2 * SECOND));
    assert_eq!(row.view(2 * SECOND).failing_since, Some(at(2 * SECOND)));
}

#[test]
fn r1_a_success_ends_the_window_unless_it_ended_before_the_window_opened() {
    let mut row = Row::default();
    row.record(failed(1, MINUTE)).record(succeeded(MINUTE - 1));
    assert_eq!(row.view(MINUTE).failing_since, Some(at(MINUTE)));
    row.record(succeeded(MINUTE));
    let recovered = Transition::Recovered {
        at: at(MINUTE),
        episode: 1,
        failing_since: at(MINUTE),
    };
    assert_eq!(row.steps.last(), Some(&recovered));
    assert_eq!((row.view(MINUTE).failing_since, row.due()), (None, None));
}

#[test]
fn r1_a_late_failure_backdates_the_window_but_not_past_success() {
    let mut row = Row::default();
    row.record(succeeded(0))
        .record(failed(1, MINUTE))
        .record(failed(2, MINUTE - 5));
    assert_eq!(row.view(MINUTE).failing_since, Some(at(MINUTE - 5)));
    row.record(succeeded(2 * MINUTE))
        .record(failed(1, 2 * MINUTE - 1));
    assert_eq!(
        row.view(2 * MINUTE).failing_since,
        None,
        "it failed before the last success"
    );
    row.record(failed(1, 2 * MINUTE));
    assert_eq!(
        row.view(2 * MINUTE).failing_since,
        Some(at(2 * MINUTE)),
        "one instant: as they came"
    );
}

#[test]
fn r1_a_success_found_before_the_removal_prevents_it() {
    let mut row = Row::default();
    row.record(failed(1, 0));
    let tell = |row: &mut Row, micros| recover(&mut row.health, at(micros), &row.settings).is_some();
    assert!(!tell(&mut row.clone(), 72 * HOUR), "T2: too late");
    assert!(tell(&mut row.clone(), 72 * HOUR - 1) && tell(&mut row.clone(), 0));
    assert!(
        tell(&mut row, 5) && !tell(&mut row, 5),
        "the second time there is no window"
    );
    row.record(failed(1, 4));
    assert_eq!(row.view(5).failing_since, None);
}

#[test]
fn r2_idle_time_opens_no_window() {
    let mut row = Row::default();
    row.advance(1000 * HOUR)
        .record(succeeded(1000 * HOUR))
        .advance(2000 * HOUR);
    assert_eq!(
        (row.steps.len(), row.due(), row.view(2000 * HOUR).state),
        (0, None, WebhookState::Active)
    );
}

#[test]
fn r1_r3_t2_at_exactly_72_hours_the_webhook_is_removed_without_a_request() {
    let mut row = Row::default();
    row.record(failed(1, 0));
    assert_eq!(row.view(72 * HOUR - 1).state, WebhookState::Active);
    assert_eq!(row.view(72 * HOUR).state, WebhookState::Removed);
    row.advance(90 * HOUR);
    let removed = Transition::Removed {
        at: at(72 * HOUR),
        episode: 1,
        failing_since: at(0),
    };
    assert_eq!(row.steps.last(), Some(&removed));
    assert_eq!((row.due(), row.health.standing), (None, Standing::Removed));
    let view = row.view(90 * HOUR);
    assert_eq!(
        (view.failing_since, view.removal_due_at, view.next),
        (Some(at(0)), None, None)
    );
}

#[test]
fn r4_warnings_are_dated_at_24_48_and_71_hours_once_each() {
    let mut row = Row::default();
    row.record(failed(1, 0));
    let mut seen = Vec::new();
    while let Some(due) = row.due() {
        row.steps.extend(advance(&mut row.health, due, &row.settings));
        seen.push((due.duration_since(at(0)).as_hours(), row.notices().len()));
    }
    assert_eq!(seen, [(24, 1), (48, 2), (71, 3), (72, 4)]);
    let kinds = [
        NoticeKind::Failing24h,
        NoticeKind::Failing48h,
        NoticeKind::Failing71h,
        NoticeKind::Removed,
    ];
    assert_eq!(row.notices(), kinds);
}

#[test]
fn r4_every_recovery_has_a_notice_with_or_without_warning() {
    let mut warned = Row::default();
    warned
        .record(failed(1, 0))
        .advance(24 * HOUR)
        .record(succeeded(25 * HOUR));
    assert_eq!(warned.notices(), [NoticeKind::Failing24h, NoticeKind::Recovered]);
    let mut unwarned = Row::default();
    unwarned
        .record(failed(1, 0))
        .advance(24 * HOUR - 1)
        .record(succeeded(24 * HOUR - 1));
    assert_eq!(unwarned.notices(), [NoticeKind::Recovered]);
    unwarned.record(succeeded(25 * HOUR));
    assert_eq!(unwarned.notices().len(), 1, "there was no window to recover from");
}

#[test]
fn r4_a_second_window_warns_again_under_its_own_number() {
    let mut row = Row::default();
    row.record(failed(1, 0))
        .advance(24 * HOUR)
        .record(succeeded(25 * HOUR));
    row.record(failed(1, 26 * HOUR)).advance(50 * HOUR);
    let warned = Transition::Warned {
        kind: NoticeKind::Failing24h,
        at: at(50 * HOUR),
        episode: 2,
    };
    assert_eq!(row.steps.last(), Some(&warned));
}

#[test]
fn t3_only_a_success_before_the_removal_prevents_it() {
    let mut row = Row::default();
    row.record(failed(1, 0));
    let (mut rescued, mut late) = (row.clone(), row.clone());
    rescued.record(succeeded(72 * HOUR - 1)).advance(73 * HOUR);
    assert_eq!(rescued.view(73 * HOUR).state, WebhookState::Active);
    late.record(succeeded(72 * HOUR)).advance(73 * HOUR);
    assert_eq!(late.view(73 * HOUR).state, WebhookState::Removed);
}

#[test]
fn t3_no_attempt_starts_before_a_due_removal_is_written() {
    let mut row = Row::default();
    row.record(failed(1, 0));
    assert_eq!(row.verdict(72 * HOUR - 1, 72 * HOUR - 1), Verdict::Attempt);
    assert_eq!(row.verdict(72 * HOUR - 1, 72 * HOUR), Verdict::AwaitRemoval);
    row.advance(72 * HOUR);
    assert_eq!(row.verdict(72 * HOUR - 1, 72 * HOUR), Verdict::Cancel);
}

#[test]
fn t3_results_after_the_removal_change_nothing() {
    let mut row = Row::default();
    row.record(failed(1, 0)).advance(72 * HOUR);
    let before = row.clone();
    row.fail_firsts(20, 73 * HOUR)
        .record(succeeded(73 * HOUR))
        .record(succeeded(HOUR))
        .advance(100 * HOUR);
    assert_eq!((row.health, row.steps), (before.health, before.steps));
}
