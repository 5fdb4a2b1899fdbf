//! Publishing: stores events and their deliveries in one statement. Deliveries are already leased to the publishing process.
//!
//! Guarantees: an event and all its deliveries are stored together (E3). The data committed when the statement runs decides
//! which webhooks get the event (E2). Deliveries for a banned or paused webhook are recorded as lost instead of queued (B4,
//! W13). Idempotency keys are not checked here: [`crate::idempotency`] does that, in the same transaction.
//!
//! Publications that need no transaction are stored by [`insert`], in one round trip instead of three.

use diesel::sql_types::{Array, BigInt, Bool, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;
use uuid::Uuid;

use crate::sql::unnest::{Arrays, sql_text, unnest};
use crate::sql::{At, Time, maybe_time, statement, time, unknown};
use crate::{Conn, StoreError};
use tenterhook_model::event::{Event, Merge};
use tenterhook_model::ids::{DeliveryKey, NodeId, UserId, WebhookId};
use tenterhook_model::webhook::EventAction;

/// The maximum of deliveries that one statement creates; a larger fan-out continues in the next statement of the
/// transaction.
pub const ROWS_PER_STATEMENT: i64 = 5_000;

/// An event and the action that subscribers of each version see; `None` if that version's catalogue does not have the object
/// (W9).
#[derive(Debug, Clone)]
pub struct Publication<'a> {
    /// The event to store.
    pub event: &'a Event,
    /// The action that version 1 sees.
    pub seen_by_v1: Option<EventAction>,
    /// The action that version 2 sees.
    pub seen_by_v2: Option<EventAction>,
}

/// How many deliveries the publishing process can take. The others are stored without a lease, for any process to claim.
#[derive(Debug, Clone)]
pub struct Room<'a> {
    /// The publishing process.
    pub node: NodeId,
    /// When the leases end.
    pub lease_until: Timestamp,
    /// Rows in total.
    pub total: i64,
    /// Rows per webhook.
    pub per_webhook: i64,
    /// Webhooks without any room.
    pub full: &'a [WebhookId],
}

impl<'a> Room<'a> {
    /// The remaining room after `leased` rows of `events` events: each event may have used one row of every webhook.
    pub fn after(&self, leased: usize, events: usize) -> Room<'a> {
        let less = |room: i64, by: usize| room.saturating_sub(i64::try_from(by).unwrap_or(i64::MAX)).max(0);
        Room {
            total: less(self.total, leased),
            per_webhook: less(self.per_webhook, events),
            ..*self
        }
    }
}

/// What happened to a delivery at publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitialState {
    /// Leased to the publishing process with token 1.
    Leased,
    /// Stored for any process to claim.
    Queued,
    /// Recorded as lost.
    Lost,
}

/// A delivery that was created.
#[derive(Debug, Clone, Copy)]
pub struct NewDelivery {
    /// Index of its event among the publications.
    pub event: usize,
    /// Its key.
    pub key: DeliveryKey,
    /// What happened to it.
    pub state: InitialState,
}

unnest! {
    from 1;
    /// An event to store, and the action that each version sees. `permitted` is the text of an array, because `unnest` cannot
    /// take arrays of different lengths.
    struct DraftRow<'a> in Drafts {
        lane: i32,
        id: Uuid,
        accepted_at: Time,
        company: i64,
        action: i16,
        object: &'a str,
        object_id: String,
        user_id: i64,
        data: Option<&'a str>,
        previous: Option<&'a str>,
        permitted: Option<String>,
        change_source: i16,
        is_bulk_edit: bool,
        merged_from: Option<String>,
        merged_to: Option<String>,
        correlation_id: &'a str,
        host: Option<&'a str>,
        occurred_at: Option<Time>,
        v1: Option<i16>,
        v2: Option<i16>,
    }
}

