//! The machine's time, corrected by the database's.
//!
//! Guarantees: the time never goes back. It differs from the database's by no more than the uncertainty of the fastest
//! round trips.
//!
//! Not guaranteed: a steady pace. A correction forwards is a jump, a correction backwards makes time stand still.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

use super::DeadlineElapsed;

/// The longest single sleep. Tokio's timers end after two years, and a machine that was suspended should notice.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

#[derive(Debug)]
pub(super) struct SystemClock {
    begun: Instant,
    kept: Mutex<Kept>,
    corrected: Notify,
}

#[derive(Debug)]
struct Kept {
    /// The time at `since`. Later times are this plus the monotonic time since then.
    base: Timestamp,
    since: Instant,
    /// The last result of `now`.
    latest: Timestamp,
}

impl Kept {
    fn estimate(&self, at: Instant) -> Timestamp {
        let (elapsed, sign) = match at.checked_duration_since(self.since) {
            Some(after) => (after, 1),
            None => (self.since.duration_since(at), -1),
        };
        let elapsed = SignedDuration::try_from(elapsed).unwrap_or(SignedDuration::MAX);
        self.base.checked_add(elapsed * sign).unwrap_or(Timestamp::MAX)
    }

    fn now(&mut self) -> Timestamp {
        self.latest = self
            .latest
            .max(super::whole_micros(self.estimate(Instant::now())));
        self.latest
    }
}

impl SystemClock {
    pub(super) fn new() -> Self {
        let kept = Kept {
            base: Timestamp::now(),
            since: Instant::now(),
            latest: Timestamp::MIN,
        };
        Self {
            begun: kept.since,
            kept: Mutex::new(kept),
            corrected: Notify::new(),
        }
    }

    /// Every change under the lock is complete, so a panic elsewhere leaves nothing half done.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.kept().now()
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// How long until `now` returns `at`; `None` if it already does.
    fn left(&self, at: Timestamp) -> Option<Duration> {
        let mut kept = self.kept();
        if kept.now() >= at {
            return None;
        }
        // While time stands still, `now` is ahead of the estimate. The estimate has to reach `at`.
        Some(at.duration_since(kept.estimate(Instant::now())).unsigned_abs())
    }

    pub(super) async fn sleep_until(&self, at: Timestamp) {
        loop {
            let corrected = self.corrected.notified();
            let Some(left) = self.left(at) else { return };
            tokio::select! {
                () = tokio::time::sleep(left.min(LONGEST_SLEEP)) => {}
                () = corrected => {}
            }
        }
    }

    pub(super) async fn deadline<F: Future>(
        &self,
        at: Timestamp,
        future: F,
    ) -> Result<F::Output, DeadlineElapsed> {
        let left = at.duration_since(self.now());
        if !left.is_positive() {
            return Err(DeadlineElapsed);
        }
        tokio::time::timeout(left.unsigned_abs(), future)
            .await
            .map_err(|_| DeadlineElapsed)
    }

    pub(super) fn follow(&self, database_now: Timestamp, asked: Instant, answered: Instant) {
        let round_trip = answered.saturating_duration_since(asked);
        let latest_possible = database_now.checked_add(round_trip).unwrap_or(Timestamp::MAX);
        {
            let mut kept = self.kept();
            // A slow response is imprecise: time is corrected only if the response proves it wrong.
            if (database_now..=latest_possible).contains(&kept.estimate(answered)) {
                return;
            }
            kept.base = database_now;
            kept.since = asked + round_trip / 2;
        }
        self.corrected.notify_waiters();
    }
}

