//! Webhook health: rows are locked here, judged by [`tenterhook_policy::health`], and written back with their notices.
//!
//! Guarantees: rows are always locked in id order, so that batches never deadlock. A transition, its notice and its row in
//! the changes feed are written together or not at all (R4).

pub mod history;
pub(crate) mod row;
mod transitions;

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool, Integer, SmallInt, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;
use uuid::Uuid;

use self::row::{HealthRow, health_columns};
pub use self::transitions::{due, failing, last_successes, next_due};
use super::sql::unnest::{Arrays, WebhookKeys, sql_text, unnest};
use super::sql::{MaybeAt, Rows, Time, maybe_time, statement, time, unknown};
use super::webhooks::row::{StateRow, Unread, state_columns};
use super::{Conn, StoreError};
use tenterhook_model::health::Health;
use tenterhook_model::ids::{CompanyId, Lane, WebhookId, WebhookKey};
use tenterhook_model::notice::Notice;
use tenterhook_model::webhook::{RemoveReason, Webhook};

const READ: &str = concat!(
    "select ",
    state_columns!(),
    " from unnest($1::int[], $2::uuid[]) as k(lane, id)
      join webhooks w on w.lane = k.lane and w.id = k.id
      join webhook_health h on h.lane = w.lane and h.webhook = w.id"
);

/// In the order of the arrays. Ordered by the columns of the rows, connections that avoid sorting would read the whole
/// table.
const LOCK: &str = "\
select h.lane, h.webhook as id from unnest($1::int[], $2::uuid[]) with ordinality as k(lane, id, n)
join webhook_health h on h.lane = k.lane and h.webhook = k.id
order by k.n for update of h";

/// A separate statement, on purpose. A statement that has waited for a lock sees the locked row as it is now, but joined
/// rows as they were before the wait. A result would be judged as if its webhook had not been paused or removed during the
/// wait.
const LOCKED: &str = concat!(
    "select h.lane, h.webhook, w.company, w.paused_at is not null as paused, w.removed_at is not null as removed, ",
    health_columns!(),
    " from unnest($1::int[], $2::uuid[]) with ordinality as k(lane, id, n)
      join webhook_health h on h.lane = k.lane and h.webhook = k.id
      join webhooks w on w.lane = h.lane and w.id = h.webhook
      order by k.n"
);

unnest! {
    from 1;
    /// A health row to write back.
    struct WrittenRow in Written {
        lane: i32,
        webhook: Uuid,
        ban_counter: i32,
        ban_episode: i32,
        ban_started_at: Option<Time>,
        banned_until: Option<Time>,
        ban_open: bool,
        failing_since: Option<Time>,
        window_episode: i32,
        warnings_given: i16,
        window_floor: Option<Time>,
        next_at: Option<Time>,
        last_counted_at: Option<Time>,
        last_paused_at: Option<Time>,
        last_resumed_at: Option<Time>,
    }
}

unnest! {
    from 1;
    /// A notice, under the names of its table.
    struct NoticeRow<'a> in Notices {
        lane: i32,
        id: Uuid,
        company: i64,
        webhook: Uuid,
        kind: i16,
        episode: i32,
        at: Time,
        data: &'a str,
    }
}

unnest! {
    from 1;
    /// A webhook to mark as removed, and since when.
    struct RemovalRow in Removals {
        lane: i32,
        id: Uuid,
        at: Time,
    }
}