/// `offset 0` keeps the planner from reversing the joins: from each event to its company's webhooks, and from each of these
/// to its health. With old statistics, or without any, it would rather read all webhooks once.
///
/// With `$31` (`by_itself`): all matching rows; or, if there are `$25` or more, nothing but a row with `n = 0`. Otherwise in
/// pages: events are inserted only with the first page. Pages are ordered by (event, webhook), so that a company with very
/// many webhooks is written in statements of limited size. The target tables have aliases because otherwise Citus loses
/// their names in `RETURNING`.
const PUBLISH: &str = sql_text!(
    "\
with draft as materialized (
    select n, lane, id, accepted_at, company, action, object, object_id, user_id, data, previous,
           permitted::bigint[] as permitted, change_source, is_bulk_edit, merged_from, merged_to, correlation_id, host,
           occurred_at, v1, v2
    from unnest(",
    Drafts::ARRAYS,
    ") with ordinality as d(",
    Drafts::NAMES,
    ", n)
), matched as (
    select d.n, d.lane, d.id as event, d.company, d.accepted_at, w.id as webhook,
           case when w.paused_at is not null then 3::smallint
                when h.banned_until > $22 then 2::smallint end as lost,
           h.ban_episode, greatest($22, h.ban_started_at) as lost_at
    from draft d
    cross join lateral (
        select w.id, w.paused_at from webhooks w
        where w.lane = d.lane and w.company = d.company and w.removed_at is null
          and case w.version when 1 then d.v1 else d.v2 end is not null
          and w.action in (0, case w.version when 1 then d.v1 else d.v2 end)
          and w.object in ('*', d.object)
          and (d.permitted is null or w.user_id = any(d.permitted))
          and (d.n, w.id) > ($23, $24)
        offset 0
    ) w
    left join lateral (
        select banned_until, ban_episode, ban_started_at from webhook_health
        where lane = d.lane and webhook = w.id offset 0
    ) h on true
    order by d.n, w.id
    limit $25
), fitting as materialized (
    select not $31 or count(*) < $25 as complete from matched
), stored as (
    insert into events as e (lane, id, accepted_at, company, action, object, object_id, user_id, data, previous,
                             permitted, change_source, is_bulk_edit, merged_from, merged_to, correlation_id, host,
                             occurred_at)
    select lane, id, accepted_at, company, action, object, object_id, user_id, data, previous, permitted,
           change_source, is_bulk_edit, merged_from, merged_to, correlation_id, host, occurred_at
    from draft where $21 and (select complete from fitting)
), ranked as (
    select m.*, m.lost is null and not m.webhook = any($26::uuid[])
                and row_number() over (partition by m.webhook, m.lost order by m.n) <= $27
                and row_number() over (partition by m.lost order by m.n, m.webhook) <= $28 as leased
    from matched m where (select complete from fitting)
), queued as (
    insert into deliveries as d (lane, webhook, event, generation, company, number, created_at, event_at, due_at,
                                 vis_at, owner, token)
    select lane, webhook, event, 0, company, 1, accepted_at, accepted_at, $22,
           case when leased then $29 else $22 end, case when leased then $30 end, case when leased then 1 else 0 end
    from ranked where lost is null
), lost as (
    insert into outcomes as o (lane, webhook, event, generation, company, created_at, at, status, reason, ban_episode)
    select lane, webhook, event, 0, company, accepted_at, case lost when 2 then lost_at else $22 end, 3, lost,
           case lost when 2 then ban_episode end
    from ranked where lost is not null
), tallied as (
    insert into tallies as t (lane, node, accepted, succeeded, failed, lost, cancelled)
    select lane, $30, count(*), 0, 0, count(lost), 0 from ranked group by lane
)
select n, webhook, leased, lost is not null as lost from ranked
union all select 0, '00000000-0000-0000-0000-000000000000', false, false from fitting where not complete
order by n, webhook"
);

#[derive(diesel::QueryableByName)]
struct NewDeliveryRow {
    #[diesel(sql_type = BigInt)]
    n: i64,
    #[diesel(sql_type = SqlUuid)]
    webhook: Uuid,
    #[diesel(sql_type = Bool)]
    leased: bool,
    #[diesel(sql_type = Bool)]
    lost: bool,
}

