//! The time buckets of a chart.
//!
//! Covers the whole requested time, empty buckets included, with at most [`MOST_BUCKETS`] buckets. Each begins where
//! the previous one ends, so that an event at a boundary counts once, in the later one (T2).

use jiff::{SignedDuration, Timestamp};

use crate::error::{ApiError, Result};
use crate::types::scalars::{DateTime, Duration};

/// Maximum number of buckets of a chart: a day in steps of five minutes.
pub const MOST_BUCKETS: usize = 288;
/// Minimum length of a bucket.
const SHORTEST_BUCKET: SignedDuration = SignedDuration::from_secs(1);
/// Maximum number of buckets if the caller sets no length: as many as a small chart shows.
const USUAL_BUCKETS: usize = 50;
/// Default lengths of a bucket, in seconds; beyond the last one, whole days.
const USUAL_LENGTHS: [i64; 11] = [1, 5, 15, 60, 300, 900, 1_800, 3_600, 10_800, 21_600, 43_200];
const DAY: i64 = 86_400;

/// Consecutive time buckets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buckets {
    /// The beginning of each bucket.
    pub from: Vec<Timestamp>,
    /// The end of the last bucket.
    pub until: Timestamp,
}

/// The time range of a chart, and the length of its buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Chart {
    /// The beginning.
    pub since: Timestamp,
    /// The end; `None` means the time of reading.
    pub until: Option<Timestamp>,
    /// Length of a bucket; `None` means that the server chooses it.
    pub bucket: Option<SignedDuration>,
}

impl Chart {
    /// A chart from the arguments of `stats`.
    pub fn new(since: DateTime, until: Option<DateTime>, bucket: Option<Duration>) -> Self {
        Self {
            since: since.0,
            until: until.map(|until| until.0),
            bucket: bucket.map(|bucket| bucket.0),
        }
    }

    /// Refuses a chart with too many buckets if read at `now`, or with too short ones.
    pub fn check(&self, now: Timestamp) -> Result<()> {
        let Some(bucket) = self.bucket else { return Ok(()) };
        if bucket < SHORTEST_BUCKET {
            return Err(ApiError::bad_input("`bucket` must be at least a second."));
        }
        let end = self.until.unwrap_or(now);
        if self.buckets(now).until < end {
            let why = format!(
                "`bucket` must be longer: the time from `since` to `until` has more than {MOST_BUCKETS} buckets of this \
                 length."
            );
            return Err(ApiError::bad_input(why));
        }
        Ok(())
    }

    /// Its buckets if read at `now`; the last may be shorter than the others. A chart that [`Chart::check`] would
    /// refuse is cut: it may have become too long since it was checked.
    pub fn buckets(&self, now: Timestamp) -> Buckets {
        let until = self.until.unwrap_or(now);
        let length = self
            .bucket
            .unwrap_or_else(|| usual_length(until.duration_since(self.since)));
        let mut from = Vec::new();
        let mut next = self.since;
        while next < until && from.len() < MOST_BUCKETS {
            from.push(next);
            next = next.saturating_add(length).unwrap_or(Timestamp::MAX);
        }
        Buckets {
            from,
            until: next.min(until),
        }
    }
}

fn usual_length(time: SignedDuration) -> SignedDuration {
    let enough = |seconds: &i64| time <= SignedDuration::from_secs(seconds * USUAL_BUCKETS as i64);
    let days = || {
        let longest = DAY * USUAL_BUCKETS as i64;
        (time.as_secs() / longest + 1) * DAY
    };
    SignedDuration::from_secs(USUAL_LENGTHS.into_iter().find(enough).unwrap_or_else(days))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        "2026-11-23T10:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
    }

    fn chart(until: i64, bucket: i64) -> Chart {
        Chart {
            since: at(0),
            until: Some(at(until)),
            bucket: Some(SignedDuration::from_secs(bucket)),
        }
    }

    fn lengths(buckets: &Buckets) -> Vec<i64> {
        let ends = buckets.from.iter().skip(1).chain([&buckets.until]);
        let length = |(from, to): (&Timestamp, &Timestamp)| to.duration_since(*from).as_secs();
        buckets.from.iter().zip(ends).map(length).collect()
    }

    #[test]
    fn the_last_bucket_ends_at_the_requested_time() {
        let made = |until| lengths(&chart(until, 60).buckets(at(7)));
        assert_eq!(made(120), [60, 60]);
        assert_eq!(made(121), [60, 60, 1]);
        assert_eq!(made(59), [59]);
        for nothing in [0, -1] {
            assert_eq!(made(nothing), [0_i64; 0]);
            assert!(chart(nothing, 60).check(at(7)).is_ok());
        }
        let open = Chart {
            until: None,
            ..chart(0, 60)
        };
        assert_eq!(lengths(&open.buckets(at(90))), [60, 30]);
    }

    #[test]
    fn buckets_are_bounded_in_number_and_length() {
        let most = MOST_BUCKETS as i64;
        assert_eq!(chart(most, 1).buckets(at(0)).from.len(), MOST_BUCKETS);
        assert!(chart(most, 1).check(at(0)).is_ok());
        let longer = chart(most + 1, 1);
        assert!(longer.check(at(0)).is_err());
        assert_eq!(longer.buckets(at(0)), chart(most, 1).buckets(at(0)));
        for bucket in [
            SignedDuration::ZERO,
            SignedDuration::from_millis(999),
            SignedDuration::MIN,
        ] {
            let chart = Chart {
                bucket: Some(bucket),
                ..chart(1, 1)
            };
            assert!(chart.check(at(0)).is_err(), "{bucket}");
        }
    }

    #[test]
    fn default_buckets_suit_any_period() {
        let usual = |until| Chart {
            since: Timestamp::MIN,
            until: Some(until),
            bucket: None,
        };
        for (time, length) in [
            (1, 1),
            (50, 1),
            (51, 5),
            (3_600, 300),
            (DAY, 1_800),
            (7 * DAY, 21_600),
            (30 * DAY, DAY),
            (50 * DAY, 2 * DAY),
            (365 * DAY, 8 * DAY),
        ] {
            let until = Timestamp::MIN + SignedDuration::from_secs(time);
            let made = usual(until).buckets(until);
            assert!(made.from.len() <= USUAL_BUCKETS, "{time}");
            assert_eq!((lengths(&made)[0], made.until), (length, until), "{time}");
        }
        let ever = usual(Timestamp::MAX).buckets(at(0));
        assert!(ever.from.len() <= USUAL_BUCKETS);
    }
}
