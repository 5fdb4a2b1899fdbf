use super::*;
use crate::clock::Clock;

fn clock() -> (Clock, SimClock) {
    let clock = Clock::simulated("2026-11-23T10:00:00Z".parse().unwrap());
    let simulation = clock.simulation().cloned().unwrap();
    (clock, simulation)
}

#[tokio::test]
async fn an_hour_passes() {
    let (clock, simulation) = clock();
    let start = clock.now();
    let task = clock.spawn("sleeper", {
        let clock = clock.clone();
        async move {
            clock.sleep_until(start + SignedDuration::from_mins(1)).await;
            clock.now()
        }
    });
    simulation.advance(SignedDuration::from_hours(1)).await.unwrap();
    assert_eq!(task.await.unwrap(), start + SignedDuration::from_mins(1));
    assert_eq!(clock.now(), start + SignedDuration::from_hours(1));
}