/// Stores the events and their deliveries, due at `now`, in one statement, and passes each delivery to `take`, by event. If
/// there would be more deliveries than [`ROWS_PER_STATEMENT`], stores nothing and returns `false`.
///
/// `accepted_at` of an event row is the time in its id; `now` is the exact time, which decides about bans.
pub async fn insert(
    conn: &mut Conn,
    publications: &[Publication<'_>],
    now: Timestamp,
    room: &Room<'_>,
    take: impl FnMut(NewDelivery),
) -> Result<bool, StoreError> {
    let page = Page {
        first: true,
        after: (0, Uuid::nil()),
        room_left: room.total,
        by_itself: true,
    };
    let drafts = Drafts::of(publications.iter().map(DraftRow::new));
    let rows = run(conn, &drafts, now, room, &page).await?;
    if rows.iter().any(|row| row.n == 0) {
        return Ok(false);
    }
    made(publications, rows).map(|made| {
        made.into_iter().for_each(take);
        true
    })
}

/// Like [`insert`], but for any number of deliveries, in pages, which are not kept in memory.
pub async fn insert_in_tx(
    conn: &mut Conn,
    publications: &[Publication<'_>],
    now: Timestamp,
    room: &Room<'_>,
    mut take: impl FnMut(NewDelivery),
) -> Result<(), StoreError> {
    let drafts = Drafts::of(publications.iter().map(DraftRow::new));
    let mut page = Page {
        first: true,
        after: (0, Uuid::nil()),
        room_left: room.total,
        by_itself: false,
    };
    loop {
        let rows = run(conn, &drafts, now, room, &page).await?;
        let complete = (rows.len() as i64) < ROWS_PER_STATEMENT;
        page.first = false;
        if let Some(last) = rows.last() {
            page.after = (last.n, last.webhook);
        }
        for made in made(publications, rows)? {
            page.room_left -= i64::from(made.state == InitialState::Leased);
            take(made);
        }
        if complete {
            return Ok(());
        }
    }
}

fn made(publications: &[Publication<'_>], rows: Vec<NewDeliveryRow>) -> Result<Vec<NewDelivery>, StoreError> {
    let made = |row: NewDeliveryRow| {
        let event = usize::try_from(row.n - 1).map_err(|_| unknown("events", "ordinal", row.n))?;
        let publication = publications
            .get(event)
            .ok_or_else(|| unknown("events", "ordinal", row.n))?;
        let state = match (row.lost, row.leased) {
            (true, _) => InitialState::Lost,
            (false, true) => InitialState::Leased,
            (false, false) => InitialState::Queued,
        };
        let key = DeliveryKey {
            lane: publication.event.lane,
            webhook: WebhookId(row.webhook),
            event: publication.event.id,
            generation: 0,
        };
        Ok(NewDelivery { event, key, state })
    };
    rows.into_iter().map(made).collect()
}

/// One statement's part of a publication.
struct Page {
    /// Whether it also stores the events.
    first: bool,
    /// The last delivery of the previous page, by event and webhook.
    after: (i64, Uuid),
    /// The number of rows that may still be leased.
    room_left: i64,
    /// Whether this statement must store everything.
    by_itself: bool,
}

impl<'a> DraftRow<'a> {
    fn new(publication: &Publication<'a>) -> Self {
        let event = publication.event;
        let (merged_from, merged_to) = match &event.merge {
            Some(Merge::From(other)) => (Some(other.to_string()), None),
            Some(Merge::To(other)) => (None, Some(other.to_string())),
            None => (None, None),
        };
        Self {
            lane: event.lane.0,
            id: event.id.0,
            accepted_at: time(event.accepted_at),
            company: event.company.get(),
            action: event.action.code(),
            object: &event.object,
            object_id: event.object_id.to_string(),
            user_id: event.user.get(),
            data: event.data.as_deref(),
            previous: event.previous.as_deref(),
            permitted: event.permitted.as_deref().map(array_literal),
            change_source: event.change_source.code(),
            is_bulk_edit: event.is_bulk_edit,
            merged_from,
            merged_to,
            correlation_id: &event.correlation_id,
            host: event.host.as_deref(),
            occurred_at: maybe_time(event.occurred_at),
            v1: publication.seen_by_v1.map(EventAction::code),
            v2: publication.seen_by_v2.map(EventAction::code),
        }
    }
}

async fn run(
    conn: &mut Conn,
    drafts: &Drafts<'_>,
    now: Timestamp,
    room: &Room<'_>,
    page: &Page,
) -> Result<Vec<NewDeliveryRow>, StoreError> {
    let full: Vec<Uuid> = room.full.iter().map(|id| id.0).collect();
    Ok(statement(PUBLISH)
        .arrays(drafts)
        .bind::<Bool, _>(page.first)
        .bind::<At, _>(time(now))
        .bind::<BigInt, _>(page.after.0)
        .bind::<SqlUuid, _>(page.after.1)
        .bind::<BigInt, _>(ROWS_PER_STATEMENT + i64::from(page.by_itself))
        .bind::<Array<SqlUuid>, _>(full)
        .bind::<BigInt, _>(room.per_webhook)
        .bind::<BigInt, _>(page.room_left.max(0))
        .bind::<At, _>(time(room.lease_until))
        .bind::<BigInt, _>(room.node.0)
        .bind::<Bool, _>(page.by_itself)
        .load(conn)
        .await?)
}

/// The text of a `bigint[]`.
fn array_literal(users: &[UserId]) -> String {
    let ids: Vec<String> = users.iter().map(ToString::to_string).collect();
    format!("{{{}}}", ids.join(","))
}
