//! The queues of notices for the platform's own endpoint (R4). [`super::health`] appends to them, in the transaction that
//! writes the notice.
//!
//! Guarantees: only the oldest notice of each webhook is claimed, by one process at a time under a lease. A settlement
//! advances a queue only while the token of its lease is valid, so writing it twice advances the queue once. Not guaranteed:
//! that a notice is claimed only once. When a lease ends, the notice can be claimed again.

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Integer, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;
use uuid::Uuid;

use super::notices::NoticeRow;
use super::sql::unnest::{Arrays, WebhookKeys, sql_text, unnest};
use super::sql::{At, MaybeAt, Rows, Time, maybe_time, maybe_timestamp, statement, time};
use super::webhooks::row::{WebhookRow, webhook_columns};
use super::{Conn, StoreError};
use tenterhook_model::ids::{Lane, NoticeId, WebhookId, WebhookKey};
use tenterhook_model::notice::Notice;
use tenterhook_model::webhook::Webhook;

/// Skips queues that another claimer has locked: they would be leased before a claim here.
const DUE: &str = "\
select lane, webhook from notice_queues where vis_at <= $1 order by vis_at limit $2 for update skip locked";

/// A second claimer skips queues that the first has locked.
const CLAIM: &str = concat!(
    "\
with picked as (
    select q.lane, q.webhook from unnest($1::int[], $2::uuid[]) as k(lane, webhook)
    join notice_queues q on q.lane = k.lane and q.webhook = k.webhook
    where q.vis_at <= $3 for update of q skip locked
), taken as (
    update notice_queues as q set vis_at = $4, token = q.token + 1
    from picked p where q.lane = p.lane and q.webhook = p.webhook
    returning q.lane, q.webhook, q.notices[1] as head, q.attempts, q.token
)
select t.attempts, t.token, n.lane, n.id, n.company, n.webhook, n.kind, n.episode, n.at, n.data, ",
    webhook_columns!(),
    "
from taken t
join notices n on n.lane = t.lane and n.id = t.head
join webhooks w on w.lane = n.lane and w.id = n.webhook"
);

unnest! {
    from 1;
    /// The result of a claimed notice.
    struct SettlementRow in Settlements {
        lane: i32,
        webhook: Uuid,
        token: i64,
        again_at: Option<Time>,
    }
}

/// Locked in key order, as [`super::health`] appends to them. The token grows when the queue advances, so that writing the
/// same settlement again has no effect.
const SETTLE: &str = sql_text!(
    "\
with item as (
    select * from unnest(",
    Settlements::ARRAYS,
    ") as i(",
    Settlements::NAMES,
    ")
), locked as (
    select q.lane, q.webhook, i.again_at from item i
    join notice_queues q on q.lane = i.lane and q.webhook = i.webhook and q.token = i.token
    order by q.lane, q.webhook for update of q
)
update notice_queues as q
set notices = case when l.again_at is null then q.notices[2:] else q.notices end,
    attempts = case when l.again_at is null then 0 else q.attempts + 1 end,
    vis_at = case when l.again_at is not null then l.again_at when cardinality(q.notices) > 1 then $5 end,
    token = q.token + 1
from locked l where q.lane = l.lane and q.webhook = l.webhook"
);

const NEXT: &str = "select min(vis_at) as at from notice_queues where vis_at > $1";

const WAITING: &str = "\
select coalesce(sum(cardinality(notices)), 0)::bigint as count from notice_queues where vis_at is not null";

/// A notice that a process has leased.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    /// The oldest notice of its queue.
    pub notice: Notice,
    /// Its webhook, as it is now.
    pub webhook: Webhook,
    /// The number of failed attempts of the notice.
    pub attempts: u32,
    /// The token of the lease.
    pub token: i64,
}

/// The head of a queue that a process has leased but cannot read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The webhook whose queue it is.
    pub webhook: WebhookKey,
    /// The id of the notice.
    pub notice: NoticeId,
    /// When its transition happened.
    pub at: Timestamp,
    /// The number of failed attempts of the notice.
    pub attempts: u32,
    /// The token of the lease.
    pub token: i64,
}

