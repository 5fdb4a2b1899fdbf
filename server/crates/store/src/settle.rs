//! Settling: writes the results of workers in one statement, fenced by the token of the lease.
//!
//! Guarantees: only results of deliveries whose lease is still valid are written. The queue row is deleted or updated
//! together with the attempt, the outcome and the tally, or nothing is written (D6, D7). Settling the same batch twice
//! changes nothing the second time. [`super::health`] is written in the same transaction.

use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, SmallInt, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;
use uuid::Uuid;

use super::sql::{Time, maybe_time, statement, time};
use super::{Conn, StoreError};
use tenterhook_model::attempt::Attempt;
use tenterhook_model::delivery::{DeliveryReason, DeliveryStatus};
use tenterhook_model::ids::{CompanyId, DeliveryKey, Lane, NodeId, WebhookId};

/// What happens to a delivery when its worker is done with it.
#[derive(Debug, Clone, PartialEq)]
pub enum Then {
    /// The attempt ended it: succeeded or failed.
    End(DeliveryStatus),
    /// It ended without a final attempt: lost or cancelled.
    Drop {
        /// `Lost` or `Cancelled`.
        status: DeliveryStatus,
        /// The reason.
        reason: DeliveryReason,
        /// The ban in which it was due, if it was a ban.
        ban_episode: Option<i32>,
        /// When it ended.
        at: Timestamp,
    },
    /// The next attempt is due at this time (D4).
    Retry(Timestamp),
    /// No attempt was made; any process may take it from this time on.
    Release(Timestamp),
}

/// One delivery to settle.
#[derive(Debug, Clone, PartialEq)]
pub struct Settlement {
    /// Its key.
    pub key: DeliveryKey,
    /// The tenant.
    pub company: CompanyId,
    /// When the delivery was created.
    pub created_at: Timestamp,
    /// The token of the lease.
    pub token: i64,
    /// The attempt, if one was made.
    pub attempt: Option<Box<Attempt>>,
    /// What happens next.
    pub then: Then,
}

/// The result of a batch.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Indexes of the settlements that were written. For all others the lease was lost and nothing was written.
    pub won: Vec<usize>,
    /// Webhooks with successes in the batch whose health row has a window or counter that a success may end.
    pub to_recover: Vec<(Lane, WebhookId)>,
}

/// `lane`, `webhook`, `event`, `generation` and `token` identify the row; a null `vis_at` deletes it.
const SETTLE: &str = "\
with item as materialized (
    select * from unnest($1::int[], $2::uuid[], $3::uuid[], $4::int[], $5::bigint[], $6::bigint[], $7::timestamptz[],
                         $8::timestamptz[], $9::boolean[], $10::smallint[], $11::smallint[], $12::int[],
                         $13::timestamptz[])
         with ordinality
         as i(lane, webhook, event, generation, token, company, created_at, vis_at, retry, ending, reason, ban_episode,
              at, n)
), gone as (
    delete from deliveries d using item i
    where i.vis_at is null and d.lane = i.lane and d.webhook = i.webhook and d.event = i.event
      and d.generation = i.generation and d.token = i.token
    returning i.n
), moved as (
    update deliveries as d
    set vis_at = i.vis_at, owner = null, token = d.token + 1,
        number = case when i.retry then d.number + 1 else d.number end,
        due_at = case when i.retry then i.vis_at else d.due_at end
    from item i
    where i.vis_at is not null and d.lane = i.lane and d.webhook = i.webhook and d.event = i.event
      and d.generation = i.generation and d.token = i.token
    returning i.n
), won as (
    select n from gone union all select n from moved
), tried as (
    insert into attempts as a (lane, webhook, event, generation, company, created_at, number, started_at, ended_at,
                               duration_us, dns_us, connect_us, first_byte_us, url, auth_sent, status, error_class,
                               error_message, response_headers, response_body, response_truncated, ending)
    select i.lane, i.webhook, i.event, i.generation, i.company, i.created_at, t.number, t.started_at, t.ended_at,
           t.duration_us, t.dns_us, t.connect_us, t.first_byte_us, t.url, t.auth_sent, t.status, t.error_class,
           t.error_message, t.response_headers, t.response_body, t.response_truncated,
           case when i.ending in (1, 2) then i.ending end
    from unnest($14::bigint[], $15::smallint[], $16::timestamptz[], $17::timestamptz[], $18::int[], $19::int[],
                $20::int[], $21::int[], $22::text[], $23::boolean[], $24::smallint[], $25::smallint[], $26::text[],
                $27::text[], $28::text[], $29::boolean[])
         as t(n, number, started_at, ended_at, duration_us, dns_us, connect_us, first_byte_us, url, auth_sent, status,
              error_class, error_message, response_headers, response_body, response_truncated)
    join won using (n) join item i using (n)
), dropped as (
    insert into outcomes as o (lane, webhook, event, generation, company, created_at, at, status, reason, ban_episode)
    select i.lane, i.webhook, i.event, i.generation, i.company, i.created_at, i.at, i.ending, i.reason, i.ban_episode
    from item i join won using (n) where i.ending in (3, 4)
), tallied as (
    insert into tallies as t (lane, node, accepted, succeeded, failed, lost, cancelled)
    select i.lane, $30, 0, count(*) filter (where i.ending = 1), count(*) filter (where i.ending = 2),
           count(*) filter (where i.ending = 3), count(*) filter (where i.ending = 4)
    from item i join won using (n) where i.ending is not null group by i.lane
), recovering as (
    select i.n from item i join webhook_health h on h.lane = i.lane and h.webhook = i.webhook
    where i.ending = 1 and (h.failing_since is not null or $31 and h.ban_counter > 0)
)
select w.n, r.n is not null as to_recover from won w left join recovering r using (n)";

