//! Time waits for the work.

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

use super::*;

#[test]
fn time_does_not_move_while_one_task_waits_for_another() {
    const TASKS: i64 = 100;
    const ROUNDS: i64 = 30;
    on_both(|clock, simulation| async move {
        let start = clock.now();
        let (ask, mut asked) = mpsc::unbounded_channel::<oneshot::Sender<Timestamp>>();
        clock.spawn("echo", {
            let clock = clock.clone();
            async move {
                while let Some(answer) = clock.park(asked.recv()).await {
                    answer.send(clock.now()).unwrap();
                }
            }
        });
        // Each sleeps to moments of its own, so that time wants to move on at once; and at each it has
        // someone answer, then starts and joins a task.
        let askers = (0..TASKS).map(|asker| {
            let (clock, ask) = (clock.clone(), ask.clone());
            clock.clone().spawn("asker", async move {
                for round in 0..ROUNDS {
                    let at = start + SignedDuration::from_micros(1 + round * TASKS + asker);
                    clock.sleep_until(at).await;
                    let (answer, answered) = oneshot::channel();
                    ask.send(answer).unwrap();
                    assert_eq!(clock.park(answered).await, Ok(at));
                    let child = clock.spawn("child", {
                        let clock = clock.clone();
                        async move { clock.now() }
                    });
                    assert_eq!(clock.park(child).await.unwrap(), at);
                    assert_eq!(clock.now(), at);
                }
            })
        });
        let askers: Vec<_> = askers.collect();
        simulation.advance(SECOND).await.unwrap();
        for asker in askers {
            asker
                .now_or_never()
                .expect("all rounds lie within the second")
                .unwrap();
        }
    });
}

#[test]
fn a_wake_during_a_poll_is_not_lost() {
    // The same notification wakes all at once, on several threads, while others are still being polled.
    const TASKS: usize = 50;
    on_both(|clock, simulation| async move {
        let bell = Arc::new(Notify::new());
        let heard = Arc::new(AtomicUsize::new(0));
        for _ in 0..TASKS {
            let (clock, bell, heard) = (clock.clone(), Arc::clone(&bell), Arc::clone(&heard));
            clock.clone().spawn("listener", async move {
                loop {
                    clock.park(bell.notified()).await;
                    heard.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for ring in 1..=200 {
            simulation.settle().await.unwrap();
            bell.notify_waiters();
            simulation.settle().await.unwrap();
            assert_eq!(heard.load(Ordering::SeqCst), ring * TASKS);
        }
    });
}

#[test]
fn a_task_out_of_budget_is_not_idle() {
    const MESSAGES: usize = 1000;
    on_both(|clock, simulation| async move {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let received = Arc::new(AtomicUsize::new(0));
        clock.spawn("receiver", {
            let (clock, received) = (clock.clone(), Arc::clone(&received));
            async move {
                while clock.park(receiver.recv()).await.is_some() {
                    received.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        for round in 1..=20 {
            for message in 0..MESSAGES {
                sender.send(message).unwrap();
            }
            simulation.settle().await.unwrap();
            assert_eq!(received.load(Ordering::SeqCst), round * MESSAGES);
        }
    });
}

#[test]
fn the_watchdog_names_who_stays_busy() {
    on_both(|clock, simulation| async move {
        let start = clock.now();
        clock.spawn("idle", {
            let clock = clock.clone();
            async move { clock.park(pending::<()>()).await }
        });
        simulation.settle().await.unwrap();
        let stuck = clock.spawn("stuck", pending::<()>());
        let patience = Duration::from_millis(20);
        let busy = Busy {
            tasks: vec!["stuck"],
            waited: patience,
        };
        assert_eq!(busy.to_string(), "still busy after 20ms: stuck");
        simulation.set_watchdog(patience);
        assert_eq!(simulation.settle().await, Err(busy.clone()));
        assert_eq!(simulation.advance(HOUR).await, Err(AdvanceError::Busy(busy)));
        assert_eq!(clock.now(), start);
        simulation.set_watchdog(WATCHDOG);
        stuck.abort();
        assert_eq!(simulation.advance(HOUR).await, Ok(start + HOUR));
    });
}

#[test]
fn a_task_that_panics_or_is_aborted_or_outlives_its_runtime_no_longer_counts() {
    on_both(|clock, simulation| async move {
        let panics = clock.spawn("panics", async { panic!("on purpose") });
        assert!(panics.await.unwrap_err().is_panic());
        let asleep = clock.spawn("asleep", {
            let clock = clock.clone();
            async move { clock.sleep_until(clock.now() + HOUR).await }
        });
        simulation.settle().await.unwrap();
        asleep.abort();
        assert!(asleep.await.unwrap_err().is_cancelled());
        assert_eq!(simulation.next_due_at(), None);
        let other = clock.clone();
        std::thread::spawn(move || {
            let runtime = Builder::new_multi_thread().worker_threads(1).build().unwrap();
            runtime.block_on(async { drop(other.spawn("left behind", pending::<()>())) });
        })
        .join()
        .unwrap();
        simulation.settle().await.unwrap();
    });
}

#[test]
fn a_real_sleep_is_idle() {
    on_both(|clock, simulation| async move {
        let start = clock.now();
        clock.spawn("poll", {
            let clock = clock.clone();
            async move { clock.real_sleep(Duration::from_secs(3600)).await }
        });
        assert_eq!(simulation.advance(HOUR).await, Ok(start + HOUR));
    });
}

#[test]
fn several_clocks_do_not_mix() {
    on_both(|clock, simulation| async move {
        let other = Clock::simulated(clock.now());
        // Sleeping on a clock that does not track the task says nothing to the one that does.
        let task = clock.spawn("abroad", {
            let other = other.clone();
            async move { other.sleep_until(other.now() + HOUR).await }
        });
        assert_eq!(busy(&simulation).await.tasks, ["abroad"]);
        other.simulation().unwrap().advance(HOUR).await.unwrap();
        task.await.unwrap();
        simulation.settle().await.unwrap();
    });
}
