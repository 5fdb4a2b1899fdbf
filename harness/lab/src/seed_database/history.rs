//! The history of the companies of a fill. The database itself generates it from a series of numbers.
//!
//! Events are numbered in the order of their acceptance, evenly over the time. Deliveries are numbered with them, and a
//! delivery's number determines its outcome. In each group of 17, one was lost, one succeeded with its second attempt,
//! one failed with its fourth, and the others succeeded at once. The last event of each company, except for the open
//! ones, succeeded everywhere, so that no webhook has been failing for long. The large company's last event comes last.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use futures_util::future::try_join_all;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};
use tokio_postgres::Client;

use super::{FIRST_COMPANY, Plan, Progress, WEBHOOKS_OF_COMPANY};

/// Deliveries in each group of outcomes.
const SHARE: u64 = 17;
pub const ATTEMPTS_OF_SHARE: u64 = 20 * WEBHOOKS_OF_COMPANY as u64;
pub const SUCCEEDED_OF_SHARE: u64 = 15 * WEBHOOKS_OF_COMPANY as u64;
pub const FAILED_OF_SHARE: u64 = WEBHOOKS_OF_COMPANY as u64;
pub const LOST_OF_SHARE: u64 = WEBHOOKS_OF_COMPANY as u64;

/// Events per statement.
const EVENTS_AT_ONCE: u64 = 5_000;
/// Age of the oldest open delivery. Open deliveries were accepted in between those that have ended since.
const OPEN_FOR: SignedDuration = SignedDuration::from_hours(24);
/// Time between the last event and now: longer than four attempts take.
const QUIET_FOR: SignedDuration = SignedDuration::from_mins(5);
/// Open deliveries become due after this time, spread over three times this time.
const DUE_AFTER: SignedDuration = SignedDuration::from_hours(1);
/// Number of future days with partitions, as in the server.
const DAYS_AHEAD: i64 = 3;

/// Number of groups of outcomes for each of the webhooks' positions in a company.
pub fn shares(plan: &Plan) -> u64 {
    (plan.attempts - u64::from(plan.webhooks)) / ATTEMPTS_OF_SHARE
}

/// Number of events in the history: whole groups, and the last event of each company.
pub fn events(plan: &Plan) -> u64 {
    shares(plan) * SHARE + u64::from(plan.webhooks / WEBHOOKS_OF_COMPANY)
}

/// Number of busy companies.
pub fn busy(companies: u32) -> u32 {
    (companies / 100).max(1)
}

/// The history of a plan.
pub struct History {
    companies: u64,
    busy: u64,
    /// Events in groups of outcomes. After them comes the last event of each company.
    mixed: u64,
    events: u64,
    open: u64,
    begins: Timestamp,
    now: Timestamp,
    first_day: Date,
    today: Date,
}

/// A temporary table with the companies' webhooks, for each connection.
const TARGETS: &str = "\
create temporary table targets as
select w.company - $1 as n, w.lane, w.company, array_agg(w.id order by w.id) as webhooks,
       array_agg(w.url order by w.id) as urls
from webhooks w where w.company >= $1 group by w.lane, w.company";

impl History {
    /// The history of a plan, until now.
    pub fn new(plan: &Plan, now: &Timestamp) -> Self {
        let companies = plan.webhooks / WEBHOOKS_OF_COMPANY;
        let today = now.to_zoned(TimeZone::UTC).date();
        let first_day = today.saturating_sub(Span::new().days(i64::from(plan.days) - 1));
        Self {
            companies: companies.into(),
            busy: busy(companies).into(),
            mixed: shares(plan) * SHARE,
            events: events(plan),
            open: plan.open / u64::from(WEBHOOKS_OF_COMPANY),
            begins: midnight(first_day),
            now: *now,
            first_day,
            today,
        }
    }

    /// The beginning of the first day.
    pub fn begins(&self) -> Timestamp {
        self.begins
    }

    /// Creates missing partitions for its days, with the server's names and bounds and under the server's lock.
    pub async fn make_partitions(&self, client: &Client) -> anyhow::Result<()> {
        let last = self.today.saturating_add(Span::new().days(DAYS_AHEAD));
        let days = self
            .first_day
            .series(Span::new().days(1))
            .take_while(|day| *day <= last);
        let mut sql = "begin; select from settings where key = 'lanes' for update;".to_owned();
        for day in days {
            let (from, to) = (midnight(day), midnight(day.saturating_add(Span::new().days(1))));
            for table in ["events", "attempts", "outcomes"] {
                let name = format!("{table}_{}", day.strftime("%Y%m%d"));
                sql += &format!(
                    "create table if not exists {name} partition of {table} for values from ('{from}') to ('{to}');"
                );
            }
        }
        client
            .batch_execute(&(sql + "commit"))
            .await
            .context("the partitions cannot be created")
    }

