//! Numbers of a webhook's history, for charts.
//!
//! Guarantees: the numbers match the lists of deliveries and attempts. An attempt and an ended delivery count in the period
//! in which they ended; data past its retention does not count. Everything is counted again for each request: a chart of a
//! busy webhook costs an index scan over its attempts, a few microseconds each, and costs the queue nothing.

use std::collections::HashMap;

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Integer, Nullable, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;

use super::sql::unnest::WebhookKeys;
use super::sql::{At, Ats, statement, time, unknown};
use super::{Conn, StoreError};
use tenterhook_model::ids::{WebhookId, WebhookKey};

/// The numbers of one period.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Deliveries that succeeded.
    pub succeeded: i64,
    /// Deliveries that failed.
    pub failed: i64,
    /// Deliveries that were lost.
    pub lost: i64,
    /// Deliveries that were cancelled.
    pub cancelled: i64,
    /// Attempts that ended.
    pub attempts: i64,
    /// Median duration of the attempts in microseconds; `None` without attempts.
    pub p50_us: Option<i32>,
    /// 99th percentile of their duration in microseconds; `None` without attempts.
    pub p99_us: Option<i32>,
}

/// One row for each webhook, table and period in which something ended. `$3` has the starts of the periods, which
/// `width_bucket` numbers from 1; `$4` is the end of the last one.
const READ: &str = "\
select k.id as webhook, x.*
from unnest($1::int[], $2::uuid[]) as k(lane, id)
cross join lateral (
    select width_bucket(a.ended_at, $3::timestamptz[]) as bucket,
           count(*) filter (where a.ending = 1) as succeeded, count(*) filter (where a.ending = 2) as failed,
           0::bigint as lost, 0::bigint as cancelled, count(*) as attempts,
           percentile_disc(0.5) within group (order by a.duration_us) as p50_us,
           percentile_disc(0.99) within group (order by a.duration_us) as p99_us
    from attempts a
    where a.lane = k.lane and a.webhook = k.id and a.ended_at >= ($3::timestamptz[])[1] and a.ended_at < $4
      and a.ended_at > $5
    group by 1
    union all
    select width_bucket(o.at, $3::timestamptz[]), 0, 0, count(*) filter (where o.status = 3),
           count(*) filter (where o.status = 4), 0, null, null
    from outcomes o
    where o.lane = k.lane and o.webhook = k.id and o.at >= ($3::timestamptz[])[1] and o.at < $4 and o.at > $5
    group by 1
) x";

#[derive(QueryableByName)]
struct FiguresRow {
    #[diesel(sql_type = SqlUuid)]
    webhook: uuid::Uuid,
    #[diesel(sql_type = Integer)]
    bucket: i32,
    #[diesel(sql_type = BigInt)]
    succeeded: i64,
    #[diesel(sql_type = BigInt)]
    failed: i64,
    #[diesel(sql_type = BigInt)]
    lost: i64,
    #[diesel(sql_type = BigInt)]
    cancelled: i64,
    #[diesel(sql_type = BigInt)]
    attempts: i64,
    #[diesel(sql_type = Nullable<Integer>)]
    p50_us: Option<i32>,
    #[diesel(sql_type = Nullable<Integer>)]
    p99_us: Option<i32>,
}