/// The result of a claimed notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settlement {
    /// The webhook whose queue has it at its head.
    pub webhook: WebhookKey,
    /// The token of the lease under which it was claimed.
    pub token: i64,
    /// When it is tried again. `None` removes it, and the next notice is due.
    pub again_at: Option<Timestamp>,
}

#[derive(QueryableByName)]
struct ClaimedRow {
    #[diesel(sql_type = Integer)]
    attempts: i32,
    #[diesel(sql_type = BigInt)]
    token: i64,
    #[diesel(embed)]
    notice: NoticeRow,
    #[diesel(embed)]
    webhook: WebhookRow,
}

#[derive(QueryableByName)]
struct DueRow {
    #[diesel(sql_type = Integer)]
    lane: i32,
    #[diesel(sql_type = SqlUuid)]
    webhook: Uuid,
}

#[derive(QueryableByName)]
struct NextRow {
    #[diesel(sql_type = MaybeAt)]
    at: Option<Time>,
}

#[derive(QueryableByName)]
struct CountRow {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

impl ClaimedRow {
    fn head(&self) -> Head {
        let (webhook, notice, at) = self.notice.key();
        Head {
            webhook,
            notice,
            at,
            attempts: u32::try_from(self.attempts).unwrap_or(0),
            token: self.token,
        }
    }

    fn read(self, head: &Head) -> Result<Claimed, StoreError> {
        Ok(Claimed {
            notice: self.notice.try_into()?,
            webhook: self.webhook.try_into()?,
            attempts: head.attempts,
            token: head.token,
        })
    }
}

/// The webhooks of up to `limit` queues that are due at `now` and not locked, those due longest first.
pub async fn due(conn: &mut Conn, now: Timestamp, limit: i64) -> Result<Vec<WebhookKey>, StoreError> {
    let rows: Vec<DueRow> = statement(DUE)
        .bind::<At, _>(time(now))
        .bind::<BigInt, _>(limit)
        .load(conn)
        .await?;
    let key = |row: DueRow| (Lane(row.lane), WebhookId(row.webhook));
    Ok(rows.into_iter().map(key).collect())
}

/// Claims the heads of these webhooks' queues that are due at `now`, until `lease_until`.
pub async fn claim(
    conn: &mut Conn,
    webhooks: &[WebhookKey],
    now: Timestamp,
    lease_until: Timestamp,
) -> Result<Rows<Claimed, Head>, StoreError> {
    let rows: Vec<ClaimedRow> = statement(CLAIM)
        .arrays(&WebhookKeys::new(webhooks))
        .bind::<At, _>(time(now))
        .bind::<At, _>(time(lease_until))
        .load(conn)
        .await?;
    let read = |row: ClaimedRow| {
        let head = row.head();
        (head, row.read(&head))
    };
    Ok(rows.into_iter().map(read).collect())
}

/// Advances the queues whose lease is still valid; returns how many.
pub async fn settle(conn: &mut Conn, batch: &[Settlement], now: Timestamp) -> Result<usize, StoreError> {
    let settlements = batch.iter().map(|settlement| SettlementRow {
        lane: settlement.webhook.0.0,
        webhook: settlement.webhook.1.0,
        token: settlement.token,
        again_at: maybe_time(settlement.again_at),
    });
    Ok(statement(SETTLE)
        .arrays(&Settlements::of(settlements))
        .bind::<At, _>(time(now))
        .execute(conn)
        .await?)
}

/// The next time after `now` at which a queue is due or its lease ends.
pub async fn next_due(conn: &mut Conn, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    let next = statement(NEXT).bind::<At, _>(time(now));
    Ok(maybe_timestamp(next.get_result::<NextRow>(conn).await?.at))
}

/// The number of notices in the queues.
pub async fn waiting(conn: &mut Conn) -> Result<i64, StoreError> {
    Ok(statement(WAITING).get_result::<CountRow>(conn).await?.count)
}