#[derive(diesel::QueryableByName)]
struct WonRow {
    #[diesel(sql_type = BigInt)]
    n: i64,
    #[diesel(sql_type = Bool)]
    to_recover: bool,
}

/// Writes the batch and returns which settlements were written.
///
/// With `counter_recovers` (the setting of B3) a success may also reset a ban counter, in addition to ending a window.
pub async fn batch(
    conn: &mut Conn,
    batch: &[Settlement],
    node: NodeId,
    counter_recovers: bool,
) -> Result<Settled, StoreError> {
    let items = Items::of(batch);
    let tries = Tries::of(batch);
    let rows: Vec<WonRow> = statement(SETTLE)
        .bind::<Array<Integer>, _>(&items.lanes)
        .bind::<Array<SqlUuid>, _>(&items.webhooks)
        .bind::<Array<SqlUuid>, _>(&items.events)
        .bind::<Array<Integer>, _>(&items.generations)
        .bind::<Array<BigInt>, _>(&items.tokens)
        .bind::<Array<BigInt>, _>(&items.companies)
        .bind::<super::sql::Ats, _>(&items.created)
        .bind::<Array<super::sql::MaybeAt>, _>(&items.visible)
        .bind::<Array<Bool>, _>(&items.retries)
        .bind::<Array<Nullable<SmallInt>>, _>(&items.endings)
        .bind::<Array<Nullable<SmallInt>>, _>(&items.reasons)
        .bind::<Array<Nullable<Integer>>, _>(&items.episodes)
        .bind::<Array<super::sql::MaybeAt>, _>(&items.at)
        .bind::<Array<BigInt>, _>(&tries.ordinals)
        .bind::<Array<SmallInt>, _>(&tries.numbers)
        .bind::<super::sql::Ats, _>(&tries.started)
        .bind::<super::sql::Ats, _>(&tries.ended)
        .bind::<Array<Integer>, _>(&tries.durations)
        .bind::<Array<Nullable<Integer>>, _>(&tries.dns)
        .bind::<Array<Nullable<Integer>>, _>(&tries.connect)
        .bind::<Array<Nullable<Integer>>, _>(&tries.first_byte)
        .bind::<Array<Text>, _>(&tries.urls)
        .bind::<Array<Bool>, _>(&tries.auth_sent)
        .bind::<Array<Nullable<SmallInt>>, _>(&tries.statuses)
        .bind::<Array<Nullable<SmallInt>>, _>(&tries.classes)
        .bind::<Array<Nullable<Text>>, _>(&tries.messages)
        .bind::<Array<Text>, _>(&tries.headers)
        .bind::<Array<Nullable<Text>>, _>(&tries.bodies)
        .bind::<Array<Bool>, _>(&tries.truncated)
        .bind::<BigInt, _>(node.0)
        .bind::<Bool, _>(counter_recovers)
        .load(conn)
        .await?;
    let mut settled = Settled::default();
    for row in rows {
        let index = usize::try_from(row.n - 1).unwrap_or(usize::MAX);
        let Some(settlement) = batch.get(index) else {
            continue;
        };
        settled.won.push(index);
        if row.to_recover {
            settled
                .to_recover
                .push((settlement.key.lane, settlement.key.webhook));
        }
    }
    settled.won.sort_unstable();
    settled.to_recover.sort_unstable();
    settled.to_recover.dedup();
    Ok(settled)
}

