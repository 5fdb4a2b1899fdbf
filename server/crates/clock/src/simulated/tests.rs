use super::*;
use crate::Clock;

fn clock() -> (Clock, SimClock) {
    let clock = Clock::simulated("2026-11-23T10:00:00Z".parse().unwrap());
    let simulation = clock.simulation().cloned().unwrap();
    (clock, simulation)
}

/// The server makes partitions for later days, whose times the database must be able to store.
#[tokio::test]
async fn simulated_time_cannot_pass_the_start_of_the_year_9999() {
    let (clock, simulation) = clock();
    assert_eq!(LAST_SIMULATED.to_string(), "9999-01-01T00:00:00Z");
    let past = LAST_SIMULATED + SignedDuration::from_micros(1);
    assert_eq!(simulation.advance_to(past).await, Err(AdvanceError::OutOfRange));
    assert_eq!(
        simulation.advance(SignedDuration::MAX).await,
        Err(AdvanceError::OutOfRange)
    );
    assert_eq!(simulation.advance_to(LAST_SIMULATED).await, Ok(LAST_SIMULATED));
    assert_eq!(clock.now(), LAST_SIMULATED);
}

#[tokio::test]
async fn a_sleeper_wakes_on_time_while_an_hour_passes() {
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
