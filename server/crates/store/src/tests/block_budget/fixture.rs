//! A lane full of deliveries that are not due, and a history that is not requested: the queue has 59,000 rows in about 1,500
//! blocks.

use std::ops::DerefMut;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use diesel_async::SimpleAsyncConnection;
use jiff::civil::{Date, date};
use jiff::{SignedDuration, Timestamp};

use crate::testing::{Template, Touched, touched};
use crate::{Conn, Limits, Sessions, Store};
use tenterhook_model::ids::{CompanyId, Lane, WebhookId, WebhookKey};

const FIRST_DAY: Date = date(2026, 11, 4);
const LAST_DAY: Date = date(2026, 11, 23);
/// Webhooks with some deliveries each, in addition to the one that has many.
pub const OTHERS: usize = 39;
/// Open deliveries of the one that has many, and the number of these that are due.
pub const OPEN: usize = 20_000;
pub const DUE: usize = 3;

/// Longer than any statement takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// Executions after which the database has decided on a plan: it compares after five.
const OFTEN: usize = 7;

pub fn now() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

pub fn later(hours: i64) -> Timestamp {
    now() + SignedDuration::from_hours(hours)
}

pub fn company() -> CompanyId {
    CompanyId::new(1).unwrap()
}

pub fn lane() -> Lane {
    Lane::of(company())
}

/// A database full of deliveries that are not due: a copy of one that is filled once for all tests.
pub struct Crowd {
    store: Store,
    url: String,
    /// The first has many deliveries.
    pub webhooks: Vec<WebhookId>,
}

/// The webhooks of all copies.
static WEBHOOKS: LazyLock<Vec<WebhookId>> =
    LazyLock::new(|| (0..=OTHERS).map(|_| WebhookId::new(later(-24 * 20))).collect());

/// The template of a crowd, with or without the planner's statistics.
async fn filled(analyzed: bool) -> Template {
    let names: Vec<String> = WEBHOOKS.iter().map(ToString::to_string).collect();
    let fill = FILL
        .replace("{lane}", &lane().0.to_string())
        .replace("{webhooks}", &names.join(","))
        .replace("{many}", &names[0])
        .replace("{now}", &now().to_string())
        .replace("{open}", &OPEN.to_string())
        .replace("{due}", &DUE.to_string());
    let fill = async |conn: &mut Conn| {
        conn.batch_execute(&fill).await.unwrap();
        conn.batch_execute("vacuum").await.unwrap();
    };
    let analyze = async |conn: &mut Conn| conn.batch_execute("vacuum analyze").await.unwrap();
    let crowd = Template::of_days(FIRST_DAY..=LAST_DAY).await;
    let crowd = crowd.with("a crowd", fill).await;
    match analyzed {
        true => crowd.with("statistics", analyze).await,
        false => crowd,
    }
}

impl Crowd {
    /// With or without the planner's statistics.
    pub async fn new(analyzed: bool) -> Self {
        Self::copied(&filled(analyzed).await).await
    }

    /// With very many more webhooks of other companies in the lane.
    pub async fn with_neighbours(analyzed: bool) -> Self {
        let mut fill = format!(
            "insert into webhooks (lane, id, company, owner, user_id, kind, url, action, object, version, secret,
                                   created_at, updated_at)
             select {}, gen_random_uuid(), 1000 + n / 4, 7, 7, 1, 'http://example.com/', 0, '*', 2, '', '2026-11-01',
                    '2026-11-01'
             from generate_series(1, 20000) n;
             insert into webhook_health (lane, webhook) select lane, id from webhooks on conflict do nothing;",
            lane().0
        );
        if analyzed {
            fill.push_str("analyze webhooks, webhook_health;");
        }
        let fill = async |conn: &mut Conn| conn.batch_execute(&fill).await.unwrap();
        let crowd = filled(analyzed).await;
        Self::copied(&crowd.with("neighbours", fill).await).await
    }

    async fn copied(template: &Template) -> Self {
        let (store, url) = template.copy().await;
        Self {
            store,
            url,
            webhooks: WEBHOOKS.clone(),
        }
    }

    /// The same database through connections that read for callers.
    pub fn of_callers(self) -> Self {
        Self {
            store: Store::open(
                &self.url,
                4,
                Sessions {
                    limits: Limits::of(PATIENCE),
                    reads: true,
                },
                Arc::default(),
            )
            .unwrap(),
            ..self
        }
    }

    /// A connection for other queries.
    pub async fn conn(&self) -> impl DerefMut<Target = Conn> {
        self.store.conn().await.unwrap()
    }

    /// The blocks that `work` reads with its final plan: the maximum over all executions.
    ///
    /// When databases of other tests are created or dropped, Postgres may make a session forget what it knows about tables;
    /// the next planning then reads one more block of every index. So if two successive executions differ by at most one
    /// block of each, the lower count is used. Any other difference counts fully.
    pub async fn touched<T>(&self, work: impl AsyncFn(&mut Conn) -> T) -> (T, Touched) {
        let mut conn = self.store.conn().await.unwrap();
        let mut most: Option<(T, Touched)> = None;
        for _ in 0..OFTEN {
            let (first, second) = (touched(&mut conn, &work).await, touched(&mut conn, &work).await);
            let (lesser, greater) = if sum(&second.1) <= sum(&first.1) {
                (second, first)
            } else {
                (first, second)
            };
            let counted = if is_planned_again(&greater.1, &lesser.1) {
                lesser
            } else {
                greater
            };
            if most.as_ref().is_none_or(|most| sum(&counted.1) > sum(&most.1)) {
                most = Some(counted);
            }
        }
        most.unwrap()
    }

    /// The keys of all webhooks; the one with many deliveries is first.
    pub fn keys(&self) -> Vec<WebhookKey> {
        self.webhooks.iter().map(|id| (lane(), *id)).collect()
    }
}