/// The settlements, as one array per column.
#[derive(Default)]
struct Items {
    lanes: Vec<i32>,
    webhooks: Vec<Uuid>,
    events: Vec<Uuid>,
    generations: Vec<i32>,
    tokens: Vec<i64>,
    companies: Vec<i64>,
    created: Vec<Time>,
    visible: Vec<Option<Time>>,
    retries: Vec<bool>,
    endings: Vec<Option<i16>>,
    reasons: Vec<Option<i16>>,
    episodes: Vec<Option<i32>>,
    at: Vec<Option<Time>>,
}

impl Items {
    fn of(batch: &[Settlement]) -> Self {
        let mut items = Self::default();
        for settlement in batch {
            items.lanes.push(settlement.key.lane.0);
            items.webhooks.push(settlement.key.webhook.0);
            items.events.push(settlement.key.event.0);
            items.generations.push(settlement.key.generation);
            items.tokens.push(settlement.token);
            items.companies.push(settlement.company.get());
            items.created.push(time(settlement.created_at));
            let (visible, ending, reason, episode, at) = match settlement.then {
                Then::End(status) => (None, Some(status.code()), None, None, None),
                Then::Drop {
                    status,
                    reason,
                    ban_episode,
                    at,
                } => (
                    None,
                    Some(status.code()),
                    Some(reason.code()),
                    ban_episode,
                    Some(at),
                ),
                Then::Retry(at) | Then::Release(at) => (Some(at), None, None, None, None),
            };
            items.visible.push(maybe_time(visible));
            items.retries.push(matches!(settlement.then, Then::Retry(_)));
            items.endings.push(ending);
            items.reasons.push(reason);
            items.episodes.push(episode);
            items.at.push(maybe_time(at));
        }
        items
    }
}

/// Their attempts, as one array per column; `ordinals` has the index of each attempt's settlement.
#[derive(Default)]
struct Tries<'a> {
    ordinals: Vec<i64>,
    numbers: Vec<i16>,
    started: Vec<Time>,
    ended: Vec<Time>,
    durations: Vec<i32>,
    dns: Vec<Option<i32>>,
    connect: Vec<Option<i32>>,
    first_byte: Vec<Option<i32>>,
    urls: Vec<&'a str>,
    auth_sent: Vec<bool>,
    statuses: Vec<Option<i16>>,
    classes: Vec<Option<i16>>,
    messages: Vec<Option<String>>,
    headers: Vec<String>,
    bodies: Vec<Option<String>>,
    truncated: Vec<bool>,
}

impl<'a> Tries<'a> {
    fn of(batch: &'a [Settlement]) -> Self {
        let mut tries = Self::default();
        for (ordinal, settlement) in (1..).zip(batch) {
            let Some(attempt) = settlement.attempt.as_deref() else {
                continue;
            };
            let outcome = &attempt.outcome;
            tries.ordinals.push(ordinal);
            tries.numbers.push(attempt.number.into());
            tries.started.push(time(attempt.started_at));
            tries.ended.push(time(attempt.ended_at));
            tries.durations.push(attempt.duration_us);
            tries.dns.push(outcome.timings.dns_us);
            tries.connect.push(outcome.timings.connect_us);
            tries.first_byte.push(outcome.timings.first_byte_us);
            tries.urls.push(&attempt.url);
            tries.auth_sent.push(attempt.auth_sent);
            tries
                .statuses
                .push(outcome.status.and_then(|status| i16::try_from(status).ok()));
            tries.classes.push(outcome.error_class.map(|class| class.code()));
            tries
                .messages
                .push(outcome.error_message.as_deref().map(without_nul));
            tries
                .headers
                .push(without_nul(&headers_text(&outcome.response_headers)));
            tries
                .bodies
                .push(outcome.response_body.as_deref().map(without_nul));
            tries.truncated.push(outcome.response_truncated);
        }
        tries
    }
}

/// A JSON array of `[name, value]` pairs, which keeps order and repetition.
fn headers_text(headers: &[(String, String)]) -> String {
    serde_json::to_string(headers).unwrap_or_else(|_| "[]".to_owned())
}

/// Postgres cannot store NUL in a text, but a receiver may send it.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