const WRITE: &str = sql_text!(
    "\
update webhook_health as h
set ban_counter = u.ban_counter, ban_episode = u.ban_episode, ban_started_at = u.ban_started_at,
    banned_until = u.banned_until, ban_open = u.ban_open, failing_since = u.failing_since,
    window_episode = u.window_episode, warnings_given = u.warnings_given, window_floor = u.window_floor,
    next_transition_at = u.next_at, last_counted_at = u.last_counted_at, last_paused_at = u.last_paused_at,
    last_resumed_at = u.last_resumed_at
from unnest(",
    Written::ARRAYS,
    ") as u(",
    Written::NAMES,
    ")
where h.lane = u.lane and h.webhook = u.webhook"
);

/// A notice that already exists was written for this same transition. `$9` is null if there is no endpoint for notices. A
/// queue that is already in progress keeps its time.
///
/// A recovery is not queued behind `$10` notices. A receiver that fails now and then recovers each time, and each append
/// rewrites the whole queue: while the endpoint is not available, settling would become slower with every recovery.
const NOTICES: &str = sql_text!(
    "\
with written as (
    insert into notices as n (",
    Notices::NAMES,
    ")
    select * from unnest(",
    Notices::ARRAYS,
    ")
    on conflict (lane, webhook, kind, episode) do nothing
    returning n.lane, n.webhook, n.id, n.kind
), owed as (
    select w.lane, w.webhook, w.id from written w
    left join notice_queues f on f.lane = w.lane and f.webhook = w.webhook
    where w.kind <> 7 or coalesce(cardinality(f.notices), 0) < $10
)
insert into notice_queues as q (lane, webhook, notices, attempts, vis_at, token)
select lane, webhook, array_agg(id order by id), 0, $9::timestamptz, 0 from owed where $9::timestamptz is not null
group by lane, webhook order by lane, webhook
on conflict (lane, webhook) do update
set notices = q.notices || excluded.notices, vis_at = coalesce(q.vis_at, excluded.vis_at)"
);

const REMOVE: &str = sql_text!(
    "\
update webhooks as w set removed_at = u.at, remove_reason = $4, updated_at = greatest(w.updated_at, u.at)
from unnest(",
    Removals::ARRAYS,
    ") as u(",
    Removals::NAMES,
    ")
where w.lane = u.lane and w.id = u.id and w.removed_at is null
returning w.lane, w.id as webhook"
);

#[derive(QueryableByName)]
struct LockedRow {
    #[diesel(sql_type = Integer)]
    lane: i32,
    #[diesel(sql_type = SqlUuid)]
    webhook: Uuid,
    #[diesel(sql_type = BigInt)]
    company: i64,
    #[diesel(sql_type = Bool)]
    paused: bool,
    #[diesel(sql_type = Bool)]
    removed: bool,
    #[diesel(embed)]
    health: HealthRow,
}

#[derive(QueryableByName)]
struct MovedRow {
    #[diesel(sql_type = Integer)]
    lane: i32,
    #[diesel(sql_type = SqlUuid)]
    webhook: Uuid,
}

/// A locked health row.
#[derive(Debug, Clone, PartialEq)]
pub struct Locked {
    /// The lane of its company.
    pub lane: Lane,
    /// The webhook that it is about.
    pub webhook: WebhookId,
    /// The tenant.
    pub company: CompanyId,
    /// The content of the row.
    pub health: Health,
}

/// The webhooks with their health, as committed; missing webhooks are left out. If one cannot be read, all fail.
pub async fn read(conn: &mut Conn, webhooks: &[WebhookKey]) -> Result<Vec<(Webhook, Health)>, StoreError> {
    let rows = read_each(conn, webhooks).await?;
    match rows.bad.into_iter().next() {
        Some((_, error)) => Err(error),
        None => Ok(rows.good),
    }
}

/// Like [`read`], but returns all others together with those that cannot be read.
pub async fn read_each(
    conn: &mut Conn,
    webhooks: &[WebhookKey],
) -> Result<Rows<(Webhook, Health), Unread>, StoreError> {
    let rows: Vec<StateRow> = statement(READ)
        .arrays(&WebhookKeys::new(webhooks))
        .load(conn)
        .await?;
    let rows = rows.into_iter();
    Ok(rows.map(|row| (row.unread(), row.into_state())).collect())
}

/// Locks the health rows of these webhooks, in id order, until the transaction ends.
pub async fn lock_in_tx(conn: &mut Conn, webhooks: &[WebhookKey]) -> Result<Vec<Locked>, StoreError> {
    let mut webhooks = webhooks.to_vec();
    webhooks.sort_unstable();
    let keys = WebhookKeys::new(&webhooks);
    statement(LOCK).arrays(&keys).execute(conn).await?;
    let rows: Vec<LockedRow> = statement(LOCKED).arrays(&keys).load(conn).await?;
    rows.into_iter()
        .map(|row| {
            Ok(Locked {
                lane: Lane(row.lane),
                webhook: WebhookId(row.webhook),
                company: CompanyId::new(row.company)
                    .map_err(|_| unknown("webhooks", "company", row.company))?,
                health: row.health.into_health(row.paused, row.removed),
            })
        })
        .collect()
}

/// Writes the rows back, each with the time of its next transition by time.
pub async fn write_in_tx(conn: &mut Conn, rows: &[(Locked, Option<Timestamp>)]) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let rows = rows.iter().map(|(row, next)| WrittenRow {
        lane: row.lane.0,
        webhook: row.webhook.0,
        ban_counter: row.health.ban_counter,
        ban_episode: row.health.ban_episode,
        ban_started_at: maybe_time(row.health.ban_started_at),
        banned_until: maybe_time(row.health.banned_until),
        ban_open: row.health.ban_open,
        failing_since: maybe_time(row.health.failing_since),
        window_episode: row.health.window_episode,
        warnings_given: row.health.warnings_given,
        window_floor: maybe_time(row.health.window_floor),
        next_at: maybe_time(*next),
        last_counted_at: maybe_time(row.health.last_counted_at),
        last_paused_at: maybe_time(row.health.last_pause.map(|(paused_at, _)| paused_at)),
        last_resumed_at: maybe_time(row.health.last_pause.map(|(_, resumed_at)| resumed_at)),
    });
    statement(WRITE).arrays(&Written::of(rows)).execute(conn).await?;
    Ok(())
}

/// The most notices of a webhook that wait for the platform's endpoint before recoveries are no longer queued.
pub const RECOVERIES_WAIT_BEHIND: i32 = 1_000;

/// Writes the notices of the transaction's transitions, each once. With `owed_from`, also queues them for the platform's
/// endpoint, due from that time on; a recovery only if fewer than [`RECOVERIES_WAIT_BEHIND`] notices of its webhook wait.
/// Returns whether any notice was queued that was not written before.
pub async fn notify_in_tx(
    conn: &mut Conn,
    notices: &[Notice],
    owed_from: Option<Timestamp>,
) -> Result<bool, StoreError> {
    if notices.is_empty() {
        return Ok(false);
    }
    let notices = notices.iter().map(|notice| NoticeRow {
        lane: notice.lane.0,
        id: notice.id.0,
        company: notice.company.get(),
        webhook: notice.webhook.0,
        kind: notice.kind.code(),
        episode: notice.episode,
        at: time(notice.at),
        data: &notice.data,
    });
    let queues = statement(NOTICES)
        .arrays(&Notices::of(notices))
        .bind::<MaybeAt, _>(maybe_time(owed_from))
        .bind::<Integer, _>(RECOVERIES_WAIT_BEHIND)
        .execute(conn)
        .await?;
    Ok(queues > 0)
}

/// Marks webhooks as removed, each at its time, and returns those that it marked. A webhook that is already removed keeps
/// its time.
pub async fn remove_in_tx(
    conn: &mut Conn,
    webhooks: &[(Lane, WebhookId, Timestamp)],
    reason: RemoveReason,
) -> Result<Vec<WebhookKey>, StoreError> {
    if webhooks.is_empty() {
        return Ok(Vec::new());
    }
    let removals = webhooks.iter().map(|(lane, webhook, at)| RemovalRow {
        lane: lane.0,
        id: webhook.0,
        at: time(*at),
    });
    let rows: Vec<MovedRow> = statement(REMOVE)
        .arrays(&Removals::of(removals))
        .bind::<SmallInt, _>(reason.code())
        .load(conn)
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| (Lane(row.lane), WebhookId(row.webhook)))
        .collect())
}
