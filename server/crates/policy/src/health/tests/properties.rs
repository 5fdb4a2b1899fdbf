//! What holds for every history, compared with an oracle that knows the whole history.

use proptest::prelude::*;

use super::*;
use tenterhook_model::delivery::DeliveryReason;
use tenterhook_model::webhook::WebhookState;

/// An event in a webhook's history. In a history each has the gap before it, in microseconds.
#[derive(Debug, Clone, Copy)]
enum Event {
    Result { number: u8, succeeded: bool },
    Sweep,
    Pause,
    Resume,
}

/// Gaps that are as long as the times of the policy, or a microsecond shorter or longer.
fn gap() -> impl Strategy<Value = u64> {
    let times = vec![
        0,
        0,
        0,
        SECOND,
        3 * SECOND,
        30 * SECOND,
        10 * MINUTE,
        30 * MINUTE,
        5 * HOUR,
        23 * HOUR,
        24 * HOUR,
    ];
    (prop::sample::select(times), 0..3_u64).prop_map(|(time, shift)| (time + shift).saturating_sub(1))
}

fn result() -> impl Strategy<Value = Event> {
    (
        prop_oneof![4 => Just(1), 1 => 2..=4_u8],
        prop::bool::weighted(0.05),
    )
        .prop_map(|(number, succeeded)| Event::Result { number, succeeded })
}

fn results() -> impl Strategy<Value = Vec<(u64, Event)>> {
    prop::collection::vec(
        (gap(), prop_oneof![9 => result(), 1 => Just(Event::Sweep)]),
        0..60,
    )
}

fn histories() -> impl Strategy<Value = Vec<(u64, Event)>> {
    let event = prop_oneof![
        16 => result(),
        2 => Just(Event::Sweep),
        1 => Just(Event::Pause),
        1 => Just(Event::Resume),
    ];
    prop::collection::vec((gap(), event), 0..60)
}

/// Plays a history; returns the row and the time at its end.
fn play(history: &[(u64, Event)]) -> (Row, u64) {
    let (mut row, mut now) = (Row::default(), 0);
    for (gap, event) in history {
        now += gap;
        match *event {
            Event::Result { number, succeeded } => {
                row.record(Judged {
                    ended_at: at(now),
                    number,
                    succeeded,
                });
            }
            Event::Sweep => {
                row.advance(now);
            }
            Event::Pause if row.view(now).state != WebhookState::Removed => {
                row.pause(now);
            }
            Event::Resume => {
                row.resume(now);
            }
            Event::Pause => {}
        }
    }
    (row, now)
}

/// The policy in hindsight: bans and windows computed from the whole history of results.
struct Hindsight {
    bans: Vec<u64>,
    failing_since: Option<u64>,
    removed_at: Option<u64>,
    firsts: Vec<u64>,
}

impl Hindsight {
    fn of(history: &[(u64, Event)]) -> Self {
        let mut now = 0;
        let results: Vec<_> = history
            .iter()
            .filter_map(|(gap, event)| {
                now += gap;
                match *event {
                    Event::Result { number, succeeded } => Some((now, number, succeeded)),
                    _ => None,
                }
            })
            .collect();
        // Runs of failures between successes. The first run of 72 hours, counted from its start, removes the webhook.
        let mut ends: Vec<_> = results
            .iter()
            .filter(|result| result.2)
            .map(|result| Some(result.0))
            .collect();
        ends.push(None);
        let runs = results.split(|result| result.2).zip(ends);
        let removed_at = runs
            .filter_map(|(run, success)| Some((run.first()?.0 + 72 * HOUR, success)))
            .find(|(end, success)| success.is_none_or(|success| success >= *end))
            .map(|(end, _)| end)
            .filter(|end| *end <= now);
        let lived = |moment: u64| removed_at.is_none_or(|end| moment < end);
        let last_run = results.split(|result| result.2 && lived(result.0)).next_back();
        let failing_since = last_run.and_then(|run| Some(run.first()?.0));
        let firsts: Vec<_> = results
            .iter()
            .filter(|result| result.1 == 1 && !result.2 && lived(result.0))
            .map(|r| r.0)
            .collect();
        let mut bans = Vec::new();
        while let Some(tenth) = {
            let from = bans.last().map_or(0, |start| start + 30 * MINUTE);
            firsts.iter().copied().filter(|end| *end >= from).nth(9)
        } {
            bans.push(tenth);
        }
        Self {
            bans,
            failing_since,
            removed_at,
            firsts,
        }
    }

    fn counter(&self, now: u64) -> usize {
        let from = self.bans.last().map_or(0, |start| start + 30 * MINUTE);
        if now < from {
            10
        } else {
            self.firsts.iter().filter(|end| **end >= from).count()
        }
    }
}

