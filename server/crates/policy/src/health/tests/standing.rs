//! Pausing, removal and restoration, and what the view says will happen next (W12, W13, R5).

use super::*;
use tenterhook_model::delivery::DeliveryReason;
use tenterhook_model::webhook::WebhookState;

#[test]
fn w13_pausing_closes_the_window_and_none_opens_until_resumption() {
    let mut row = Row::default();
    row.record(succeeded(0)).record(failed(1, 0));
    row.pause(0);
    row.record(failed(1, SECOND)).advance(100 * HOUR);
    let view = row.view(100 * HOUR);
    assert_eq!(
        (view.state, view.failing_since, view.next),
        (WebhookState::Paused, None, None)
    );
    row.resume(100 * HOUR);
    row.record(failed(2, 99 * HOUR));
    assert_eq!(
        row.view(100 * HOUR).failing_since,
        None,
        "it failed before the resumption"
    );
    row.record(failed(1, 100 * HOUR));
    assert_eq!(row.view(100 * HOUR).failing_since, Some(at(100 * HOUR)));
}

#[test]
fn w13_counter_and_ban_continue_during_a_pause() {
    let mut row = Row::default();
    row.fail_firsts(9, 0);
    row.pause(0);
    row.record(failed(1, SECOND));
    let view = row.view(SECOND);
    assert_eq!((view.state, view.ban_counter), (WebhookState::Paused, 10));
    assert_eq!(view.banned_until, Some(at(SECOND + 30 * MINUTE)));
    row.advance(SECOND + 30 * MINUTE);
    assert_eq!(row.notices(), [NoticeKind::Banned, NoticeKind::BanEnded]);
    assert_eq!(row.view(HOUR).ban_counter, 0);
}

#[test]
fn w13_deliveries_due_in_a_pause_are_lost_whenever_reached() {
    let lost = |now| Verdict::Lose {
        reason: DeliveryReason::Paused,
        ban_episode: None,
        at: at(now),
    };
    let mut row = Row::default();
    row.pause(HOUR);
    assert_eq!(row.verdict(HOUR, HOUR), lost(HOUR));
    row.resume(2 * HOUR);
    for now in [2 * HOUR, 100 * HOUR] {
        assert_eq!(
            row.verdict(HOUR - 1, now),
            Verdict::Attempt,
            "due before the pause"
        );
        assert_eq!(row.verdict(HOUR, now), lost(now), "T2: due at its beginning");
        assert_eq!(row.verdict(2 * HOUR - 1, now), lost(now));
        assert_eq!(row.verdict(2 * HOUR, now), Verdict::Attempt, "T2: due at its end");
    }
    row.pause(3 * HOUR).resume(4 * HOUR);
    assert_eq!(row.verdict(3 * HOUR, 5 * HOUR), lost(5 * HOUR));
}

#[test]
fn w13_a_pause_precedes_a_ban_for_deliveries_due_in_both() {
    let mut row = Row::default();
    row.fail_firsts(10, 0).pause(MINUTE).resume(2 * MINUTE);
    let reason = |due, now| match row.verdict(due, now) {
        Verdict::Lose { reason, .. } => Some(reason),
        _ => None,
    };
    assert_eq!(reason(MINUTE, 3 * MINUTE), Some(DeliveryReason::Paused));
    assert_eq!(reason(MINUTE - 1, 3 * MINUTE), Some(DeliveryReason::Banned));
    assert_eq!(reason(2 * MINUTE, HOUR), Some(DeliveryReason::Banned));
    assert_eq!(reason(30 * MINUTE, HOUR), None);
}

#[test]
fn w13_a_resumption_by_a_slower_clock_ends_the_pause_where_it_began() {
    let mut row = Row::default();
    row.pause(HOUR).resume(HOUR - 1);
    assert_eq!(row.health.last_pause, Some((at(HOUR), at(HOUR))));
    assert_eq!(row.verdict(HOUR, HOUR), Verdict::Attempt);
}

#[test]
fn w13_removed_precedes_paused_and_paused_precedes_banned() {
    let mut row = Row::default();
    row.fail_firsts(10, 0);
    assert_eq!(row.view(0).state, WebhookState::Banned);
    row.pause(0);
    assert_eq!(row.view(0).state, WebhookState::Paused);
    let paused = Verdict::Lose {
        reason: DeliveryReason::Paused,
        ban_episode: None,
        at: at(0),
    };
    assert_eq!(row.verdict(0, 0), paused);
    let removed = Some((at(0), RemoveReason::DeletedByUser));
    let both = view(&row.health, row.paused_at(), removed, at(0), &row.settings);
    assert_eq!(
        (both.state, both.banned_until, both.next),
        (WebhookState::Removed, None, None)
    );
    let cancelled = verdict(&row.health, row.paused_at(), removed, at(0), at(0), &row.settings);
    assert_eq!(cancelled, Verdict::Cancel);
}

#[test]
fn w12_a_restored_webhook_starts_afresh() {
    let mut row = Row::default();
    row.record(succeeded(0))
        .record(failed(1, 0))
        .fail_firsts(10, 72 * HOUR - SECOND)
        .advance(72 * HOUR);
    assert_eq!(row.health.standing, Standing::Removed);
    restore(&mut row.health, at(72 * HOUR + SECOND));
    row.record(failed(1, 72 * HOUR - 1));
    let view = row.view(72 * HOUR + SECOND);
    assert_eq!(
        (view.state, view.ban_counter, view.failing_since),
        (WebhookState::Active, 0, None)
    );
    assert_eq!((row.due(), view.next), (None, None));
    assert_eq!(
        row.verdict(72 * HOUR + SECOND, 72 * HOUR + SECOND),
        Verdict::Attempt
    );
}

#[test]
fn r5_the_next_transition_is_named_with_its_time_and_reason() {
    let mut row = Row::default();
    row.record(failed(1, 0));
    let removal = row.view(0).next.unwrap();
    assert_eq!((removal.at, removal.to), (at(72 * HOUR), WebhookState::Removed));
    assert_eq!(
        removal.because,
        "A webhook is removed after 72 hours without a successful delivery."
    );
    row.fail_firsts(9, 0);
    let ban_end = row.view(0).next.unwrap();
    assert_eq!((ban_end.at, ban_end.to), (at(30 * MINUTE), WebhookState::Active));
    assert_eq!(ban_end.because, "A ban ends by itself 30 minutes after it began.");
    row.fail_firsts(10, 72 * HOUR - 30 * MINUTE);
    assert_eq!(
        row.view(72 * HOUR - 1).next.unwrap().to,
        WebhookState::Removed,
        "W13: at one instant"
    );
}