    /// Writes the events with their deliveries and attempts, concurrently on these connections.
    pub async fn write(&self, writers: &[Client], progress: impl Fn(Progress)) -> anyhow::Result<()> {
        let (next, written) = (AtomicU64::new(0), AtomicU64::new(0));
        let planned = self.events + self.open;
        let work = writers.iter().map(async |client| {
            client.execute(TARGETS, &[&FIRST_COMPANY]).await?;
            loop {
                let first = next.fetch_add(EVENTS_AT_ONCE, Ordering::Relaxed);
                if first >= planned {
                    return anyhow::Ok(());
                }
                let end = (first + EVENTS_AT_ONCE).min(planned);
                if first < self.events {
                    client
                        .batch_execute(&self.ended(first, end.min(self.events)))
                        .await?;
                }
                if end > self.events {
                    client
                        .batch_execute(&self.owed(first.max(self.events), end))
                        .await?;
                }
                let written = written.fetch_add(end - first, Ordering::Relaxed) + end - first;
                progress(Progress { written, planned });
            }
        });
        try_join_all(work)
            .await
            .context("the history cannot be written")?;
        Ok(())
    }

    /// SQL that writes events of the history, with their attempts and losses.
    fn ended(&self, first: u64, end: u64) -> String {
        format!(
            "{},
tried as (
    {ATTEMPT}
    select d.lane, d.webhook, d.id, 0, d.company, d.accepted_at, t.number,
           d.sent_at + t.waited + (t.number - 1) * d.took, d.sent_at + t.waited + t.number * d.took, {TOLD}
    from owed d join (values
        (1, 1, interval '0 s', true, null), (1, 2, '3 s', false, 1),
        (2, 1, '0 s', true, null), (2, 2, '3 s', true, null), (2, 3, '33 s', true, null), (2, 4, '183 s', true, 2),
        (3, 1, '0 s', false, 1)
    ) as t(fate, number, waited, failed, ending) on t.fate = least(d.fate, 3)
)
insert into outcomes (lane, webhook, event, generation, company, created_at, at, status, reason)
select lane, webhook, id, 0, company, accepted_at, sent_at, 3, 3 from owed where fate = 0",
            self.events(first, end)
        )
    }

    /// SQL that writes events whose deliveries have failed once and are due again.
    fn owed(&self, first: u64, end: u64) -> String {
        format!(
            "{},
tried as (
    {ATTEMPT}
    select d.lane, d.webhook, d.id, 0, d.company, d.accepted_at, t.number, d.sent_at, d.sent_at + d.took, {TOLD}
    from owed d cross join (values (1, true, null)) as t(number, failed, ending)
)
insert into deliveries (lane, webhook, event, generation, company, number, created_at, event_at, due_at, vis_at, token)
select d.lane, d.webhook, d.id, 0, d.company, 2, d.accepted_at, d.accepted_at, due_at, due_at, 2
from owed d
cross join lateral (select '{}'::timestamptz + make_interval(secs => {} * ((d.rolled % 1000000) / 1e6)) as due_at) due",
            self.events(first, end),
            later(self.now, DUE_AFTER),
            3 * DUE_AFTER.as_secs()
        )
    }

    /// The common beginning of both: stores the events, and defines `owed`, the deliveries of each webhook. A tenth of
    /// the history belongs to the first company, two fifths to the busy ones.
    fn events(&self, first: u64, end: u64) -> String {
        let Self {
            companies,
            busy,
            mixed,
            events,
            ..
        } = self;
        let rest = companies - 1 - busy;
        let (from, count, origin) = if first < *events {
            (self.begins, *events, 0)
        } else {
            (later(self.now, -OPEN_FOR), self.open, *events)
        };
        let last = later(self.now, -QUIET_FOR);
        let step = last.duration_since(from).as_secs_f64() / (count + 1) as f64;
        format!(
            "\
with numbered as (
    select n, case when n between {mixed} and {events} - 1 then {events} - 1 - n
                   when n % 20 < 2 then 0
                   when n % 20 < 10 then 1 + (n / 20 * 8 + n % 20 - 2) % {busy}
                   else 1 + {busy} + (n / 20 * 10 + n % 20 - 10) % {rest} end as company,
           date_trunc('milliseconds', '{from}'::timestamptz + make_interval(secs => (n - {origin}) * {step})) as accepted_at
    from generate_series({first}::bigint, {end} - 1) as n
), event as materialized (
    select e.n, e.accepted_at, t.lane, t.company, t.webhooks, t.urls,
           (lpad(to_hex((extract(epoch from e.accepted_at) * 1000)::bigint), 12, '0') || '7'
            || lpad(to_hex(e.n & 4095), 3, '0') || '8' || substr(md5(e.n::text), 1, 15))::uuid as id
    from numbered e join targets t on t.n = e.company
), stored as (
    insert into events (lane, id, accepted_at, company, action, object, object_id, user_id, data, previous,
                        change_source, is_bulk_edit, correlation_id)
    select lane, id, accepted_at, company, 2, 'deal', (1 + n % 100000)::text, {user},
           {data}, {previous}, 1, false, id::text
    from event
), owed as materialized (
    select e.lane, w.webhook, w.url, e.id, e.company, e.accepted_at, e.accepted_at + interval '2 ms' as sent_at,
           case when e.n >= {mixed} then 3 else (e.n * {WEBHOOKS_OF_COMPANY} + w.slot - 1) % {SHARE} end as fate,
           hashint8(e.n * {WEBHOOKS_OF_COMPANY} + w.slot) & 2147483647 as rolled,
           interval '1 us' * (4000 + (hashint8(e.n * {WEBHOOKS_OF_COMPANY} + w.slot) & 2147483647) % 196000) as took
    from event e cross join lateral unnest(e.webhooks, e.urls) with ordinality as w(webhook, url, slot)
)",
            user = super::USER,
            data = state("won"),
            previous = state("open")
        )
    }

    /// Writes the webhooks' health and the tallies, which follow from the history, and updates the planner's
    /// statistics.
    pub async fn settle(&self, client: &Client) -> anyhow::Result<()> {
        client
            .batch_execute(&format!("{}; {}", health(), tallies()))
            .await
            .context("the webhooks' health cannot be written")?;
        // One statement per call: several in one call are a transaction, in which vacuum cannot run.
        for table in [
            "users",
            "webhooks",
            "webhook_health",
            "deliveries",
            "events",
            "attempts",
            "outcomes",
            "tallies",
        ] {
            client.batch_execute(&format!("vacuum (analyze) {table}")).await?;
        }
        Ok(())
    }
}

