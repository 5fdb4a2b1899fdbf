//! What simulated time promises, each on one thread and on several. Real receivers are in `receivers`, the
//! work that time must wait for in `tracking`.

mod receivers;
mod tracking;

use std::sync::mpsc;

use futures_util::FutureExt;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use super::*;
use crate::clock::Clock;

const SECOND: SignedDuration = SignedDuration::from_secs(1);
const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// Runs a scenario on both flavours of runtime, each time with a clock of its own.
fn on_both<F: Future<Output = ()>>(scenario: impl Fn(Clock, SimClock) -> F) {
    for mut runtime in [Builder::new_current_thread(), Builder::new_multi_thread()] {
        let clock = Clock::simulated("2026-11-23T10:00:00Z".parse().unwrap());
        let simulation = clock.simulation().cloned().unwrap();
        runtime
            .worker_threads(4)
            .enable_all()
            .build()
            .unwrap()
            .block_on(scenario(clock, simulation));
    }
}

/// The error of a settling that cannot succeed. Only that one is impatient: the others may run on a busy
/// machine.
async fn busy(simulation: &SimClock) -> Busy {
    simulation.set_watchdog(Duration::from_millis(20));
    let busy = simulation.settle().await.unwrap_err();
    simulation.set_watchdog(WATCHDOG);
    busy
}

