//! The search for webhooks with open deliveries. This process has no hint of some of them.

use std::time::Duration;

use crate::deliver::wake_schedule::{MAX_SCHEDULED, WakeSchedule};
use tenterhook_store::{Store, StoreError, claim};

/// How often, in real time, all lanes are searched for deliveries without a hint here. A search costs an index probe per
/// webhook with open deliveries: see [`SEARCH_SHARE`].
const SEARCH_EVERY: Duration = Duration::from_secs(5);
/// The next search waits at least this many times the duration of the last one, so that searching takes less than 2 % of
/// the time.
const SEARCH_SHARE: u32 = 50;

/// Finds every webhook with open deliveries, of all processes, and schedules it.
pub(crate) async fn search(store: &Store, wakes: &WakeSchedule) -> Result<(), StoreError> {
    let mut conn = store.conn().await?;
    let open = claim::discover(&mut conn, MAX_SCHEDULED as i64).await?;
    drop(conn);
    wakes.schedule(open);
    Ok(())
}

/// The pause before the next search, from the duration of the last one.
pub(super) fn pause_after(took: Duration) -> Duration {
    SEARCH_EVERY.max(took.min(SEARCH_EVERY) * SEARCH_SHARE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_is_50_times_the_search_and_at_least_5_seconds() {
        let pause = |took| pause_after(Duration::from_millis(took)).as_millis();
        assert_eq!([pause(0), pause(100), pause(101)], [5_000, 5_000, 5_050]);
        assert_eq!([pause(5_000), pause(60_000)], [250_000, 250_000]);
    }
}
