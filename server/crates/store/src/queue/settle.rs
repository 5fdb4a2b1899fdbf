//! Settling: writes the results of workers in one statement, fenced by the token of the lease.
//!
//! Guarantees: only results of deliveries whose lease is still valid are written. The queue row is deleted or updated
//! together with the attempt, the outcome and the tally, or nothing is written (D6, D7). Settling the same batch twice
//! changes nothing the second time. [`crate::health`] is written in the same transaction.

use diesel::sql_types::{BigInt, Bool};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;
use uuid::Uuid;

use crate::sql::unnest::{Arrays, sql_text, unnest};
use crate::sql::{Time, maybe_time, statement, time};
use crate::{Conn, StoreError};
use tenterhook_model::attempt::Attempt;
use tenterhook_model::delivery::{DeliveryReason, DeliveryStatus};
use tenterhook_model::ids::{CompanyId, DeliveryKey, NodeId, WebhookKey};

/// What happens to a delivery when its worker is done with it.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// The attempt ended it: succeeded or failed.
    Finish(DeliveryStatus),
    /// It ended without a final attempt: lost or cancelled.
    Discard {
        /// `Lost` or `Cancelled`.
        status: DeliveryStatus,
        /// Why it ended without success.
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
    pub action: Action,
}

/// The result of a batch.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Indexes of the settlements that were written. For all others the lease was lost and nothing was written.
    pub won: Vec<usize>,
    /// Webhooks with successes in the batch whose health row has a window or counter that a success may end.
    pub to_recover: Vec<WebhookKey>,
}

unnest! {
    from 1;
    /// A settlement. The first five columns identify the delivery; a null `vis_at` deletes it.
    struct ItemRow in Items {
        lane: i32,
        webhook: Uuid,
        event: Uuid,
        generation: i32,
        token: i64,
        company: i64,
        created_at: Time,
        vis_at: Option<Time>,
        retry: bool,
        ending: Option<i16>,
        reason: Option<i16>,
        ban_episode: Option<i32>,
        at: Option<Time>,
    }
}

unnest! {
    from 1 + Items::COUNT;
    /// The attempt of settlement `n`, counted from 1.
    struct TryRow<'a> in Tries {
        n: i64,
        number: i16,
        started_at: Time,
        ended_at: Time,
        duration_us: i32,
        dns_us: Option<i32>,
        connect_us: Option<i32>,
        first_byte_us: Option<i32>,
        url: &'a str,
        auth_sent: bool,
        status: Option<i16>,
        error_class: Option<i16>,
        error_message: Option<String>,
        response_headers: String,
        response_body: Option<String>,
        response_truncated: bool,
    }
}

const SETTLE: &str = sql_text!(
    "\
with item as materialized (
    select * from unnest(",
    Items::ARRAYS,
    ") with ordinality as i(",
    Items::NAMES,
    ", n)
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
    from unnest(",
    Tries::ARRAYS,
    ") as t(",
    Tries::NAMES,
    ")
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
select w.n, r.n is not null as to_recover from won w left join recovering r using (n)"
);

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
    let items = Items::of(batch.iter().map(ItemRow::new));
    let tries = (1..).zip(batch).filter_map(|(n, settlement)| {
        let attempt = settlement.attempt.as_deref()?;
        Some(TryRow::new(n, attempt))
    });
    let rows: Vec<WonRow> = statement(SETTLE)
        .arrays(&items)
        .arrays(&Tries::of(tries))
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

impl ItemRow {
    fn new(settlement: &Settlement) -> Self {
        let (vis_at, ending, reason, ban_episode, at) = match settlement.action {
            Action::Finish(status) => (None, Some(status.code()), None, None, None),
            Action::Discard {
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
            Action::Retry(at) | Action::Release(at) => (Some(at), None, None, None, None),
        };
        Self {
            lane: settlement.key.lane.0,
            webhook: settlement.key.webhook.0,
            event: settlement.key.event.0,
            generation: settlement.key.generation,
            token: settlement.token,
            company: settlement.company.get(),
            created_at: time(settlement.created_at),
            vis_at: maybe_time(vis_at),
            retry: matches!(settlement.action, Action::Retry(_)),
            ending,
            reason,
            ban_episode,
            at: maybe_time(at),
        }
    }
}

impl<'a> TryRow<'a> {
    fn new(n: i64, attempt: &'a Attempt) -> Self {
        let outcome = &attempt.outcome;
        Self {
            n,
            number: attempt.number.into(),
            started_at: time(attempt.started_at),
            ended_at: time(attempt.ended_at),
            duration_us: attempt.duration_us,
            dns_us: outcome.timings.dns_us,
            connect_us: outcome.timings.connect_us,
            first_byte_us: outcome.timings.first_byte_us,
            url: &attempt.url,
            auth_sent: attempt.auth_sent,
            status: outcome.status.and_then(|status| i16::try_from(status).ok()),
            error_class: outcome.error_class.map(|class| class.code()),
            error_message: outcome.error_message.as_deref().map(without_nul),
            response_headers: without_nul(&headers_text(&outcome.response_headers)),
            response_body: outcome.response_body.as_deref().map(without_nul),
            response_truncated: outcome.response_truncated,
        }
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