proptest! {
    #[test]
    fn the_row_agrees_with_the_whole_history(history in results()) {
        let (row, now) = play(&history);
        let truth = Hindsight::of(&history);
        let view = row.view(now);
        prop_assert_eq!(view.state == WebhookState::Removed, truth.removed_at.is_some());
        prop_assert_eq!(view.failing_since, truth.failing_since.map(at));
        prop_assert_eq!(view.ban_counter as usize, truth.counter(now));
        let starts = row.steps.iter().filter(|step| step.notice() == Some(NoticeKind::Banned));
        let starts: Vec<_> = starts.map(Transition::at).collect();
        prop_assert_eq!(starts, truth.bans.iter().copied().map(at).collect::<Vec<_>>());
    }

    /// T3: readers see the same, whether or not a sweep has written it.
    #[test]
    fn a_sweep_changes_nothing_that_can_be_read(history in histories(), wait in gap(), later in gap(), due in gap()) {
        let (unswept, now) = play(&history);
        let mut swept = unswept.clone();
        swept.advance(now + wait);
        let read_at = now + wait + later;
        prop_assert_eq!(unswept.view(read_at), swept.view(read_at));
        let due = read_at.saturating_sub(due);
        let written = |verdict| if verdict == Verdict::AwaitRemoval { Verdict::Cancel } else { verdict };
        prop_assert_eq!(written(unswept.verdict(due, read_at)), written(swept.verdict(due, read_at)));
    }

    #[test]
    fn sweeping_often_or_once_takes_the_same_steps(history in histories(), gaps in prop::collection::vec(gap(), 0..8)) {
        let (mut often, mut now) = play(&history);
        let mut once = often.clone();
        for gap in gaps {
            now += gap;
            often.advance(now);
        }
        once.advance(now);
        often.advance(now);
        prop_assert_eq!(&often.steps, &once.steps);
        prop_assert_eq!(often.health, once.health);
    }

    #[test]
    fn due_names_the_next_step_exactly(history in histories()) {
        let (mut row, _) = play(&history);
        while let Some(due) = row.due() {
            let early = advance(&mut row.health.clone(), due - Duration::from_micros(1), &row.settings);
            prop_assert_eq!(early, vec![]);
            let steps = advance(&mut row.health, due, &row.settings);
            prop_assert!(!steps.is_empty() && steps.iter().all(|step| step.at() == due));
        }
    }

    /// Also checks the row against the database's constraints.
    #[test]
    fn the_row_is_always_valid(history in histories()) {
        for length in 0..=history.len() {
            let (Row { health: h, .. }, _) = play(&history[..length]);
            prop_assert!((0..=10).contains(&h.ban_counter));
            prop_assert_eq!(h.ban_open, h.ban_counter == 10);
            prop_assert!(!h.ban_open || h.ban_started_at == h.last_counted_at);
            prop_assert_eq!(h.ban_started_at.is_none(), h.banned_until.is_none());
            prop_assert_eq!(h.ban_episode == 0, h.banned_until.is_none());
            prop_assert!(h.ban_started_at.zip(h.banned_until).is_none_or(|(start, until)| start < until));
            prop_assert!(h.failing_since.is_none() || (h.window_episode > 0 && h.standing != Standing::Paused));
            prop_assert!(h.warnings_given == 0 || h.failing_since.is_some());
            prop_assert!(h.last_pause.is_none_or(|(from, until)| from <= until));
        }
    }

    /// R4: one notice per transition; no kind and number of a ban or window occur twice.
    #[test]
    fn no_notice_is_ever_given_twice(history in histories()) {
        let (mut row, now) = play(&history);
        row.advance(now + 100 * HOUR);
        let mut told: Vec<_> =
            row.steps.iter().filter_map(|step| Some((step.notice()?, step.episode()))).collect();
        let all = told.len();
        told.sort_unstable();
        told.dedup();
        prop_assert_eq!(told.len(), all);
        let is_removal = |step: &Transition| step.notice() == Some(NoticeKind::Removed);
        prop_assert_eq!(row.steps.iter().any(is_removal), row.health.standing == Standing::Removed);
        let last = row.steps.len().saturating_sub(1);
        prop_assert!(row.steps.iter().position(is_removal).is_none_or(|removal| removal == last));
    }

    /// B2, B6: in whatever order workers settle, a burst causes one ban and the same window, and no failure that caused the
    /// ban ended after the ban began.
    #[test]
    fn the_order_of_settling_a_burst_does_not_matter(
        ends in prop::collection::vec(0..30 * MINUTE, 0..40).prop_shuffle(),
    ) {
        let mut row = Row::default();
        for end in &ends {
            row.record(failed(1, *end));
        }
        prop_assert_eq!(row.health.ban_episode, i32::from(ends.len() >= 10));
        prop_assert_eq!(row.health.ban_counter, i32::try_from(ends.len().min(10)).unwrap());
        prop_assert_eq!(row.health.failing_since, ends.iter().min().copied().map(at));
        let counted = ends.get(..10).and_then(|made_it| made_it.iter().max());
        prop_assert_eq!(row.health.ban_started_at, counted.copied().map(at));
    }

    #[test]
    fn a_verdict_never_contradicts_the_view(history in histories(), later in gap(), late in gap()) {
        let (row, now) = play(&history);
        let now = now + later;
        let due = now.saturating_sub(late);
        let verdict = row.verdict(due, now);
        let in_last_pause = row.health.last_pause.is_some_and(|(from, until)| from <= at(due) && at(due) < until);
        let fits = match row.view(now).state {
            WebhookState::Removed => matches!(verdict, Verdict::Cancel | Verdict::AwaitRemoval),
            WebhookState::Paused => matches!(verdict, Verdict::Lose { reason: DeliveryReason::Paused, .. }),
            WebhookState::Banned if in_last_pause => matches!(verdict, Verdict::Lose { reason: DeliveryReason::Paused, .. }),
            WebhookState::Banned => matches!(verdict, Verdict::Lose { reason: DeliveryReason::Banned, .. }),
            WebhookState::Active => !matches!(verdict, Verdict::Cancel | Verdict::AwaitRemoval),
        };
        prop_assert!(fits, "{verdict:?} while {:?}", row.view(now));
        let fresh = row.verdict(now, now);
        prop_assert!(row.view(now).state != WebhookState::Active || fresh == Verdict::Attempt);
    }
}