/// A task that sends `name` and the time when it has slept until `at`.
fn sleeper(
    clock: &Clock,
    name: &'static str,
    at: Timestamp,
    woken: &mpsc::Sender<(&'static str, Timestamp)>,
) -> JoinHandle<()> {
    let (clock, woken) = (clock.clone(), woken.clone());
    clock.clone().spawn(name, async move {
        clock.sleep_until(at).await;
        woken.send((name, clock.now())).unwrap();
    })
}

#[test]
fn three_days_pass_when_told_to() {
    on_both(|clock, simulation| async move {
        let start = clock.now();
        let hours = clock.spawn("every hour", {
            let clock = clock.clone();
            async move {
                let mut hours = 0;
                while hours < 72 {
                    hours += 1;
                    clock.sleep_until(start + HOUR * hours).await;
                    assert_eq!(clock.now(), start + HOUR * hours);
                }
                hours
            }
        });
        assert_eq!(simulation.advance(HOUR * 72).await, Ok(start + HOUR * 72));
        assert_eq!(clock.now(), start + HOUR * 72);
        assert_eq!(hours.now_or_never().unwrap().unwrap(), 72);
    });
}

#[test]
fn waiters_wake_at_their_time_and_within_one_in_the_order_they_came() {
    // On one thread only: on several, tasks woken in order still run side by side.
    Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(async {
            let clock = Clock::simulated(Timestamp::UNIX_EPOCH);
            let start = clock.now();
            let (woken, order) = mpsc::channel();
            for (name, seconds) in [("a", 2), ("b", 3), ("c", 2), ("d", 1), ("e", 2)] {
                sleeper(&clock, name, start + SECOND * seconds, &woken);
            }
            clock.simulation().unwrap().advance(HOUR).await.unwrap();
            let seconds = |(name, at): (_, Timestamp)| (name, at.duration_since(start).as_secs());
            let order: Vec<_> = order.try_iter().map(seconds).collect();
            assert_eq!(order, [("d", 1), ("a", 2), ("c", 2), ("e", 2), ("b", 3)]);
        });
}

#[test]
fn time_moves_to_the_next_waiter_or_not_at_all() {
    on_both(|clock, simulation| async move {
        let start = clock.now();
        let (woken, order) = mpsc::channel();
        sleeper(&clock, "late", start + HOUR, &woken);
        sleeper(&clock, "early", start + SECOND, &woken);
        simulation.settle().await.unwrap();
        assert_eq!(simulation.next_due_at(), Some(start + SECOND));
        assert_eq!(simulation.advance_to_next().await, Ok(start + SECOND));
        assert_eq!(order.try_iter().collect::<Vec<_>>(), [("early", start + SECOND)]);
        assert_eq!(simulation.advance_to(start + HOUR).await, Ok(start + HOUR));
        assert_eq!(order.try_iter().collect::<Vec<_>>(), [("late", start + HOUR)]);
        assert_eq!(simulation.next_due_at(), None);
        assert_eq!(simulation.advance_to_next().await, Ok(start + HOUR));
    });
}

#[test]
fn time_does_not_go_back_nor_beyond_its_end() {
    on_both(|clock, simulation| async move {
        let start = clock.now();
        assert_eq!(simulation.advance(-SECOND).await, Err(AdvanceError::Backwards));
        assert_eq!(
            simulation.advance_to(start - SECOND).await,
            Err(AdvanceError::Backwards)
        );
        assert_eq!(
            simulation.advance(SignedDuration::MAX).await,
            Err(AdvanceError::OutOfRange)
        );
        assert_eq!(simulation.advance(SignedDuration::ZERO).await, Ok(start));
    });
}

#[test]
fn time_stands_on_whole_microseconds_and_nobody_wakes_before() {
    on_both(|clock, simulation| async move {
        let start = clock.now();
        let (woken, order) = mpsc::channel();
        sleeper(
            &clock,
            "a nanosecond",
            start + SignedDuration::from_nanos(1),
            &woken,
        );
        assert_eq!(
            simulation.advance(SignedDuration::from_nanos(999)).await,
            Ok(start)
        );
        assert_eq!(order.try_iter().count(), 0);
        let next = start + SignedDuration::from_micros(1);
        assert_eq!(simulation.advance_to_next().await, Ok(next));
        assert_eq!(order.try_iter().collect::<Vec<_>>(), [("a nanosecond", next)]);
    });
}

#[test]
fn what_has_been_reached_is_not_waited_for() {
    on_both(|clock, _| async move {
        assert_eq!(clock.sleep_until(clock.now()).now_or_never(), Some(()));
        assert_eq!(clock.sleep_until(clock.now() - HOUR).now_or_never(), Some(()));
        assert_eq!(clock.sleep_until(clock.now() + SECOND).now_or_never(), None);
    });
}

#[test]
fn an_untracked_sleeper_wakes_too() {
    on_both(|clock, simulation| async move {
        let at = clock.now() + HOUR;
        let ((), reached) = tokio::join!(clock.sleep_until(at), simulation.advance(HOUR));
        assert_eq!(reached, Ok(at));
    });
}

#[test]
fn advances_take_turns() {
    on_both(|clock, simulation| async move {
        let start = clock.now();
        let (first, second) = tokio::join!(simulation.advance(HOUR), simulation.advance(HOUR));
        assert_eq!(first, Ok(start + HOUR));
        assert_eq!(second, Ok(start + HOUR * 2));
    });
}

#[test]
fn a_dropped_waiter_is_forgotten() {
    on_both(|clock, simulation| async move {
        let (cancel, cancelled) = oneshot::channel::<()>();
        let at = clock.now() + HOUR;
        let task = clock.spawn("either", {
            let clock = clock.clone();
            async move {
                tokio::select! {
                    () = clock.sleep_until(at) => "slept",
                    _ = clock.park(cancelled) => "cancelled",
                }
            }
        });
        simulation.settle().await.unwrap();
        assert_eq!(simulation.next_due_at(), Some(at));
        cancel.send(()).unwrap();
        simulation.settle().await.unwrap();
        assert_eq!(simulation.next_due_at(), None);
        assert_eq!(task.await.unwrap(), "cancelled");
    });
}

#[test]
fn hooks_hear_of_every_move_before_its_waiters() {
    on_both(|clock, simulation| async move {
        let start = clock.now();
        let (woken, order) = mpsc::channel();
        let hook = |name| {
            let woken = woken.clone();
            move |at| {
                let woken = woken.clone();
                async move {
                    tokio::task::yield_now().await;
                    woken.send((name, at)).unwrap();
                }
                .boxed()
            }
        };
        simulation.on_move(hook("first"));
        simulation.on_move(hook("second"));
        sleeper(&clock, "sleeper", start + SECOND, &woken);
        simulation.advance(HOUR).await.unwrap();
        simulation.advance(SignedDuration::ZERO).await.unwrap();
        let (at, end) = (start + SECOND, start + HOUR);
        let expected = [
            ("first", at),
            ("second", at),
            ("sleeper", at),
            ("first", end),
            ("second", end),
        ];
        assert_eq!(order.try_iter().collect::<Vec<_>>(), expected);
    });
}

#[test]
fn an_advance_given_up_in_a_hook_leaves_nobody_asleep() {
    on_both(|clock, simulation| async move {
        let at = clock.now() + SECOND;
        let (woken, order) = mpsc::channel();
        sleeper(&clock, "sleeper", at, &woken);
        simulation.settle().await.unwrap();
        simulation.on_move(|_| std::future::pending().boxed());
        let mut advance = Box::pin(simulation.advance(SECOND));
        assert_eq!((&mut advance).now_or_never(), None);
        assert_eq!(
            simulation.settle().now_or_never(),
            None,
            "the sleeper is yet to be woken"
        );
        drop(advance);
        simulation.settle().await.unwrap();
        assert_eq!(order.try_iter().collect::<Vec<_>>(), [("sleeper", at)]);
    });
}

#[test]
fn a_deadline_belongs_to_the_later_state() {
    on_both(|clock, simulation| async move {
        let start = clock.now();
        let at = start + SECOND * 10;
        let microsecond = SignedDuration::from_micros(1);
        let limited = |until| {
            let clock = clock.clone();
            clock.clone().spawn("limited", async move {
                (clock.deadline(at, clock.sleep_until(until)).await, clock.now())
            })
        };
        let (before, exactly) = (limited(at - microsecond), limited(at));
        simulation.advance(HOUR).await.unwrap();
        assert_eq!(before.await.unwrap(), (Ok(()), at - microsecond));
        assert_eq!(exactly.await.unwrap(), (Err(DeadlineElapsed), at));
        let started = clock
            .deadline(start, async { unreachable!("the deadline has been reached") })
            .await;
        assert_eq!(started, Err::<(), _>(DeadlineElapsed));
        assert_eq!(clock.deadline(clock.now() + SECOND, async { 7 }).await, Ok(7));
        assert_eq!(simulation.next_due_at(), None);
    });
}