/// By how much a time that was read between `asked` and `answered` is at least ahead of the machine's clock.
pub(super) fn ahead_of_machine(read: Timestamp, asked: Instant, answered: Instant) -> SignedDuration {
    let (now, instant) = (Timestamp::now(), Instant::now());
    let machine_at = |at: Instant| {
        let ago = instant.saturating_duration_since(at);
        now.saturating_sub(ago).unwrap_or(Timestamp::MIN)
    };
    let (earliest, latest) = (machine_at(asked), machine_at(answered));
    read.duration_since(read.clamp(earliest.min(latest), latest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: SignedDuration = SignedDuration::from_hours(1);

    fn follow(clock: &SystemClock, database_now: Timestamp) {
        let instant = Instant::now();
        clock.follow(database_now, instant, instant);
    }

    #[test]
    fn time_never_goes_back() {
        let clock = SystemClock::new();
        let before = clock.now();
        follow(&clock, before - HOUR);
        assert_eq!(clock.now(), before);
        assert_eq!(clock.now(), before);
        follow(&clock, before + HOUR);
        assert!(clock.now() >= before + HOUR);
    }

    #[test]
    fn database_time_is_dated_to_the_middle_of_the_round_trip() {
        let clock = SystemClock::new();
        let far = clock.now() + HOUR;
        let asked = Instant::now();
        clock.follow(far, asked, asked + Duration::from_secs(2));
        assert_eq!(clock.kept().estimate(asked + Duration::from_secs(1)), far);
        assert_eq!(clock.kept().estimate(asked), far - SignedDuration::from_secs(1));
    }

    #[test]
    fn a_slow_response_that_proves_no_difference_is_ignored() {
        let clock = SystemClock::new();
        let asked = Instant::now();
        let answered = asked + Duration::from_secs(8);
        let kept = clock.kept().estimate(asked);
        clock.follow(kept + SignedDuration::from_secs(1), asked, answered);
        assert_eq!(clock.kept().estimate(asked), kept);
        clock.follow(kept + SignedDuration::from_secs(9), asked, answered);
        assert_ne!(clock.kept().estimate(asked), kept);
    }

    /// A slow round trip alone does not look like a difference.
    #[test]
    fn the_reported_difference_excludes_the_round_trip() {
        let answered = Instant::now();
        let asked = answered.checked_sub(Duration::from_secs(8)).unwrap();
        let now = Timestamp::now();
        let second = SignedDuration::from_secs(1);
        for inside in [now - second, now - second * 7] {
            assert_eq!(ahead_of_machine(inside, asked, answered), SignedDuration::ZERO);
        }
        let near = |found: SignedDuration, wanted: SignedDuration| (found - wanted).abs() < second;
        assert!(near(ahead_of_machine(now + HOUR, asked, answered), HOUR));
        assert!(near(
            ahead_of_machine(now - HOUR, asked, answered),
            second * 8 - HOUR
        ));
    }

    #[test]
    fn now_has_whole_microseconds() {
        assert_eq!(SystemClock::new().now().subsec_nanosecond() % 1000, 0);
    }

    #[tokio::test]
    async fn a_correction_ends_a_sleep() {
        let clock = SystemClock::new();
        let at = clock.now() + HOUR;
        let correct = async { follow(&clock, at) };
        tokio::join!(biased; clock.sleep_until(at), correct);
        assert!(clock.now() >= at);
    }

    #[tokio::test]
    async fn a_sleep_until_the_largest_time_is_possible() {
        let clock = SystemClock::new();
        tokio::select! {
            biased;
            () = clock.sleep_until(Timestamp::MAX) => panic!("woke"),
            () = std::future::ready(()) => {}
        }
    }

    #[tokio::test]
    async fn a_deadline_that_has_been_reached_starts_nothing() {
        let clock = SystemClock::new();
        let now = clock.now();
        assert_eq!(
            clock.deadline(now, async { unreachable!() }).await,
            Err::<(), _>(DeadlineElapsed)
        );
        assert_eq!(clock.deadline(now + HOUR, async { 7 }).await, Ok(7));
        let soon = clock.now() + SignedDuration::from_millis(1);
        assert_eq!(
            clock.deadline(soon, std::future::pending::<()>()).await,
            Err(DeadlineElapsed)
        );
    }
}
