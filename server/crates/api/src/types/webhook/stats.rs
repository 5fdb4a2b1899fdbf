//! A webhook's history in numbers, for charts: the counts of each time bucket.

use async_graphql::SimpleObject;

use super::chart::{Buckets, Chart};
use crate::complexity::CostContext;
use crate::types::scalars::{DateTime, Duration};
use tenterhook_store::stats::Figures;

/// Results of a webhook's deliveries and attempts in one time bucket. Test deliveries are not counted.
#[derive(SimpleObject)]
pub struct DeliveryStats {
    /// When the bucket begins.
    from: DateTime,
    /// When it ends. This time itself belongs to the next bucket.
    to: DateTime,
    /// Number of deliveries that succeeded.
    succeeded: i32,
    /// Number of deliveries whose last attempt failed.
    failed: i32,
    /// Number of deliveries lost during a ban or a pause.
    lost: i32,
    /// Number of deliveries cancelled because the webhook was removed.
    cancelled: i32,
    /// Number of attempts that ended, retries included.
    attempts: i32,
    /// Median duration of the attempts in the bucket, in milliseconds; null if there were none.
    p50_ms: Option<f64>,
    /// 99th percentile of the duration of the attempts in the bucket, in milliseconds; null if there were none.
    p99_ms: Option<f64>,
}

/// The counts of each bucket as GraphQL values.
pub fn show(buckets: &Buckets, figures: Vec<Figures>) -> Vec<DeliveryStats> {
    let ends = buckets.from.iter().skip(1).chain([&buckets.until]);
    let counted = buckets.from.iter().zip(ends).zip(figures);
    counted
        .map(|((from, to), figures)| DeliveryStats {
            from: DateTime(*from),
            to: DateTime(*to),
            succeeded: count(figures.succeeded),
            failed: count(figures.failed),
            lost: count(figures.lost),
            cancelled: count(figures.cancelled),
            attempts: count(figures.attempts),
            p50_ms: figures.p50_us.map(milliseconds),
            p99_ms: figures.p99_us.map(milliseconds),
        })
        .collect()
}

/// The number of buckets of a chart if read now, for computing the cost of a query.
pub fn stats_cost(since: DateTime, until: Option<DateTime>, bucket: Option<Duration>) -> usize {
    let chart = Chart::new(since, until, bucket);
    chart.buckets(CostContext::current().now).from.len()
}

fn count(count: i64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn milliseconds(micros: i32) -> f64 {
    f64::from(micros) / 1000.0
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::*;
    use crate::types::webhook::chart::MOST_BUCKETS;

    const DAY: i64 = 86_400;
    /// The number of buckets if the caller sets no length.
    const USUAL_BUCKETS: usize = 50;

    fn at(seconds: i64) -> Timestamp {
        "2026-11-23T10:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
    }

    fn seconds(seconds: i64) -> Option<Duration> {
        Some(Duration(SignedDuration::from_secs(seconds)))
    }

    #[tokio::test]
    async fn the_cost_follows_the_number_of_buckets() {
        let cost = |until: Option<i64>, bucket| {
            stats_cost(DateTime(at(0)), until.map(|to| DateTime(at(to))), bucket)
        };
        let an_hour_later = CostContext {
            now: at(3_600),
            attempts: 4,
        };
        an_hour_later
            .over(async {
                for (until, bucket, entries) in [
                    (Some(600), 60, 10),
                    (Some(601), 60, 11),
                    (None, 60, 60),
                    (None, 3_600, 1),
                    (None, 7_200, 1),
                    (None, 12, MOST_BUCKETS),
                    (Some(DAY * 365), 1, MOST_BUCKETS),
                    (Some(DAY), 0, MOST_BUCKETS),
                    (Some(-1), 60, 0),
                ] {
                    assert_eq!(cost(until, seconds(bucket)), entries, "{until:?} {bucket}");
                }
                assert_eq!(cost(None, None), 12);
                assert_eq!(cost(Some(50), None), USUAL_BUCKETS);
            })
            .await;
        // Outside of a request the highest cost applies.
        assert_eq!(cost(None, seconds(60)), MOST_BUCKETS);
    }
}