/// Whether the difference is at most one block of each table or index.
fn is_planned_again(greater: &Touched, lesser: &Touched) -> bool {
    greater
        .iter()
        .all(|(name, count)| count - lesser.get(name).unwrap_or(&0) <= 1)
}

/// The number of all blocks.
pub fn sum(touched: &Touched) -> i64 {
    touched.values().sum()
}

/// Fails with the list of blocks if there are more than `blocks`.
pub fn assert_at_most(blocks: i64, touched: &Touched, what: &str) {
    let sum = sum(touched);
    assert!(
        sum <= blocks,
        "{what}: {sum} blocks and not {blocks}: {touched:#?}"
    );
}

/// The days of the partitions of a table whose rows were read, not only their indexes.
pub fn days_read(touched: &Touched, table: &str) -> Vec<String> {
    let prefix = format!("{table}_");
    let days = touched.keys().filter_map(|name| name.strip_prefix(&prefix));
    days.filter(|day| day.len() == 8).map(str::to_owned).collect()
}

/// The first webhook has `open` open deliveries, and half as many attempts over 19 days, all successful. Each other webhook
/// has a twentieth of both, and one attempt in a hundred failed. Only `due` deliveries of the first are due. Ids carry the
/// time of their event.
const FILL: &str = "
create function id_of(at timestamptz, n bigint) returns uuid language sql immutable as $$
    select (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '7' || lpad(to_hex(n & 4095), 3, '0') || '8'
            || substr(md5(n::text), 1, 15))::uuid $$;
create temporary table hook as
select id::uuid, place, case place when 1 then {open} else {open} / 20 end as rows
from unnest('{{webhooks}}'::text[]) with ordinality as w(id, place);
insert into webhooks (lane, id, company, owner, user_id, kind, url, action, object, version, secret, created_at, updated_at)
select {lane}, id, 1, 7, 7, 1, 'http://example.com/', 0, '*', 2, '', '2026-11-01', '2026-11-01' from hook;
insert into webhook_health (lane, webhook, failing_since, window_episode, next_transition_at)
select {lane}, id, '{now}', 1, '{now}'::timestamptz + interval '24 h' from hook;
create temporary table open as
select h.id as webhook, id_of(at, n) as event, at, n <= {due} and h.place = 1 as due, n
from hook h cross join lateral generate_series(1, h.rows) as n
cross join lateral (select date_trunc('milliseconds', '{now}'::timestamptz - interval '1 h' + n * interval '100 ms') as at) m;
insert into events (lane, id, accepted_at, company, action, object, object_id, user_id, data, change_source, is_bulk_edit,
                    correlation_id)
select distinct on (event) {lane}, event, at, 1, 1, 'deal', '8', 1, '{}', 1, false, 'x' from open;
insert into deliveries (lane, webhook, event, generation, company, number, created_at, event_at, due_at, vis_at, token)
select {lane}, webhook, event, 0, 1, 2, at, at, vis_at, vis_at, 0
from open cross join lateral (select '{now}'::timestamptz + case when due then - interval '1 s'
                                     else interval '1 h' + n * interval '10 ms' end as vis_at) v;
insert into attempts (lane, webhook, event, generation, company, created_at, number, started_at, ended_at, duration_us, url,
                      auth_sent, status, error_class, response_headers, response_truncated, ending)
select {lane}, h.id, id_of(at, n), 0, 1, at, 1, at, at + interval '1 s', 1000, '', false,
       case when failed then 500 else 200 end, case when failed then 1 end, '[]', false, case when failed then 2 else 1 end
from hook h cross join lateral generate_series(1, h.rows / 2) as n
cross join lateral (select date_trunc('milliseconds', '{now}'::timestamptz - interval '456 h'
                           + n * (interval '454 h' / (h.rows / 2))) as at, n % 100 = 0 and h.place > 1 as failed) m;
insert into idempotency (lane, company, key, event, request_hash, deliveries, expires_at)
select {lane}, 1, n::text, id_of('{now}', n), '', 1, '{now}'::timestamptz + interval '1 h' from generate_series(1, {open}) as n;
insert into notice_queues (lane, webhook, notices, attempts, vis_at, token)
select {lane}, gen_random_uuid(), array[gen_random_uuid()], 0, '{now}'::timestamptz + interval '1 h', 0
from generate_series(1, {open}) as n";