/// The beginning of every insertion of attempts.
const ATTEMPT: &str = "\
insert into attempts (lane, webhook, event, generation, company, created_at, number, started_at, ended_at, duration_us,
                      connect_us, first_byte_us, url, auth_sent, status, error_class, error_message, response_headers,
                      response_body, response_truncated, ending)";

/// The response to an attempt `t` of the delivery `d`, in the order of the columns.
const TOLD: &str = "\
           extract(microseconds from d.took)::int, 300 + d.rolled % 500, extract(microseconds from d.took)::int - 100,
           d.url, false, case when t.failed then 503 else 200 end,
           case when t.failed then 1 end, case when t.failed then 'answered with status 503' end,
           '[[\"content-type\",\"application/json\"],[\"date\",\"Mon, 23 Nov 2026 10:00:00 GMT\"]]',
           case when t.failed then '{\"error\":\"unavailable\"}' else '{\"ok\":true}' end, false, t.ending::smallint";

/// SQL that derives the health from the attempts. A failed first try counts towards a ban, which no webhook reaches
/// here, and opens a failure window if none is open. A window is open from the first failure since the last success,
/// and warns after a day.
fn health() -> String {
    format!(
        "\
update webhook_health h set ban_counter = a.failed_first, window_episode = a.failed_first, window_floor = a.succeeded_at
from (select lane, webhook, count(*) filter (where number = 1 and error_class is not null) as failed_first,
             max(ended_at) filter (where error_class is null) as succeeded_at
      from attempts where company >= {FIRST_COMPANY} group by lane, webhook) a
where h.lane = a.lane and h.webhook = a.webhook;
update webhook_health h set failing_since = a.since, next_transition_at = a.since + interval '24 h'
from (select a.lane, a.webhook, min(a.ended_at) as since
      from attempts a join webhook_health h on h.lane = a.lane and h.webhook = a.webhook
      where a.error_class is not null and a.ended_at > h.window_floor and a.company >= {FIRST_COMPANY}
      group by a.lane, a.webhook) a
where h.lane = a.lane and h.webhook = a.webhook"
    )
}

/// SQL that writes both sides of the tallies, for a process that does not exist.
fn tallies() -> String {
    let counted = |table: &str, succeeded: &str, failed: &str, lost: &str, open: &str| {
        format!(
            "select lane, {succeeded} as succeeded, {failed} as failed, {lost} as lost, {open} as open
             from {table} where company >= {FIRST_COMPANY} group by lane"
        )
    };
    let ending = |code| format!("count(*) filter (where ending = {code})");
    let sources = [
        counted("attempts", &ending(1), &ending(2), "0", "0"),
        counted("outcomes", "0", "0", "count(*)", "0"),
        counted("deliveries", "0", "0", "0", "count(*)"),
    ];
    format!(
        "insert into tallies (lane, node, accepted, succeeded, failed, lost, cancelled)
         select lane, 0, sum(succeeded + failed + lost + open), sum(succeeded), sum(failed), sum(lost), 0
         from ({}) s group by lane",
        sources.join(" union all ")
    )
}

/// A deal as platforms send it, a few hundred bytes of JSON.
fn state(status: &str) -> String {
    format!(
        "'{{\"id\":' || (1 + n % 100000) || ',\"title\":\"Renewal of contract ' || n || '\",\"value\":' || (n % 9000)
           || ',\"currency\":\"EUR\",\"status\":\"{status}\",\"owner_id\":1,\"stage_id\":' || (n % 7)
           || ',\"expected_close_date\":\"2026-12-24\",\"label\":null,\"probability\":60,\"notes\":\"'
           || repeat('as agreed on the phone; ', 4) || '\"}}'"
    )
}

fn midnight(day: Date) -> Timestamp {
    let zoned = day.to_zoned(TimeZone::UTC);
    zoned.expect("days near today are times").timestamp()
}

fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.saturating_add(by).expect("a duration is not a calendar unit")
}