/// The numbers of each of these webhooks, one entry per period. A webhook with no ended attempts or deliveries in any period
/// is missing.
///
/// `from` has the starts of the periods, ascending and at least one. Each period lasts until the next start, the last one
/// until `until`. What ended at `history` or before is past its retention.
pub async fn read(
    conn: &mut Conn,
    webhooks: &[WebhookKey],
    from: &[Timestamp],
    until: Timestamp,
    history: Timestamp,
) -> Result<HashMap<WebhookId, Vec<Figures>>, StoreError> {
    let rows: Vec<FiguresRow> = statement(READ)
        .arrays(&WebhookKeys::new(webhooks))
        .bind::<Ats, _>(from.iter().copied().map(time).collect::<Vec<_>>())
        .bind::<At, _>(time(until))
        .bind::<At, _>(time(history))
        .load(conn)
        .await?;
    let mut found: HashMap<WebhookId, Vec<Figures>> = HashMap::new();
    for row in rows {
        let figures = found
            .entry(WebhookId(row.webhook))
            .or_insert_with(|| vec![Figures::default(); from.len()]);
        let stretch = usize::try_from(row.bucket - 1)
            .ok()
            .and_then(|index| figures.get_mut(index))
            .ok_or_else(|| unknown("attempts", "bucket", row.bucket))?;
        stretch.succeeded += row.succeeded;
        stretch.failed += row.failed;
        stretch.lost += row.lost;
        stretch.cancelled += row.cancelled;
        stretch.attempts += row.attempts;
        stretch.p50_us = stretch.p50_us.or(row.p50_us);
        stretch.p99_us = stretch.p99_us.or(row.p99_us);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use diesel_async::SimpleAsyncConnection;
    use jiff::SignedDuration;
    use jiff::civil::date;

    use super::*;
    use crate::testing;
    use tenterhook_model::ids::{EventId, Lane};

    const LANE: Lane = Lane(13);

    fn at(seconds: i64) -> Timestamp {
        "2026-11-23T10:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
    }

    /// An attempt that ended at `ended` and took `duration_us`, of an event accepted at 0.
    async fn attempt(conn: &mut Conn, webhook: WebhookId, ended: i64, duration_us: i32) {
        let (event, made, ended) = (EventId::new(at(0)), at(0), at(ended));
        conn.batch_execute(&format!(
            "insert into attempts (lane, webhook, event, generation, company, created_at, number, started_at, ended_at,
                                   duration_us, url, auth_sent, status, response_headers, response_truncated, ending)
             values ({}, '{webhook}', '{event}', 0, 1, '{made}', 1, '{made}', '{ended}', {duration_us}, '', false, 200,
                     '[]', false, 1)",
            LANE.0
        ))
        .await
        .unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn percentiles_are_durations_that_occurred() {
        let (store, _) = testing::database(date(2026, 11, 23)..=date(2026, 11, 23)).await;
        let mut conn = store.conn().await.unwrap();
        let (many, few, none) = (
            WebhookId::new(at(0)),
            WebhookId::new(at(0)),
            WebhookId::new(at(0)),
        );
        for n in 1..=100 {
            attempt(&mut conn, many, 1, n * 1_000).await;
        }
        attempt(&mut conn, few, 1, 7).await;
        attempt(&mut conn, few, 60, 8).await;
        attempt(&mut conn, few, 119, 9).await;
        let webhooks = [many, few, none].map(|id| (LANE, id));
        let from = [at(0), at(60)];
        let read = async |conn: &mut Conn, until, history| {
            let figures = read(conn, &webhooks, &from, until, history).await.unwrap();
            let percentiles = |figures: &Figures| (figures.succeeded, figures.p50_us, figures.p99_us);
            let of = |id| {
                figures
                    .get(&id)
                    .map(|all: &Vec<Figures>| all.iter().map(percentiles).collect())
            };
            let of: [Option<Vec<_>>; 3] = [of(many), of(few), of(none)];
            of
        };
        assert_eq!(
            read(&mut conn, at(120), at(-1)).await,
            [
                Some(vec![(100, Some(50_000), Some(99_000)), (0, None, None)]),
                Some(vec![(1, Some(7), Some(7)), (2, Some(8), Some(9))]),
                None
            ]
        );
        assert_eq!(
            read(&mut conn, at(119), at(-1)).await[1],
            Some(vec![(1, Some(7), Some(7)), (1, Some(8), Some(8))]),
            "the end of the last stretch is outside"
        );
        assert_eq!(
            read(&mut conn, at(120), at(60)).await,
            [None, Some(vec![(0, None, None), (1, Some(9), Some(9))]), None],
            "what ended at that moment is past its retention"
        );
        assert_eq!(read(&mut conn, at(120), at(119)).await, [None, None, None]);
    }
}
